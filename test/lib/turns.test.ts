import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { inTurns, turn } from '../../src/lib/turns.ts';

/** Keeps the event loop busy for so many milliseconds. */
function work(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

/** How often the event loop has looked at its sockets, from now on. */
function passes(t: TestContext): { readonly count: number } {
  const seen = { count: 0 };
  const tick = () => {
    seen.count += 1;
    next = setImmediate(tick);
  };
  let next = setImmediate(tick);
  t.after(() => clearImmediate(next));
  return seen;
}

test('short work goes on at once', async t => {
  const seen = passes(t);
  // Unless this process is kept from its processor for a moment just then.
  for (let attempt = 0; attempt < 100; attempt++) {
    const before = seen.count;
    await turn();
    await turn();
    if (seen.count === before) return;
    await new Promise(setImmediate);
  }
  assert.fail('it never did');
});

test('long work lets the others have their turn between its parts, one part each, in order', async t => {
  const seen = passes(t);
  const order: string[] = [];
  const worker = async (name: string) => {
    for (let i = 0; i < 3; i++) {
      await turn();
      order.push(`${name}${i}`);
      work(6);
    }
  };
  await Promise.all([worker('a'), worker('b')]);
  // The first part of `a` makes all others wait.
  assert.ok(seen.count >= 4, `${seen.count} passes`);
  assert.deepEqual(order, ['a0', 'b0', 'a1', 'b1', 'a2', 'b2']);
});

test('of a list: the results in order, and an error as it is', async t => {
  const seen = passes(t);
  const squares = await inTurns([1, 2, 3, 4], n => {
    work(6);
    return n * n;
  });
  assert.deepEqual(squares, [1, 4, 9, 16]);
  assert.ok(seen.count >= 2, `${seen.count} passes`);
  const broken = new Error('it is broken');
  await assert.rejects(
    inTurns([1], () => {
      throw broken;
    }),
    broken,
  );
});
