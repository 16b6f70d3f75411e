/**
 * What is kept of a branch that is over: `history.json` beside the log that is kept. A snapshot counts when it is written
 * here, and stays as long as it is: what else is found was half-made, or half-removed.
 */
import { existsSync } from 'node:fs';
import { open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { syncDirectory } from '../../lib/sync.ts';

export type Snapshot = {
  /** Counts all of the branch; names its volume. */
  readonly n: number;
  /** RFC 3339: what was committed until then is in it, or in the log that came after it. */
  readonly at: string;
  /** The first segment of the log that going on from it needs. */
  readonly first: string;
  /** Where the server was when it was made. */
  readonly lsn: string;
};

/** A time without a gap: one volume of the branch, one line of its log. */
export type Era = {
  /** Counts all of the branch; names its folder of segments. */
  readonly n: number;
  /** By which the server keeps its log for us. */
  readonly slot: string;
  /** RFC 3339: there is nothing of it after that; absent: it goes on. */
  readonly endedAt?: string;
  /** It went on after that, but its log is lost. */
  readonly cut?: true;
  /** Oldest first, at least one. */
  readonly snapshots: readonly Snapshot[];
};

/** @returns oldest first; none where nothing was written yet, or what was cannot be read */
export async function readEras(directory: string): Promise<readonly Era[]> {
  const file = join(directory, FILE);
  if (!existsSync(file)) return [];
  const { eras } = JSON.parse(await readFile(file, 'utf8')) as { readonly eras: readonly Era[] };
  return eras;
}

/** Durable when it returns; a reader finds what was there before, or this. */
export async function writeEras(directory: string, eras: readonly Era[]): Promise<void> {
  const path = join(directory, FILE);
  {
    await using file = await open(`${path}.new`, 'w', 0o600);
    await file.writeFile(`${JSON.stringify({ eras }, null, 2)}\n`);
    await file.sync();
  }
  await rename(`${path}.new`, path);
  await syncDirectory(directory);
}

/** Without snapshots that were made when their era was over already, be it for a segment that is lost: no moment leads to them. Pure. */
export const withoutUnreached = (eras: readonly Era[]): readonly Era[] =>
  eras.flatMap(era => {
    const { cut, endedAt } = era;
    const snapshots = cut ? era.snapshots.filter(({ at }) => at < endedAt!) : era.snapshots;
    return snapshots.length === 0 ? [] : [{ ...era, snapshots }];
  });

/** Of what there is, the oldest that may go because what is to be reached does not need it: pure. */
export function withoutOld(eras: readonly Era[], cutoff: string): readonly Era[] {
  return eras
    .filter(({ endedAt }) => endedAt === undefined || endedAt > cutoff)
    .map(era => ({
      ...era,
      // The newest of those that are too old is what the oldest moment is reached from.
      snapshots: era.snapshots.filter((_, i, all) => (all[i + 1]?.at ?? '9') > cutoff),
    }));
}

/** The snapshot that is given up first: the oldest of all; with the last of an era, the era goes. */
export function withoutOldest(eras: readonly Era[]): readonly Era[] {
  const [oldest, ...others] = eras;
  if (oldest === undefined) return eras;
  const snapshots = oldest.snapshots.slice(1);
  return snapshots.length === 0 ? others : [{ ...oldest, snapshots }, ...others];
}

// --- internal ------------------------------------------------------------------------------------

const FILE = 'history.json';
