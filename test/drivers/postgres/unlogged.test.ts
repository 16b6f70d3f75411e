/** Unlogged tables of a parent that runs: their rows are in the branch, or the record names the tables. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { SessionAddress } from '../../../src/drivers/postgres/session.ts';
import { holdUnlogged, listUnlogged } from '../../../src/drivers/postgres/unlogged.ts';
import { until } from '../../../src/lib/wait.ts';
import {
  asSuperuser,
  killServer,
  type TestBranches,
  testBranches,
  testCtx,
  volumesMissing,
} from '../../support/postgres.ts';

for (const kind of ['pool', 'copy'] as const) {
  describe(`unlogged tables, volumes: ${kind}`, { skip: (await volumesMissing(kind)) ?? false }, () => {
    let b: TestBranches;
    before(async () => {
      b = await testBranches(kind);
      await b.branch('main');
      await b.sql('main', 'CREATE EXTENSION amcheck');
    });
    after(() => b?.[Symbol.asyncDispose]());

    const dataDir = async (id: string) => (await b.volumes.observe(id, testCtx()))!.dataDir;
    const emptied = async (id: string) => (await b.volumes.observe(id, testCtx()))!.record.emptied;
    /** A table of pairs that sum up to zero, with an index and values that are stored out of line. */
    const makePairs = async (table: string, database?: string) => {
      await b.sql('main', `CREATE UNLOGGED TABLE ${table} (id int PRIMARY KEY, n int, body text)`, database);
      await b.sql('main', `ALTER TABLE ${table} ALTER body SET STORAGE external`, database);
      await b.sql(
        'main',
        `INSERT INTO ${table} SELECT g, CASE WHEN g % 2 = 0 THEN g ELSE -g - 1 END, repeat('x', 3000)
           FROM generate_series(1, 1000) g`,
        database,
      );
    };
    const summary = `SELECT count(*)::int AS rows, sum(n)::int AS sum, sum(length(body))::int AS bytes FROM`;
    const whole = [{ rows: 1000, sum: -2, bytes: 3_000_000 }];
    const wholeSum = async (table: string) => (await b.sql('main', `${summary} ${table}`))[0]!.sum;

    it('come along with rows, indexes and sequences, of every database; a crash of the branch empties them as everywhere', async () => {
      await b.sql('main', 'CREATE DATABASE shop');
      await makePairs('here');
      await makePairs('"There it is"', 'shop');
      await b.sql('main', 'CREATE UNLOGGED SEQUENCE numbers');
      await b.sql('main', `SELECT nextval('numbers') FROM generate_series(1, 7)`);
      whole[0]!.sum = Number(await wholeSum('here'));
      await b.branch('kid', 'main');
      assert.equal(await emptied('kid'), undefined);
      assert.deepEqual(await b.sql('kid', `${summary} here`), whole);
      assert.deepEqual(await b.sql('kid', `${summary} "There it is"`, 'shop'), whole);
      assert.deepEqual(await b.sql('kid', 'SELECT last_value::int AS n FROM numbers'), [{ n: 7 }]);
      await b.sql('kid', `SELECT bt_index_check('here_pkey', true)`);
      assert.deepEqual(await b.sql('kid', `SELECT * FROM verify_heapam('here')`), []);
      await b.sql('kid', 'DELETE FROM here');
      assert.deepEqual(await b.sql('main', `${summary} here`), whole);

      assert.equal(existsSync(join(await dataDir('kid'), 'offshoot.unlogged')), false);
      await killServer(b.servers, 'kid');
      await b.servers.ensure('kid', { dataDir: await dataDir('kid'), name: 'kid' }, testCtx());
      assert.deepEqual(await b.sql('kid', 'SELECT count(*)::int AS n FROM here'), [{ n: 0 }]);
    });

    it('are consistent while they are written to, and their writers go on', async () => {
      await b.sql('main', 'CREATE UNLOGGED TABLE busy (id int PRIMARY KEY, n int)');
      const state = { rounds: 0, stopped: false };
      const writer = asSuperuser(b.options, 'main', async client => {
        while (!state.stopped) {
          const [x, y] = [2 * state.rounds, 2 * state.rounds + 1];
          await client.query(`INSERT INTO busy VALUES (${x}, ${x}), (${y}, -${x})`);
          await client.query(
            `UPDATE busy SET n = n + CASE id % 2 WHEN 0 THEN 1 ELSE -1 END WHERE id >= ${x - 20}`,
          );
          state.rounds++;
        }
      });
      await until(() => (state.rounds > 20 ? true : undefined), { what: 'it writes', deadlineMs: 60_000 });
      const acknowledged = state.rounds;
      await b.branch('shot', 'main');
      const later = state.rounds;
      await until(() => (state.rounds > later ? true : undefined), {
        what: 'it goes on',
        deadlineMs: 60_000,
      });
      state.stopped = true;
      await writer;
      const [row] = await b.sql('shot', 'SELECT count(*)::int AS rows, sum(n)::int AS sum FROM busy');
      assert.ok(Number(row!.rows) >= 2 * acknowledged, `${row!.rows} rows after ${acknowledged} rounds`);
      assert.equal(row!.sum, 0);
      await b.sql('shot', `SELECT bt_index_check('busy_pkey', true)`);
      assert.deepEqual(await b.sql('shot', `SELECT * FROM verify_heapam('busy')`), []);
    });

    it('that somebody does not let go of are named, and empty; the others come along', async () => {
      await makePairs('held');
      await asSuperuser(b.options, 'main', async client => {
        await client.query('BEGIN');
        await client.query('UPDATE held SET n = 0 WHERE id = 1');
        await b.branch('early', 'main');
      });
      assert.deepEqual(await emptied('early'), ['postgres: public.held']);
      assert.deepEqual(await b.sql('early', 'SELECT count(*)::int AS n FROM held'), [{ n: 0 }]);
      assert.deepEqual(await b.sql('early', `${summary} here`), whole);
      await b.sql('early', 'INSERT INTO held VALUES (1, 1)');
    });

    it('come along from a parent that sleeps', async () => {
      await b.servers.stop('main', testCtx());
      await b.branch('heir', 'main');
      assert.deepEqual(await b.sql('heir', `${summary} here`), whole);
      await b.servers.ensure('main', { dataDir: await dataDir('main'), name: 'main' }, testCtx());
    });

    it('let nobody lead a superuser astray, and leave no trace in the parent', async () => {
      await b.sql('main', 'CREATE SCHEMA evil', 'shop');
      await b.sql(
        'main',
        `CREATE FUNCTION evil.format(text, name, name) RETURNS text LANGUAGE plpgsql
           AS $$ BEGIN RAISE EXCEPTION 'astray'; END $$`,
        'shop',
      );
      await b.sql('main', 'ALTER DATABASE shop SET search_path = evil, pg_catalog, public');
      await b.sql('main', 'ALTER DATABASE shop SET default_transaction_read_only = on');
      await b.branch('safe', 'main');
      assert.deepEqual(await b.sql('safe', `${summary} public."There it is"`, 'shop'), whole);
      assert.deepEqual(
        await b.sql('main', `SELECT proname FROM pg_proc WHERE proname LIKE 'offshoot%'`, 'shop'),
        [],
      );
    });
  });
}

