import assert from 'node:assert/strict';
import { it } from 'node:test';
import { channel, inLists, merge } from '../../src/lib/channel.ts';

async function* counting(to: number, given: number[] = []): AsyncGenerator<number, void> {
  for (let n = 0; n < to; n++) {
    given.push(n);
    yield n;
  }
}

it('keeps the order, and lets who gives much wait for who takes', async () => {
  const values = channel<number>(3);
  const given: number[] = [];
  const giving = (async () => {
    for (let n = 0; n < 10; n++) {
      await values.give(n);
      given.push(n);
    }
    values.end();
  })();
  await new Promise(setImmediate);
  assert.deepEqual(given, [0, 1]);
  assert.deepEqual(await Array.fromAsync(values), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  await giving;
});

it('merges one after the other, or side by side', async () => {
  const sources = () => [counting(2), counting(3)];
  assert.deepEqual(await Array.fromAsync(merge(sources(), { sideBySide: false })), [0, 1, 0, 1, 2]);
  assert.deepEqual((await Array.fromAsync(merge(sources(), { sideBySide: true }))).sort(), [0, 0, 1, 1, 2]);
});

it('stops those who give when nobody takes any more, and throws what one of them throws', async () => {
  const given: number[] = [];
  for await (const n of merge([counting(1e6, given)], { sideBySide: true })) if (n === 5) break;
  await new Promise(setImmediate);
  assert.ok(given.length < 1_000, `${given.length} were given`);
  const broken = (async function* () {
    yield 1;
    throw new Error('broken');
  })();
  await assert.rejects(Array.fromAsync(merge([broken], { sideBySide: true })), /broken/);
});

it('gives in one list what comes without waiting, and loses nothing', async () => {
  const go = Promise.withResolvers<void>();
  const source = (async function* () {
    yield* [1, 2, 3, 4, 5];
    await go.promise;
    yield 6;
  })();
  const lists: (readonly number[])[] = [];
  for await (const list of inLists(source, 2)) {
    lists.push(list);
    if (list.includes(5)) go.resolve();
  }
  assert.deepEqual(lists, [[1, 2], [3, 4], [5], [6]]);
});

it('gives what came before a failure, in lists too', async () => {
  const broken = (async function* () {
    yield 1;
    throw new Error('broken');
  })();
  const given: number[] = [];
  const taking = async () => {
    for await (const list of inLists(broken)) given.push(...list);
  };
  await assert.rejects(taking(), /broken/);
  assert.deepEqual(given, [1]);
});

it('does not wait for a source that gives nothing when nobody takes any more', async () => {
  const source = (async function* () {
    yield 1;
    await new Promise(() => {});
  })();
  for await (const list of inLists(source)) {
    assert.deepEqual(list, [1]);
    break;
  }
});
