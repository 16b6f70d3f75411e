/** Our hooks among those that are there, with a real git; what they call is a script of the test's. */
import assert from 'node:assert/strict';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { installHooks, uninstallHooks } from '../../src/cli/git-hook-files.ts';
import { exec } from '../../src/lib/exec.ts';
import { type Worktree, worktreeOf } from '../../src/lib/git.ts';
import { until } from '../../src/lib/wait.ts';
import { gitProject } from '../support/git-project.ts';
import { tempDir } from '../support/temp.ts';

type World = {
  readonly worktree: Worktree;
  readonly env: NodeJS.ProcessEnv;
  readonly launcher: string;
  git(...args: readonly string[]): Promise<string>;
  /** Arguments that the launcher was called with, once there are so many. */
  called(times: number): Promise<readonly string[]>;
  /** What a hook of the user's has written. */
  heard(): readonly string[];
  /** Its hooks, and what configures git. */
  snapshot(): Readonly<Record<string, string>>;
};

async function world(path: string): Promise<World> {
  const global = join(path, 'gitconfig');
  writeFileSync(global, '');
  const env = { PATH: process.env.PATH, HOME: path, GIT_CONFIG_GLOBAL: global, GIT_CONFIG_NOSYSTEM: '1' };
  const project = await gitProject(join(path, "it's code"), { namespace: 'demo', env });
  const calls = join(path, 'calls');
  const launcher = join(path, 'launcher');
  writeFileSync(launcher, `#!/bin/sh\necho "$OFFSHOOT_HOME $*" >> '${calls}'\n`);
  chmodSync(launcher, 0o755);
  const linesOf = (file: string) =>
    existsSync(file) ? readFileSync(file, 'utf8').trimEnd().split('\n') : [];
  const worktree = await worktreeOf(project.folder, env);
  return {
    ...{ worktree, env, launcher },
    git: (...args) => project.git(args),
    called: times =>
      until(() => (linesOf(calls).length >= times ? linesOf(calls) : undefined), {
        ...{ what: `${times} calls of the launcher`, deadlineMs: 60_000 },
      }),
    heard: () => linesOf(join(path, 'heard')),
    snapshot() {
      const config = join(worktree.repository, 'config');
      const hooks = join(worktree.repository, 'hooks');
      const all: Record<string, string> = { config: readFileSync(config, 'utf8') };
      all.global = readFileSync(global, 'utf8');
      all.ours = String(existsSync(join(worktree.repository, 'offshoot')));
      for (const name of existsSync(hooks) ? readdirSync(hooks) : []) {
        const { mode, mtimeMs, ino } = statSync(join(hooks, name));
        all[name] = `${mode} ${mtimeMs} ${ino} ${readFileSync(join(hooks, name), 'utf8')}`;
      }
      return all;
    },
  };
}

/** A hook that notes how it was called and what it was told. */
function hook(path: string, folder: string, name: string, exit = 0): void {
  mkdirSync(folder, { recursive: true });
  const file = join(folder, name);
  const note = `{ echo "$(basename "$0") $(CDPATH= cd "$(dirname "$0")" && pwd) $*"; [ ${name} != reference-transaction ] || cat; } >> '${path}/heard'`;
  writeFileSync(file, `#!/bin/sh\n${note}\nexit ${exit}\n`);
  chmodSync(file, 0o755);
}

test('without other hooks, ours stand beside none', async () => {
  await using dir = await tempDir();
  const w = await world(dir.path);
  const before = w.snapshot();
  await installHooks(w.worktree, w.env, { launcher: w.launcher, home: "/the user's home" });
  assert.equal(await w.git('config', '--default', 'none', '--get', 'core.hooksPath'), 'none\n');
  await w.git('checkout', '--quiet', '-b', 'one');
  await w.git('checkout', '--quiet', '--', 'server.cjs'); // files only
  await w.git('worktree', 'add', '--quiet', '-b', 'two', join(dir.path, 'two'));
  const seen = existsSync('/proc/self/cwd') ? ` ${w.worktree.top}` : ' ';
  const checkout = `/the user's home git hook checkout${seen}`;
  assert.deepEqual(await w.called(2), [checkout, checkout]);
  await w.git('worktree', 'remove', '--force', join(dir.path, 'two'));
  await w.git('branch', '--quiet', '--delete', 'two');
  const all = await w.called(3);
  const told = new RegExp(`^/the user's home git hook deleted -- ${w.worktree.repository} \\d+ two$`);
  assert.match(all.at(-1)!, told);
  // Again is the same, and nothing is left afterwards.
  await installHooks(w.worktree, w.env, { launcher: w.launcher });
  assert.equal(await uninstallHooks(w.worktree, w.env), true);
  assert.equal(await uninstallHooks(w.worktree, w.env), false);
  await w.git('checkout', '--quiet', 'main');
  assert.deepEqual(w.snapshot(), before);
});

