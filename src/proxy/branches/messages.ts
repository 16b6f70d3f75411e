/**
 * What is said at the door of a branch node, by JSON lines: one that says what is wanted, one that answers. After a good
 * answer to `branch` the connection is one to that branch's server, byte by byte; to all else the answers follow.
 */
import type { BranchRecord } from '../../model/branch.ts';
import type { ServerLogQuery } from '../../model/log.ts';
import type { Room } from '../../model/room.ts';
import type { WireError } from '../stream/messages.ts';

export type DoorRequest =
  /** Its server. */
  | { readonly want: 'branch'; readonly id: string }
  /** One `DoorSpace`. */
  | { readonly want: 'space' }
  /** One list of `DoorVolume`. */
  | { readonly want: 'unclaimed' }
  /** One `BranchInsight`, or null when its server does not run. */
  | { readonly want: 'insight'; readonly id: string }
  /** A line of text for each of the log; without an end while `follow` is asked for. */
  | { readonly want: 'logs'; readonly id: string; readonly query: ServerLogQuery };

export type DoorAnswer = { readonly ok: true } | { readonly error: WireError };

export type DoorSpace = {
  readonly room: Room & { readonly where: string };
  readonly sizes: readonly (readonly [id: string, bytes: number, exact: boolean])[];
};

export type DoorVolume = { readonly id: string; readonly record?: BranchRecord };

/** Characters of a line that asks, and of one that answers: sizes of some ten thousand branches. */
export const longestRequest = 1_024;
export const longestAnswer = 16 * 1024 * 1024;

/** Name by which a node proves who it is; see lib/identity.ts. */
export const nodeIdentity = (node: string): string => `node/${node}`;

/** @returns undefined for what is no request */
export function asRequest(value: unknown): DoorRequest | undefined {
  const { want, id, query } = (typeof value === 'object' && value !== null ? value : {}) as Record<
    string,
    unknown
  >;
  if (want === 'space' || want === 'unclaimed') return { want };
  if (typeof id !== 'string') return undefined;
  if (want === 'branch' || want === 'insight') return { want, id };
  if (want !== 'logs' || typeof query !== 'object' || query === null) return undefined;
  const { lines, follow } = query as Record<string, unknown>;
  if (typeof lines !== 'number' || !Number.isInteger(lines) || lines < 0 || lines > MOST_LINES)
    return undefined;
  return { want, id, query: { lines, ...(follow === true && { follow }) } };
}

// --- internal ---

/** As the API allows. */
const MOST_LINES = 10_000;
