import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { open, readFile, realpath, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { btrfsMedium } from '../../../src/drivers/volume/btrfs.ts';
import { btrfsCalls } from '../../../src/drivers/volume/btrfs-calls.ts';
import { openVolumes } from '../../../src/drivers/volume/choose.ts';
import { volumesIn } from '../../../src/drivers/volume/directory.ts';
import { openPool, type PoolOptions } from '../../../src/drivers/volume/pool.ts';
import { walkedSizes } from '../../../src/drivers/volume/sizes.ts';
import { roomIn } from '../../../src/drivers/volume/space.ts';
import { flushFileSystem, isMounted, loopDevicesOf, mounts, system } from '../../../src/lib/mounts.ts';
import { isNoSpace } from '../../../src/lib/no-space.ts';
import { until } from '../../../src/lib/wait.ts';
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
    await writeFile(join(pool.root, 'used'), '');
    const server = await open(join(pool.root, 'used'), 'r');
    await system('mount', ['-o', 'remount,ro', pool.root]);
    const adopted = await openPool(optionsIn(place));
    await assert.rejects(writeFile(join(adopted.root, 'new'), ''), { code: 'EROFS' }, 'somebody runs on it');
    await server.close();
    const mended = await openPool(optionsIn(place));
    await writeFile(join(mended.root, 'new'), '');
    await mended.close();
    assert.equal(await isMounted(pool.root), false);
  });

  it('says so when the kernel has made it read-only, and what to do', async () => {
    await using b = await testBranches('pool');
    await b.branch('parent');
    const { dataDir } = (await b.volumes.observe('parent', testCtx()))!;
    await b.servers.stop('parent', testCtx());
    const { target = '' } = (await mounts()).findLast(m => dataDir.startsWith(`${m.target}/`)) ?? {};
    await system('mount', ['-o', 'remount,ro', target]);
    try {
      await assert.rejects(b.branch('child', 'parent'), { code: 'volume/read-only', hint: /mount it anew/ });
      await assert.rejects(b.volumes.remove('parent', testCtx()), { code: 'volume/read-only' });
    } finally {
      await system('mount', ['-o', 'remount,rw', target]);
    }
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
    const free = (await volumes.driver.room()).freeBytes;
    assert.ok(free > 400 * MIB && free <= 512 * MIB, `${free / MIB} MiB free`);
  });

  it('counts in a pool that was made before, from now on', async t => {
    await using place = await testPlace();
    const old = await openPool(optionsIn(place, 512));
    const prepare = async (dataDir: string) => writeFile(join(dataDir, 'a'), Buffer.alloc(4 * MIB, 'a'));
    const parent = { record: recordOf('old'), prepare };
    const child = { record: recordOf('old-child', 'old'), source: { id: 'old' }, prepare };
    {
      // As they were made before: by a driver that does not count.
      const sizes = walkedSizes(old.root, true, 'not yet');
      const room = () => roomIn(old.root, 0);
      const before = { name: 'pool', root: old.root, owner: place.user, minFreeBytes: 0, room, sizes };
      const driver = volumesIn(
        { ...before, capabilities: [], close: () => old.close() },
        btrfsMedium(undefined),
      );
      await driver.ensure('old', parent, testCtx());
      await driver.ensure('old-child', child, testCtx());
    }
    const { driver, capabilities } = await openVolumes({
      ...volumeOptions(place, 'pool'),
      poolBytes: 512 * MIB,
    });
    await using cleanup = new AsyncDisposableStack();
    cleanup.defer(() => driver.close());
    if (!capabilities.some(c => c.name === 'volume/sizes' && c.ok))
      return t.skip('the kernel does not count');
    const new_ = { record: recordOf('new', 'old'), source: { id: 'old' }, prepare };
    const { dataDir } = await driver.ensure('old-child', child, testCtx());
    await driver.ensure('new', new_, testCtx());
    await writeFile(join(dataDir, 'b'), Buffer.alloc(2 * MIB, 'b'), { flush: true });
    await flushFileSystem(old.root);
    for (const usage of [await driver.usage('old-child'), (await driver.usages()).get('old-child')]) {
      assert.equal(usage?.exact, false);
      assert.ok(usage.bytes >= 2 * MIB && usage.bytes < 3 * MIB, `${usage.bytes}`);
    }
    assert.equal((await driver.usage('new'))?.exact, true);
    assert.deepEqual([...(await driver.usages())].map(([id, { exact }]) => [id, exact]).toSorted(), [
      ['new', true],
      ['old', false],
      ['old-child', false],
    ]);
  });

  it('forgets the counts of what was removed', async t => {
    await using b = await testBranches('pool', { poolBytes: 512 * MIB });
    if (!(await b.volumes.capabilities()).some(c => c.name === 'volume/sizes' && c.ok))
      return t.skip('the kernel does not count');
    const calls = await btrfsCalls();
    const prepare = async (dataDir: string) => writeFile(join(dataDir, 'a'), Buffer.alloc(MIB, 'a'));
    const { dataDir } = await b.volumes.ensure('parent', { record: recordOf('parent'), prepare }, testCtx());
    const root = dirname(dirname(dataDir));
    const child = { record: recordOf('child', 'parent'), source: { id: 'parent' }, prepare };
    await b.volumes.ensure('child', child, testCtx());
    assert.equal(
      (await calls.qgroups(root)).length,
      4,
      'the top, the group of the children, and two volumes',
    );
    await b.volumes.remove('parent', testCtx()); // before its child: its count stays as long as they share
    await b.volumes.remove('child', testCtx());
    await until(async () => ((await calls.qgroups(root)).length === 2 ? true : undefined), {
      what: 'the counts are gone',
      deadlineMs: 60_000,
    });
  });

  it('keeps its last bytes for volumes without a parent', async t => {
    await using b = await testBranches('pool', { poolBytes: 320 * MIB, reserveBytes: 96 * MIB });
    if (!(await b.volumes.capabilities()).some(c => c.name === 'volume/sizes' && c.ok))
      return t.skip('the kernel does not count');
    const nothing = async () => {};
    const main = await b.volumes.ensure('main', { record: recordOf('main'), prepare: nothing }, testCtx());
    const child = { record: recordOf('child', 'main'), source: { id: 'main' }, prepare: nothing };
    const { dataDir } = await b.volumes.ensure('child', child, testCtx());
    const fill = async () => {
      await using file = await open(join(dataDir, 'all'), 'a');
      for (;;) await file.appendFile(Buffer.alloc(MIB, 1));
    };
    // It may be refused before its limit was looked at again, and could have more then.
    const filled = async () => {
      await assert.rejects(fill(), isNoSpace);
      const { freeBytes } = await b.volumes.room();
      return freeBytes < 120 * MIB ? freeBytes : undefined;
    };
    const freeBytes = await until(filled, {
      what: 'it has all that it may',
      deadlineMs: 60_000,
      intervalMs: 50,
    });
    assert.ok(freeBytes >= 80 * MIB, `${freeBytes / MIB} MiB are left`);
    await writeFile(join(main.dataDir, 'more'), Buffer.alloc(48 * MIB, 2), { flush: true });
    const late = { record: recordOf('late', 'main'), source: { id: 'main' }, prepare: nothing };
    await assert.rejects(b.volumes.ensure('late', late, testCtx()), { code: 'volume/no-space' });
    await b.volumes.remove('child', testCtx());
    // The limit of the children follows the room at the next look: who is refused tries again, as the loop does.
    const made = () =>
      b.volumes.ensure('late', late, testCtx()).catch(error => {
        assert.equal(error.code, 'volume/no-space');
        return undefined;
      });
    await until(made, { what: 'there is room again', deadlineMs: 60_000, intervalMs: 50 });
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

  it('has a new volume as a whole or not at all after a power cut, and keeps it from when it is settled', async () => {
    await using place = await testPlace();
    const options = volumeOptions(place, 'pool');
    const image = join(place.home, 'pool.img');
    const { driver } = await openVolumes(options);
    const prepare = (dir: string) => writeFile(join(dir, 'postmaster.pid'), 'of the parent');
    await driver.ensure('parent', { record: recordOf('parent'), prepare }, testCtx());
    /** What has reached the device by then: the rest would be lost with the memory. */
    const cuts: { readonly copy: string; readonly kept: readonly string[] }[] = [];
    const cut = async (kept: readonly string[]) => {
      const copy = join(place.home, `cut-${cuts.length}.img`);
      cuts.push({ copy, kept });
      await system('cp', ['--sparse=always', image, copy]);
    };
    const adopt = (dir: string) => rm(join(dir, 'postmaster.pid'));
    for (const [i, id] of ['first', 'second', 'third'].entries()) {
      const kept = ['first', 'second', 'third'].slice(0, i);
      const ctx = testCtx();
      const spec = { record: recordOf(id, 'parent'), source: { id: 'parent' }, soon: true } as const;
      await driver.ensure(id, { ...spec, prepare: dir => adopt(dir).then(() => cut(kept)) }, ctx);
      await cut(kept);
      await driver.settled(id, ctx);
      await cut([...kept, id]);
    }
    await driver.close();
    for (const { copy, kept } of cuts) {
      await rename(copy, image);
      const ctx = testCtx();
      const after = await openVolumes(options);
      const whole: string[] = [];
      for (const id of await after.driver.list(ctx)) {
        const seen = await after.driver.observe(id, ctx); // or it throws, of a record that is there in part
        if (seen === undefined || id === 'parent') continue;
        whole.push(id);
        assert.deepEqual(seen.record, recordOf(id, 'parent'));
        assert.equal(existsSync(join(seen.dataDir, 'postmaster.pid')), false);
      }
      assert.deepEqual(
        kept.filter(id => !whole.includes(id)),
        [],
      );
      for (const id of whole) await after.driver.remove(id, ctx);
      await after.driver.close();
    }
  });

  it('says so when it is full, and removes what did not fit', async () => {
    await using place = await testPlace();
    const { driver } = await openVolumes({ ...volumeOptions(place, 'pool'), poolBytes: 128 * MIB });
    await using cleanup = new AsyncDisposableStack();
    cleanup.defer(() => driver.close());
    const before = (await driver.room()).freeBytes;
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
