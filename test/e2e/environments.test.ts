/** Environments of git branches, with real worktrees, databases and programs. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseEnv } from 'node:util';
import pg from 'pg';
import { http } from '../../scripts/demo/http.ts';
import { until } from '../../src/lib/wait.ts';
import type { SandboxView } from '../../src/model/view.ts';
import { runCli } from '../support/cli.ts';
import { root, type TestDaemon, testDaemon } from '../support/daemon.ts';
import { edit, gitProject } from '../support/git-project.ts';
import { tempDir } from '../support/temp.ts';

/** The command line in a folder, which must succeed. */
const inFolder =
  ({ env }: TestDaemon) =>
  async (cwd: string, ...args: readonly string[]) => {
    const { code, stdout, stderr } = await runCli(args, { cwd, env });
    assert.equal(code, 0, `offshoot ${args.join(' ')}: ${stderr}`);
    return { stdout, stderr };
  };

test('each edit shows in the environment of its folder and nowhere else', async () => {
  await using daemon = await testDaemon();
  await using dir = await tempDir();
  const run = inFolder(daemon);
  const one = await gitProject(join(dir.path, 'one'), {
    ...{ namespace: 'demo', environment: { copy: ['node_modules', '.env'] } },
  });
  const other = await gitProject(join(dir.path, 'other'), { namespace: 'demo' });
  await run(one.folder, 'deploy', '-f', 'k8s');
  const key = (await run('/', 'key', 'create', 'test')).stdout.trim();

  const second = join(dir.path, 'one-login');
  await one.git(['checkout', '--quiet', '-b', 'fix']);
  await one.git(['worktree', 'add', '--quiet', '-b', 'feature/Login-2', second, 'main']);
  await other.git(['checkout', '--quiet', '-b', 'fix']);
  const folders = [one.folder, second, other.folder];
  // What git does not bring along.
  mkdirSync(join(one.folder, 'node_modules', 'dep'), { recursive: true });
  writeFileSync(join(one.folder, 'node_modules', 'dep', 'index.js'), 'dep');
  symlinkSync('dep', join(one.folder, 'node_modules', 'alias'));
  const up = async (folder: string, ...more: readonly string[]) =>
    JSON.parse((await run(folder, 'env', 'up', '-o', 'json', ...more)).stdout) as SandboxView;
  const made = [];
  for (const folder of folders) made.push(await up(folder));

  assert.equal(readFileSync(join(second, 'node_modules', 'dep', 'index.js'), 'utf8'), 'dep');
  assert.equal(readlinkSync(join(second, 'node_modules', 'alias')), 'dep');
  assert.ok(!existsSync(join(second, '.env')));

  // Names that can be read, and that no two have, also across repositories.
  const [name = '', , elsewhere = ''] = made.map(one => one.name);
  assert.equal(name, 'fix');
  assert.equal(made[1]!.name, 'feature-login-2');
  assert.match(elsewhere, /^fix-[0-9a-f]{8}$/);
  assert.equal((await up(other.folder)).name, elsewhere, 'it stays the same');

  const urls = await Promise.all(folders.map(async f => (await run(f, 'env', 'url')).stdout.trim()));
  const databases = await Promise.all(
    made.map(async ({ name }) => (await daemon.client.branches.get('default', `sb-${name}`)).id),
  );
  assert.equal(new Set([...urls, ...databases]).size, 6);
  const answers = () =>
    Promise.all(
      urls.map(async url => {
        const { status, body } = await http(url, { headers: { 'signadot-api-key': key } });
        return `${status} ${body}`;
      }),
    );
  const says = (words: readonly string[]) => words.map((word, i) => `200 ${word} app.${databases[i]}`);
  assert.deepEqual(await answers(), says(['first', 'first', 'first']));
  const now = ['first', 'first', 'first'];
  for (const [i, folder] of folders.entries()) {
    now[i] = `edit-${i}`;
    edit(folder, now[i]);
    await until(
      async () => {
        const seen = await answers();
        for (const [j, answer] of seen.entries()) if (j !== i) assert.equal(answer, says(now)[j]);
        return seen[i] === says(now)[i] || undefined;
      },
      { what: `the edit in ${folder}`, deadlineMs: 60_000 },
    );
  }

  await variables(daemon, second, databases[1]!, urls[1]!);

  // A database of its own, grown from where it says.
  const query = async (branch: string, sql: string) => {
    const { connectionString } = await daemon.client.branches.credentials('default', branch);
    const session = new pg.Client({ connectionString });
    session.on('error', () => {});
    await session.connect();
    try {
      return (await session.query(sql)).rows;
    } finally {
      await session.end();
    }
  };
  await query('sb-fix', 'CREATE TABLE made AS SELECT 1 AS one');
  await one.git(['checkout', '--quiet', '-b', 'next']);
  const next = await run(one.folder, 'env', 'up');
  assert.match(next.stderr, /environment next created, its database grown from sb-fix\n/);
  assert.match(next.stderr, /environment fix keeps its database; this folder runs next now\n/);
  assert.deepEqual(await query('sb-next', 'SELECT one FROM made'), [{ one: 1 }]);
  const list = (await run(second, 'env', 'list')).stdout;
  assert.match(list, /^fix +fix +Parked +own /m);
  assert.match(list, /^next +next +Ready +own /m);
  assert.match(list, /^feature-login-2 +feature\/Login-2 +Ready +own /m);
  assert.doesNotMatch(list, new RegExp(elsewhere));

  // Without hooks it is the next "env up" that finds out.
  await one.git(['branch', '--move', 'next', 'last']);
  const renamed = await run(one.folder, 'env', 'up');
  assert.match(renamed.stderr, /environment next goes on: its git branch next is called last now\n/);
  assert.match((await run(second, 'env', 'list')).stdout, /^next +last +Ready +own /m);
  // What grows from its database keeps what it holds.
  await run(one.folder, 'env', 'down', 'fix');
  await run(one.folder, 'env', 'down', 'next');
  await until(
    async () => {
      const left = (await daemon.client.trash.list()).map(entry => entry.name.replace(/-br.*/, ''));
      return left.toSorted().join() === 'sb-fix,sb-next' || undefined;
    },
    { what: 'both databases are in the trash', deadlineMs: 60_000 },
  );
  await one.git(['checkout', '--quiet', 'fix']);
  await run(one.folder, 'env', 'up');
  assert.deepEqual(await query('sb-fix', "SELECT to_regclass('made') AS made"), [{ made: null }]);
  // What is gone is found; what is only away stays.
  await one.git(['worktree', 'add', '--quiet', '-b', 'short', join(dir.path, 'short')], second);
  await run(join(dir.path, 'short'), 'env', 'up', '--no-wait');
  await one.git(['-C', join(dir.path, 'short'), 'checkout', '--quiet', '--detach']);
  await one.git(['branch', '--quiet', '-D', 'short']);
  renameSync(other.folder, `${other.folder}-away`);
  const would = await run(one.folder, 'env', 'gc', '--all', '--dry-run');
  assert.match(would.stderr, /^environment short: its git branch short was deleted\n/m);
  assert.match(
    would.stderr,
    new RegExp(`^environment ${elsewhere}: its repository \\S+ is not there; it stays`, 'm'),
  );
  assert.match(would.stderr, /\n1 would be removed\n$/);
  const collected = JSON.parse(
    (await run(one.folder, 'env', 'gc', '--all', '-o', 'json')).stdout,
  ) as SandboxView[];
  assert.deepEqual(
    collected.map(gone => gone.name),
    ['short'],
  );
  renameSync(`${other.folder}-away`, other.folder);
  for (const folder of folders) await run(folder, 'env', 'down');
  const refused = async (cwd: string, ...args: readonly string[]) => {
    const { code, stderr } = await runCli([...args, '-o', 'json'], { cwd, env: daemon.env });
    return [code, (JSON.parse(stderr) as { code: string }).code];
  };
  assert.deepEqual(await refused(second, 'env', 'url'), [3, 'environment/missing']);
  assert.deepEqual(await refused(dir.path, 'env', 'up'), [2, 'environment/no-repository']);
  assert.deepEqual(await daemon.client.sandboxes.list(), []);
});

