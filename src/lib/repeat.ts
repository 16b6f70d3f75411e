/** Something that is looked at again and again. */

export type Repeated = {
  /** Looks at once instead of later. */
  now(): void;
  /** Ends it; resolves when a look that is going on has ended. */
  stop(): Promise<void>;
};

/**
 * Calls `look`, then again after as many milliseconds as it returned, until stopped. Never twice at once, and the
 * process may end meanwhile.
 * @param failed told of errors; the next look follows after `retryMs`, default 1000
 */
export function repeat(
  look: () => Promise<number>,
  failed: (error: unknown) => void,
  retryMs = 1_000,
): Repeated {
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> | undefined;
  let [again, stopped] = [false, false];

  async function run(): Promise<void> {
    let pauseMs = retryMs;
    do {
      again = false;
      try {
        pauseMs = await look();
      } catch (error) {
        failed(error);
      }
    } while (again && !stopped);
    running = undefined;
    if (!stopped) timer = setTimeout(start, pauseMs).unref();
  }

  function start(): void {
    clearTimeout(timer);
    running = run();
  }

  start();
  return {
    now() {
      if (running === undefined && !stopped) start();
      else again = true;
    },
    async stop() {
      stopped = true;
      clearTimeout(timer);
      await running;
    },
  };
}
