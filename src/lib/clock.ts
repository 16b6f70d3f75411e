/** Time as a value, so that tests can turn it on. */
export type Clock = {
  /** Milliseconds; never goes back. */
  now(): number;
  /** @returns the way to stop that */
  after(ms: number, run: () => void): () => void;
  /** As soon as sockets and timers have had their turn. */
  soon(run: () => void): void;
};

export const realClock: Clock = {
  now: () => performance.now(),
  after(ms, run) {
    // The longest that a timer can do, 24 days: who is woken too early must look at the clock.
    const timer = setTimeout(run, Math.min(ms, 2 ** 31 - 1));
    return () => clearTimeout(timer);
  },
  soon: run => void setImmediate(run),
};
