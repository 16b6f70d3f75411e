import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { appendFile, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { logRotation } from '../../src/lib/log-rotation.ts';
import { until } from '../../src/lib/wait.ts';
import { tempDir } from '../support/temp.ts';

const size = (path: string) => statSync(path, { throwIfNoEntry: false })?.size ?? 0;
const comes = (what: string, probe: () => boolean) =>
  until(() => (probe() ? true : undefined), { what, deadlineMs: 60_000 });

it('keeps each file small while it is written to, and what was removed alone', async () => {
  await using dir = await tempDir();
  await using stack = new AsyncDisposableStack();
  const rotation = logRotation(2 ** 20, assert.ifError, 5);
  stack.defer(() => rotation.stop());
  const [log, other] = [join(dir.path, 'log'), join(dir.path, 'other')];
  rotation.add(log, 1000);
  rotation.add(other, 1000);
  rotation.remove(other);
  await writeFile(other, 'x'.repeat(5000));
  for (let i = 0; i < 5; i++) {
    await appendFile(log, `${i}`.repeat(5000));
    await comes('it is moved aside', () => size(log) === 0);
    assert.equal(size(`${log}.1`), 1000, 'the end of it');
  }
  assert.equal(size(other), 5000);
});

it('keeps all together small: first without the older parts, then without what is in the largest', async () => {
  await using dir = await tempDir();
  await using stack = new AsyncDisposableStack();
  const paths = ['a', 'b', 'c'].map(name => join(dir.path, name));
  const [a, b, c] = paths as [string, string, string];
  await writeFile(`${a}.1`, 'x'.repeat(900));
  await writeFile(`${b}.1`, 'x'.repeat(100));
  const rotation = logRotation(2000, assert.ifError, 5);
  stack.defer(() => rotation.stop());
  for (const path of paths) rotation.add(path, 1000);
  await writeFile(a, 'x'.repeat(900));
  await comes('nothing is too much', () => size(`${a}.1`) === 900);
  await writeFile(b, 'x'.repeat(800));
  await comes('the largest older part is gone', () => size(`${a}.1`) === 0);
  assert.deepEqual([a, b, `${b}.1`].map(size), [900, 800, 100]);
  await writeFile(c, 'x'.repeat(950));
  await comes('the largest is empty', () => size(c) === 0);
  assert.deepEqual([a, b, `${b}.1`].map(size), [900, 800, 0]);
  await rm(a);
  await comes('one that is gone is no trouble', () => size(a) === 0);
});

it('keeps a file small also when it cannot be noted when it was written', async () => {
  await using dir = await tempDir();
  await using stack = new AsyncDisposableStack();
  const [log, other] = [join(dir.path, 'log'), join(dir.path, 'other')];
  await mkdir(`${log}.times`); // nothing can be written there
  const failures: unknown[] = [];
  const rotation = logRotation(2 ** 20, error => failures.push(error), 5);
  stack.defer(() => rotation.stop());
  for (const path of [log, other]) {
    rotation.add(path, 1000);
    await writeFile(path, 'x'.repeat(5000));
  }
  await comes('both are moved aside', () => size(log) + size(other) === 0);
  await comes('it is told', () => failures.length > 0);
  assert.equal((failures[0] as NodeJS.ErrnoException).code, 'EISDIR');
});
