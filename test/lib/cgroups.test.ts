import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { it, type TestContext } from 'node:test';
import {
  enter,
  findGroups,
  type Groups,
  groupsOf,
  isPopulated,
  killMembers,
  membersOf,
  memoryKills,
  removeAbandoned,
  removeGroup,
  watchGroup,
} from '../../src/lib/cgroups.ts';
import { tempDir } from '../support/temp.ts';

const uid = process.getuid?.() ?? 1;
const given = process.env.OFFSHOOT_CGROUP;
const MIB = 2 ** 20;

type TestGroups = AsyncDisposable & { readonly groups: Groups };

/** A place for groups that is gone at the end of the scope; undefined, and the test skipped, where there is none. */
async function testGroups(t: TestContext): Promise<TestGroups | undefined> {
  const groups = await findGroups(`offshoot-test-${crypto.randomUUID()}`, given, uid);
  if ('why' in groups) return t.skip(groups.why) as undefined;
  return {
    groups,
    async [Symbol.asyncDispose]() {
      for (const dir of groups.homes) await removeGroup({ dirs: [dir] });
    },
  };
}

function sleeper(script = 'sleep 600 & exec sleep 600') {
  const child = spawn('/bin/sh', ['-c', script], { stdio: 'ignore' });
  return { pid: child.pid!, exited: once(child, 'exit') };
}

it('knows the members of a group, kills all of them, and tells when the last has left', async t => {
  await using test = await testGroups(t);
  if (test === undefined) return;
  const group = await test.groups.make('one');
  assert.deepEqual(await groupsOf(test.groups.homes[0]!), ['one']);
  assert.equal(await isPopulated(group), false);
  const left = new Promise<void>(resolve => {
    const watcher = watchGroup(group, async () => {
      if (await isPopulated(group)) return;
      watcher?.close();
      resolve();
    });
    assert.ok(watcher);
  });
  // A shell that waits, so that its child is born in the group.
  const child = spawn('/bin/sh', ['-c', 'read -r _; setsid sleep 600 & exec sleep 600'], { stdio: 'pipe' });
  const exited = once(child, 'exit');
  await enter(group, child.pid!);
  assert.deepEqual(await membersOf(group), [child.pid]);
  assert.equal(await isPopulated(group), true);
  child.stdin.end('go\n');
  while ((await membersOf(group)).length < 2) await new Promise(setImmediate);
  await killMembers(group);
  assert.deepEqual(await exited, [null, 'SIGKILL']);
  assert.deepEqual(await membersOf(group), []);
  await left;
  await killMembers(group);
  await removeGroup(group);
  await removeGroup(group);
  assert.ok(!existsSync(group.dirs[0]!));
  assert.deepEqual(
    [await isPopulated(group), await membersOf(group), await memoryKills(group)],
    [false, [], 0],
  );
  assert.equal(
    watchGroup(group, () => {}),
    undefined,
  );
});

it('keeps limits, and counts what the kernel kills for want of memory', async t => {
  await using test = await testGroups(t);
  if (test === undefined) return;
  if (test.groups.keeps.length < 2) return t.skip('no controllers');
  const group = await test.groups.make('limited', { memoryBytes: 32 * MIB, cpus: 0.25 });
  // tail keeps a line without an end in its memory.
  const { pid, exited } = sleeper('read -r _ </proc/self/stat; sleep 0.2; exec tail /dev/zero');
  await enter(group, pid);
  assert.deepEqual(await exited, [null, 'SIGKILL']);
  assert.ok((await memoryKills(group)) > 0);
  const files = ['cpu.max', 'cpu.cfs_quota_us'].flatMap(file => group.dirs.map(dir => join(dir, file)));
  const quotas = await Promise.all(files.map(file => readFile(file, 'utf8').catch(() => '')));
  assert.match(quotas.join(''), /^25000( 100000)?\n$/);
  await removeGroup(group);
});

it('makes controllers of the unified hierarchy available, and writes its files', async () => {
  await using dir = await tempDir();
  // The kernel's part is played by plain files; this machine may have these controllers elsewhere.
  const home = join(dir.path, 'mine');
  await mkdir(home);
  for (const place of [dir.path, home]) {
    await writeFile(join(place, 'cgroup.procs'), '');
    await writeFile(join(place, 'cgroup.controllers'), 'cpuset cpu io memory pids\n');
    await writeFile(join(place, 'cgroup.subtree_control'), 'memory\n');
  }
  await writeFile(join(home, 'cgroup.kill'), '');
  const groups = await findGroups('mine', dir.path, 0);
  assert.ok(!('why' in groups));
  assert.deepEqual(groups, { ...groups, homes: [home], keeps: ['memory', 'cpu'] });
  assert.equal(await readFile(join(home, 'cgroup.subtree_control'), 'utf8'), '+cpu');
  await mkdir(join(home, 'a'));
  await writeFile(join(home, 'a', 'memory.swap.max'), 'max\n');
  const group = await groups.make('a', { memoryBytes: 64 * MIB, cpus: 1.5 });
  assert.deepEqual(group, { dirs: [join(home, 'a')] });
  const written = (file: string) => readFile(join(home, 'a', file), 'utf8');
  assert.deepEqual(await Promise.all(['memory.max', 'memory.swap.max', 'cpu.max'].map(written)), [
    '67108864',
    '0',
    '150000 100000',
  ]);
  assert.ok(!existsSync(join(home, 'a', 'memory.oom.group')), 'a file that this kernel does not have');
});

it('says why there is no place for groups, and makes none', async () => {
  await using dir = await tempDir();
  const why = async (place: string | undefined, user: number) => {
    const found = await findGroups('mine', place, user);
    return 'why' in found ? found.why : 'there is one';
  };
  assert.match(await why(undefined, 1234), /an ordinary user needs one that is given, by OFFSHOOT_CGROUP$/);
  assert.match(await why(dir.path, 0), /is no control group$/);
  assert.match(await why(join(dir.path, 'none'), 0), /none is no control group$/);
  await writeFile(join(dir.path, 'cgroup.procs'), '');
  assert.match(
    await why(dir.path, 0),
    /has no cgroup.kill, which the unified hierarchy has since Linux 5\.14$/,
  );
  assert.ok(!existsSync(join(dir.path, 'mine')));
});

it('removes what killed owners have left: old, ours by name, and without a process', async t => {
  await using test = await testGroups(t);
  if (test === undefined) return;
  const place = join(test.groups.homes[0]!);
  for (const name of ['offshoot-dead', 'offshoot-used', 'other-dead'])
    await mkdir(join(place, name, 'part'), { recursive: true });
  const child = sleeper();
  await enter({ dirs: [join(place, 'offshoot-used', 'part')] }, child.pid);
  try {
    assert.deepEqual(await removeAbandoned(place, 'offshoot-'), [], 'none is an hour old');
    assert.deepEqual(await removeAbandoned(place, 'offshoot-', { olderThanMs: 0 }), ['offshoot-dead']);
    assert.deepEqual((await groupsOf(place)).toSorted(), ['offshoot-used', 'other-dead']);
  } finally {
    await killMembers({ dirs: [join(place, 'offshoot-used')] });
    await child.exited;
    for (const name of ['offshoot-used', 'other-dead'])
      await removeGroup({ dirs: [join(place, name), join(place, name, 'part')] });
  }
});
