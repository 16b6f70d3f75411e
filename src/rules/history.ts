/** Moments that are over: what is kept of a branch, and who may go back to what. */

import { OffshootError } from '../model/errors.ts';
import {
  EVERY_SECONDS,
  type HistorySpec,
  inUtc,
  isReached,
  LEAST_EVERY_SECONDS,
  MOST_KEEP_SECONDS,
  type Reach,
  spansText,
} from '../model/history.ts';
import { isTrashed } from '../model/trash.ts';
import type { Store, Stored } from '../store/contract.ts';

/**
 * What is kept of a branch from now on; undefined: nothing, and what there is goes.
 * @throws OffshootError history/bad-keep, api/not-found
 */
export async function keepHistory(
  store: Store,
  id: string,
  wanted: { readonly keepSeconds: number; readonly everySeconds?: number | undefined } | undefined,
): Promise<Stored<'branch'>> {
  const history = wanted && historySpec(wanted);
  const found = await store.modify('branch', id, ({ spec: { history: _, ...spec }, deletedAt }) =>
    deletedAt !== undefined || isTrashed({ spec })
      ? undefined
      : { spec: { ...spec, ...(history !== undefined && { history }) } },
  );
  if (found !== undefined && found.deletedAt === undefined && !isTrashed(found)) return found;
  throw new OffshootError('api/not-found', { kind: 'branch', name: found?.spec.name ?? id });
}

/**
 * The moment as we write it.
 * @param reach of the branch, as far as any is kept
 * @throws OffshootError history/bad-moment, history/none, history/out-of-range
 */
export function momentOf(
  { spec: { name } }: Stored<'branch'>,
  text: string,
  reach: Reach | undefined,
  now: Date,
): string {
  const moment = inUtc(text);
  if (reach === undefined || reach.spans.length === 0) throw new OffshootError('history/none', { name });
  if (!isReached(reach, moment, now))
    throw new OffshootError('history/out-of-range', { name, moment, range: spansText(reach.spans) });
  return moment;
}

// --- internal -----------------------------------------------------------------------------------

function historySpec({
  keepSeconds,
  everySeconds = Math.min(EVERY_SECONDS, keepSeconds),
}: {
  readonly keepSeconds: number;
  readonly everySeconds?: number | undefined;
}): HistorySpec {
  const why =
    keepSeconds > MOST_KEEP_SECONDS
      ? 'that is longer than 90 days'
      : everySeconds < LEAST_EVERY_SECONDS
        ? `a snapshot every ${everySeconds} s costs more than it saves`
        : everySeconds > keepSeconds
          ? 'the time between two snapshots is longer than what is kept'
          : undefined;
  if (why !== undefined) throw new OffshootError('history/bad-keep', { why });
  return { keepSeconds, everySeconds };
}
