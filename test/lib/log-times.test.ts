import assert from 'node:assert/strict';
import { appendFile, stat, truncate, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { rotate, timedTail } from '../../src/lib/log-file.ts';
import { logRotation } from '../../src/lib/log-rotation.ts';
import { keepTimes, readTimes } from '../../src/lib/log-times.ts';
import { until } from '../../src/lib/wait.ts';
import { tempDir } from '../support/temp.ts';

/** A log of which each part is written at a time of its own, and looked at then. */
async function timedLog(dir: string) {
  const path = join(dir, 'log');
  const times = keepTimes(path);
  const say = async (text: string, ms: number) => {
    await appendFile(path, text);
    await utimes(path, ms / 1000, ms / 1000);
    const { size, mtimeMs } = await stat(path);
    await times.seen(size, mtimeMs);
  };
  const told = async (...args: Parameters<typeof timedTail> extends [string, ...infer R] ? R : never) =>
    (await timedTail(path, ...args)).map(({ text, at }) => `${at} ${text}`);
  return { path, times, say, told };
}

it('tells when lines were written, and those since a time', async () => {
  await using dir = await tempDir();
  const { path, say, told } = await timedLog(dir.path);
  assert.deepEqual(await told(9), []);
  await say('a\nb\n', 1_000);
  await say('c\nhal', 2_000);
  await say('f\n', 3_000);
  assert.deepEqual(await told(9), ['1000 a', '1000 b', '2000 c', '3000 half']);
  assert.deepEqual(await told(9, { since: 1_001 }), ['2000 c', '3000 half']);
  assert.deepEqual(await told(9, { since: 3_000 }), ['3000 half'], 'a line counts by its end');
  assert.deepEqual(await told(9, { since: 3_001 }), []);
  assert.deepEqual(await told(1, { since: 1_000 }), ['3000 half']);
  // Nobody has looked yet: not later than the last write.
  await appendFile(path, 'new\n');
  await utimes(path, 4, 4);
  assert.deepEqual(await told(9, { since: 3_500 }), ['4000 new']);
});

it('goes on when the log is cut, and in its older part', async () => {
  await using dir = await tempDir();
  const { path, times, say, told } = await timedLog(dir.path);
  await say('one\n', 1_000);
  await say('two\n', 2_000);
  await say('three\n', 3_000);
  await times.rotated((await rotate(path, 10))!);
  await say('four\n', 4_000);
  assert.deepEqual(await told(9), ['2000 two', '3000 three', '4000 four']);
  assert.deepEqual(await told(9, { since: 2_500 }), ['3000 three', '4000 four']);
  // Somebody else cuts it.
  await truncate(path);
  await say('5\n', 5_000);
  assert.deepEqual(await told(9, { since: 3_500 }), ['5000 5']);
  await times.gone('all');
  assert.equal((await readTimes(path)).at(1), undefined);
});

it('stays small: what is old is told less exactly', async () => {
  await using dir = await tempDir();
  const path = join(dir.path, 'log');
  const times = keepTimes(path);
  for (let i = 1; i <= 10_000; i++) await times.seen(i * 10, i * 1_000);
  assert.ok((await stat(`${path}.times`)).size < 100_000);
  const index = await readTimes(path);
  assert.equal(index.at(100_000), 10_000_000);
  const off = index.at(10)! - 1_000;
  assert.ok(off > 0 && off < 10_000_000, `${off} ms`);
  for (let i = 1; i <= 10_000; i += 7) assert.ok(index.at(i * 10)! >= i * 1_000, 'never earlier');
});

it('is kept by who keeps logs small, and by the next one', async () => {
  await using dir = await tempDir();
  await using stack = new AsyncDisposableStack();
  const path = join(dir.path, 'log');
  for (const text of ['one\n', 'two\n']) {
    const rotation = logRotation(2 ** 20, assert.ifError, 5);
    stack.defer(() => rotation.stop());
    rotation.add(path, 1_000);
    await writeFile(path, text, { flag: 'a' });
    const { size, mtimeMs } = await stat(path);
    const seen = async () => ((await readTimes(path)).at(size) === Math.round(mtimeMs) ? true : undefined);
    await until(seen, { what: 'it is noted', deadlineMs: 60_000 });
    await rotation.stop();
  }
  assert.deepEqual(
    (await timedTail(path, 9)).map(({ text }) => text),
    ['one', 'two'],
  );
});
