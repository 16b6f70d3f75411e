/** What git says of a folder: its repository, its worktree, its branch. Nothing of it is changed. */
import { realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { type ExecError, exec } from './exec.ts';

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
  const [{ stdout }, head] = await Promise.all([
    git(folder, env, ['rev-parse', '--show-toplevel', '--absolute-git-dir', '--git-common-dir']),
    git(folder, env, ['symbolic-ref', '--quiet', 'HEAD']).catch((error: ExecError) => {
      if (error.exitCode === 1) return undefined; // detached
      throw error;
    }),
  ]);
  const [top = '', own = '', common = ''] = stdout.split('\n');
  const branch = /^refs\/heads\/(.+)$/m.exec(head?.stdout ?? '')?.[1];
  const [realTop, realOwn] = await Promise.all([realpath(top), realpath(own)]);
  const repository = await realpath(common.startsWith('/') ? common : join(folder, common));
  return { top: realTop, own: realOwn, repository, ...(branch !== undefined && { branch }) };
}

/** Runs git in a folder. @throws ExecError */
export const git = (folder: string, env: NodeJS.ProcessEnv, args: readonly string[]) =>
  exec('git', args, { cwd: folder, env: withoutGit(env), deadlineMs: 20_000, maxOutput: 4 * 1024 * 1024 });

// --- internal -----------------------------------------------------------------------------------

/** In a hook, git names its repository, its index and more for those whom it calls (githooks(5)). */
function withoutGit(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const rest = Object.entries(env).filter(([name]) => !name.startsWith('GIT_'));
  // Looking at something must not write to it, and sentences are read by us.
  return { ...Object.fromEntries(rest), GIT_OPTIONAL_LOCKS: '0', LC_ALL: 'C' };
}
