import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { chmod, mkdir, readdir, readFile, readlink, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { copyTree, treeBytes } from '../../../src/drivers/volume/copy-tree.ts';
import { tempDir } from '../../support/temp.ts';

it('copies files, folders and links with their modes, and leaves out what it is told to', async () => {
  await using dir = await tempDir();
  const [from, to] = [join(dir.path, 'from'), join(dir.path, 'to')];
  await mkdir(join(from, 'a', 'empty'), { recursive: true });
  await mkdir(join(from, 'skipped'));
  await writeFile(join(from, 'skipped', 'file'), 'x');
  const long = Buffer.alloc(700_001, 'long'); // more than one read, and not a multiple of it
  await writeFile(join(from, 'a', 'long'), long);
  await chmod(join(from, 'a', 'long'), 0o640); // whatever is masked here
  await chmod(join(from, 'a', 'empty'), 0o700);
  await symlink('a/long', join(from, 'link'));

  assert.equal(await treeBytes(from), long.length + 1);
  await copyTree(from, to, { skip: path => path === 'skipped' });
  assert.deepEqual(await readFile(join(to, 'a', 'long')), long);
  assert.equal((await stat(join(to, 'a', 'long'))).mode & 0o777, 0o640);
  assert.equal((await stat(join(to, 'a', 'empty'))).mode & 0o777, 0o700);
  assert.equal(await readlink(join(to, 'link')), 'a/long');
  await assert.rejects(stat(join(to, 'skipped')), { code: 'ENOENT' });
});

it('gets by with a file that vanishes under way only if the tree is in use', async () => {
  await using dir = await tempDir();
  const from = join(dir.path, 'from');
  await mkdir(from);
  for (const inUse of [true, false]) {
    await writeFile(join(from, 'file'), 'x');
    await writeFile(join(from, 'stays'), 'x');
    // `skip` is asked between the listing of a directory and the look at its entries.
    const skip = (path: string) => {
      if (path === 'file') rmSync(join(from, path));
      return false;
    };
    const to = join(dir.path, `to-${inUse}`);
    const copying = copyTree(from, to, { inUse, skip });
    if (inUse) {
      await copying;
      assert.deepEqual(await readdir(to), ['stays']);
    } else await assert.rejects(copying, { code: 'ENOENT' });
  }
});

it('stops when it is aborted', async () => {
  await using dir = await tempDir();
  await writeFile(join(dir.path, 'file'), 'x');
  const signal = AbortSignal.abort(new Error('enough'));
  await assert.rejects(copyTree(dir.path, join(dir.path, 'to'), { signal }), /enough/);
});
