/** Waiting, always with an interval, a deadline and an abort signal. */

export class DeadlineError extends Error {
  constructor(what: string, ms: number, last?: unknown) {
    super(`${what}: not within ${ms} ms`, last === undefined ? undefined : { cause: last });
    this.name = 'DeadlineError';
  }
}

/**
 * Resolves after `ms` milliseconds, or when `early` settles; rejects with the signal's reason as soon as it aborts.
 */
export function delay(ms: number, signal?: AbortSignal, early?: Promise<unknown>): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const stop = () => {
      clearTimeout(timer);
      reject(signal!.reason);
    };
    const go = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', stop);
      resolve();
    };
    const timer = setTimeout(go, ms);
    signal?.addEventListener('abort', stop, { once: true });
    early?.then(go, go);
  });
}

export type UntilOptions = {
  /** What is waited for, in words; part of the DeadlineError. */
  readonly what: string;
  readonly deadlineMs: number;
  /** Pause between two tries, default 5 ms. */
  readonly intervalMs?: number;
  readonly signal?: AbortSignal;
  /** Something after which `probe` may find what it looks for: it is called then, without the rest of its pause. */
  readonly event?: Promise<unknown>;
};

/**
 * Calls `probe` until it returns something other than undefined.
 * @throws DeadlineError when `deadlineMs` have passed; whatever `probe` throws, at once.
 */
export async function until<T>(
  probe: () => T | undefined | Promise<T | undefined>,
  { what, deadlineMs, intervalMs = 5, signal, event }: UntilOptions,
): Promise<T> {
  const end = performance.now() + deadlineMs;
  let early = event;
  const once = () => {
    early = undefined;
  };
  event?.then(once, once);
  for (;;) {
    signal?.throwIfAborted();
    const found = await probe();
    if (found !== undefined) return found;
    if (performance.now() >= end) throw new DeadlineError(what, deadlineMs);
    await delay(intervalMs, signal, early);
  }
}

/** `work`, but no longer than until `signal` aborts, whether or not `work` listens to it. */
export function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason);
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}

/** Delay before try `attempt` (0-based): doubles from `baseMs` to at most `maxMs`, with up to 20 % jitter. */
export function backoffMs(attempt: number, baseMs: number, maxMs: number): number {
  const plain = Math.min(maxMs, baseMs * 2 ** Math.min(attempt, 30));
  return Math.round(plain * (0.8 + Math.random() * 0.2));
}