for (const kind of [
  'hooks of the repository',
  'a relative core.hooksPath',
  'a global core.hooksPath',
] as const)
  test(`${kind} run as ever, and are as before afterwards`, async () => {
    await using dir = await tempDir();
    const w = await world(dir.path);
    const folder = {
      'hooks of the repository': join(w.worktree.repository, 'hooks'),
      'a relative core.hooksPath': join(w.worktree.top, '.husky'),
      'a global core.hooksPath': join(dir.path, 'all-hooks'),
    }[kind];
    for (const name of ['post-checkout', 'reference-transaction', 'pre-commit']) hook(dir.path, folder, name);
    if (kind === 'a relative core.hooksPath') await w.git('config', 'core.hooksPath', '.husky');
    if (kind === 'a global core.hooksPath')
      await w.git('config', '--global', 'core.hooksPath', '~/all-hooks');
    const before = w.snapshot();
    const play = async () => {
      await w.git('checkout', '--quiet', '-b', 'one');
      await w.git('commit', '--quiet', '--allow-empty', '--message=second');
      await w.git('checkout', '--quiet', 'main');
      await w.git('branch', '--quiet', '-D', 'one');
      const heard = w.heard();
      writeFileSync(join(dir.path, 'heard'), '');
      return heard.map(line => line.replace(/\b[0-9a-f]{40}\b/g, id => (/^0+$/.test(id) ? 'none' : 'id')));
    };
    const alone = await play();
    assert.ok(alone.some(line => line.startsWith('post-checkout ')));
    await installHooks(w.worktree, w.env, { launcher: w.launcher });
    assert.deepEqual(await play(), alone);
    assert.match((await w.called(3)).join('\n'), /hook checkout .*\n.*hook checkout .*(\n.*)*hook deleted /);

    // A hook that comes later runs, too; how one ends is what git gets to know, however ours goes.
    hook(dir.path, folder, 'commit-msg', 1);
    await assert.rejects(w.git('commit', '--allow-empty', '--message=refused'), { exitCode: 1 });
    hook(dir.path, folder, 'post-checkout', 3); // of which git makes 1
    await assert.rejects(w.git('checkout', '--quiet', '-b', 'two'), { exitCode: 1 });
    assert.equal(await w.git('branch', '--show-current'), 'two\n');
    hook(dir.path, folder, 'post-checkout');
    await w.git('checkout', '--quiet', 'main');
    await w.git('branch', '--quiet', '-D', 'two');
    // What was there before has not been touched, and nothing was added.
    await uninstallHooks(w.worktree, w.env);
    const { 'commit-msg': _, 'post-checkout': __, ...after } = w.snapshot();
    const { 'post-checkout': ___, ...first } = before;
    assert.deepEqual(after, first);
  });

test('git neither waits for us nor misses us', async () => {
  await using dir = await tempDir();
  const w = await world(dir.path);
  // It takes until the test has seen that git is done.
  const done = join(dir.path, 'done');
  writeFileSync(
    w.launcher,
    `#!/bin/sh\nuntil [ -e '${done}' ]; do sleep 0.01; done\necho "late $*" >> '${join(dir.path, 'calls')}'\n`,
  );
  await installHooks(w.worktree, w.env, { launcher: w.launcher });
  // `exec` ends when nobody holds the output any more.
  await exec('git', ['checkout', '--quiet', '-b', 'one'], { cwd: w.worktree.top, env: w.env });
  writeFileSync(done, '');
  assert.match((await w.called(1))[0]!, /^late git hook checkout/);
  await installHooks(w.worktree, w.env, { launcher: join(dir.path, 'gone') });
  assert.equal(await w.git('checkout', '-b', 'two'), '');
  await w.git('branch', '--quiet', '-D', 'one');
  await uninstallHooks(w.worktree, w.env);
  await w.git('config', 'extensions.worktreeConfig', 'true');
  await w.git('config', '--worktree', 'core.hooksPath', 'mine');
  await assert.rejects(installHooks(w.worktree, w.env, { launcher: w.launcher }), /for this worktree alone/);
});
