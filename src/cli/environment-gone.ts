/** Environments that nobody can come back to: their git branch was deleted, or their worktree removed. */
import { existsSync } from 'node:fs';
import { hasBranch } from '../lib/git.ts';
import { renamedTo } from '../lib/git-origin.ts';
import { isRemoved } from '../lib/worktree-gone.ts';
import type { EnvironmentOwner } from '../model/environment.ts';
import type { Cli } from './context.ts';

export type Gone = {
  readonly why: string;
  /** Only what may come back is not there: it stays. */
  readonly stays?: true;
  /** Only the name of its git branch is: it goes on, unless the new one has an environment of its own. */
  readonly isRenamed?: true;
};

/**
 * @param createdAt of the environment
 * @returns undefined for one that is alive
 * @throws ExecError
 */
export async function goneReason(
  { env }: Cli,
  owner: EnvironmentOwner,
  createdAt: string,
): Promise<Gone | undefined> {
  const { repository, worktree, branch } = owner;
  if (!existsSync(repository)) return { why: `its repository ${repository} is not there`, stays: true };
  if (branch !== undefined && !(await hasBranch(repository, env, branch))) {
    const to = await renamedTo(repository, env, branch, Date.parse(createdAt));
    if (to === undefined) return { why: `its git branch ${branch} was deleted` };
    return { why: `its git branch ${branch} is called ${to} now`, isRenamed: true };
  }
  if (await isRemoved(owner)) return { why: `its worktree ${worktree} was removed` };
  if (!existsSync(worktree))
    return { why: `its worktree ${worktree} is not there, but is expected back`, stays: true };
  return undefined;
}
