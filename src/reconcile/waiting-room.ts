/** Where callers wait for what one event brings to all of them: one entry for each thing that is waited for, no polling. */
export type WaitingRoom<T> = {
  /** @throws the signal's reason once it aborts */
  wait(key: string, signal: AbortSignal): Promise<T>;
  /** All who wait for `key` get `value`. */
  admit(key: string, value: T): void;
  refuse(key: string, error: Error): void;
  /** How many wait. */
  size(key: string): number;
};

export function createWaitingRoom<T>(): WaitingRoom<T> {
  const waiting = new Map<string, Set<PromiseWithResolvers<T>>>();

  const leave = (key: string, waiter: PromiseWithResolvers<T>): void => {
    const others = waiting.get(key);
    others?.delete(waiter);
    if (others?.size === 0) waiting.delete(key);
  };

  const end = (key: string, act: (waiter: PromiseWithResolvers<T>) => void): void => {
    const all = waiting.get(key);
    waiting.delete(key);
    for (const waiter of all ?? []) act(waiter);
  };

  return {
    async wait(key, signal) {
      signal.throwIfAborted();
      const waiter = Promise.withResolvers<T>();
      waiting.set(key, (waiting.get(key) ?? new Set()).add(waiter));
      const onAbort = () => {
        leave(key, waiter);
        waiter.reject(signal.reason);
      };
      signal.addEventListener('abort', onAbort, { once: true });
      try {
        return await waiter.promise;
      } finally {
        signal.removeEventListener('abort', onAbort);
      }
    },
    admit: (key, value) => end(key, waiter => waiter.resolve(value)),
    refuse: (key, error) => end(key, waiter => waiter.reject(error)),
    size: key => waiting.get(key)?.size ?? 0,
  };
}
