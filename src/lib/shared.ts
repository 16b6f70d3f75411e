/**
 * One run of `work` for all who have asked for it before it began: nobody is told of how things were before he asked,
 * and a crowd costs hardly more than one.
 */
export function shared<T>(work: () => Promise<T>): () => Promise<T> {
  let running: Promise<unknown> = Promise.resolve();
  let next: Promise<T> | undefined;
  const begin = (): Promise<T> => {
    next = undefined;
    const run = work();
    running = run.catch(() => {}); // told to who asked for it
    return run;
  };
  return () => {
    next ??= running.then(begin);
    return next;
  };
}
