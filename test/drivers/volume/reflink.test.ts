import assert from 'node:assert/strict';
import { chmod, mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { extentsOf } from '../../../src/drivers/volume/extents.ts';
import { openPool } from '../../../src/drivers/volume/pool.ts';
import { volumeDriverConformance } from '../../conformance/volume-driver.ts';
import { testBranches, testPlace, volumesMissing } from '../../support/postgres.ts';

// btrfs shares blocks of files as XFS does; a bare machine has nothing that makes an XFS.
const skip = (await volumesMissing('pool')) ?? false;

volumeDriverConformance('reflink', skip, async () => {
  const stack = new AsyncDisposableStack();
  const { outer, disk } = await btrfs(stack);
  const home = join(disk.root, 'home');
  await mkdir(home);
  await chmod(home, 0o711);
  const branches = stack.use(await testBranches('reflink', { where: { ...outer, home } }));
  return { ...branches, [Symbol.asyncDispose]: () => stack.disposeAsync() };
});

it('knows in how many pieces a file lies, which is what sharing takes its time for', { skip }, async () => {
  await using stack = new AsyncDisposableStack();
  const { disk } = await btrfs(stack);
  const path = join(disk.root, 'file');
  await using file = await open(path, 'w');
  for (let i = 0; i < 3; i++) await file.write(Buffer.alloc(4096, 1), 0, 4096, i * 1_000_000);
  await file.sync();
  assert.equal(await extentsOf(path), 3);
  await assert.rejects(extentsOf(join(disk.root, 'none')), { code: 'ENOENT' });
});

async function btrfs(stack: AsyncDisposableStack) {
  const outer = stack.use(await testPlace());
  const image = join(outer.home, 'outer.img');
  const disk = await openPool({ image, mountPoint: join(outer.runtimeDir, 'disk'), bytes: 2 ** 30 });
  stack.defer(() => disk.close());
  return { outer, disk };
}
