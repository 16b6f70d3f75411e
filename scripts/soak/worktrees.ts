/**
 * Worktrees that come, are worked in, and go, all at once and by plain git: hooks and the daemon do the rest. Nothing may be
 * mixed up, nothing may be left, and repository and configuration must be as they were.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { KeyedLock } from '../../src/lib/lock.ts';
import { until } from '../../src/lib/wait.ts';
import { environmentOwner } from '../../src/model/environment.ts';
import { type TestDaemon, testDaemon } from '../../test/support/daemon.ts';
import { edit, type GitProject, gitProject } from '../../test/support/git-project.ts';
import { tempDir } from '../../test/support/temp.ts';
import { http } from '../demo/http.ts';
import { atMost, exactly, none, type Scenario } from './scenario.ts';

export const worktrees: Scenario = {
  about:
    'ten worktrees come, change code and schema, and go, in parallel and by plain git, and nothing is mixed up or left',
  deadlineMs: 15 * 60_000,
  async run(share, signal) {
    const count = Math.max(2, Math.round(10 * share));
    await using daemon = await testDaemon();
    await using dir = await tempDir();
    const project = await gitProject(join(dir.path, 'shop'), { namespace: 'shop', env: daemon.env });
    const { folder } = project;
    // Git itself cannot make two worktrees, or delete two branches, of one repository at the same moment.
    const turns = new KeyedLock();
    const git = (args: readonly string[], cwd?: string) => turns.run('git', () => project.git(args, cwd));
    const ok = async (...args: readonly string[]) => {
      const { code, stdout, stderr } = await daemon.cli(args, { cwd: folder });
      if (code !== 0) throw new Error(`offshoot ${args.join(' ')}: ${stderr}`);
      return stdout.trim();
    };
    await ok('deploy', '-f', 'k8s');
    const key = await ok('key', 'create', 'soak');
    const before = stateOf(project);
    await ok('git', 'install-hooks');

    const wrong: string[] = [];
    const numbers = Array.from({ length: count }, (_, i) => i);
    const world = { daemon, dir: dir.path, git, key };
    const all = await Promise.all(numbers.map(i => begin(world, i, signal))).catch((cause: Error) => {
      throw new Error(`${cause.message}\n${logOfHooks(daemon)}`, { cause });
    });
    const megabytes = ownMegabytes(daemon);
    // All are there at once, and changed: each shows what is its own, and nothing else.
    for (const { name, url, says, tables } of all) {
      const seen = await answer(url, key);
      if (seen !== says) wrong.push(`${name} answers "${seen}", not "${says}"`);
      const own = (await tables()).join();
      if (own !== `only_${name.replaceAll('-', '_')}`) wrong.push(`the database of ${name} has ${own}`);
    }
    await Promise.all(
      all.map(async ({ name, worktree, branch }) => {
        await git(['worktree', 'remove', '--force', worktree]);
        await git(['branch', '--quiet', '-D', branch]);
        await until(
          async () => (await daemon.client.sandboxes.list()).every(one => one.name !== name) || undefined,
          { what: `environment ${name} is gone`, deadlineMs: 120_000, intervalMs: 50, signal },
        );
      }),
    );
    const trash = await daemon.client.trash.list();
    const branches = await daemon.client.branches.list('default');
    const programs = await daemon.labelled('sandbox/');
    await ok('trash', 'empty', '--yes');
    await ok('git', 'uninstall-hooks');
    const after = stateOf(project);
    return [
      none('environments that were mixed up', wrong),
      exactly('names of their own', new Set(all.map(({ name }) => name)).size, count),
      exactly('databases of their own in the trash', new Set(trash.map(one => one.name)).size, count),
      none(
        'branches that are left',
        branches.map(one => one.name).filter(one => one !== 'main'),
      ),
      none('programs that are left', programs),
      none('worktrees that are left', (await git(['worktree', 'list'])).trim().split('\n').slice(1)),
      exactly('git status', await git(['status', '--porcelain']), ''),
      exactly('hooks and configuration of the repository', after, before),
      atMost('memory of the daemon, its proxy and all servers', megabytes, 1_536, 'MB'),
    ];
  },
};

// --- internal -----------------------------------------------------------------------------------

type World = {
  readonly daemon: TestDaemon;
  readonly dir: string;
  readonly git: GitProject['git'];
  readonly key: string;
};

/** A worktree is made, and code and schema are changed there once its environment answers. */
async function begin({ daemon, dir, git, key }: World, i: number, signal: AbortSignal) {
  const branch = `try/Number-${i}`;
  const worktree = join(dir, `try-${i}`);
  const wait = { deadlineMs: 180_000, intervalMs: 50, signal };
  await git(['worktree', 'add', '--quiet', '-b', branch, worktree]);
  const { name, endpoints } = await until(
    async () => {
      const found = (await daemon.client.sandboxes.list()).find(
        one => environmentOwner(one.spec)?.branch === branch,
      );
      return found?.status.ready ? found : undefined;
    },
    { ...wait, what: `the environment of ${branch} is ready` },
  );
  const ownerOf = async (sandbox: string) =>
    environmentOwner((await daemon.client.sandboxes.get(sandbox)).spec);
  const { id } = await daemon.client.branches.get('default', `sb-${name}`);
  const { url } = endpoints[0]!;
  const says = `edit-${i} app.${id}`;
  edit(worktree, `edit-${i}`);
  await until(async () => (await answer(url, key)) === says || undefined, {
    ...{ ...wait, what: `the edit in ${worktree} is served` },
  });
  // Under another name it is what it was.
  const later = `try/Later-${i}`;
  await git(['branch', '--move', later], worktree);
  await until(async () => ((await ownerOf(name))?.branch === later ? true : undefined), {
    ...{ ...wait, what: `environment ${name} is that of ${later}` },
  });
  const query = async (sql: string) => {
    const { connectionString } = await daemon.client.branches.credentials('default', id);
    const session = new pg.Client({ connectionString });
    session.on('error', () => {});
    await session.connect();
    try {
      return (await session.query(sql)).rows as readonly { readonly name: string }[];
    } finally {
      await session.end();
    }
  };
  await query(`CREATE TABLE only_${name.replaceAll('-', '_')} AS SELECT ${i} AS number`);
  const tables = async () =>
    (await query("SELECT relname AS name FROM pg_class WHERE relname LIKE 'only%'")).map(row => row.name);
  return { branch: later, worktree, name, url, says, tables };
}

