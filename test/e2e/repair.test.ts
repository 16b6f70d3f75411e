/** state.db is lost: what is written beside the data is enough to bring the branches back. */
import assert from 'node:assert/strict';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { BranchView, RepairView } from '../../src/model/view.ts';
import { testDaemon } from '../support/daemon.ts';

test('branches come back after state.db was lost', async () => {
  await using daemon = await testDaemon();
  const run = async (...args: readonly string[]) => {
    const result = await daemon.cli(args);
    assert.equal(result.code, 0, `offshoot ${args.join(' ')}: ${result.stderr}`);
    return result;
  };
  const json = async <T>(...args: readonly string[]) =>
    JSON.parse((await run(...args, '-o', 'json')).stdout) as T;
  const names = (branches: readonly BranchView[]) => branches.map(b => `${b.id} ${b.name} of ${b.parent}`);

  await run('project', 'create', 'shop', '--database', 'goods', '--role', 'clerk');
  await run('branch', 'create', 'fix', '-p', 'shop');
  await run('sql', 'fix', '-p', 'shop', '-c', 'create table kept as select 42 as n');
  const before = await json<readonly BranchView[]>('branch', 'list', '-p', 'shop');
  const url = (await run('branch', 'url', 'fix', '-p', 'shop')).stdout;

  await run('down');
  for (const name of await readdir(daemon.home))
    if (name.startsWith('state.db')) await rm(join(daemon.home, name), { recursive: true });
  await run('up', '--detach');

  assert.deepEqual(await json('project', 'list'), [], 'no new default takes the place of the old one');
  assert.match(
    (await run('status')).stdout,
    /leftover +volume b\w+ belongs to no branch: see "offshoot repair"/,
  );
  const plan = await run('repair');
  assert.match(plan.stdout, /shop +fix +b\w+ +main/);
  assert.match(plan.stderr, /3 branches would be brought back with new passwords; do it with --yes/);
  assert.deepEqual(await json('project', 'list'), []);

  const done = await run('repair', '--yes');
  assert.match(done.stderr, /3 branches brought back/);
  for (const [branch, project] of [
    ['main', 'default'],
    ['main', 'shop'],
    ['fix', 'shop'],
  ] as const)
    await run('branch', 'wait', branch, '-p', project);
  const after = await json<readonly BranchView[]>('branch', 'list', '-p', 'shop');
  assert.deepEqual(names(after), names(before));
  assert.deepEqual(
    after.map(b => b.createdAt),
    before.map(b => b.createdAt),
  );
  const answer = await json<{ rows: unknown }>('sql', 'fix', '-p', 'shop', '-c', 'select n from kept');
  assert.deepEqual(answer.rows, [{ n: 42 }]);
  assert.notEqual((await run('branch', 'url', 'fix', '-p', 'shop')).stdout, url, 'the password is new');
  assert.doesNotMatch((await run('status')).stdout, /leftover/);
  assert.deepEqual(await json<readonly RepairView[]>('repair'), []);
});
