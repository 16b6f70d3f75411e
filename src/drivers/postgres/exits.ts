/** Tells when servers end by themselves, both those that we started and those that an earlier process did. */
import { Listeners } from '../../lib/listeners.ts';
import type { ServerExits } from '../contract.ts';
import type { Running } from '../processes/contract.ts';

export type Exits = {
  /** @param before what an earlier process has noted of it, see `notes` */
  watch(id: string, server: Running, before?: Notes): void;
  /** To be kept with a server that starts now, so that the next process goes on counting. */
  notes(id: string): Notes;
  /** Whether this very process is watched. */
  watches(id: string, server: Running): boolean;
  /** To be called before a server is ended on purpose. */
  forget(id: string): void;
  /** See ServerDriver. */
  forgive(id: string): void;
  /** See ServerDriver. */
  of(id: string): ServerExits;
  /** @returns the way to stop that */
  onExit(listener: (id: string) => void): () => void;
};

type Notes = { readonly startedAt?: string; readonly exits?: string };

/** @param failed told what a listener has thrown */
export function watchExits(failed?: (error: unknown) => void): Exits {
  const watched = new Map<string, { readonly server: Running; readonly since: number }>();
  const exits = new Map<string, ServerExits>();
  const listeners = new Listeners<string>(failed);
  const ended = (id: string, livedMs: number): void => {
    watched.delete(id);
    const before = livedMs < STEADY_MS ? (exits.get(id)?.count ?? 0) : 0;
    exits.set(id, { count: before + 1, livedMs });
    listeners.tell(id);
  };
  return {
    watch(id, server, { startedAt, exits: noted } = {}) {
      if (watched.get(id)?.server === server) return;
      const watch = { server, since: Number(startedAt) || Date.now() };
      const count = Number(noted) || 0;
      if (count > 0 && !exits.has(id)) exits.set(id, { count });
      watched.set(id, watch);
      void server.ended.then(() => {
        if (watched.get(id) === watch) ended(id, Date.now() - watch.since);
      });
    },
    notes: id => ({ startedAt: String(Date.now()), exits: String(exits.get(id)?.count ?? 0) }),
    watches: (id, server) => watched.get(id)?.server === server,
    forget(id) {
      watched.delete(id);
      exits.delete(id);
    },
    forgive: id => void exits.delete(id),
    of(id) {
      const watch = watched.get(id);
      return { count: 0, ...exits.get(id), ...(watch && { upMs: Date.now() - watch.since }) };
    },
    onExit: listeners.add,
  };
}

// --- internal ------------------------------------------------------------------------------------

/**
 * A server that lived so long ended for a reason of its own, e.g. a backend that was killed, and not because it cannot
 * live. One that always does is started six times a minute at most.
 */
const STEADY_MS = 10_000;
