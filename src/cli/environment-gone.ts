/** Environments that nobody can come back to: their git branch was deleted, or their worktree removed. */
import { existsSync } from 'node:fs';
import { hasBranch } from '../lib/git.ts';
import { isRemoved } from '../lib/worktree-gone.ts';
import type { EnvironmentOwner } from '../model/environment.ts';
import type { Cli } from './context.ts';

export type Gone = {
  readonly why: string;
  /** Only what may come back is not there: it stays. */
  readonly stays?: true;
};

/** @returns undefined for one that is alive @throws ExecError */
export async function goneReason({ env }: Cli, owner: EnvironmentOwner): Promise<Gone | undefined> {
  const { repository, worktree, branch } = owner;
  if (!existsSync(repository)) return { why: `its repository ${repository} is not there`, stays: true };
  if (branch !== undefined && !(await hasBranch(repository, env, branch)))
    return { why: `its git branch ${branch} was deleted` };
  if (await isRemoved(owner)) return { why: `its worktree ${worktree} was removed` };
  if (!existsSync(worktree))
    return { why: `its worktree ${worktree} is not there, but is expected back`, stays: true };
  return undefined;
}
