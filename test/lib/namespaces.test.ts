import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { exec } from '../../src/lib/exec.ts';
import { findPrivateMounts, withPrivateMounts } from '../../src/lib/namespaces.ts';
import { tempDir } from '../support/temp.ts';

const path = process.env.PATH ?? '';

it('shows a program other files, without a trace on the machine', async t => {
  const mounts = await findPrivateMounts(path, { userNamespaces: true, hide: '/nonexistent' });
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
  const argv = withPrivateMounts(mounts, binds, ['/bin/sh', '-c', script, 'sh', dir.path, '-- $HOME']);
  const { stdout } = await exec(argv[0]!, argv.slice(1), { cwd: dir.path, env: { PATH: path } });
  assert.match(stdout, /^new -- \$HOME \d+ \(sh\) /);
  assert.equal(await readFile(at('target'), 'utf8'), 'old');
  assert.ok(existsSync(at('from/made')) && !existsSync(at('to/made')) && !existsSync(at('bad')));
  assert.ok(!(await readFile('/proc/self/mountinfo', 'utf8')).includes(dir.path));
});

it('passes all variables on, also those that a shell cannot use', async t => {
  const mounts = await findPrivateMounts(path, { userNamespaces: true, hide: '/nonexistent' });
  if ('why' in mounts) return t.skip(mounts.why);
  if (mounts.enter.includes('/bin/sh')) return t.skip('there is no bash');
  const argv = withPrivateMounts(mounts, [], ['env']);
  const env = { PATH: path, 'spring.datasource.url': 'x', 'BASH_FUNC_exec%%': '() { echo instead; }' };
  const { stdout } = await exec(argv[0]!, argv.slice(1), { env });
  assert.match(stdout, /^spring\.datasource\.url=x$/m);
});

it('does not start the program when a mount fails', async t => {
  const mounts = await findPrivateMounts(path, { userNamespaces: true, hide: '/nonexistent' });
  if ('why' in mounts) return t.skip(mounts.why);
  const argv = withPrivateMounts(mounts, [{ source: '/nonexistent', target: '/tmp' }], ['echo', 'started']);
  await assert.rejects(exec(argv[0]!, argv.slice(1), { env: { PATH: path } }), { exitCode: 125, stdout: '' });
});

it('says why there are none', async () => {
  const found = await findPrivateMounts('/nonexistent', { userNamespaces: true, hide: '/nonexistent' });
  assert.ok('why' in found && found.why !== '');
});

it('hides what is mounted below a directory, and does not keep it busy', async t => {
  if (process.getuid?.() !== 0) return t.skip('only root can mount');
  await using dir = await tempDir();
  const mounts = await findPrivateMounts(path, { userNamespaces: false, hide: dir.path });
  if ('why' in mounts) return t.skip(mounts.why);
  const target = join(dir.path, 'mounted');
  await mkdir(target);
  await exec('mount', ['-t', 'tmpfs', 'none', target], { env: { PATH: path } });
  await using _mounted = {
    [Symbol.asyncDispose]: async () => void (await exec('umount', [target], { env: { PATH: path } })),
  };
  const argv = withPrivateMounts(mounts, [], ['cat', '/proc/self/mountinfo']);
  const { stdout } = await exec(argv[0]!, argv.slice(1), { env: { PATH: path } });
  assert.ok(!stdout.includes(target));
  assert.ok((await readFile('/proc/self/mountinfo', 'utf8')).includes(target), 'the machine still has it');
});
