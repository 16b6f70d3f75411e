import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { logSink } from '../../src/lib/log-sink.ts';
import { until } from '../../src/lib/wait.ts';
import { smallDisk, smallDiskMissing } from '../support/small-disk.ts';
import { tempDir } from '../support/temp.ts';

const note = (dropped: number) => `${dropped} dropped\n`;
const content = (path: string) => readFileSync(path, 'utf8');
const written = (path: string, text: string) =>
  until(() => (content(path).endsWith(text) ? true : undefined), { what: text, deadlineMs: 60_000 });

it('writes lines in order, also what was waiting when the process ends', async () => {
  await using dir = await tempDir();
  const path = join(dir.path, 'log');
  const sink = logSink(path, { maxBytes: 2 ** 20, note });
  const lines = Array.from({ length: 1000 }, (_, i) => `line ${i}\n`);
  for (const line of lines) sink.write(line);
  await written(path, 'line 999\n');
  assert.equal(content(path), lines.join(''));
  assert.equal(statSync(path).mode & 0o777, 0o600);
  sink.write('a\n');
  sink.write('b\n');
  sink.flush();
  // The first was being written when the second was flushed.
  await until(() => (content(path).length === lines.join('').length + 4 ? true : undefined), {
    what: 'both are there',
    deadlineMs: 60_000,
  });
  assert.deepEqual(content(path).split('\n').slice(1000).filter(Boolean).toSorted(), ['a', 'b']);
});

it('stays small: one older part is kept', async () => {
  await using dir = await tempDir();
  const path = join(dir.path, 'log');
  const sink = logSink(path, { maxBytes: 100, note });
  for (let i = 0; i < 20; i++) {
    sink.write(`${'x'.repeat(40)} ${i}\n`);
    await written(path, ` ${i}\n`);
  }
  assert.ok(statSync(path).size <= 150 && statSync(`${path}.1`).size <= 150);
  assert.match(content(`${path}.1`), / 1[5-8]\n$/);
});

it('drops what waits too long, and says how much', async () => {
  await using dir = await tempDir();
  const path = join(dir.path, 'log');
  const sink = logSink(path, { maxBytes: 2 ** 20, note, maxWaitingBytes: 100 });
  for (let i = 0; i < 50; i++) sink.write(`line number ${String(i).padStart(2, '0')} of 50\n`);
  await until(() => (content(path) !== '' ? true : undefined), { what: 'some', deadlineMs: 60_000 });
  sink.write('the last\n');
  await written(path, 'the last\n');
  const kept = content(path).match(/line number/g)!.length;
  assert.ok(kept < 50);
  assert.ok(content(path).includes(`${50 - kept} dropped\n`), content(path));
});

it('goes on where the disk is full, and where the file cannot be had', {
  skip: (await smallDiskMissing()) ?? false,
}, async () => {
  await using disk = await smallDisk(2 ** 20);
  const path = join(disk.path, 'logs', 'log');
  const sink = logSink(path, { maxBytes: 2 ** 20, note });
  sink.write('there is no such folder\n');
  await mkdir(join(disk.path, 'logs'));
  sink.write('now there is\n');
  await written(path, '1 dropped\nnow there is\n');
  await disk.fill();
  for (let i = 0; i < 100; i++) sink.write(`${'y'.repeat(10_000)}\n`);
  await new Promise(setImmediate);
  await disk.clear();
  await until(
    () => {
      sink.write('room again\n');
      return content(path).includes('room again') ? true : undefined;
    },
    { what: 'it writes again', deadlineMs: 60_000 },
  );
  assert.match(content(path), /\d+ dropped\n/);
});
