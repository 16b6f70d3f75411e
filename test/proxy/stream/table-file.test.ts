import assert from 'node:assert/strict';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { silentLog } from '../../../src/lib/log.ts';
import { until } from '../../../src/lib/wait.ts';
import type { RouteChange } from '../../../src/model/route.ts';
import { createBook } from '../../../src/proxy/book.ts';
import { keepTable, readTable } from '../../../src/proxy/stream/table-file.ts';
import { gone, key } from '../../support/stream.ts';
import { tempDir } from '../../support/temp.ts';

async function setup(t: TestContext) {
  const dir = await tempDir();
  t.after(() => dir[Symbol.asyncDispose]());
  const file = join(dir.path, 'proxy', 'table.jsonl');
  const book = createBook([key('a')]);
  const table = keepTable(file, 'boot 1', book, silentLog);
  t.after(() => table.close());
  await table.written();
  return { file, book, table, names: () => namesIn(readTable(file, 'boot 1')) };
}

const namesIn = (changes: readonly RouteChange[] | undefined) =>
  changes && [...createBook(changes).names('key')].toSorted();

test('what was written is read again, for the owner only', async t => {
  const { file, book, table, names } = await setup(t);
  assert.deepEqual(names(), ['a']);
  book.apply([key('b'), gone('a')]);
  book.apply([key('c')]);
  await table.written();
  assert.deepEqual(names(), ['b', 'c']);
  assert.equal(statSync(file).mode & 0o777, 0o600);
});

test('a line that was not finished, another start of the machine, another format, no file', async t => {
  const { file, names } = await setup(t);
  appendFileSync(file, '[["key","half');
  assert.deepEqual(names(), ['a']);
  assert.equal(readTable(file, 'boot 2'), undefined);
  writeFileSync(file, readFileSync(file, 'utf8').replace('"format":1', '"format":99'));
  assert.equal(names(), undefined);
  writeFileSync(file, 'x');
  assert.equal(names(), undefined);
  rmSync(file);
  assert.equal(names(), undefined);
});

test('it does not grow without end', async t => {
  const { file, book, table, names } = await setup(t);
  const value = { sandbox: 'x'.repeat(20_000) };
  for (let i = 0; i < 60; i++) {
    book.apply([{ kind: 'tombstone', name: 'k', value: { sandbox: `${value.sandbox}${i}` } }]);
    await table.written();
  }
  assert.ok(statSync(file).size < 600_000, `${statSync(file).size} bytes`);
  assert.deepEqual(names(), ['a']);
  assert.equal(createBook(readTable(file, 'boot 1')).tombstone('k'), `${value.sandbox}59`);
});

test('who only appends puts no file of its own in the place of a new one', async t => {
  const { file, book, table } = await setup(t);
  table.onlyAppend(true);
  const next = keepTable(file, 'boot 1', createBook([key('next')]), silentLog);
  await next.written();
  for (let i = 0; i < 60; i++)
    book.apply([{ kind: 'tombstone', name: 'k', value: { sandbox: `${'x'.repeat(20_000)}${i}` } }]);
  await table.written();
  await next.close();
  assert.deepEqual(namesIn(readTable(file, 'boot 1')), ['next']);
});

test('one that cannot be written is taken away rather than left out of date', async t => {
  const { file, book, table, names } = await setup(t);
  // The next file of its kind cannot be made: a folder has its name.
  mkdirSync(`${file}.${process.pid}`);
  let n = 0;
  const change = async () => {
    book.apply([{ kind: 'tombstone', name: 'k', value: { sandbox: `${'x'.repeat(50_000)}${n++}` } }]);
    await table.written();
  };
  for (let i = 0; i < 20; i++) await change();
  assert.equal(existsSync(file), false);
  rmSync(`${file}.${process.pid}`, { recursive: true });
  await until(
    async () => {
      await change();
      return existsSync(file) || undefined;
    },
    { what: 'another try', deadlineMs: 60_000 },
  );
  assert.deepEqual(names(), ['a']);
});
