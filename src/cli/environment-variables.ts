/** What a program gets that stands in for a fork of an environment, or works beside it. */
import { join } from 'node:path';
import { environmentResource } from '../model/environment.ts';
import { sandboxBranchName } from '../model/names.ts';
import type { SandboxView } from '../model/view.ts';
import type { Cli } from './context.ts';
import { environmentAs } from './environment.ts';
import type { Here } from './environment-here.ts';
import { UsageError } from './output.ts';

/**
 * The variables of a fork; beside them what commands of ours look at: OFFSHOOT_PROJECT and OFFSHOOT_BRANCH (its database),
 * and OFFSHOOT_URL (its first preview). Holds passwords.
 * @param workload which fork; default: the first
 * @throws OffshootError api/not-found, UsageError when nothing of it runs
 */
export async function variablesOf(
  cli: Cli,
  sandbox: SandboxView,
  workload: string | undefined,
): Promise<Readonly<Record<string, string>>> {
  const { name, spec, endpoints } = sandbox;
  if ((spec.forks ?? []).length === 0)
    throw new UsageError(
      `environment ${name} is parked: its worktree has another git branch checked out; "offshoot env up" there brings it back`,
    );
  const project = spec.resources?.find(one => one.name === environmentResource)?.params?.project;
  return {
    ...(await cli.client().sandboxes.environment(name, { workload })),
    ...(project !== undefined && { OFFSHOOT_PROJECT: project, OFFSHOOT_BRANCH: sandboxBranchName(name) }),
    ...(endpoints[0] && { OFFSHOOT_URL: endpoints[0].url }),
  };
}

/** As lines of an .envrc: direnv(1) looks again when the git branch changes (direnv-stdlib(1), watch_file). */
export const asDirenv = ({ worktree }: Here, variables: Readonly<Record<string, string>>): string =>
  `watch_file '${join(worktree.own, 'HEAD').replaceAll("'", "'\\''")}'\n${environmentAs('shell', variables)}`;
