import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { open, readFile, realpath, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { openVolumes } from '../../../src/drivers/volume/choose.ts';
import { openPool, type PoolOptions } from '../../../src/drivers/volume/pool.ts';
import { isMounted, loopDevicesOf, mounts, system } from '../../../src/lib/mounts.ts';
import { volumeDriverConformance } from '../../conformance/volume-driver.ts';
import { namespaceHolder } from '../../support/namespace-holder.ts';
import {
  recordOf,
  type TestPlace,
  testBranches,
  testCtx,
  testPlace,
  volumeOptions,
  volumesMissing,
} from '../../support/postgres.ts';

const MIB = 2 ** 20;
const skip = (await volumesMissing('pool')) ?? false;

volumeDriverConformance('pool', skip, () => testBranches('pool'));

describe('pool', { skip }, () => {
  const optionsIn = (place: TestPlace, mib = 256): PoolOptions & { readonly bytes: number } => ({
    image: join(place.home, 'pool.img'),
    mountPoint: join(place.runtimeDir, 'pool'),
    bytes: mib * MIB,
  });

  it('is mounted once, also when it is opened again without having been closed', async () => {
    await using place = await testPlace();
    const options = optionsIn(place);
    const first = await openPool(options);
    const again = await openPool({ ...options, mountPoint: join(place.runtimeDir, 'elsewhere') });
    assert.equal(again.root, first.root);
    const image = await realpath(options.image);
    const devices = await loopDevicesOf(image);
    assert.equal(devices.length, 1);
    assert.equal((await mounts()).filter(m => m.source === devices[0]).length, 1);

    await again.close();
    assert.equal(await isMounted(options.mountPoint), false);
    assert.deepEqual(await loopDevicesOf(image), []);
    assert.equal(existsSync(options.mountPoint), false);
  });

  it('is opened and closed when it was left read-only, as the kernel makes it when the host is full', async () => {
    await using place = await testPlace();
    const pool = await openPool(optionsIn(place));
    await system('mount', ['-o', 'remount,ro', pool.root]);
    await (await openPool(optionsIn(place))).close();
    assert.equal(await isMounted(pool.root), false);
  });

  it('grows when more is asked for, mounted or not, and never shrinks', async () => {
    await using place = await testPlace();
    const sizes: number[] = [];
    await using cleanup = new AsyncDisposableStack();
    for (const mib of [256, 384, 128]) {
      const pool = await openPool(optionsIn(place, mib));
      if (mib === 256) await pool.close();
      if (mib === 384) cleanup.defer(() => pool.close());
      sizes.push(pool.bytes / MIB);
    }
    const held = await openPool(optionsIn(place, 512));
    sizes.push(held.bytes / MIB);
    assert.deepEqual(sizes, [256, 384, 384, 512]);
    const volumes = await openVolumes({ ...volumeOptions(place, 'pool'), poolBytes: 512 * MIB });
    const free = await volumes.driver.freeBytes();
    assert.ok(free > 440 * MIB && free <= 512 * MIB, `${free / MIB} MiB free`);
  });

  it('takes room on the host only for what is in it', async () => {
    await using place = await testPlace();
    const options = optionsIn(place, 1024);
    const pool = await openPool(options);
    await pool.close();
    const { size, blocks } = await stat(options.image);
    assert.equal(size, 1024 * MIB);
    assert.ok(blocks * 512 < 32 * MIB, `${(blocks * 512) / MIB} MiB taken`);
  });

  it('says so when it is full, and removes what did not fit', async () => {
    await using place = await testPlace();
    const { driver } = await openVolumes({ ...volumeOptions(place, 'pool'), poolBytes: 128 * MIB });
    await using cleanup = new AsyncDisposableStack();
    cleanup.defer(() => driver.close());
    const before = await driver.freeBytes();
    const prepare = async (dataDir: string) => {
      await using file = await open(join(dataDir, 'huge'), 'w');
      for (let i = 0; i < 256; i++) await file.writeFile(Buffer.alloc(MIB, i));
    };
    await assert.rejects(driver.ensure('huge', { record: recordOf('huge'), prepare }, testCtx()), {
      code: 'volume/no-space',
    });
    assert.deepEqual(await driver.list(testCtx()), []);
    assert.ok(before > 64 * MIB);
  });

  it('is closed while a mount namespace has a copy of its mount', async () => {
    await using place = await testPlace();
    const options = optionsIn(place);
    const pool = await openPool(options);
    await using _ = await namespaceHolder();
    await pool.close();
    assert.equal(existsSync(options.mountPoint), false);
    assert.deepEqual(await loopDevicesOf(await realpath(options.image)), []);
  });

  it('is closed while a mount namespace uses a copy of its mount, and taken over as it is', async () => {
    await using place = await testPlace();
    const options = optionsIn(place);
    const pool = await openPool(options);
    await writeFile(join(pool.root, 'word'), 'before');
    await using holder = await namespaceHolder(pool.root);
    const image = await realpath(options.image);
    const devices = await loopDevicesOf(image);
    await pool.close(); // long before the namespace ends
    assert.equal(await isMounted(options.mountPoint), false);
    assert.deepEqual(await loopDevicesOf(image), devices, 'the namespace keeps it');

    const again = await openPool(options);
    assert.deepEqual(await loopDevicesOf(image), devices, 'no second device writes to the image');
    assert.equal(await readFile(join(again.root, 'word'), 'utf8'), 'before');
    await writeFile(join(again.root, 'word'), 'after');
    await holder.end();
    assert.equal(await readFile(join(again.root, 'word'), 'utf8'), 'after');
    await again.close();
    assert.deepEqual(await loopDevicesOf(image), []);
    const third = await openPool(options);
    assert.equal(await readFile(join(third.root, 'word'), 'utf8'), 'after');
    await third.close();
  });

  it('is not unmounted under somebody who uses it', async () => {
    await using place = await testPlace();
    const pool = await openPool(optionsIn(place));
    const file = await open(join(pool.root, 'in-use'), 'w');
    await using cleanup = new AsyncDisposableStack();
    cleanup.defer(() => pool.close());
    cleanup.defer(() => file.close());
    await assert.rejects(pool.close(100), { code: 'volume/busy' });
    assert.equal(await isMounted(pool.root), true);
  });
});
