import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { openHistory } from '../../../src/drivers/branch/history.ts';
import { openBranchNode } from '../../../src/drivers/branch/node.ts';
import type { VolumeDriver } from '../../../src/drivers/branch-parts.ts';
import type { BranchNode, BranchWish } from '../../../src/drivers/contract.ts';
import { KeyedLock } from '../../../src/lib/lock.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { scramVerifier } from '../../../src/lib/scram.ts';
import { until } from '../../../src/lib/wait.ts';
import { asSuperuser, type TestBranches, testBranches, testCtx } from '../../support/postgres.ts';

const HOUR = { keepSeconds: 3600, everySeconds: 3600 };
const MINUTES = 120_000;

const wish = async (over: Partial<BranchWish> = {}): Promise<BranchWish> => ({
  project: 'p',
  branch: 'main',
  createdAt: '2030-01-01T00:00:00Z',
  role: 'app',
  database: 'app',
  verifier: await scramVerifier('secret'),
  ...over,
});

/** Steps until it is ready. */
async function ready(node: BranchNode, id: string, what: BranchWish): Promise<void> {
  await until(
    async () => {
      const seen = await node.ensure(id, what, testCtx(MINUTES));
      assert.equal(seen.failure, undefined, JSON.stringify(seen.failure));
      return seen.endpoint;
    },
    { what: `${id} is ready`, deadlineMs: MINUTES },
  );
}

const reached = (node: BranchNode, id: string, count: number) =>
  until(async () => ((await node.history(id, testCtx()))?.snapshots.length ?? 0) >= count || undefined, {
    what: `${count} snapshots of ${id}`,
    deadlineMs: MINUTES,
  });

/** A moment between what was committed before and what comes after, by the server's clock. */
async function momentOf(b: TestBranches, id: string): Promise<string> {
  const [row] = await b.sql(
    id,
    `SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS at, pg_sleep(0.002)`,
  );
  return String(row!.at);
}

const words = async (b: TestBranches, id: string) =>
  (await b.sql(id, 'SELECT word FROM words ORDER BY n')).map(row => row.word);

test('a branch holds exactly what its parent held at a moment, in segments that are kept or just being written, also when that sleeps or has begun anew', async () => {
  await using b = await testBranches();
  const node = openBranchNode({ ...b, startsAtOnce: 2, historyMs: 50, log: silentLog });
  const main = await wish({ history: HOUR });
  await ready(node, 'main', main);
  await b.sql('main', 'CREATE TABLE words (n serial, word text)');
  await b.sql('main', `INSERT INTO words (word) VALUES ('before')`);
  await reached(node, 'main', 1);
  const moments: string[] = [];
  for (const word of ['a', 'b', 'c']) {
    // Who does not wait for the disk is heard, too.
    await b.sql('main', `SET synchronous_commit = off; INSERT INTO words (word) VALUES ('${word}')`);
    moments.push(await momentOf(b, 'main'));
    if (word < 'c') await b.sql('main', 'SELECT pg_switch_wal()');
  }
  const [first, second, third] = moments as [string, string, string];
  const child = async (id: string, moment: string) => {
    await ready(node, id, await wish({ branch: id, parent: 'main', moment }));
    return words(b, id);
  };
  assert.deepEqual(await child('one', first), ['before', 'a']);
  assert.deepEqual(await child('three', third), ['before', 'a', 'b', 'c']);
  // It is a server of its own, and knows nothing of what its parent keeps.
  await b.sql('one', `INSERT INTO words (word) VALUES ('mine')`);
  assert.deepEqual(await b.sql('one', 'SELECT slot_name FROM pg_replication_slots'), []);
  const names = `name IN ('restore_command', 'recovery_target_time') AND setting <> '' OR name = 'archive_mode' AND setting <> 'off'`;
  assert.deepEqual(await b.sql('one', `SELECT name, setting FROM pg_settings WHERE ${names}`), []);
  const { dataDir } = (await b.volumes.observe('one', testCtx()))!;
  assert.ok(!(await readdir(dataDir)).some(name => name.startsWith('offshoot')));
  const { spans } = (await node.history('main', testCtx()))!;
  const early = await node.ensure(
    'early',
    await wish({ branch: 'early', parent: 'main', moment: '2020-01-01T00:00:00Z' }),
    testCtx(),
  );
  const { code, params } = early.failure!;
  assert.deepEqual([code, params.range], ['history/out-of-range', `${spans[0]!.from} to now`]);

  // Back to a moment in its own place; what it held until then can still be reached, and what comes after it, too.
  const back = { ...main, reset: { count: 1, from: 'main', moment: second } };
  await ready(node, 'main', back);
  assert.deepEqual(await words(b, 'main'), ['before', 'a', 'b']);
  await b.sql('main', `INSERT INTO words (word) VALUES ('other')`);
  await reached(node, 'main', 2);
  const later = await momentOf(b, 'main');
  await node.sleep('main', back, true, testCtx(MINUTES));
  assert.deepEqual(await child('old', third), ['before', 'a', 'b', 'c']);
  assert.deepEqual(await child('new', later), ['before', 'a', 'b', 'other']);

  // Without one segment of its log nobody gets less than what was asked for.
  const kept = (await b.volumes.observe('main-wal', testCtx()))!.dataDir;
  const [segment] = (await readdir(join(kept, '1'))).sort();
  await rm(join(kept, '1', segment!));
  const torn = await node.ensure(
    'torn',
    await wish({ branch: 'torn', parent: 'main', moment: third }),
    testCtx(MINUTES),
  );
  assert.equal(torn.failure?.code, 'history/not-recovered');

  // It goes with the branch, and all of it.
  await node.remove('main', testCtx(MINUTES));
  assert.deepEqual(
    (await b.volumes.list(testCtx())).filter(id => id.startsWith('main')),
    [],
  );
  await node.close();
});

