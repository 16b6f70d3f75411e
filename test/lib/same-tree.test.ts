import assert from 'node:assert/strict';
import { mkdirSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { copyTree } from '../../src/lib/copy-tree.ts';
import { isCopy, writtenSince } from '../../src/lib/same-tree.ts';
import { tempDir } from '../support/temp.ts';

it('knows a copy by names, kinds, sizes, times and links, whatever caches hold', async () => {
  await using dir = await tempDir();
  const tree = join(dir.path, 'home', 'deps');
  mkdirSync(join(tree, 'a', 'b'), { recursive: true });
  writeFileSync(join(tree, 'a', 'b', 'c.js'), 'text');
  symlinkSync('b', join(tree, 'a', 'link'));
  symlinkSync('/usr/bin/env', join(tree, 'outside'));
  let count = 0;
  const copyThat = async (change: (copy: string) => void) => {
    const copy = join(dir.path, `copy-${count++}`);
    assert.ok(await copyTree(tree, copy));
    change(copy);
    return await isCopy(tree, copy, join(dir.path, 'home'));
  };
  assert.equal(await copyThat(() => {}), true);
  assert.equal(await copyThat(copy => mkdirSync(join(copy, '.cache'))), true);
  assert.equal(await copyThat(copy => writeFileSync(join(copy, 'more'), '')), false);
  assert.equal(await copyThat(copy => rmSync(join(copy, 'a/b/c.js'))), false);
  assert.equal(await copyThat(copy => utimesSync(join(copy, 'a/b/c.js'), 1, 1)), false);
  assert.equal(
    await copyThat(copy => {
      rmSync(join(copy, 'a/link'));
      symlinkSync('c', join(copy, 'a/link'));
    }),
    false,
  );
  assert.equal(await isCopy(tree, join(dir.path, 'nothing'), dir.path), false);
  // What says where it stands is bound to that place.
  symlinkSync(tree, join(tree, 'itself'));
  assert.equal(await copyThat(() => {}), false);
  rmSync(join(tree, 'itself'));
  writeFileSync(join(tree, 'pyvenv.cfg'), `command = python3 -m venv ${tree}`);
  assert.equal(await copyThat(() => {}), false);
});

it('finds what was written since, but not in folders that are left out, git’s own, and those of others', async () => {
  await using dir = await tempDir();
  for (const name of ['deps', 'src', '.git', 'other/.git', 'other/src'])
    mkdirSync(join(dir.path, name), { recursive: true });
  for (const name of ['old', 'deps/x', '.git/x', 'other/src/x']) writeFileSync(join(dir.path, name), '');
  await new Promise(resolve => setTimeout(resolve, 30));
  const since = Date.now() - 10;
  writeFileSync(join(dir.path, 'src', 'new'), '');
  assert.deepEqual(await writtenSince(dir.path, since, ['deps']), ['src/new']);
  for (let i = 0; i < 201; i++) writeFileSync(join(dir.path, `new-${i}`), '');
  assert.equal(await writtenSince(dir.path, since, ['deps']), undefined);
});
