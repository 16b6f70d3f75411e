/** Tells when servers end by themselves, both those that we started and those that an earlier process did. */
import { isAlive, type ProcessId } from '../../lib/process.ts';
import type { ServerExits } from '../contract.ts';

export type Exits = {
  /**
   * Watches a server.
   * @param child true: whoever started it calls `check` when it ends. Otherwise it is looked at twice a second: Node
   *   has no pidfd, and only our own children tell us.
   */
  watch(id: string, server: ProcessId, child: boolean): void;
  /** Whether this very process is watched. */
  watches(id: string, server: ProcessId): boolean;
  /** To be called before a server is ended on purpose. */
  forget(id: string): void;
  /** Looks now; for when a child's exit was seen. */
  check(id: string): void;
  /** See ServerDriver. */
  of(id: string): ServerExits;
  /** @returns the way to stop that */
  onExit(listener: (id: string) => void): () => void;
  close(): void;
};

type Watched = ProcessId & { readonly child: boolean; readonly since: number };

export function watchExits(): Exits {
  const watched = new Map<string, Watched>();
  const exits = new Map<string, ServerExits>();
  const listeners = new Set<(id: string) => void>();
  const count = (id: string, { since }: Watched): void => {
    const livedMs = Date.now() - since;
    const before = livedMs < STEADY_MS ? (exits.get(id)?.count ?? 0) : 0;
    exits.set(id, { count: before + 1, at: new Date().toISOString(), livedMs });
  };
  const check = (id: string): void => {
    const server = watched.get(id);
    if (server === undefined || isAlive(server)) return;
    watched.delete(id);
    count(id, server);
    for (const listener of listeners) listener(id);
  };
  const timer = setInterval(() => {
    for (const [id, { child }] of watched) if (!child) check(id);
  }, 500).unref();
  return {
    watch(id, { pid, startTime }, child) {
      const before = watched.get(id);
      if (before?.pid === pid && before.startTime === startTime) return;
      watched.set(id, { pid, startTime, child, since: Date.now() });
    },
    watches(id, server) {
      const there = watched.get(id);
      return there?.pid === server.pid && there.startTime === server.startTime;
    },
    forget(id) {
      watched.delete(id);
      exits.delete(id);
    },
    check,
    of: id => exits.get(id) ?? { count: 0 },
    onExit(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    close: () => clearInterval(timer),
  };
}

// --- internal ------------------------------------------------------------------------------------

/** A server that lived so long ended for a reason of its own, and not because it cannot live. */
const STEADY_MS = 60_000;
