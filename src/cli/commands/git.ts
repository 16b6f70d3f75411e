import { join } from 'node:path';
import type { Command } from 'commander';
import { root } from '../../lib/checkout.ts';
import type { Cli } from '../context.ts';
import { whereWeAre } from '../environment-here.ts';
import { branchesDeleted, checkedOut, noting } from '../git-hook.ts';
import { installHooks, uninstallHooks } from '../git-hook-files.ts';
import { withExamples } from '../options.ts';
import { say } from '../output.ts';

export function register(program: Command, cli: Cli): void {
  const command = withExamples(
    program.command('git').description('environments that come and go with git branches and worktrees'),
    'offshoot git install-hooks',
    'offshoot git uninstall-hooks',
  );

  withExamples(command.command('install-hooks'), 'offshoot git install-hooks')
    .description(
      'let git checkout and git worktree add make environments, and deleted branches take theirs along; hooks that are there run as ever',
    )
    .action(async () => {
      const { worktree } = await whereWeAre(cli);
      const home = cli.env.OFFSHOOT_HOME;
      const launcher = join(root, 'offshoot');
      say(cli, await installHooks(worktree, cli.env, { launcher, ...(home && { home }) }));
    });

  withExamples(command.command('uninstall-hooks'), 'offshoot git uninstall-hooks')
    .description('take them away again; all is as it was before')
    .action(async () => {
      const { worktree } = await whereWeAre(cli);
      const were = await uninstallHooks(worktree, cli.env);
      say(cli, were ? 'the hooks are gone' : 'there were none of ours; nothing to do');
    });

  // There is nobody to tell, so what goes wrong is written down.
  withExamples(
    command.command('hook <event> [what...]', { hidden: true }),
    'offshoot git hook checkout /folder/where/git/was/called',
    'offshoot git hook deleted /folder/of/the/repository/.git PID-OF-GIT BRANCH…',
  )
    .description('what the hooks call, in the background')
    .action((event: string, [place, pid, ...branches]: readonly string[]) =>
      noting(cli, async own => {
        if (event === 'checkout') await checkedOut(own, place || undefined);
        if (event === 'deleted' && place !== undefined)
          await branchesDeleted(own, { repository: place, pid: Number(pid), branches });
      }),
    );
}
