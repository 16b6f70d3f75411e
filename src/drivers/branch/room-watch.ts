/**
 * Watches what branches take: sets their limits, stops the one that reaches its own or takes the last room from
 * all, and lets it come back. Who that is, is decided in model/room.ts.
 */
import type { Log } from '../../lib/log.ts';
import { repeat } from '../../lib/repeat.ts';
import {
  type BranchRoom,
  type Growing,
  hardLimit,
  isLow,
  isRelieved,
  isShort,
  isStarved,
  leftFor,
  limitOf,
  nearsLimit,
  nextLookMs,
  type Room,
  type StopReason,
  startRefusal,
  whoComesBack,
  whoStops,
} from '../../model/room.ts';
import type { VolumeDriver } from '../branch-parts.ts';
import type { BranchSeen, BranchUsage } from '../contract.ts';

export type RoomWish = {
  readonly root: boolean;
  /** Its own limit or that of its project. */
  readonly limitBytes?: number;
};

/** Why a branch must not run now. */
export type RoomStop = BranchRoom & { readonly why: StopReason; readonly leftBytes: number };

export type RoomWatchOptions = {
  readonly volumes: VolumeDriver;
  /** Ends the server of a branch in order. */
  readonly stop: (id: string) => Promise<void>;
  /** What `of` says of a branch is another now, or it was stopped. */
  readonly changed: (id: string) => void;
  /** There is room again for a branch that was stopped, or that suffered from the want of it. */
  readonly free: (id: string) => void;
  /** Told at every look while room is short. */
  readonly short: () => void;
  readonly log: Log;
};

export type RoomWatch = {
  /**
   * To be asked before every start, and whenever the branch is looked at. Its limit is kept from now on.
   * @param runs its server is there already, and may go on until a look finds that it must not
   * @returns undefined when it may run
   */
  admit(id: string, wish: RoomWish, runs: boolean): Promise<RoomStop | undefined>;
  /** Its server runs, and may grow. */
  runs(id: string): void;
  /** Its server has ended. */
  ended(id: string): void;
  /** Something of it has failed or ended by itself: if that may be for want of room, it is told when there is some. */
  suffered(id: string): Promise<void>;
  forget(id: string): void;
  /** As of the last look. */
  of(id: string): BranchSeen['room'];
  close(): Promise<void>;
};

type Watched = {
  wish: RoomWish;
  limitBytes?: number;
  usage?: BranchUsage;
  /** Bytes when room began to be low. */
  base: number;
  running: boolean;
  near: boolean;
  /** Set while it is stopped. */
  why?: StopReason;
  /** On the clock of performance.now(): it cannot have reached its limit before. */
  dueAt: number;
};