it('holds no table that was made anew after it was listed', async () => {
  await using b = await testBranches();
  await b.branch('main');
  const { dataDir } = (await b.volumes.observe('main', testCtx()))!;
  const address: SessionAddress = {
    id: 'main',
    socketDir: join(b.options.runtimeDir, 's', 'main'),
    database: 'postgres',
    adminSecret: b.options.adminSecret,
  };
  assert.equal((await listUnlogged(address, dataDir, testCtx())).size, 0);
  for (const table of ['same', 'emptied', 'indexed'])
    await b.sql('main', `CREATE UNLOGGED TABLE ${table} (n int)`);
  const list = await listUnlogged(address, dataDir, testCtx());
  await b.sql('main', 'TRUNCATE emptied');
  await b.sql('main', 'CREATE INDEX ON indexed (n)');
  await b.sql('main', 'CREATE UNLOGGED TABLE fresh (n int)');
  const hold = await holdUnlogged(address, list, testCtx());
  await hold.release();
  assert.deepEqual(
    hold.emptied,
    ['emptied', 'indexed', 'fresh'].map(table => `postgres: public.${table}`),
  );
  assert.equal(hold.held.length, 1);
  assert.ok((await readdir(join(dataDir, 'base', '5'))).includes(`${hold.held[0]!.split('/')[2]}_init`));
});
