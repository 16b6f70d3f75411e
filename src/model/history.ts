/** What a branch held at moments that are over: how much of that is kept, and what can be reached. */
import { OffshootError } from './errors.ts';

/** As it is asked for. */
export type HistorySpec = {
  /** Every moment of the last so many seconds can be reached. */
  readonly keepSeconds: number;
  /** Between two snapshots while it changes: what is written in that time is what going back to a moment reads again. */
  readonly everySeconds: number;
};

export const KEEP_SECONDS = 86_400;
export const EVERY_SECONDS = 3_600;
export const LEAST_EVERY_SECONDS = 10;
export const MOST_KEEP_SECONDS = 90 * 86_400;

/** Every moment from `from` to `to` can be reached; RFC 3339. Without `to`, up to now. */
export type Span = {
  readonly from: string;
  readonly to?: string;
  /** More was written after `to`, of which the log was not kept: it would have taken too much while no daemon ran. */
  readonly cut?: true;
};

/** What can be reached of a branch. */
export type Reach = {
  /** Oldest first. More than one where the branch was replaced, or room was missing for a while. */
  readonly spans: readonly Span[];
  /** Moments from which going back is quickest, oldest first; RFC 3339. */
  readonly snapshots: readonly string[];
  /** What snapshots and log take that the branch itself does not. */
  readonly bytes: number;
};

/** Whether what a branch held then is known. */
export const isReached = ({ spans }: Reach, moment: string, now: Date): boolean =>
  spans.some(({ from, to }) => from <= inUtc(moment) && inUtc(moment) <= (to ?? inUtc(now.toISOString())));

/** In words, for people: which moments there are. */
export const spansText = (spans: readonly Span[]): string =>
  spans.map(({ from, to }) => `${from} to ${to ?? 'now'}`).join(', and ');

/**
 * A moment as all of ours are written: UTC, with microseconds as PostgreSQL has them, so that their texts sort as they do.
 * @param text RFC 3339 @throws OffshootError history/bad-moment
 */
export function inUtc(text: string): string {
  const found = MOMENT.exec(text);
  const ms = Date.parse(text);
  if (found === null || Number.isNaN(ms)) throw new OffshootError('history/bad-moment', { moment: text });
  const micros = (found[1] ?? '').padEnd(6, '0').slice(3, 6);
  return `${new Date(ms).toISOString().slice(0, -1)}${micros}Z`;
}

// --- internal ------------------------------------------------------------------------------------

/** RFC 3339, section 5.6; an offset is needed, or it would be another moment on another machine. */
const MOMENT = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.(\d{1,6})\d*)?(?:[Zz]|[+-]\d\d:\d\d)$/;
