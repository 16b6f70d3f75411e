import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { exec, resultOf } from '../../src/lib/exec.ts';
import { findShells, hold } from '../../src/lib/held.ts';
import { type Bind, findPrivateMounts, type PrivateMounts } from '../../src/lib/namespaces.ts';
import { tempDir } from '../support/temp.ts';

const path = process.env.PATH ?? '';
const shells = await findShells(path);
const find = (options: Partial<Parameters<typeof findPrivateMounts>[2]> = {}) =>
  findPrivateMounts(path, shells, { hide: '/nonexistent', ...options });

/** Runs a program with `binds` mounted. */
async function run(how: PrivateMounts, binds: readonly Bind[], argv: readonly string[], cwd = '/') {
  const program = { argv, env: { PATH: path }, cwd, stdout: 'pipe', stderr: 'pipe' } as const;
  const held = await hold({ ...program, mounts: { how, binds } }, shells);
  const result = resultOf(held.child, argv, {});
  held.go();
  return await result;
}

it('shows a program other files, without a trace on the machine', async t => {
  const mounts = await find();
  if ('why' in mounts) return t.skip(mounts.why);
  await using dir = await tempDir();
  const at = (name: string) => join(dir.path, name);
  await writeFile(at('a file; $(touch bad)'), 'new');
  await writeFile(at('target'), 'old');
  await mkdir(at('from'));
  await mkdir(at('to'));
  const binds = [
    { source: at('a file; $(touch bad)'), target: at('target') },
    { source: at('from'), target: at('to') },
  ];
  const script =
    'cat "$1/target"; echo -n " $2" ; touch "$1/to/made"; read -r stat </proc/$$/stat; echo " $stat"';
  const argv = ['/bin/sh', '-c', script, 'sh', dir.path, '-- $HOME'];
  const { stdout } = await run(mounts, binds, argv, dir.path);
  assert.match(stdout, /^new -- \$HOME \d+ \(sh\) /);
  assert.equal(await readFile(at('target'), 'utf8'), 'old');
  assert.ok(existsSync(at('from/made')) && !existsSync(at('to/made')) && !existsSync(at('bad')));
  assert.ok(!(await readFile('/proc/self/mountinfo', 'utf8')).includes(dir.path));
});

it('runs a program as who started it, also through a user namespace, and with another root', async t => {
  const how = await find();
  if ('why' in how) return t.skip(how.why);
  const argv = ['/bin/sh', '-c', 'echo "$(id -u) $(id -g) $PWD"'];
  const program = { argv, env: { PATH: path }, cwd: '/', stdout: 'pipe', stderr: 'pipe' } as const;
  const held = await hold({ ...program, mounts: { how, binds: [], root: '/', cwd: '/usr' } }, shells);
  const result = resultOf(held.child, argv, {});
  held.go();
  const { stdout } = await result;
  assert.equal(stdout.split('\n')[0], `${process.getuid!()} ${process.getgid!()} /usr`);
});

it('does not start the program when a mount fails', async t => {
  const mounts = await find();
  if ('why' in mounts) return t.skip(mounts.why);
  const started = run(mounts, [{ source: '/nonexistent', target: '/tmp' }], ['/bin/echo', 'started']);
  await assert.rejects(started, { exitCode: 125, stdout: '' });
});

it('says why there are none', async () => {
  const options = { hide: '/nonexistent' };
  const found = await findPrivateMounts('/nonexistent', shells, options);
  assert.ok('why' in found && found.why !== '');
});

it('hides what is mounted below a directory, and does not keep it busy', async t => {
  if (process.getuid?.() !== 0) return t.skip('only root can mount');
  await using dir = await tempDir();
  const mounts = await find({ hide: dir.path });
  if ('why' in mounts) return t.skip(mounts.why);
  const target = join(dir.path, 'mounted');
  await mkdir(target);
  await exec('mount', ['-t', 'tmpfs', 'none', target], { env: { PATH: path } });
  await using _mounted = {
    [Symbol.asyncDispose]: async () => void (await exec('umount', [target], { env: { PATH: path } })),
  };
  const { stdout } = await run(mounts, [], ['/bin/cat', '/proc/self/mountinfo']);
  assert.ok(!stdout.includes(target));
  assert.ok((await readFile('/proc/self/mountinfo', 'utf8')).includes(target), 'the machine still has it');
});
