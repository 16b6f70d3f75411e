/** Tells when servers end by themselves, both those that we started and those that an earlier process did. */
import type { ServerExits } from '../contract.ts';
import type { Running } from '../processes/contract.ts';

export type Exits = {
  watch(id: string, server: Running): void;
  /** Whether this very process is watched. */
  watches(id: string, server: Running): boolean;
  /** To be called before a server is ended on purpose. */
  forget(id: string): void;
  /** See ServerDriver. */
  of(id: string): ServerExits;
  /** @returns the way to stop that */
  onExit(listener: (id: string) => void): () => void;
};

export function watchExits(): Exits {
  const watched = new Map<string, Running>();
  const exits = new Map<string, ServerExits>();
  const listeners = new Set<(id: string) => void>();
  const ended = (id: string, livedMs: number): void => {
    watched.delete(id);
    const before = livedMs < STEADY_MS ? (exits.get(id)?.count ?? 0) : 0;
    exits.set(id, { count: before + 1, at: new Date().toISOString(), livedMs });
    for (const listener of listeners) listener(id);
  };
  return {
    watch(id, server) {
      if (watched.get(id) === server) return;
      watched.set(id, server);
      const since = Date.now();
      void server.ended.then(() => {
        if (watched.get(id) === server) ended(id, Date.now() - since);
      });
    },
    watches: (id, server) => watched.get(id) === server,
    forget(id) {
      watched.delete(id);
      exits.delete(id);
    },
    of: id => exits.get(id) ?? { count: 0 },
    onExit(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}

// --- internal ------------------------------------------------------------------------------------

/** A server that lived so long ended for a reason of its own, and not because it cannot live. */
const STEADY_MS = 60_000;