export function watchRoom({ volumes, stop, changed, free, short, log }: RoomWatchOptions): RoomWatch {
  const branches = new Map<string, Watched>();
  const sufferers = new Set<string>();
  let room: Room | undefined;
  let low = false;
  let trouble = '';

  const looking = repeat(look, error => {
    if ((error as Error).message !== trouble) log.warn({ error }, 'room of branches cannot be looked at');
    trouble = (error as Error).message;
  });

  return {
    async admit(id, wish, runs) {
      room ??= await volumes.room();
      const branch = branches.get(id) ?? { wish, base: 0, running: false, near: false, dueAt: 0 };
      branch.wish = wish;
      branches.set(id, branch);
      await limit(id, branch, room);
      await measure(id, branch);
      // Whom room was missing for comes back when there is more of it than a start needs.
      if (branch.why === 'room') return stopOf(id, branch, 'room', room);
      const refusal =
        runs && branch.why === undefined ? undefined : startRefusal(await fresh(), roomOf(id, branch));
      delete branch.why;
      if (refusal === undefined) return undefined;
      branch.why = refusal;
      return stopOf(id, branch, refusal, room);
    },

    runs(id) {
      const branch = branches.get(id);
      if (branch === undefined || branch.running) return;
      branch.running = true;
      branch.base = branch.usage?.bytes ?? 0;
      looking.now();
    },

    ended(id) {
      const branch = branches.get(id);
      if (branch !== undefined) branch.running = false;
    },

    async suffered(id) {
      if (isStarved(await fresh())) sufferers.add(id);
    },

    forget(id) {
      branches.delete(id);
      sufferers.delete(id);
      looking.now(); // it may have left room
    },

    of(id) {
      const { usage, limitBytes, near = false } = branches.get(id) ?? {};
      return usage && { ...usage, ...(limitBytes !== undefined && { limitBytes }), near };
    },

    close: () => looking.stop(),
  };

  async function look(): Promise<number> {
    const now = await fresh();
    const wasLow = low;
    low = isLow(now);
    if (low !== wasLow) log.warn({ ...now, low }, low ? 'room is low' : 'there is room again');
    if (isShort(now)) short();
    const begin = performance.now();
    for (const [id, branch] of branches) {
      if (!branch.running && branch.why === undefined) continue;
      if (!low && branch.dueAt > begin) continue;
      await limit(id, branch, now); // by default it is a part of the whole, which may have grown
      await measure(id, branch);
      if (!low) branch.base = branch.usage?.bytes ?? 0;
      branch.dueAt = begin + nextLookMs(now, [growthOf(id, branch)]);
      await new Promise(setImmediate); // counting is quick, and would keep everybody waiting if it were not for this
    }
    for (const id of whoStops(now, growing()).keys()) {
      // What was written over is counted twice until the next commit.
      await measure(id, branches.get(id)!, true);
    }
    for (const [id, why] of whoStops(now, growing())) await end(id, branches.get(id)!, why);
    const back = new Set(whoComesBack(now, stopped()));
    if (isRelieved(now)) for (const id of sufferers) if (branches.get(id)?.why === undefined) back.add(id);
    for (const id of back) {
      delete branches.get(id)?.why;
      sufferers.delete(id);
      log.info({ branch: id }, 'a branch has room again');
      free(id);
    }
    trouble = '';
    const tookMs = performance.now() - begin;
    const isWaited = sufferers.size > 0 || stopped().some(({ why }) => why === 'room');
    return Math.max(nextLookMs(now, growing(), isWaited), PART * tookMs);
  }

  async function fresh(): Promise<Room> {
    room = await volumes.room();
    return room;
  }

  async function end(id: string, branch: Watched, why: StopReason): Promise<void> {
    branch.why = why;
    branch.running = false;
    log.warn(
      { branch: id, why, ...branch.usage, limitBytes: branch.limitBytes },
      'a branch is stopped for want of room',
    );
    changed(id);
    await stop(id);
  }

  async function limit(id: string, branch: Watched, now: Room): Promise<void> {
    const { root, limitBytes: own } = branch.wish;
    const limitBytes = limitOf({ root, ...(own !== undefined && { own }) }, now);
    if (limitBytes === branch.limitBytes) return;
    await volumes.setLimit(id, limitBytes === undefined ? undefined : hardLimit(limitBytes));
    if (limitBytes === undefined) delete branch.limitBytes;
    else branch.limitBytes = limitBytes;
    branch.dueAt = 0;
    looking.now();
  }

  async function measure(id: string, branch: Watched, settled = false): Promise<void> {
    const usage = await volumes.usage(id, settled);
    if (usage === undefined) return;
    branch.usage = usage;
    const near = nearsLimit(roomOf(id, branch));
    if (near === branch.near) return;
    branch.near = near;
    changed(id);
  }

  function roomOf(id: string, { wish: { root }, usage, limitBytes }: Watched): BranchRoom {
    return { id, root, bytes: usage?.bytes ?? 0, ...(limitBytes !== undefined && { limitBytes }) };
  }

  function stopOf(id: string, branch: Watched, why: StopReason, now: Room): RoomStop {
    return { ...roomOf(id, branch), why, leftBytes: Math.max(0, leftFor(now)) };
  }

  function growing(): readonly Growing[] {
    return [...branches].filter(([, { running }]) => running).map(([id, branch]) => growthOf(id, branch));
  }

  function growthOf(id: string, branch: Watched): Growing {
    const seen = roomOf(id, branch);
    return { ...seen, grownBytes: seen.bytes - branch.base };
  }

  function stopped(): readonly (BranchRoom & { why: StopReason })[] {
    return [...branches].flatMap(([id, branch]) =>
      branch.why === undefined ? [] : [{ ...roomOf(id, branch), why: branch.why }],
    );
  }
}

// --- internal ------------------------------------------------------------------------------------

/** Looking takes at most one such part of the time, however many there are to look at, and however slowly it goes. */
const PART = 10;