test('snapshots are made while something changes and go when they are too old; for want of room they go first; and nothing is left of what nobody wants', async () => {
  await using b = await testBranches();
  const room = { short: false };
  const volumes: VolumeDriver = {
    ...b.volumes,
    room: async () => ({ ...(await b.volumes.room()), ...(room.short && { freeBytes: 0, reserveBytes: 0 }) }),
  };
  const servers = b.servers;
  const alone = new KeyedLock();
  let hours = 0;
  const history = openHistory({
    volumes,
    servers,
    alone: (id, work) => alone.run(id, work),
    snapshot: async (_, make) => make().then(() => true),
    lookMs: 5,
    now: () => new Date(Date.parse('2030-01-01T00:00:00Z') + hours * 3_600_000),
    log: silentLog,
  });
  await b.branch('main');
  const shots = async () => (await history.of('main', testCtx()))?.snapshots.map(at => at.slice(11, 16));
  const are = (...times: readonly string[]) =>
    until(async () => isDeepStrictEqual(await shots(), times) || undefined, {
      what: `snapshots at ${times}`,
      deadlineMs: MINUTES,
    });
  const slots = async () => (await b.sql('main', 'SELECT slot_name FROM pg_replication_slots')).length;
  history.want('main', { keepSeconds: 2 * 3600, everySeconds: 3600 });
  await are('00:00');
  for (const [hour, ...times] of [
    [1, '00:00', '01:00'],
    [2, '00:00', '01:00', '02:00'],
    // What was held two hours ago is reached from the newest snapshot before that.
    [3, '01:00', '02:00', '03:00'],
  ] as const) {
    await b.sql('main', `SELECT pg_logical_emit_message(true, 'test', 'x')`);
    hours = hour;
    await are(...times);
  }
  const list = async () => (await b.volumes.list(testCtx())).filter(id => id !== 'main').length;
  // What is too old is gone from the list before it is from the disk.
  await until(async () => (await list()) === 4 || undefined, {
    what: 'three snapshots and the log are left',
    deadlineMs: MINUTES,
  });
  const wal = (await b.volumes.observe('main-wal', testCtx()))!.dataDir;
  await b.sql('main', "SELECT pg_switch_wal(), pg_logical_emit_message(true, 'test', 'x')");
  await until(async () => (await readdir(join(wal, '1'))).length > 0 || undefined, {
    what: 'a segment is kept',
    deadlineMs: MINUTES,
  });

  room.short = true;
  await history.giveWay();
  await are('02:00', '03:00');
  await history.giveWay();
  await history.giveWay();
  await until(async () => ((await shots()) === undefined && (await slots()) === 0) || undefined, {
    what: 'all of it is given up, and the server keeps nothing for it',
    deadlineMs: MINUTES,
  });
  room.short = false;
  await are('03:00');
  assert.equal(await slots(), 1);
  history.want('main', undefined);
  await until(async () => ((await list()) === 0 && (await slots()) === 0) || undefined, {
    what: 'nothing is left of it',
    deadlineMs: MINUTES,
  });
  await history.close();
});

