import assert from 'node:assert/strict';
import { chown } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { enter, findGroups, killMembers, removeGroup } from '../../src/lib/cgroups.ts';
import { ExecError, type ExecResult, exec, resultOf } from '../../src/lib/exec.ts';
import { findShells, hold } from '../../src/lib/held.ts';
import { ordinaryUser, testAs } from '../support/ordinary-user.ts';

/** Test runs that show what differs: mounts are a user namespace's, and no other user is started. */
const runs = [
  ['volume/choose.test.ts', 'postgres/server.test.ts'],
  ['--test-name-pattern=shows|asks by probes', 'workload/volumes.test.ts', '../lib/namespaces.test.ts'],
  ['network/outpost.test.ts'],
  ['--test-name-pattern=side by side|exec probes|next daemon', 'workload/pod-network.test.ts'],
  ['--test-name-pattern=write load|removes a volume', 'volume/copy.test.ts'],
];

it('the drivers work for an ordinary user', async t => {
  const user = await ordinaryUser(t);
  if (user === undefined) return;
  await Promise.all(runs.map(args => testAs(user, import.meta.dirname, args)));
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

it('an ordinary user is told why when the system allows no user namespaces', async t => {
  const user = await ordinaryUser(t);
  if (user === undefined) return;
  // One that root makes, in which nobody may make another.
  const script = `unshare --user sleep 60 & pid=$!
    trap 'kill $pid' EXIT
    for try in 1 2 3 4 5 6 7 8 9 10; do
      [ "$(readlink /proc/$pid/ns/user)" = "$(readlink /proc/self/ns/user)" ] || break; sleep 0.1
    done
    echo '0 0 65536' >/proc/$pid/uid_map && echo '0 0 65536' >/proc/$pid/gid_map || exit 3
    nsenter --user --target $pid sh -c 'echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"' sh "$@"`;
  const as = ['setpriv', `--reuid=${user.uid}`, `--regid=${user.gid}`, '--clear-groups'];
  const program = [process.execPath, join(import.meta.dirname, '../support/fixtures/refused.ts')];
  const env = { PATH: process.env.PATH ?? '' };
  const options = { env, deadlineMs: 60_000 };
  const ran = await exec('/bin/sh', ['-c', script, 'sh', ...as, ...program], options).catch(error => error);
  if (ran instanceof ExecError && ran.exitCode === 3) return t.skip('no user namespace with many users here');
  const { mounts, networks } = JSON.parse((ran as ExecResult).stdout) as Record<string, string>;
  assert.match(mounts!, /^no user namespaces: /);
  assert.match(networks!, /the system allows no user namespaces$/);
});
