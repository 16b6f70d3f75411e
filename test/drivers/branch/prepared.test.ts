import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openBranchNode } from '../../../src/drivers/branch/node.ts';
import { keepPrepared } from '../../../src/drivers/branch/prepared.ts';
import type { BranchWish } from '../../../src/drivers/contract.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { scramVerifier } from '../../../src/lib/scram.ts';
import { until } from '../../../src/lib/wait.ts';
import { killServer, logsIn, testBranches, testCtx } from '../../support/postgres.ts';

test('a prepared server becomes a branch in one step, under its name and with its password', async t => {
  await using b = await testBranches();
  if (!b.volumes.copyOnWrite) return t.skip('volumes are full copies here');
  const { volumes, servers } = b;
  const open = { volumes, servers, startsAtOnce: 4, log: silentLog };
  const node = openBranchNode({ ...open, preparedServers: 1 });
  const verifier = await scramVerifier('secret');
  const wishOf = (id: string, more: Partial<BranchWish> = { parent: 'parent' }): BranchWish => ({
    ...{ project: 'test', branch: `name of ${id}`, createdAt: '2030-01-01T00:00:00Z' },
    ...{ role: 'app', database: 'app', verifier, ...more },
  });
  const ready = (id: string, wish = wishOf(id)) =>
    until(async () => (await node.ensure(id, wish, testCtx(60_000))).endpoint, {
      what: `${id} is ready`,
      deadlineMs: 120_000,
    });
  const like = { project: 'test', role: 'app', database: 'app' };
  const reserve = () => node.reserve('parent', like);
  let made = 0;
  /** Each branch that is made is a reason for another. */
  const prepared = () =>
    until(
      async () => {
        const id = await reserve();
        if (id === undefined) await ready(`more-${made++}`);
        return id;
      },
      { what: 'a server is prepared', deadlineMs: 240_000 },
    );
  const inBranch = async (id: string) =>
    (
      await b.sql(
        id,
        `SELECT current_setting('offshoot.branch_name') AS name, (SELECT count(*)::int FROM t) AS rows`,
        'app',
      )
    )[0];

  await ready('parent', wishOf('parent', {}));
  await b.sql('parent', 'CREATE TABLE t (n int)', 'app');
  await b.sql('parent', `CREATE ROLE other LOGIN PASSWORD 'other'`);
  await ready('first');
  assert.equal(await reserve(), undefined, 'nothing is prepared for the first branch');

  const id = await prepared();
  assert.match(id, /^br[a-z0-9]{12}$/);
  assert.ok(!(await node.list(testCtx())).includes(id), 'it is nobody’s branch');
  assert.equal((await volumes.observe(id, testCtx()))?.record.stock, 'prepared');
  const seen = await node.ensure(id, wishOf(id), testCtx());
  assert.ok(seen.endpoint, 'one step is enough');
  assert.deepEqual(await inBranch(id), { name: `name of ${id}`, rows: 0 });
  assert.equal(await logsIn(seen.endpoint, 'app', 'secret'), true);
  assert.equal(await logsIn(seen.endpoint, 'other', 'other'), false);
  const recorded = async () => (await volumes.observe(id, testCtx()))?.record.branch === `name of ${id}`;
  await until(async () => (await recorded()) || undefined, {
    what: 'its record is written',
    deadlineMs: 60_000,
  });
  assert.ok((await node.list(testCtx())).includes(id));

  // Its server has died before anybody came: its volume is as good as before.
  const dead = await prepared();
  await killServer(servers, dead);
  await ready(dead);
  assert.deepEqual(await inBranch(dead), { name: `name of ${dead}`, rows: 0 });

  // The next process finds no use for what was prepared, but for what was promised.
  const promised = await prepared();
  const next = openBranchNode(open);
  assert.ok((await next.list(testCtx())).includes(promised));
  assert.ok((await next.ensure(promised, wishOf(promised), testCtx())).endpoint);
  assert.deepEqual(await inBranch(promised), { name: `name of ${promised}`, rows: 0 });

  await node.remove('parent', testCtx());
  assert.deepEqual(
    (await volumes.list(testCtx())).toSorted(),
    [id, dead, promised, 'first', ...Array.from({ length: made }, (_, i) => `more-${i}`)].toSorted(),
  );
});

test('what is prepared is handed over while its parent has not changed, and never after that', async t => {
  await using b = await testBranches();
  if (!b.volumes.copyOnWrite) return t.skip('volumes are full copies here');
  const { volumes, servers } = b;
  await b.branch('parent');
  const owner = { role: 'app', database: 'app', verifier: await scramVerifier('secret'), inherited: false };
  await servers.grant('parent', owner, testCtx());
  await b.sql('parent', 'CREATE TABLE t (n int)');
  const like = { project: 'test', role: 'app', database: 'app' };
  const stock = keepPrepared({
    ...{ volumes, servers, most: 1, log: silentLog },
    copyPlace: () => () => {},
    isBusy: () => false,
  });
  const take = () => stock.take('parent', like);
  const prepared = () =>
    until(
      async () => {
        const id = await take();
        if (id === undefined) stock.made('parent', like);
        return id;
      },
      { what: 'a server is prepared', deadlineMs: 240_000 },
    );
  // Other changes: bases.test.ts, by the same question.
  for (const change of ['INSERT INTO t VALUES (1)', `ALTER SYSTEM SET work_mem = '5MB'`]) {
    const id = await prepared();
    stock.giveBack(id);
    assert.equal(await stock.take('parent', { ...like, role: 'another' }), undefined);
    await b.sql('parent', 'CHECKPOINT');
    assert.equal(await take(), id, 'what PostgreSQL writes for itself does not matter');
    stock.giveBack(id);
    await b.sql('parent', change);
    assert.equal(await take(), undefined, `stale after: ${change}`);
    await until(async () => ((await volumes.observe(id, testCtx())) ? undefined : true), {
      what: 'what is stale is gone',
      deadlineMs: 60_000,
    });
  }
  stock.made('parent', like); // one may be on its way
  await stock.clear();
  assert.deepEqual(await volumes.list(testCtx()), ['parent']);
});
