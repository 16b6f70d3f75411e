import assert from 'node:assert/strict';
import { appendFile, rename, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { follow, tailAndFollow } from '../../src/lib/log-follow.ts';
import { tempDir } from '../support/temp.ts';

/** What `lines` gives, one by one. */
function reading(lines: AsyncGenerator<string, void>) {
  const next = async () => (await lines.next()).value;
  return async (...expected: readonly (string | undefined)[]) => {
    for (const line of expected) assert.equal(await next(), line);
  };
}

it('tells what is written to a file that comes later, whole lines only, until the signal', async () => {
  await using dir = await tempDir();
  const log = join(dir.path, 'log');
  const over = new AbortController();
  const reads = reading(follow(log, 0, AbortSignal.any([over.signal, AbortSignal.timeout(60_000)])));
  const first = reads('one', 'two');
  await appendFile(log, 'one\ntw');
  await appendFile(log, 'o\nth');
  await first;
  await appendFile(join(dir.path, 'other'), 'nothing of ours\n');
  await appendFile(log, 'ree ä\n');
  await reads('three ä');
  over.abort();
  await reads(undefined);
});

it('goes on after the file was cut while it is written to', async () => {
  await using dir = await tempDir();
  const log = join(dir.path, 'log');
  await appendFile(log, 'a\nb\nc\n');
  const reads = reading(tailAndFollow(log, 2, AbortSignal.timeout(60_000)));
  await reads('b', 'c');
  await appendFile(log, 'd\n');
  await reads('d');
  await truncate(log);
  await appendFile(log, 'e\n');
  await reads('e');
});

it('goes on with another file that has taken the name', async () => {
  await using dir = await tempDir();
  const [log, next] = [join(dir.path, 'log'), join(dir.path, 'next')];
  await appendFile(log, 'long line of the first file\n');
  const reads = reading(follow(log, 0, AbortSignal.timeout(60_000)));
  await reads('long line of the first file');
  const another = reads('of another, which is longer than the first one was');
  await appendFile(next, 'of another, which is longer than the first one was\n');
  await rename(next, log);
  await another;
  await appendFile(log, 'and on\n');
  await reads('and on');
});

it('cuts a line that does not end', async () => {
  await using dir = await tempDir();
  const log = join(dir.path, 'log');
  await appendFile(log, 'x'.repeat(200_000));
  const reads = reading(follow(log, 0, AbortSignal.timeout(60_000)));
  await appendFile(log, '\nnext\n');
  await reads('x'.repeat(4096), 'next');
});
