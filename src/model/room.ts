/**
 * Room on the disk as something that is managed: how much a branch may take, when room runs low, and who has to stop
 * then so that all others can go on. Pure: numbers in, decisions out.
 */

export type Room = {
  readonly totalBytes: number;
  /** Bytes that can still be written, the reserve included. */
  readonly freeBytes: number;
  /** The last bytes, which only root branches may take. */
  readonly reserveBytes: number;
};

export type BranchRoom = {
  readonly id: string;
  /** The root of its project, which may take the reserve and is never stopped for others. */
  readonly root: boolean;
  /** Bytes of its own. */
  readonly bytes: number;
  /** At which it is stopped. */
  readonly limitBytes?: number;
};

export type Growing = BranchRoom & {
  /** Bytes that it has grown by since room ran low, or since it runs when that is less long ago. */
  readonly grownBytes: number;
};

/** Why a branch does not run: it has reached its limit, or it was growing when room ran out. */
export type StopReason = 'limit' | 'room';

/** A smaller limit would be reached by a few starts. */
export const leastLimitBytes = 64 * 2 ** 20;

/** The limit of a branch: its own, its project's, or half of everything; roots have none unless it is their own. */
export function limitOf(
  branch: {
    readonly root: boolean;
    readonly own?: number | undefined;
    readonly project?: number | undefined;
  },
  room: Room,
): number | undefined {
  if (branch.own !== undefined || branch.root) return branch.own;
  return branch.project ?? Math.max(leastLimitBytes, Math.floor(room.totalBytes / 2));
}

/**
 * What the file system lets a branch have that is stopped at `limitBytes`: more, for what it writes until somebody
 * looks, for its end in order and for its recovery.
 */
export const hardLimit = (limitBytes: number): number =>
  limitBytes + within(64 * MIB, Math.floor(limitBytes / 8), 512 * MIB);

/** Bytes left for all but roots; below 0 when the reserve is in use. */
export const leftFor = (room: Room): number => room.freeBytes - room.reserveBytes;

/** Below this much left, room is low: from here on somebody who grows is stopped. */
export const lowBytes = ({ totalBytes }: Room): number =>
  within(96 * MIB, Math.floor(totalBytes / 16), 4 * GIB);

/** Below this much left nobody but roots is started: recoveries and ends in order of the others need it. */
export const spareBytes = ({ totalBytes }: Room): number =>
  within(32 * MIB, Math.floor(totalBytes / 64), 512 * MIB);

export const isLow = (room: Room): boolean => leftFor(room) < lowBytes(room);

/** Some time before room is low: what nobody needs, the trash, gives its room up. */
export const isShort = (room: Room): boolean => leftFor(room) < 2 * lowBytes(room);

/** Whether a branch comes near its limit. */
export const nearsLimit = ({ bytes, limitBytes }: BranchRoom): boolean =>
  limitBytes !== undefined && bytes >= 0.8 * limitBytes;

/**
 * Who must stop now: whoever has reached its limit; and when room is low, the one that has grown most since, if that
 * is much of what is left. So small writers go on while there is anything to write to. One at a time, since what is
 * left may be enough without the first.
 */
export function whoStops(room: Room, running: readonly Growing[]): ReadonlyMap<string, StopReason> {
  const stops = new Map<string, StopReason>();
  for (const { id, bytes, limitBytes } of running)
    if (limitBytes !== undefined && bytes >= limitBytes) stops.set(id, 'limit');
  if (stops.size > 0 || !isLow(room)) return stops;
  const left = leftFor(room);
  const much = left < spareBytes(room) ? 4 * MIB : Math.max(8 * MIB, left / 4);
  const most = running
    .filter(({ root, grownBytes }) => !root && grownBytes >= much)
    .toSorted((a, b) => b.grownBytes - a.grownBytes)[0];
  if (most !== undefined) stops.set(most.id, 'room');
  return stops;
}

/** Why a branch may not be started now; undefined when it may. */
export function startRefusal(room: Room, { root, bytes, limitBytes }: BranchRoom): StopReason | undefined {
  if (limitBytes !== undefined && bytes + STEP_BYTES > limitBytes) return 'limit';
  return !root && leftFor(room) < spareBytes(room) ? 'room' : undefined;
}

/** What ends or fails now may do so for want of room, also where the reserve may be used. */
export const isStarved = (room: Room): boolean => leftFor(room) < spareBytes(room);

/** What failed while room was missing can be tried again. */
export const isRelieved = (room: Room): boolean => leftFor(room) >= 2 * spareBytes(room);

/** Which of the stopped branches come back now: all that may by their limit, and as many as there is room for. */
export function whoComesBack(
  room: Room,
  stopped: readonly (BranchRoom & { readonly why: StopReason })[],
): readonly string[] {
  const may = stopped.filter(branch => startRefusal(room, branch) === undefined);
  const left = leftFor(room);
  let places = left >= 1.25 * lowBytes(room) ? Math.max(1, Math.floor(left / (2 * lowBytes(room)))) : 0;
  return may.filter(({ why }) => why === 'limit' || places-- > 0).map(({ id }) => id);
}

/** Milliseconds after which a branch or the room could be where somebody must stop, or may come back. */
export function nextLookMs(room: Room, running: readonly Growing[], isWaited = false): number {
  const limits = running.flatMap(({ bytes, limitBytes }) =>
    limitBytes === undefined ? [] : [limitBytes - bytes],
  );
  const nearest = Math.min(leftFor(room) - lowBytes(room), ...limits);
  return within(SHORTEST_MS, nearest / BYTES_PER_MS, isWaited ? WAITED_MS : LONGEST_MS);
}

// --- internal ------------------------------------------------------------------------------------

const MIB = 2 ** 20;
const GIB = 2 ** 30;

/** What a start alone writes, and some work. */
const STEP_BYTES = 8 * MIB;

/** A branch does not grow faster: PostgreSQL writes everything twice. */
const BYTES_PER_MS = MIB / 2;
const SHORTEST_MS = 100;
const LONGEST_MS = 10_000;
/** While somebody waits for room. */
const WAITED_MS = 500;

const within = (least: number, value: number, most: number): number => Math.min(most, Math.max(least, value));
