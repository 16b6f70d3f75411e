import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { keepBases } from '../../../src/drivers/branch/bases.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { until } from '../../../src/lib/wait.ts';
import { recordOf, testBranches, testCtx } from '../../support/postgres.ts';

test('a base is ended in order, as good as new while nothing is committed in its parent, and not after that', async t => {
  await using b = await testBranches();
  if (!b.volumes.copyOnWrite) return t.skip('volumes are full copies here');
  const { volumes, servers } = b;
  const bases = keepBases({ volumes, servers, log: silentLog });
  await b.branch('parent');
  await b.sql('parent', 'CREATE TABLE words (word text)');
  await b.sql('parent', `INSERT INTO words VALUES ('before')`);
  const take = () => bases.take('parent', performance.now(), testCtx());
  /** PostgreSQL itself writes to its log now and then: another base is made until one is caught at rest. */
  const fresh = () =>
    until(
      async () => {
        assert.equal(await bases.make('parent', recordOf('parent'), performance.now(), testCtx()), true);
        return take();
      },
      { what: 'a base of a parent at rest', deadlineMs: 120_000 },
    );

  const grow = async (id: string, from: string) => {
    const prepare = (dir: string) => servers.adopt(dir, testCtx());
    const spec = { record: recordOf(id, 'parent'), source: { id: from }, prepare };
    const { dataDir } = await volumes.ensure(id, spec, testCtx());
    await servers.ensure(id, { dataDir, name: id }, testCtx());
  };

  const { base, release } = await fresh();
  await grow('child', base.id);
  assert.deepEqual(await b.sql('child', 'SELECT word FROM words'), [{ word: 'before' }]);
  const log = await readFile(join(b.place.home, 'logs', 'postgres', 'child.log'), 'utf8');
  assert.match(log, /database system was shut down/);
  assert.doesNotMatch(log, /recovery in progress|redo starts/);

  // One that is copied from stays, although it is nobody's to copy from any more.
  const dropped = bases.drop('parent');
  assert.equal(await take(), undefined);
  assert.ok((await volumes.list(testCtx())).includes(base.id));
  release();
  await dropped;
  assert.ok(!(await volumes.list(testCtx())).includes(base.id));

  await b.sql('parent', 'CREATE TABLE numbered (n serial)');
  for (const change of [
    `INSERT INTO words VALUES ('a')`,
    `BEGIN; SET LOCAL synchronous_commit = off; UPDATE words SET word = 'b'; COMMIT`,
    'DELETE FROM words',
    `SELECT nextval(pg_get_serial_sequence('numbered', 'n'))`,
    'DROP TABLE numbered',
    `CREATE ROLE somebody`,
    `ALTER SYSTEM SET work_mem = '5MB'`,
  ]) {
    (await fresh()).release();
    await b.sql('parent', change);
    assert.equal(await take(), undefined, `stale after: ${change}`);
    assert.equal(await take(), undefined, 'and not good again');
  }

  // The rows of unlogged tables come along, too. To hold these is something to be written down, so nothing stands still.
  await b.sql('parent', 'CREATE UNLOGGED TABLE quick (n int)');
  await b.sql('parent', 'INSERT INTO quick VALUES (1)');
  const moment = performance.now();
  assert.equal(await bases.make('parent', recordOf('parent'), moment, testCtx()), true);
  const quick = (await bases.take('parent', moment, testCtx()))!;
  await grow('quick', quick.base.id);
  quick.release();
  assert.deepEqual(await b.sql('quick', 'SELECT n FROM quick'), [{ n: 1 }]);
  await b.sql('parent', 'INSERT INTO quick VALUES (2)');
  assert.equal(await take(), undefined);

  await bases.clear();
  assert.deepEqual((await volumes.list(testCtx())).toSorted(), ['child', 'parent', 'quick']);
});
