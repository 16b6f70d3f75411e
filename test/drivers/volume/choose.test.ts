import assert from 'node:assert/strict';
import { chmod, mkdir, statfs, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { it } from 'node:test';
import { openVolumes } from '../../../src/drivers/volume/choose.ts';
import { isMounted, mayMount, unmount } from '../../../src/lib/mounts.ts';
import { blockedAt } from '../../../src/lib/reach.ts';
import { recordOf, testCtx, testPlace, volumeOptions } from '../../support/postgres.ts';

const spec = (id: string) => ({ record: recordOf(id), prepare: async () => {} });

it('takes the first kind that works, and says why the others do not', async () => {
  await using place = await testPlace();
  await using cleanup = new AsyncDisposableStack();
  const { driver, why, capabilities } = await openVolumes(volumeOptions(place));
  cleanup.defer(() => driver.close());
  const kinds = capabilities.filter(c => c.name !== 'volume/sizes');
  const chosen = kinds.at(-1)!;
  assert.deepEqual(chosen, { name: `volume/${driver.name}`, ok: true, detail: why });
  assert.deepEqual(
    kinds.map(c => c.name),
    ['volume/btrfs', 'volume/pool', 'volume/reflink', 'volume/copy'].slice(0, kinds.length),
  );
  for (const miss of kinds.slice(0, -1)) assert.ok(!miss.ok && miss.detail !== '', miss.name);
  assert.deepEqual(await driver.capabilities(), capabilities);
  assert.equal(driver.copyOnWrite, driver.name !== 'copy');
});

it('refuses a forced kind that does not work here, with the reason', async t => {
  await using place = await testPlace();
  if ((await statfs(place.home)).type === 0x9123683e) return t.skip('the temporary directory is on btrfs');
  await assert.rejects(openVolumes(volumeOptions(place, 'btrfs')), {
    code: 'volume/driver-unusable',
    message: `volumes of kind "btrfs" do not work here: ${join(place.home, 'volumes')} is not on btrfs`,
  });
});

it('stays with the kind whose volumes are there', async () => {
  await using place = await testPlace();
  const first = await openVolumes(volumeOptions(place, 'copy'));
  const made = await first.driver.ensure('kept', spec('kept'), testCtx());
  const { driver, capabilities } = await openVolumes(volumeOptions(place));
  assert.deepEqual(await driver.observe('kept', testCtx()), made);
  assert.equal(
    capabilities.some(c => c.name === 'volume/pool'),
    false,
  );
});

it('does not fall back to copies when there is a pool that cannot be opened', async () => {
  await using place = await testPlace();
  await writeFile(join(place.home, 'pool.img'), 'this is no file system');
  const opening = openVolumes({ ...volumeOptions(place), poolBytes: 2 ** 20 });
  await assert.rejects(opening, {
    code: 'volume/driver-unusable',
    message: /^volumes of kind "pool" do not/,
  });
});

it('opens the data directory, and finds a way around closed ones above it', async () => {
  await using place = await testPlace();
  const closed = join(place.home, 'closed');
  const home = join(closed, 'home');
  await mkdir(home, { recursive: true });
  await chmod(closed, 0o711);
  await chmod(home, 0o700);
  const { uid, gid } = { uid: 12345, gid: 12345 };
  const options = { ...volumeOptions({ ...place, home }, 'copy'), owner: { uid, gid } };
  if (!(await mayMount())) {
    await chmod(closed, 0o700);
    await assert.rejects(openVolumes(options), {
      code: 'volume/driver-unusable',
      message: `volumes of kind "copy" do not work here: the user of the servers (uid 12345) may not enter ${closed}`,
    });
    return;
  }
  const direct = await openVolumes(options);
  const inHome = await direct.driver.ensure('a', spec('a'), testCtx());
  assert.equal(inHome.dataDir, join(home, 'volumes', 'a', 'pgdata'));
  assert.equal(await blockedAt(inHome.dataDir, { uid, gid }), undefined);

  await chmod(closed, 0o700);
  const around = await openVolumes(options);
  const root = join(place.runtimeDir, 'volumes');
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(() => unmount(root, 5_000));
  const seen = await around.driver.observe('a', testCtx());
  assert.equal(dirname(dirname(seen!.dataDir)), root);
  assert.equal(await blockedAt(seen!.dataDir, { uid, gid }), undefined);
  await around.driver.close();
  assert.equal(await isMounted(root), false);
});
