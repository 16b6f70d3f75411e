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
  const troubles = { looking: '', reclaiming: '' };
  /** Something was removed whose room the host has not got back. */
  let owed = false;
  let reclaiming: Promise<void> | undefined;

  const looking = repeat(async () => {
    const pauseMs = await backing.look();
    await sizes.limitChildren(async () => (await backing.sureBytes()) - reserveBytes);
    troubles.looking = '';
    return Math.min(LONGEST_MS, Math.max(SHORTEST_MS, pauseMs));
  }, failed('looking'));

  return {
    removed(subvolume) {
      leaving.add(subvolume);
      owed = true;
      reclaiming ??= reclaim();
    },

    async stop() {
      stopped.abort();
      await Promise.all([looking.stop(), reclaiming]);
    },
  };

  /** Goes on after trouble, e.g. of a pool so full that nothing can be committed, and with what is removed meanwhile. */
  async function reclaim(): Promise<void> {
    const pause = (ms: number) => delay(ms, stopped.signal).catch(() => {});
    while (owed && !stopped.signal.aborted) {
      try {
        await calls.commit(root); // until then it keeps what a crash would bring back
        for (const id of leaving) if (!(await calls.isLeaving(root, id))) leaving.delete(id);
        if (leaving.size > 0) await pause(FREED_MS);
        else await giveBack();
      } catch (error) {
        owed = true;
        failed('reclaiming')(error);
        await pause(AGAIN_MS);
      }
    }
    reclaiming = undefined;
  }

  async function giveBack(): Promise<void> {
    owed = false;
    await calls.commit(root);
    await sizes.tidy();
    await backing.trim();
    troubles.reclaiming = '';
    looking.now();
  }

  /** Once per kind of trouble: a pool that the kernel made read-only would say the same every second. */
  function failed(what: keyof typeof troubles): (error: unknown) => void {
    return error => {
      const { message } = error as Error;
      if (message !== troubles[what]) log.warn({ root, error }, 'room of the pool cannot be looked after');
      troubles[what] = message;
    };
  }
}

// --- internal ------------------------------------------------------------------------------------

const SHORTEST_MS = 50;
const LONGEST_MS = 5_000;
const FREED_MS = 100;
const AGAIN_MS = 1_000;
