/** Values that many give and one takes, in the order in which they were given. */

export type Channel<T> = AsyncIterable<T> & {
  /** Resolves when there is room for the next value, so that whoever gives much waits for whoever takes. */
  give(value: T): Promise<void>;
  /** Nothing more will be given: the iteration ends after what was. */
  end(): void;
};

/**
 * All that `sources` give: one after the other, or with `sideBySide` in the order in which it comes; then one that gives
 * more than is taken waits. @throws what the first of them throws that fails
 */
export async function* merge<T>(
  sources: readonly AsyncIterable<T>[],
  { sideBySide }: { readonly sideBySide: boolean },
): AsyncGenerator<T, void> {
  if (!sideBySide) {
    for (const source of sources) yield* source;
    return;
  }
  const all = channel<T>();
  let over = false;
  const pump = async (source: AsyncIterable<T>): Promise<void> => {
    for await (const value of source) {
      if (over) return;
      await all.give(value);
    }
  };
  const done = Promise.all(sources.map(pump)).finally(all.end);
  done.catch(() => {}); // it is thrown below
  try {
    yield* all;
  } finally {
    over = true;
    all.end();
  }
  await done;
}

/**
 * What `source` gives, in lists of at most `most`: what it gives without waiting for anything is one list. For those to whom each
 * piece of work costs something of its own, such as writing to a socket.
 */
export async function* inLists<T>(source: AsyncIterable<T>, most = 500): AsyncGenerator<readonly T[], void> {
  const iterator = source[Symbol.asyncIterator]();
  let next = iterator.next();
  try {
    for (;;) {
      let got: IteratorResult<T> | undefined = await next;
      const list: T[] = [];
      const pause = new Promise<undefined>(resolve => setImmediate(resolve, undefined));
      while (got !== undefined && !got.done && list.length < most) {
        list.push(got.value);
        next = iterator.next();
        // One that fails is met again above, when what came before it has been given.
        got = await Promise.race([next, pause]).catch(() => undefined);
      }
      if (list.length > 0) yield list;
      if (got?.done) return;
    }
  } finally {
    next.catch(() => {});
    // Not awaited: a source that waits for something ends when that comes, or by its own signal.
    iterator.return?.().catch(() => {});
  }
}

/** @param most values that wait to be taken before a giver has to wait */
export function channel<T>(most = 100): Channel<T> {
  let values: T[] = [];
  let ended = false;
  let some = Promise.withResolvers<void>();
  let room = Promise.withResolvers<void>();
  return {
    async give(value) {
      values.push(value);
      some.resolve();
      while (values.length >= most && !ended) await room.promise;
    },
    end() {
      ended = true;
      some.resolve();
      room.resolve();
    },
    async *[Symbol.asyncIterator]() {
      for (;;) {
        const taken = values;
        values = [];
        room.resolve();
        room = Promise.withResolvers();
        yield* taken;
        if (values.length > 0) continue;
        if (ended) return;
        some = Promise.withResolvers();
        await some.promise;
      }
    },
  };
}