/** `env env` in all its forms, and `env run`. */
async function variables(daemon: TestDaemon, folder: string, database: string, url: string): Promise<void> {
  const run = inFolder(daemon);
  const formatted = async (format: string) => (await run(folder, 'env', 'env', '--format', format)).stdout;
  const all = JSON.parse(await formatted('json')) as Record<string, string>;
  assert.equal(new URL(all.DATABASE_URL!).username, `app.${database}`);
  assert.deepEqual(
    [all.OFFSHOOT_URL, all.OFFSHOOT_PROJECT, all.OFFSHOOT_BRANCH],
    [url, 'default', 'sb-feature-login-2'],
  );
  assert.deepEqual({ ...parseEnv(await formatted('dotenv')) }, all);
  const direnv = await formatted('direnv');
  assert.match(direnv, /^watch_file '\S+\/one\/\.git\/worktrees\/one-login\/HEAD'\nexport /);
  assert.ok(direnv.endsWith(await formatted('shell')));

  // As a process: signals and streams are real.
  const child = spawn(
    join(root, 'offshoot'),
    [
      'env',
      'run',
      '--',
      'sh',
      '-c',
      `trap 'echo "$DATABASE_URL"; exit 7' TERM; echo ready; while :; do sleep 0.05; done`,
    ],
    { cwd: folder, env: daemon.env, stdio: ['ignore', 'pipe', 'inherit'] },
  );
  let out = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text;
    if (text.includes('ready')) child.kill('SIGTERM');
  });
  const [code] = (await once(child, 'close')) as [number];
  assert.deepEqual([code, out], [7, `ready\n${all.DATABASE_URL}\n`]);
  const missing = await runCli(['env', 'run', '--', 'no-such-program'], { cwd: folder, env: daemon.env });
  assert.deepEqual(
    [missing.code, missing.stderr],
    [127, 'error: no-such-program: there is no such program\n'],
  );
}
