/**
 * Tells when processes end that an earlier daemon started, which the system does not tell us. The end of a whole group
 * is told by the kernel; a leader that leaves others behind, or has no group, is found by one timer for all.
 */
import type { FSWatcher } from 'node:fs';
import { type Group, watchGroup } from '../../lib/cgroups.ts';
import { isAlive, type ProcessId } from '../../lib/process.ts';

export type Ends = {
  /** Calls `ended` once when the leader has ended. */
  watch(part: string, leader: ProcessId, group: Group | undefined, ended: () => void): void;
  forget(part: string): void;
  close(): void;
};

export function watchEnds(): Ends {
  const watched = new Map<string, Watched>();
  let timer: NodeJS.Timeout | undefined;
  let round = 0;

  return {
    watch(part, leader, group, ended) {
      forget(part);
      const entry: Watched = { leader, ended, watcher: undefined };
      watched.set(part, entry);
      entry.watcher = group && watchGroup(group, () => check(part, entry));
      timer ??= setInterval(checkSome, EVERY_MS).unref();
      setImmediate(() => check(part, entry)); // it may have ended before there was a watch
    },
    forget,
    close() {
      for (const part of [...watched.keys()]) forget(part);
    },
  };

  function forget(part: string): void {
    watched.get(part)?.watcher?.close();
    watched.delete(part);
    if (watched.size > 0) return;
    clearInterval(timer);
    timer = undefined;
  }

  function check(part: string, entry: Watched): void {
    if (watched.get(part) !== entry || isAlive(entry.leader)) return;
    forget(part);
    entry.ended();
  }

  /** Those without a watch each time, the others in turns: they are told of, unless they leave others behind. */
  function checkSome(): void {
    round = (round + 1) % TURNS;
    let index = 0;
    for (const [part, entry] of [...watched])
      if (entry.watcher === undefined || index++ % TURNS === round) check(part, entry);
  }
}

// --- internal -----------------------------------------------------------------------------------

type Watched = {
  readonly leader: ProcessId;
  readonly ended: () => void;
  watcher: FSWatcher | undefined;
};

const EVERY_MS = 250;
const TURNS = 8;