test('a history that begins while a checkpoint goes on has all of its log', async () => {
  await using b = await testBranches();
  await b.branch('main');
  // Pages for a checkpoint to write that is in no hurry, and a segment between the one before it and its own.
  await b.sql('main', 'CREATE TABLE pages AS SELECT 1 AS n');
  await b.sql('main', `INSERT INTO pages SELECT n FROM generate_series(1, 200000) n`);
  await b.sql('main', 'SELECT pg_switch_wal()');
  const slow = new AbortController();
  const checkpoint = asSuperuser(b.options, 'main', async client => {
    slow.signal.addEventListener('abort', () => void client.end());
    await client.query(`SELECT pg_backup_start('slow', false)`);
  }).catch(() => {});
  const goesOn = `SELECT pg_walfile_name(lsn) > redo_wal_file AS yes
    FROM pg_create_physical_replication_slot('probe', true, true), pg_control_checkpoint()`;
  await until(async () => (await b.sql('main', goesOn))[0]!.yes || undefined, {
    what: 'a checkpoint goes on',
    deadlineMs: MINUTES,
  });
  const history = openHistory({
    ...{ volumes: b.volumes, servers: b.servers, lookMs: 5, log: silentLog },
    alone: (_, work) => work(),
    snapshot: async (_, make) => make().then(() => true),
  });
  history.want('main', HOUR);
  const reach = await until(() => history.of('main', testCtx()), {
    what: 'a snapshot',
    deadlineMs: MINUTES,
  });
  const wal = join((await b.volumes.observe('main-wal', testCtx()))!.dataDir, '1');
  for (let kept = 0; kept < 2; kept++) {
    await b.sql('main', `SELECT pg_switch_wal(), pg_logical_emit_message(true, 'test', 'x')`);
    await until(async () => (existsSync(wal) && (await readdir(wal)).length > kept) || undefined, {
      what: `segment ${kept} is kept`,
      deadlineMs: MINUTES,
    });
  }
  assert.deepEqual((await history.of('main', testCtx()))!.spans, reach.spans);
  slow.abort();
  await checkpoint;
  await history.close();
});

test('while no daemon copies its log, a server keeps no more of it than it may: then a history says until when it goes, and another begins', async () => {
  await using b = await testBranches(undefined, { keptWalBytes: 16 * 2 ** 20 });
  const open = () => {
    const servers = { ...b.servers, close: async () => {} }; // they go on
    return openBranchNode({ ...b, servers, startsAtOnce: 2, historyMs: 50, log: silentLog });
  };
  const main = await wish({ history: HOUR });
  let node = open();
  await ready(node, 'main', main);
  await b.sql('main', 'CREATE TABLE words (n serial, word text)');
  await reached(node, 'main', 1);
  const wal = join((await b.volumes.observe('main-wal', testCtx()))!.dataDir, '1');
  const moments: string[] = [];
  for (const word of ['a', 'b']) {
    await b.sql('main', `INSERT INTO words (word) VALUES ('${word}')`);
    moments.push(await momentOf(b, 'main'));
    const before = existsSync(wal) ? (await readdir(wal)).length : 0;
    await b.sql('main', 'SELECT pg_switch_wal()');
    await until(async () => (existsSync(wal) && (await readdir(wal)).length > before) || undefined, {
      what: `the segment with ${word} is kept`,
      deadlineMs: MINUTES,
    });
  }
  await node.close();

  const lost = `SELECT wal_status = 'lost' AS yes, invalidation_reason AS why FROM pg_replication_slots`;
  for (let mib = 0; mib < 48; mib += 4)
    await b.sql('main', `SELECT pg_logical_emit_message(true, 'test', repeat('x', 4194304))`);
  await b.sql('main', `INSERT INTO words (word) VALUES ('c')`);
  moments.push(await momentOf(b, 'main'));
  await b.sql('main', 'CHECKPOINT');
  assert.deepEqual(await b.sql('main', lost), [{ yes: true, why: 'wal_removed' }]);

  node = open();
  await ready(node, 'main', main);
  const spans = await until(
    async () => {
      const found = (await node.history('main', testCtx()))?.spans;
      return found !== undefined && found.length > 1 ? found : undefined;
    },
    { what: 'another history', deadlineMs: MINUTES },
  );
  assert.deepEqual(
    spans.map(({ to, cut }) => [to !== undefined, cut]),
    [
      [true, true],
      [false, undefined],
    ],
  );
  const [first, , third] = moments as [string, string, string];
  await ready(node, 'one', await wish({ branch: 'one', parent: 'main', moment: first }));
  assert.deepEqual(await words(b, 'one'), ['a']);
  const gap = await node.ensure(
    'gap',
    await wish({ branch: 'gap', parent: 'main', moment: third }),
    testCtx(),
  );
  assert.equal(gap.failure?.code, 'history/out-of-range');
  await node.close();
});
