/** Tells when servers end by themselves, both those that we started and those that an earlier process did. */
import { isAlive, type ProcessId } from '../../lib/process.ts';

export type Exits = {
  /** Watches a server: its end is told within half a second, or at once by `check`. */
  watch(id: string, server: ProcessId): void;
  /** To be called before a server is ended on purpose. */
  forget(id: string): void;
  /** Looks now; for when a child's exit was seen. */
  check(): void;
  /** @returns the way to stop that */
  onExit(listener: (id: string) => void): () => void;
  close(): void;
};

export function watchExits(): Exits {
  const watched = new Map<string, ProcessId>();
  const listeners = new Set<(id: string) => void>();
  const check = () => {
    for (const [id, server] of watched) {
      if (isAlive(server)) continue;
      watched.delete(id);
      for (const listener of listeners) listener(id);
    }
  };
  const timer = setInterval(check, 500).unref();
  return {
    watch: (id, server) => void watched.set(id, server),
    forget: id => void watched.delete(id),
    check,
    onExit(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    close: () => clearInterval(timer),
  };
}
