import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'node:test';
import { keptFile } from '../../src/lib/kept-file.ts';
import { tempDir } from '../support/temp.ts';

test('a kept file says what was true when it was saved, or something newer', async t => {
  await using folder = await tempDir();
  const file = join(folder.path, 'state');
  let now = 0;
  let asked = 0;
  const save = keptFile(file, () => {
    asked++;
    return String(now);
  });

  await t.test('also when saves overtake each other', async () => {
    const saves = Array.from({ length: 50 }, async () => {
      const mine = ++now;
      await save();
      assert.ok(Number(readFileSync(file, 'utf8')) >= mine);
    });
    await Promise.all(saves);
    assert.equal(readFileSync(file, 'utf8'), '50');
    assert.equal(asked, 1, 'those who ask before it is written share one write');
  });

  await t.test('while one is under way, those who come share the next', async () => {
    now++;
    const first = save();
    await Promise.resolve().then(() => {}); // it has been asked for its content
    now++;
    await Promise.all([first, save(), save()]);
    assert.equal(readFileSync(file, 'utf8'), '52');
    assert.ok(asked <= 3);
  });

  await t.test('only its owner reads it', () => {
    assert.equal(statSync(file).mode & 0o777, 0o600);
  });

  await t.test('what says the same is not written again', async () => {
    const before = statSync(file).ino;
    await save();
    assert.equal(statSync(file).ino, before);
  });
});

test('a kept file that cannot be written rejects, and is written when it can be', async () => {
  await using folder = await tempDir();
  const file = join(folder.path, 'there', 'state');
  const save = keptFile(file, () => 'content');
  const [one, two] = [save(), save()];
  await assert.rejects(one, { code: 'ENOENT' });
  await assert.rejects(two, { code: 'ENOENT' });
  await mkdir(join(folder.path, 'there'));
  await save();
  assert.equal(readFileSync(file, 'utf8'), 'content');
  await rm(file);
});
