import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { makeHome } from '../src/home.ts';

async function tempDir(t: TestContext): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'offshoot-test-'));
  t.after(() => rm(dir, { recursive: true }));
  return dir;
}

test('a data directory that cannot be made', async t => {
  const dir = await tempDir(t);
  makeHome(join(dir, 'deep', 'home'));
  makeHome(join(dir, 'deep', 'home'));
  await writeFile(join(dir, 'file'), '');
  assert.throws(
    () => makeHome(join(dir, 'file')),
    /^OffshootError: OFFSHOOT_HOME=.*file is not valid: the folder cannot be made \(ENOTDIR\)/,
  );
});

test('taken back: a new one with the folders above it, an empty one to its emptiness, one with data not at all', async t => {
  const dir = await tempDir(t);
  const made = makeHome(join(dir, 'a', 'deep', 'home'));
  await mkdir(join(dir, 'a', 'deep', 'home', 'volumes', 'x'), { recursive: true });
  await writeFile(made.outFile, '');
  await made.takeBack();
  await made.takeBack();
  assert.deepEqual(await readdir(dir), []);

  const empty = join(dir, 'empty');
  await mkdir(empty);
  const opened = makeHome(empty);
  await writeFile(join(empty, 'state.db'), '');
  await opened.takeBack();
  assert.deepEqual(await readdir(empty), []);

  const used = join(dir, 'used');
  await mkdir(used);
  await writeFile(join(used, 'state.db'), 'precious');
  await makeHome(used).takeBack();
  assert.deepEqual(await readdir(used), ['state.db'], 'but for the empty folder that it made');
});

test('what the one who started us made for our words is no data; a log is', async t => {
  const dir = await tempDir(t);
  const above = makeHome(join(dir, 'home'));
  await writeFile(above.outFile, 'words');
  await makeHome(join(dir, 'home')).takeBack();
  assert.ok(existsSync(join(dir, 'home')), 'which is for him to remove');
  await above.takeBack();
  assert.deepEqual(await readdir(dir), []);

  const { outFile } = makeHome(join(dir, 'home'));
  await writeFile(join(dir, 'home', 'logs', 'daemon.log'), 'words');
  await makeHome(join(dir, 'home')).takeBack();
  assert.ok(existsSync(join(dir, 'home', 'logs', 'daemon.log')));
  assert.equal(existsSync(outFile), false);
});
