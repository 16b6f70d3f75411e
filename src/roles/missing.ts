/** What keeps a role from its work, in sentences: said once when it begins, and again when it is over. */
import type { InformerState } from '../kubernetes/informer.ts';
import type { Log } from '../lib/log.ts';
import { repeat } from '../lib/repeat.ts';
import { delay } from '../lib/wait.ts';
import { OffshootError } from '../model/errors.ts';

export type Missing = {
  /** As of now. */
  list(): readonly string[];
  /** Who knows it from here on. */
  ask(source: () => readonly string[]): void;
  close(): Promise<void>;
};

/** @param tell said to besides the log, e.g. an event */
export function watchMissing(tell: (sentence: string) => void, log: Log, everyMs = 1_000): Missing {
  let source: () => readonly string[] = () => [];
  let known: readonly string[] = [];
  const watching = repeat(
    async () => {
      const now = source();
      for (const sentence of now.filter(one => !known.includes(one))) {
        log.warn({ problem: sentence }, 'something is not as it must be');
        tell(sentence);
      }
      if (known.length > 0 && now.length === 0) log.info({}, 'all is as it must be again');
      known = now;
      return everyMs;
    },
    err => log.error({ err }, 'what is wrong cannot be said'),
  );
  return {
    list: () => source(),
    ask(one) {
      source = one;
    },
    close: watching.stop,
  };
}

/** Tries until the cluster does not refuse it any more: rights and definitions may come later than we do. @param refused told why not */
export async function untilDone<T>(
  work: () => Promise<T>,
  refused: (problem: string) => void,
  signal: AbortSignal,
): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof OffshootError) || !error.row.retry) throw error;
      refused(error.hint === undefined ? error.message : `${error.message}; ${error.hint}`);
      await delay(AGAIN_MS, signal);
    }
  }
}

/** What cannot be read, or not any more. */
export const problemOf = ({ failure }: InformerState): readonly string[] =>
  failure === undefined ? [] : [failure.message];

// --- internal ------------------------------------------------------------------------------------

const AGAIN_MS = 2_000;
