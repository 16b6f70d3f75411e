/** Looks after an open pool: room on the host, the reserve, and what removed volumes leave. */
import type { Log } from '../../lib/log.ts';
import { repeat } from '../../lib/repeat.ts';
import { delay } from '../../lib/wait.ts';
import type { Backing } from './backing.ts';
import type { BtrfsCalls } from './btrfs-calls.ts';
import type { Sizes } from './sizes.ts';

export type Keeper = {
  /** A subvolume was removed: its room goes back to the host as soon as the kernel has freed it. */
  removed(subvolume: bigint): void;
  stop(): Promise<void>;
};

export function keepPool(pool: {
  readonly root: string;
  readonly calls: BtrfsCalls;
  readonly backing: Backing;
  readonly sizes: Sizes;
  readonly reserveBytes: number;
  readonly log: Log;
}): Keeper {
  const { root, calls, backing, sizes, reserveBytes, log } = pool;
  const leaving = new Set<bigint>();
  const stopped = new AbortController();
  let trouble = '';
  let reclaiming: Promise<void> | undefined;

  const looking = repeat(async () => {
    const pauseMs = await backing.look();
    await sizes.limitChildren((await backing.sureBytes()) - reserveBytes);
    trouble = '';
    return Math.min(LONGEST_MS, Math.max(SHORTEST_MS, pauseMs));
  }, failed);

  return {
    removed(subvolume) {
      leaving.add(subvolume);
      reclaiming ??= reclaim()
        .catch(failed)
        .finally(() => {
          reclaiming = undefined;
        });
    },

    async stop() {
      stopped.abort();
      await Promise.all([looking.stop(), reclaiming]);
    },
  };

  async function reclaim(): Promise<void> {
    while (leaving.size > 0 && !stopped.signal.aborted) {
      await calls.commit(root); // until then it keeps what a crash would bring back
      for (const id of leaving) if (!(await calls.isLeaving(root, id))) leaving.delete(id);
      if (leaving.size > 0) await delay(FREED_MS, stopped.signal).catch(() => {});
    }
    if (stopped.signal.aborted) return;
    await calls.commit(root);
    await sizes.tidy();
    await backing.trim();
    looking.now();
  }

  /** Once per kind of trouble: a pool that the kernel made read-only would say the same every second. */
  function failed(error: unknown): void {
    const { message } = error as Error;
    if (message !== trouble) log.warn({ root, error }, 'room of the pool cannot be looked after');
    trouble = message;
  }
}

// --- internal ------------------------------------------------------------------------------------

const SHORTEST_MS = 50;
const LONGEST_MS = 5_000;
const FREED_MS = 100;