function logOfHooks({ home }: TestDaemon): string {
  const file = join(home, 'logs', 'git-hooks.log');
  return existsSync(file) ? readFileSync(file, 'utf8') : 'the hooks have said nothing';
}

async function answer(url: string, key: string): Promise<string> {
  const { status, body } = await http(url, { headers: { 'signadot-api-key': key } });
  return status === 200 ? body : `${status}`;
}

/** What a user has of hooks and configuration. */
function stateOf({ folder }: GitProject): string {
  const git = join(folder, '.git');
  const folders = readdirSync(git).filter(name => name === 'offshoot' || name === 'hooks');
  const hooks = folders.includes('hooks') ? readdirSync(join(git, 'hooks')).sort() : [];
  return JSON.stringify([readFileSync(join(git, 'config'), 'utf8'), folders, hooks]);
}

/**
 * Shared memory counts once (proc(5), smaps_rollup, Pss). All servers of this machine are counted, programs of forks are the
 * user's own.
 */
function ownMegabytes({ pid }: TestDaemon): number {
  let kilobytes = 0;
  for (const entry of readdirSync('/proc').filter(name => /^\d+$/.test(name))) {
    const read = (file: string) => readFileSync(join('/proc', entry, file), 'utf8');
    try {
      const isServer = read('comm').startsWith('postgres') || /\bproxy\.(ts|cjs)\b/.test(read('cmdline'));
      if (Number(entry) === pid || isServer)
        kilobytes += Number(/^Pss: +(\d+)/m.exec(read('smaps_rollup'))?.[1] ?? 0);
    } catch {
      // It has ended.
    }
  }
  return kilobytes / 1_024;
}
