import assert from 'node:assert/strict';
import { chmod, chown, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { initUserPool } from '../../src/drivers/volume/user-pool.ts';
import { enter, findGroups, killMembers, removeGroup } from '../../src/lib/cgroups.ts';
import { ExecError, type ExecResult, exec, resultOf } from '../../src/lib/exec.ts';
import { findShells, hold } from '../../src/lib/held.ts';
import { root } from '../support/daemon.ts';
import { ordinaryUser, testAs } from '../support/ordinary-user.ts';
import { volumesMissing } from '../support/postgres.ts';
import { tempDir } from '../support/temp.ts';

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

it('a pool is made for a user who is there, and not for root', async () => {
  const no = { code: 'volume/user-pool' };
  await assert.rejects(initUserPool(undefined, 1), no);
  await assert.rejects(initUserPool('offshoot-no-such-user', 1), no);
  await assert.rejects(initUserPool({ uid: 0, gid: 0 }, 1), no);
});

it('an ordinary user has snapshots where root has made a pool for him once, and mounts it himself', async t => {
  const user = await ordinaryUser(t);
  if (user === undefined) return;
  const missing = await volumesMissing('pool');
  if (missing !== undefined) return t.skip(missing);
  await using dir = await tempDir();
  await chmod(dir.path, 0o711);
  // In a mount namespace whose table of mounts, and place of pools, are not this machine's.
  const script = `set -e
    root=$1 dir=$2 node=$3; shift 3
    touch "$dir/fstab"; mkdir -m 755 "$dir/lib"
    mount --bind "$dir/fstab" /etc/fstab; mount --bind "$dir/lib" /var/lib
    cli() { OFFSHOOT_HOME=$dir/none "$root/offshoot" "$@" >>"$dir/said" 2>&1; }
    cli pool init --user --size 256M
    cli pool init --user --size 512M
    stat -c '%s %b %U %a' /var/lib/offshoot-pools/$SUDO_UID.img >"$dir/image"
    umount /var/lib/offshoot-pools/$SUDO_UID
    cli pool init --user --size 900T && exit 3
    umount /var/lib/offshoot-pools/$SUDO_UID || true
    exec "$@" "$node" "$root/test/support/fixtures/own-pool.ts"`;
  const as = ['setpriv', `--reuid=${user.uid}`, `--regid=${user.gid}`, '--clear-groups'];
  const argv = [
    '--mount',
    '--propagation=private',
    'sh',
    '-c',
    script,
    'sh',
    root,
    dir.path,
    process.execPath,
    ...as,
  ];
  const env = { PATH: process.env.PATH ?? '', SUDO_UID: String(user.uid), SUDO_GID: String(user.gid) };
  const { stdout } = await exec('unshare', argv, { env, deadlineMs: 120_000 });
  const { folder, ...found } = JSON.parse(stdout) as Record<string, unknown>;
  const branches = { rows: [2, 1], again: ['main', 'child'], left: [] };
  assert.deepEqual(found, { uid: user.uid, name: 'btrfs', copyOnWrite: true, ...branches });
  const pools = '/var/lib/offshoot-pools';
  assert.match(String(folder), new RegExp(`^${pools}/${user.uid}/[a-z0-9]{10}$`));
  const fstab = await readFile(join(dir.path, 'fstab'), 'utf8');
  const options = 'loop,user,nofail,noatime,nodiscard,user_subvol_rm_allowed';
  assert.equal(fstab, `${pools}/${user.uid}.img ${pools}/${user.uid} btrfs ${options} 0 0\n`);
  const [bytes, blocks, ...rights] = (await readFile(join(dir.path, 'image'), 'utf8')).trim().split(' ');
  assert.deepEqual([Number(bytes), rights], [512 * 2 ** 20, ['root', '600']]);
  assert.ok(Number(blocks) * 512 >= Number(bytes), 'its room is its own');
  const said = await readFile(join(dir.path, 'said'), 'utf8');
  assert.match(said, /^error: there can be no pool for an ordinary user: .* are free in .*$/m);
});
