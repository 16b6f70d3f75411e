/** The trash on real PostgreSQL: what a person deletes stops, survives a crash of the daemon, and comes back with its data. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Client } from '../../src/client/index.ts';
import { until } from '../../src/lib/wait.ts';
import type { BranchView, TrashView } from '../../src/model/view.ts';
import { testDaemon } from '../support/daemon.ts';
import { runSql } from '../support/run-sql.ts';

/** What the gateway says of a branch that nobody can reach: the same as of a wrong password. */
const unknown = { message: /password authentication failed .*28P01/ };

test('the trash', async () => {
  await using daemon = await testDaemon();
  const { cli } = daemon;
  const ok = async (...args: readonly string[]) => {
    const result = await cli(args);
    assert.equal(result.code, 0, `${args.join(' ')}: ${result.stderr}`);
    return result.stdout.trim();
  };
  const count = async (url: string) => {
    const [result] = await runSql(url, 'select count(*)::int from t', AbortSignal.timeout(60_000));
    return result!.rows[0]![0];
  };
  const held = async () => JSON.parse(await ok('trash', 'list', '-o', 'json')) as TrashView[];
  const stopped = async (id: string) => {
    const filter = { kind: 'branch', name: id };
    for await (const change of daemon.client.watch<BranchView>(filter, AbortSignal.timeout(60_000)))
      if (change.type === 'put' && change.object.reason === 'Trashed') return;
  };

  await ok('project', 'create', 'shop');
  await ok('sql', 'main', '-p', 'shop', '-c', 'create table t (n int); insert into t values (1), (2)');
  await ok('branch', 'create', 'fix', '-p', 'shop');
  await ok('sql', 'fix', '-p', 'shop', '-c', 'insert into t values (3)');
  const [main, fix] = [
    await ok('branch', 'url', 'main', '-p', 'shop'),
    await ok('branch', 'url', 'fix', '-p', 'shop'),
  ];

  const refused = await cli(['project', 'delete', 'shop', '--yes']);
  assert.match(refused.stderr, /^error: project "shop" still has branches: fix\n/);
  await ok('branch', 'delete', 'fix', '-p', 'shop');
  await assert.rejects(count(fix), unknown);
  await ok('project', 'delete', 'shop', '--yes');
  await assert.rejects(count(main), unknown);
  const ids = (await held()).map(e => e.id);
  assert.deepEqual(
    (await held()).map(e => [e.kind, e.name]),
    [
      ['branch', 'fix'],
      ['project', 'shop'],
    ],
  );
  const branch = ids[0]!;
  await stopped(branch);

  await daemon.kill9();
  await ok('up', '--detach');
  await stopped(branch);
  assert.deepEqual(
    (await held()).map(e => e.id),
    ids,
  );
  await assert.rejects(count(fix), unknown);

  // The name is free: another project has it by now.
  await ok('project', 'create', 'shop');
  assert.match((await cli(['trash', 'restore', 'shop'])).stderr, /--as NAME"\n$/);
  await ok('trash', 'restore', 'shop', '--as', 'shop-old');
  await ok('trash', 'restore', 'fix');
  assert.deepEqual([await count(main), await count(fix)], [2, 3], 'at the addresses that they had');
  assert.equal(await ok('branch', 'url', 'fix', '-p', 'shop-old'), fix);

  await ok('branch', 'delete', 'fix', '-p', 'shop-old');
  await ok('project', 'delete', 'shop-old', '--yes');
  await ok('trash', 'empty', '--yes');
  await until(async () => ((await everyBranch(daemon.client)).includes(branch) ? undefined : true), {
    what: 'it is gone for good',
    deadlineMs: 60_000,
  });
});

// --- internal ------------------------------------------------------------------------------------

/** Ids, also of what is being deleted. */
async function everyBranch(client: Client): Promise<readonly string[]> {
  const ids: string[] = [];
  for await (const change of client.watch({ kind: 'branch' }, AbortSignal.timeout(60_000))) {
    if (change.type === 'put') ids.push(change.name);
    if (change.type === 'synced') break;
  }
  return ids;
}
