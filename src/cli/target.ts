/** Which project and branch a command means: flag, then environment, then the folder's link, then the only one there is. */
import type { Cli } from './context.ts';
import { findLink } from './link.ts';
import { UsageError } from './output.ts';

export async function chooseProject(cli: Cli, flag: string | undefined): Promise<string> {
  const named = flag ?? (cli.env.OFFSHOOT_PROJECT || findLink(cli.cwd)?.project);
  if (named !== undefined) return named;
  const names = (await cli.client().projects.list()).map(p => p.name);
  if (names.includes('default')) return 'default';
  if (names.length === 1) return names[0]!;
  const known =
    names.length === 0
      ? 'there is none yet: "offshoot project create NAME"'
      : `choose one of: ${names.join(', ')}`;
  throw new UsageError(`no project selected; pass --project NAME or set OFFSHOOT_PROJECT (${known})`);
}

/** The folder's link says nothing about branches of other projects. */
export function chooseBranch(cli: Cli, project: string, argument: string | undefined): string {
  if (argument !== undefined) return argument;
  const link = findLink(cli.cwd);
  return cli.env.OFFSHOOT_BRANCH || (link?.project === project ? link.branch : 'main');
}
