import assert from 'node:assert/strict';
import { appendFile, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { rotate, tail } from '../../src/lib/log-file.ts';
import { tempDir } from '../support/temp.ts';

it('reads the last lines, whatever the file ends with', async () => {
  await using dir = await tempDir();
  const log = join(dir.path, 'log');
  assert.deepEqual(await tail(log, 3), []);
  await writeFile(log, 'a\nb\n\nc\n');
  assert.deepEqual(await tail(log, 3), ['b', '', 'c']);
  assert.deepEqual(await tail(log, 9), ['a', 'b', '', 'c']);
  assert.deepEqual(await tail(log, 0), []);
  await appendFile(log, 'd');
  assert.deepEqual(await tail(log, 2), ['c', 'd']);
});

it('reads lines that lie across the pieces it reads', async () => {
  await using dir = await tempDir();
  const log = join(dir.path, 'log');
  const lines = Array.from({ length: 40 }, (_, i) => `${i} ${'ä'.repeat(2000)}`);
  await writeFile(log, `${lines.join('\n')}\n`);
  assert.deepEqual(await tail(log, 35), lines.slice(-35));
  await writeFile(log, 'x'.repeat(200_000));
  assert.deepEqual(await tail(log, 1), ['x'.repeat(4096)]);
});

it('reads only the end of a line that is larger than the memory', async () => {
  await using dir = await tempDir();
  const log = join(dir.path, 'log');
  await writeFile(log, '');
  await truncate(log, 64 * 2 ** 30); // no block of it is there
  await appendFile(log, '\nlast\n');
  assert.deepEqual(await tail(log, 10), ['\0'.repeat(4096), 'last']);
});

it('keeps one older part, and goes on reading there', async () => {
  await using dir = await tempDir();
  const log = join(dir.path, 'log');
  await rotate(log, 4);
  await writeFile(log, 'one\ntwo\n');
  await rotate(log, 8);
  assert.equal(await readFile(log, 'utf8'), 'one\ntwo\n');
  await rotate(log, 7);
  assert.equal(await readFile(log, 'utf8'), '');
  await appendFile(log, 'three\n');
  assert.deepEqual(await tail(log, 2), ['two', 'three']);
  await rotate(log, 5);
  assert.deepEqual(await tail(log, 2), ['hree'], 'no more than it may have itself');
});
