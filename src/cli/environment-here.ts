/** The environment that a folder stands for: its git branch, its project file, and the sandbox of both. */
import { relative } from 'node:path';
import { ExecError } from '../lib/exec.ts';
import { type Worktree, worktreeOf } from '../lib/git.ts';
import {
  describeOwner,
  type EnvironmentOwner,
  environmentOwner,
  sameEnvironment,
} from '../model/environment.ts';
import { OffshootError } from '../model/errors.ts';
import type { SandboxView } from '../model/view.ts';
import type { Cli } from './context.ts';
import { UsageError } from './output.ts';
import { findProjectFile, type ProjectFile } from './project-file.ts';

export type Here = { readonly worktree: Worktree; readonly owner: EnvironmentOwner };

/** @throws OffshootError environment/no-repository */
export async function whereWeAre({ cwd, env }: Cli): Promise<Here> {
  try {
    const worktree = await worktreeOf(cwd, env);
    const { repository, top, branch } = worktree;
    return { worktree, owner: { repository, worktree: top, ...(branch !== undefined && { branch }) } };
  } catch (error) {
    if (!(error instanceof ExecError)) throw error;
    const why = error.errno === 'ENOENT' ? 'git is not installed' : lastLine(error.stderr);
    throw new OffshootError('environment/no-repository', { folder: cwd, why });
  }
}

/** The project file of the worktree. One above it belongs to somebody else. @throws UsageError */
export function projectFileOf(cli: Cli, { top }: Worktree): ProjectFile {
  const found = findProjectFile(cli, '.');
  if (found === undefined || relative(top, found.folder).startsWith('..'))
    throw new UsageError(
      `there is no offshoot.yaml in ${cli.cwd} or above it in the worktree; it says which services run this code`,
    );
  return found;
}

/**
 * The sandbox that is meant: by its name, or by the name of a git branch of this repository, or of where we are.
 * @throws OffshootError environment/missing
 */
export async function environmentNamed(cli: Cli, name?: string): Promise<SandboxView> {
  const { found, wanted } = await lookFor(cli, name);
  if (found !== undefined) return found;
  throw new OffshootError('environment/missing', { owner: describeOwner(wanted!) });
}

/** The same, of what may not be there: `wanted` is what was looked for then. */
export async function lookFor(
  cli: Cli,
  name: string | undefined,
): Promise<{ readonly found?: SandboxView; readonly wanted?: EnvironmentOwner }> {
  const all = await environments(cli);
  if (name !== undefined) {
    const byName = all.find(one => one.name === name);
    if (byName !== undefined) return { found: byName };
  }
  const { owner } = await whereWeAre(cli);
  const wanted = name === undefined ? owner : { ...owner, branch: name };
  const found = all.find(one => sameEnvironment(one.owner, wanted));
  return { wanted, ...(found && { found }) };
}

export async function environments(
  cli: Cli,
): Promise<readonly (SandboxView & { readonly owner: EnvironmentOwner })[]> {
  const all = await cli.client().sandboxes.list();
  return all.flatMap(sandbox => {
    const owner = environmentOwner(sandbox.spec);
    return owner === undefined ? [] : [{ ...sandbox, owner }];
  });
}

// --- internal -----------------------------------------------------------------------------------

const lastLine = (text: string): string =>
  text
    .trim()
    .split('\n')
    .at(-1)
    ?.replace(/^fatal: /, '') ?? '';
