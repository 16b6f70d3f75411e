/** An environment goes along when its git branch gets another name. */
import { hasBranch } from '../lib/git.ts';
import { renamedTo } from '../lib/git-origin.ts';
import type { EnvironmentOwner } from '../model/environment.ts';
import type { SandboxView } from '../model/view.ts';
import type { Cli } from './context.ts';
import { environments, type Here } from './environment-here.ts';
import { say } from './output.ts';

type Environment = Pick<SandboxView, 'name' | 'createdAt'> & { readonly owner: EnvironmentOwner };

/**
 * @returns the new name of its branch; undefined when it has none, or when that has an environment of its own
 * @throws ExecError, OffshootError api/*
 */
export async function followRename(
  cli: Cli,
  { name, owner, createdAt }: Environment,
): Promise<string | undefined> {
  const { repository, branch } = owner;
  if (branch === undefined) return undefined;
  const to = await renamedTo(repository, cli.env, branch, Date.parse(createdAt));
  if (to === undefined) return undefined;
  const renamed = await cli.client().environments.rename(owner, to);
  if (renamed.name === undefined) return undefined;
  say(cli, `environment ${name} goes on: its git branch ${branch} is called ${to} now`);
  return to;
}

/** Without hooks: what the branch that is checked out here was called before may still have its environment. */
export async function followRenamesTo(cli: Cli, { owner }: Here): Promise<void> {
  const all = await environments(cli);
  for (const one of all) {
    const { repository, branch } = one.owner;
    if (repository !== owner.repository || branch === undefined || one.deletedAt !== undefined) continue;
    if (!(await hasBranch(repository, cli.env, branch))) await followRename(cli, one);
  }
}
