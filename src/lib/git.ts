/** What git says of a folder: its repository, its worktree, its branch. Nothing of it is changed. */
import { realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { ExecError, type ExecResult, exec } from './exec.ts';
import { delay } from './wait.ts';

export type Worktree = {
  /** The top of its files; absolute and real. */
  readonly top: string;
  /** What all worktrees of the repository share: `.git` of the first one. */
  readonly repository: string;
  /** What git keeps of this worktree alone; the same folder for the first one. */
  readonly own: string;
  /** Checked out; absent when HEAD is detached. It may have no commit yet. */
  readonly branch?: string;
};

/**
 * @param env of whoever asks; what git was told of a repository by variables does not count, the folder does
 * @throws ExecError when it is in no worktree; errno is ENOENT without git
 */
export async function worktreeOf(folder: string, env: NodeJS.ProcessEnv): Promise<Worktree> {
  const asked = ['rev-parse', '--show-toplevel', '--absolute-git-dir', '--git-common-dir'];
  // In one call, which fails where there is no commit yet.
  const { stdout } = await git(folder, env, [...asked, '--symbolic-full-name', 'HEAD']).catch(async error => {
    const known = await git(folder, env, asked);
    const head = await git(folder, env, ['symbolic-ref', '--quiet', 'HEAD']).catch(() => {
      throw error;
    });
    return { stdout: known.stdout + head.stdout };
  });
  const [top = '', own = '', common = '', head = ''] = stdout.split('\n');
  const branch = /^refs\/heads\/(.+)$/.exec(head)?.[1]; // "HEAD" when it is detached
  const [realTop, realOwn] = await Promise.all([realpath(top), realpath(own)]);
  const repository = await realpath(common.startsWith('/') ? common : join(folder, common));
  return { top: realTop, own: realOwn, repository, ...(branch !== undefined && { branch }) };
}

export type ListedWorktree = {
  readonly top: string;
  /** Of what is checked out; absent for a bare repository. */
  readonly commit?: string;
  readonly branch?: string;
};

/** All worktrees of a repository, the first one first (git-worktree(1), --porcelain). @throws ExecError */
export async function worktreesOf(
  folder: string,
  env: NodeJS.ProcessEnv,
): Promise<readonly ListedWorktree[]> {
  const { stdout } = await git(folder, env, ['worktree', 'list', '--porcelain']);
  return stdout.split('\n\n').flatMap(text => {
    const lines = Object.fromEntries(
      text.split('\n').map(line => [line.split(' ', 1)[0], line.slice(line.indexOf(' ') + 1)]),
    );
    if (lines.worktree === undefined) return [];
    const branch = /^refs\/heads\/(.+)$/.exec(lines.branch ?? '')?.[1];
    return [
      {
        top: lines.worktree,
        ...(lines.HEAD && { commit: lines.HEAD }),
        ...(branch !== undefined && { branch }),
      },
    ];
  });
}

/** Whether there is such a branch, be it without a commit yet. @param repository as of a Worktree @throws ExecError */
export async function hasBranch(
  repository: string,
  env: NodeJS.ProcessEnv,
  branch: string,
): Promise<boolean> {
  const isThere = await git(repository, env, [
    'show-ref',
    '--verify',
    '--quiet',
    `refs/heads/${branch}`,
  ]).then(
    () => true,
    (error: ExecError) => {
      if (error.exitCode === 1) return false;
      throw error;
    },
  );
  return isThere || (await worktreesOf(repository, env)).some(one => one.branch === branch);
}

/** Runs git in a folder. What finds a worktree half made by another git looks again. @throws ExecError */
export async function git(
  folder: string,
  env: NodeJS.ProcessEnv,
  args: readonly string[],
): Promise<ExecResult> {
  const options = { cwd: folder, env: withoutGit(env), deadlineMs: 20_000, maxOutput: 4 * 1024 * 1024 };
  for (let left = MOST_LOOKS; ; left--) {
    try {
      return await exec('git', args, options);
    } catch (error) {
      const isHalfMade = error instanceof ExecError && /failed to read .*\/worktrees\//.test(error.stderr);
      if (!isHalfMade || left === 0) throw error;
      await delay(HALF_MADE_MS);
    }
  }
}

// --- internal -----------------------------------------------------------------------------------

/** A worktree is made in a few milliseconds. */
const [HALF_MADE_MS, MOST_LOOKS] = [20, 50];

/** In a hook, git names its repository, its index and more for those whom it calls (git-rev-parse(1), --local-env-vars). */
function withoutGit(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const rest = Object.entries(env).filter(
    ([name]) => !LOCAL.has(name) && !name.startsWith('GIT_CONFIG_KEY_'),
  );
  // Looking at something must not write to it, and sentences are read by us.
  return { ...Object.fromEntries(rest), GIT_OPTIONAL_LOCKS: '0', LC_ALL: 'C' };
}

const LOCAL: ReadonlySet<string> = new Set(
  [
    ...[
      'ALTERNATE_OBJECT_DIRECTORIES',
      'CONFIG',
      'CONFIG_PARAMETERS',
      'CONFIG_COUNT',
      'OBJECT_DIRECTORY',
      'DIR',
    ],
    ...[
      'WORK_TREE',
      'IMPLICIT_WORK_TREE',
      'GRAFT_FILE',
      'INDEX_FILE',
      'NO_REPLACE_OBJECTS',
      'REPLACE_REF_BASE',
    ],
    ...['PREFIX', 'SHALLOW_FILE', 'COMMON_DIR', 'INTERNAL_SUPER_PREFIX', 'QUARANTINE_PATH', 'REFLOG_ACTION'],
  ].map(name => `GIT_${name}`),
);
