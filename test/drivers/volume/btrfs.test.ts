import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { openPool } from '../../../src/drivers/volume/pool.ts';
import { volumeDriverConformance } from '../../conformance/volume-driver.ts';
import { testBranches, testPlace, volumesMissing } from '../../support/postgres.ts';

// A data directory on btrfs: this machine may have none, so it is put on a pool.
volumeDriverConformance('btrfs', (await volumesMissing('pool')) ?? false, async () => {
  const stack = new AsyncDisposableStack();
  const outer = stack.use(await testPlace());
  const image = join(outer.home, 'outer.img');
  const disk = await openPool({ image, mountPoint: join(outer.runtimeDir, 'disk'), bytes: 2 ** 30 });
  stack.defer(() => disk.close());
  const home = join(disk.root, 'home');
  await mkdir(home);
  await chmod(home, 0o711);
  const branches = stack.use(await testBranches('btrfs', { where: { ...outer, home } }));
  return { ...branches, [Symbol.asyncDispose]: () => stack.disposeAsync() };
});
