/**
 * The work queue: keys in, one reconcile at a time per key, several keys at once. It decides when a key is
 * looked at again, and nothing else: a reconciler never sees the event that woke it.
 */
import type { Log } from '../lib/log.ts';
import { backoffMs } from '../lib/wait.ts';
import { toOffshootError } from '../model/errors.ts';

/** `again`: look at this key once more after so many milliseconds. */
export type Result = { readonly again?: number } | undefined;

export type Queue = {
  /** Asks for a look at `key` soon; many asks before the look are one. `interrupt` aborts a look that is under way. */
  add(key: string, options?: { readonly interrupt?: boolean }): void;
  /** Resolves when nothing runs and nothing is due now (later re-tries may be). */
  idle(): Promise<void>;
  /** Starts nothing more, aborts what runs, and waits for it. */
  close(): Promise<void>;
};

export type QueueOptions = {
  /** @throws anything: the key is tried again with back-off, unless the error's row says that it cannot help. */
  readonly reconcile: (key: string, signal: AbortSignal) => Promise<Result>;
  /** Keys at once. */
  readonly concurrency: number;
  readonly backoff: { readonly baseMs: number; readonly maxMs: number };
  readonly log: Log;
};

type Entry = { run?: AbortController; dirty: boolean; attempts: number; timer?: NodeJS.Timeout };

export function createQueue({ reconcile, concurrency, backoff, log }: QueueOptions): Queue {
  const entries = new Map<string, Entry>();
  const ready: string[] = [];
  const abort = new AbortController();
  let running = 0;
  let waiters: (() => void)[] = [];

  const add: Queue['add'] = (key, { interrupt = false } = {}) => {
    if (abort.signal.aborted) return;
    const entry: Entry = entries.get(key) ?? { dirty: false, attempts: 0 };
    entries.set(key, entry);
    clearTimeout(entry.timer);
    delete entry.timer;
    if (interrupt) entry.run?.abort(new Error('the intent changed'));
    if (entry.dirty) return;
    entry.dirty = true;
    if (entry.run === undefined) {
      ready.push(key);
      pump();
    }
  };

  const later = (key: string, entry: Entry, ms: number): void => {
    if (abort.signal.aborted) return;
    clearTimeout(entry.timer);
    entry.timer = setTimeout(() => add(key), Math.min(ms, 2 ** 31 - 1));
  };

  const pump = (): void => {
    while (running < concurrency && ready.length > 0) {
      const key = ready.shift()!;
      running += 1;
      void work(key, entries.get(key)!).finally(() => {
        running -= 1;
        pump();
        if (running === 0 && ready.length === 0) {
          for (const resolve of waiters) resolve();
          waiters = [];
        }
      });
    }
  };

  const work = async (key: string, entry: Entry): Promise<void> => {
    const run = new AbortController();
    entry.run = run;
    entry.dirty = false;
    try {
      const result = await reconcile(key, AbortSignal.any([abort.signal, run.signal]));
      entry.attempts = 0;
      if (!entry.dirty && result?.again !== undefined) later(key, entry, result.again);
    } catch (thrown) {
      if (abort.signal.aborted || run.signal.aborted) return;
      const error = toOffshootError(thrown);
      const fields = { key, code: error.code, attempt: entry.attempts, err: error.cause ?? error };
      if (error.row.retry) {
        const ms = backoffMs(entry.attempts, backoff.baseMs, backoff.maxMs);
        entry.attempts += 1;
        log.warn({ ...fields, againMs: ms }, 'reconcile failed, will try again');
        if (!entry.dirty) later(key, entry, ms);
      } else {
        log.warn(fields, 'reconcile failed, waits for a change');
      }
    } finally {
      delete entry.run;
      if (entry.dirty && !abort.signal.aborted) ready.push(key);
      else if (entry.timer === undefined) entries.delete(key);
    }
  };

  return {
    add,
    idle: () =>
      running === 0 && ready.length === 0 ? Promise.resolve() : new Promise(resolve => waiters.push(resolve)),
    async close() {
      abort.abort(new Error('the daemon stops'));
      ready.length = 0;
      for (const entry of entries.values()) clearTimeout(entry.timer);
      if (running > 0) await new Promise<void>(resolve => waiters.push(resolve));
    },
  };
}
