import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openBranchNode } from '../../../src/drivers/branch/node.ts';
import type { BranchNode, BranchWish } from '../../../src/drivers/contract.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { scramVerifier } from '../../../src/lib/scram.ts';
import { until } from '../../../src/lib/wait.ts';
import { inUtc } from '../../../src/model/history.ts';
import { type TestBranches, testBranches, testCtx } from '../../support/postgres.ts';

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

test('a branch holds exactly what its parent held at a moment: with segments that are kept, with one that is being written, and from a parent that sleeps', async () => {
  await using b = await testBranches();
  const node = openBranchNode({ ...b, startsAtOnce: 2, historyMs: 50, log: silentLog });
  const main = await wish({ history: HOUR });
  await ready(node, 'main', main);
  await b.sql('main', 'CREATE TABLE words (n serial, word text)');
  await b.sql('main', `INSERT INTO words (word) VALUES ('before')`);
  await reached(node, 'main', 1);
  const moments: string[] = [];
  for (const word of ['a', 'b', 'c', 'd']) {
    await b.sql('main', `SET synchronous_commit = off; INSERT INTO words (word) VALUES ('${word}')`);
    moments.push(await momentOf(b, 'main'));
    // Segments come to their end between the first of them, and not after the last.
    if (word < 'c') await b.sql('main', 'SELECT pg_switch_wal()');
  }
  const [a, , c, d] = moments as [string, string, string, string];
  const child = async (id: string, moment: string) => {
    await ready(node, id, await wish({ branch: id, parent: 'main', moment }));
    return words(b, id);
  };
  assert.deepEqual(await child('one', a), ['before', 'a']);
  assert.deepEqual(await child('three', c), ['before', 'a', 'b', 'c']);
  assert.deepEqual(await child('four', d), ['before', 'a', 'b', 'c', 'd']);
  // It is a server of its own: it has no slot, nothing of the log of its parent can be reached from it, and it is written to.
  await b.sql('one', `INSERT INTO words (word) VALUES ('mine')`);
  assert.deepEqual(await b.sql('one', 'SELECT slot_name FROM pg_replication_slots'), []);
  assert.deepEqual(
    await b.sql(
      'one',
      `SELECT name, setting FROM pg_settings WHERE name ~ 'restore_command|archive_mode|recovery_target_time$' AND setting NOT IN ('', 'off')`,
    ),
    [],
  );
  assert.equal((await node.sleep('main', main, true, testCtx(MINUTES))).busy, undefined);
  assert.deepEqual(await child('asleep', c), ['before', 'a', 'b', 'c']);
  assert.deepEqual(await child('end', inUtc(new Date().toISOString())), ['before', 'a', 'b', 'c', 'd']);

  const early = await node.ensure(
    'early',
    await wish({ branch: 'early', parent: 'main', moment: '2020-01-01T00:00:00Z' }),
    testCtx(),
  );
  assert.equal(early.failure?.code, 'history/out-of-range');
  await node.close();
});
