import assert from 'node:assert/strict';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { bindMount, isMounted, mayMount, unmount } from '../../src/lib/mounts.ts';
import { tempDir } from '../support/temp.ts';

const skip = (await mayMount()) ? false : 'this user may not mount';

it('mounts a directory a second time, once, and unmounts it', { skip }, async () => {
  await using dir = await tempDir();
  const [from, to] = [join(dir.path, 'from'), join(dir.path, 'to here')]; // the kernel's table escapes the space
  await mkdir(from);
  await mkdir(to);
  await writeFile(join(from, 'file'), '');
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(() => unmount(to, 1_000));

  for (let i = 0; i < 2; i++) await bindMount(from, to, { readOnly: true });
  assert.deepEqual(await readdir(to), ['file']);
  await assert.rejects(writeFile(join(to, 'other'), ''), { code: 'EROFS' });
  await unmount(to, 1_000);
  assert.equal(await isMounted(to), false);
  await unmount(to, 1_000);
});

it('mounts another directory over one that was mounted before', { skip }, async () => {
  await using dir = await tempDir();
  const to = join(dir.path, 'to');
  await mkdir(to);
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(() => unmount(to, 1_000));
  for (const name of ['old', 'new']) {
    await mkdir(join(dir.path, name));
    await writeFile(join(dir.path, name, name), '');
    await bindMount(join(dir.path, name), to, { readOnly: false });
  }
  assert.deepEqual(await readdir(to), ['new']);
  await unmount(to, 1_000);
  assert.deepEqual(await readdir(to), []);
});
