/** A pool is seen, resized, checked and moved by the command line, and holds what it held. */
import assert from 'node:assert/strict';
import { existsSync, lstatSync } from 'node:fs';
import { mkdir, open, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { cliRunner } from '../../../scripts/demo/cli.ts';
import { openPool } from '../../../src/drivers/volume/pool.ts';
import { movePool, type PoolSeen, resizePool } from '../../../src/drivers/volume/pool-care.ts';
import type { ErrorBody } from '../../../src/model/errors.ts';
import { root } from '../../support/daemon.ts';
import { type TestPlace, testPlace, volumesMissing } from '../../support/postgres.ts';

const MIB = 2 ** 20;
const never = new AbortController().signal;

describe('a pool', { skip: (await volumesMissing('pool')) ?? false }, () => {
  let place: TestPlace;
  let pool: { readonly image: string; readonly mountPoint: string };
  before(async () => {
    place = await testPlace();
    pool = { image: join(place.home, 'pool.img'), mountPoint: join(place.runtimeDir, 'pool') };
    const opened = await openPool({ ...pool, bytes: 1024 * MIB });
    await writeFile(join(opened.root, 'kept'), Buffer.alloc(30 * MIB, 'kept'));
    await opened.close();
  });
  after(() => place?.[Symbol.asyncDispose]());

  const cli = (...args: readonly string[]) =>
    cliRunner(root, { ...process.env, OFFSHOOT_HOME: place.home })(['pool', ...args]);
  const seen = async (): Promise<PoolSeen> => JSON.parse((await cli('get', '-o', 'json')).stdout);
  const refused = async (...args: readonly string[]): Promise<string> => {
    const { code, stderr } = await cli(...args);
    return `${code} ${stderr.split('\n')[0]}`;
  };
  /** Read with a mount of its own. */
  const held = async () => {
    const opened = await openPool(pool);
    try {
      return (await readFile(join(opened.root, 'kept'))).equals(Buffer.alloc(30 * MIB, 'kept'));
    } finally {
      await opened.close();
    }
  };

  it('is told of: its size, what it takes, and whether it is in use', async () => {
    const { image, bytes, mountedAt, usedBytes } = await seen();
    assert.deepEqual([image, bytes, mountedAt, usedBytes], [pool.image, 1024 * MIB, null, undefined]);
    const opened = await openPool(pool);
    try {
      assert.equal((await seen()).mountedAt, opened.root);
      assert.match((await cli()).stdout, /^size +1 GiB, 3\d MiB of it used$/m);
      const inUse = `1 error: the pool ${pool.image} is in use, mounted at ${opened.root}`;
      assert.equal(await refused('resize', '2G'), inUse);
      await assert.rejects(movePool(pool, place.home, 'it.img', never), { code: 'volume/pool-in-use' });
    } finally {
      await opened.close();
    }
  });

  it('grows, and shrinks to no less than is in it', async () => {
    const noSize = '2 error: "much" is not a size; write for example 512M or 2G';
    assert.equal(await refused('resize', 'much'), noSize);
    assert.equal((await cli('resize', '2G')).stderr, 'the pool may hold 2 GiB\n');
    assert.equal((await seen()).bytes, 2048 * MIB);
    const less = '1 error: the pool cannot have 20 MiB: that is less than is in it';
    assert.equal(await refused('resize', '20M'), less);
    await assert.rejects(resizePool(pool, 60 * MIB), { code: 'volume/pool-size' });
    assert.deepEqual([(await seen()).bytes, await held()], [2048 * MIB, true]);
    assert.equal((await cli('resize', '900M')).code, 0);
    assert.deepEqual([(await stat(pool.image)).size, await held()], [900 * MIB, true]);
  });

  it('goes to another directory and back, and is not made anew where its disk is away', async () => {
    const elsewhere = join(place.home, 'elsewhere');
    const nowhere = `1 error: the pool cannot be put into ${elsewhere}: `;
    assert.equal(await refused('move', elsewhere), `${nowhere}there is no such directory`);
    await assert.rejects(movePool(pool, elsewhere, 'it.img', never), { code: 'volume/pool-place' });
    await mkdir(elsewhere);
    const moved = await cli('move', elsewhere);
    assert.equal(moved.code, 0, moved.stderr);
    const { image } = await seen();
    assert.equal(moved.stderr, `the pool is ${image}\n`);
    assert.match(image, /\/elsewhere\/offshoot-[a-z0-9]+\.img$/);
    assert.ok(lstatSync(pool.image).isSymbolicLink() && (await held()));
    assert.equal(await refused('move', elsewhere), `${nowhere}it is there already`);

    await rename(elsewhere, `${elsewhere}.away`);
    await assert.rejects(
      openPool({ ...pool, bytes: 512 * MIB }),
      /leads to .*elsewhere.*: is its disk mounted\?/,
    );
    await rename(`${elsewhere}.away`, elsewhere);
    assert.ok(await held());

    assert.equal((await cli('move', place.home)).code, 0);
    assert.deepEqual([lstatSync(pool.image).isFile(), existsSync(image), await held()], [true, false, true]);
  });

  it('is checked: a byte that has changed on its disk is found', async () => {
    const well = await cli('check');
    assert.deepEqual([well.code, well.stderr], [0, '']);
    assert.match(well.stdout, /^all is well: 3\d MiB were read\n$/);
    {
      await using file = await open(pool.image, 'r+');
      const [piece, wanted] = [Buffer.alloc(MIB), Buffer.alloc(65_536, 'kept')];
      let at = 0;
      while ((await file.read(piece, 0, MIB, at)).bytesRead > 0 && !piece.includes(wanted)) at += MIB;
      await file.write('lost', at + piece.indexOf(wanted) + 4_096);
      await file.sync();
    }
    const found = await cli('check', '-o', 'json');
    assert.equal(found.code, 1);
    assert.ok((JSON.parse(found.stdout) as { problems: string[] }).problems.includes('csum errors: 1'));
  });

  it('is not there for everybody', async () => {
    await using other = await testPlace();
    const none = await cliRunner(root, { ...process.env, OFFSHOOT_HOME: other.home })([
      ...['pool', 'check', '-o', 'json'],
    ]);
    assert.deepEqual([none.code, (JSON.parse(none.stderr) as ErrorBody).code], [1, 'volume/no-pool']);
  });
});
