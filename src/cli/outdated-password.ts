/** The password that we know of a branch's owner, where somebody has set another one by SQL. */
import type { Cli } from './context.ts';
import { say } from './output.ts';

export const sayOutdated = (cli: Cli, branch: string): void =>
  say(
    cli,
    `warning: somebody has set another password by SQL, so the known one does not open ${branch}: "offshoot branch restart ${branch}" sets it again, "offshoot branch rotate-password ${branch}" a new one`,
  );

/** Runs what logs in; says why, when that is why it is refused. @throws what `work` throws */
export async function toldIfOutdated<T>(
  cli: Cli,
  { project, branch }: { readonly project: string; readonly branch: string },
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (/password authentication failed/.test((error as Error).message)) {
      const { outdated } = await cli.client().branches.credentials(project, branch, { check: true });
      if (outdated) sayOutdated(cli, branch);
    }
    throw error;
  }
}
