/** The host's file system is full to the last byte, by somebody else: what the pool keeps for itself carries `main`. */
import assert from 'node:assert/strict';
import { chmod, mkdir, open, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { chooseServerUser } from '../../../src/drivers/postgres/user.ts';
import { libc } from '../../../src/lib/libc.ts';
import { mounts } from '../../../src/lib/mounts.ts';
import { until } from '../../../src/lib/wait.ts';
import { type Place, recordOf, testBranches, testCtx, volumesMissing } from '../../support/postgres.ts';
import { type SmallDisk, smallDisk } from '../../support/small-disk.ts';

const MIB = 2 ** 20;
const skip =
  (await volumesMissing('pool')) ??
  (await libc().then(
    () => false as const,
    (error: Error) => error.message,
  ));

describe('a full host', { skip }, () => {
  it('leaves main its reserve, refuses new branches in order, and is over when there is room', async () => {
    await using disk = await smallDisk(900 * MIB);
    await using b = await testBranches('pool', {
      where: await placeOn(disk),
      poolBytes: 2048 * MIB,
      minFreeBytes: 64 * MIB,
    });
    await b.branch('main');
    await b.branch('twig', 'main');
    await b.sql('main', 'CREATE TABLE t (n int, filler text)');
    const insert = (id: string, from: number, to: number) =>
      b.sql(id, `INSERT INTO t SELECT n, repeat('x', 1000) FROM generate_series(${from}, ${to}) n`);
    await insert('main', 1, 1000);
    const before = await b.volumes.room();

    await disk.fill();
    await until(async () => ((await b.volumes.room()).freeBytes < 200 * MIB ? true : undefined), {
      what: 'the pool goes by its own room',
      deadlineMs: 60_000,
    });
    assert.ok((await disk.freeBytes()) < MIB);
    // Every one of these rows is written twice, and the checkpoint writes the pages.
    await insert('main', 1001, 16_000);
    await b.sql('main', 'CHECKPOINT');
    await assert.rejects(
      b.volumes.ensure(
        'new',
        { record: recordOf('new', 'main'), source: { id: 'main' }, prepare: async () => {} },
        testCtx(),
      ),
      { code: 'volume/no-space' },
    );
    const [row] = await b.sql('main', 'SELECT count(*)::int AS n FROM t');
    assert.equal(row!.n, 16_000);
    const pool = (await mounts()).find(m => m.target === join(b.place.runtimeDir, 'pool'));
    assert.equal(pool?.readOnly, false);

    await disk.clear();
    await until(
      async () => ((await b.volumes.room()).freeBytes > before.freeBytes - 100 * MIB ? true : undefined),
      { what: 'the pool has its room back', deadlineMs: 60_000 },
    );
    await insert('main', 16_001, 17_000);
    await b.branch('new', 'main');
    const [grown] = await b.sql('new', 'SELECT count(*)::int AS n FROM t');
    assert.equal(grown!.n, 17_000);
    assert.deepEqual(await b.sql('twig', 'SELECT 1 AS one'), [{ one: 1 }]);
  });

  it('is over when what had filled it was a branch that is removed', async () => {
    await using disk = await smallDisk(900 * MIB);
    await using b = await testBranches('pool', {
      where: await placeOn(disk),
      poolBytes: 2048 * MIB,
      minFreeBytes: 64 * MIB,
    });
    await b.branch('main');
    await b.branch('greedy', 'main');
    await b.sql('greedy', 'CREATE TABLE t (n int, filler text)');
    const before = await disk.freeBytes();
    const grow = () =>
      b.sql('greedy', `INSERT INTO t SELECT n, repeat('x', 1000) FROM generate_series(1, 8000) n`);
    // It may be refused before its limit was looked at again, and end by that.
    const hasTakenAll = async () => {
      const refused = await grow().then(
        () => false,
        () => true,
      );
      if (!refused) return undefined;
      if ((await disk.freeBytes()) < before / 4) return true;
      await b.branch('greedy', 'main').catch(() => {});
      return undefined;
    };
    await until(hasTakenAll, { what: 'it has taken everything', deadlineMs: 60_000 });
    await b.servers.remove('greedy', testCtx());
    await b.volumes.remove('greedy', testCtx());
    await until(async () => ((await disk.freeBytes()) > before - 64 * MIB ? true : undefined), {
      what: 'the host has its room back',
      deadlineMs: 60_000,
    });
    await b.branch('new', 'main');
  });

  it('is over when that went while the pool fell back on its own room', async () => {
    await using disk = await smallDisk(900 * MIB);
    let isLow = false;
    let filled: Promise<void> | undefined;
    await using b = await testBranches('pool', {
      where: await placeOn(disk),
      poolBytes: 2048 * MIB,
      minFreeBytes: 64 * MIB,
      async standstill(work) {
        isLow = true;
        await filled;
        await b.volumes.remove('fat', testCtx());
        return await work();
      },
    });
    const spec = { record: recordOf('fat'), prepare: async () => {} };
    const { dataDir } = await b.volumes.ensure('fat', spec, testCtx());
    const before = await disk.freeBytes();
    filled = (async () => {
      await using file = await open(join(dataDir, 'all'), 'w');
      while (!isLow) {
        await file.appendFile(Buffer.alloc(4 * MIB, 1));
        await file.sync();
      }
    })();
    await filled;
    await until(async () => ((await disk.freeBytes()) > before - 64 * MIB ? true : undefined), {
      what: 'the host has its room back',
      deadlineMs: 60_000,
    });
  });

  it('gives the room of a removed branch back to the host within seconds', async () => {
    await using disk = await smallDisk(1200 * MIB);
    await using b = await testBranches('pool', {
      where: await placeOn(disk),
      poolBytes: 2048 * MIB,
      minFreeBytes: 64 * MIB,
    });
    await b.branch('main');
    await b.branch('big', 'main');
    const taken = async () => (await stat(join(b.place.home, 'pool.img'))).blocks * 512;
    const before = await taken();
    await b.sql(
      'big',
      `CREATE TABLE t AS SELECT n, repeat(md5(n::text), 30) FROM generate_series(1, 60000) n`,
    );
    await b.sql('big', 'CHECKPOINT');
    const full = await taken();
    assert.ok(full > before + 60 * MIB, `${(full - before) / MIB} MiB`);
    await b.servers.remove('big', testCtx());
    await b.volumes.remove('big', testCtx());
    await until(async () => ((await taken()) < before + 25 * MIB ? true : undefined), {
      what: 'the image is small again',
      deadlineMs: 60_000,
    });
  });
});

// --- internal ------------------------------------------------------------------------------------

async function placeOn(disk: SmallDisk): Promise<Place> {
  const [home, runtimeDir] = [join(disk.path, 'home'), join(dirname(disk.path), 'run')];
  for (const path of [home, runtimeDir]) {
    await mkdir(path);
    await chmod(path, 0o711);
  }
  return { home, runtimeDir, user: await chooseServerUser() };
}
