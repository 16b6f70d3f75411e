import assert from 'node:assert/strict';
import { chown } from 'node:fs/promises';
import { join } from 'node:path';
import { it, type TestContext } from 'node:test';
import { chooseServerUser } from '../../src/drivers/postgres/user.ts';
import { enter, findGroups, killMembers, removeGroup } from '../../src/lib/cgroups.ts';
import { exec, resultOf } from '../../src/lib/exec.ts';
import { findShells, hold } from '../../src/lib/held.ts';
import { blockedAt, type UserIds } from '../../src/lib/reach.ts';

/** Test runs that show what differs: mounts are a user namespace's, and no other user is started. */
const runs = [
  ['volume/choose.test.ts', 'postgres/server.test.ts'],
  ['workload/volumes.test.ts', '../lib/namespaces.test.ts'],
  ['--test-name-pattern=write load|removes a volume', 'volume/copy.test.ts'],
];

/** Who that is; undefined, and the test skipped, when he cannot run tests here. */
async function ordinaryUser(t: TestContext): Promise<UserIds | undefined> {
  if (process.getuid?.() !== 0) return t.skip('this is not root: the other tests show it') as undefined;
  const { uid, gid, name } = await chooseServerUser();
  const here = import.meta.dirname;
  const blocked =
    (await blockedAt(here, { uid, gid })) ?? (await blockedAt(join(process.execPath, '..'), { uid, gid }));
  if (blocked !== undefined) return t.skip(`the user "${name}" may not enter ${blocked}`) as undefined;
  return { uid, gid };
}

it('the drivers work for an ordinary user', async t => {
  const user = await ordinaryUser(t);
  if (user === undefined) return;
  // Without NODE_TEST_CONTEXT in its environment each is a test run of its own.
  const options = {
    env: { PATH: process.env.PATH ?? '' },
    cwd: import.meta.dirname,
    ...user,
    deadlineMs: 60_000,
  };
  await Promise.all(runs.map(args => exec(process.execPath, ['--test', ...args], options)));
});

it('an ordinary user has control groups where one was delegated to him', async t => {
  const user = await ordinaryUser(t);
  if (user === undefined) return;
  const groups = await findGroups(`offshoot-test-${crypto.randomUUID()}`, undefined, 0);
  if ('why' in groups) return t.skip(groups.why);
  const [place] = groups.homes;
  const own = await groups.make('daemon');
  await using _groups = {
    async [Symbol.asyncDispose]() {
      await killMembers(own);
      for (const dir of [...own.dirs, ...groups.homes]) await removeGroup({ dirs: [dir] });
    },
  };
  // cgroup-v2.rst, "Model of Delegation": the directory and these files become his.
  for (const path of [place!, ...own.dirs])
    for (const file of ['', 'cgroup.procs', 'cgroup.subtree_control'])
      await chown(join(path, file), user.uid, user.gid);

  const argv = [process.execPath, '--test', 'processes/registry.test.ts', '../lib/cgroups.test.ts'];
  const env = { PATH: process.env.PATH ?? '', OFFSHOOT_CGROUP: place! };
  const held = await hold(
    { argv, env, cwd: import.meta.dirname, ...user, stdout: 'pipe', stderr: 'pipe' },
    await findShells(env.PATH),
  );
  await enter(own, held.id.pid);
  const result = resultOf(held.child, argv, { deadlineMs: 90_000 });
  held.go();
  const { stdout } = await result;
  const skipped = [...stdout.matchAll(/﹣ .* # (.*)/g)].map(([, why]) => why!);
  assert.deepEqual(
    skipped.filter(why => !/^(no controllers|here a process)/.test(why)),
    [],
    'it has groups',
  );
});
