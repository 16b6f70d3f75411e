import type { Command } from 'commander';
import type { Cli } from '../context.ts';
import { parseSleepAfter, timeoutOption } from '../options.ts';
import { print, say, took, withOutput } from '../output.ts';
import { chooseBranch, chooseProject } from '../target.ts';
import { waitForBranch } from './branch.ts';

/** @param define makes a command of branches with its examples */
export function registerSleep(
  define: (usage: string, ...examples: readonly string[]) => Command,
  cli: Cli,
): void {
  withOutput(define('sleep [branch]', 'offshoot branch sleep fix-42'))
    .description('stop the server of a branch until somebody connects')
    .option('--force', 'also when sessions are open, which end')
    .action(async (name: string | undefined, { output, project: flag, force }) => {
      const project = await chooseProject(cli, flag);
      const chosen = chooseBranch(cli, project, name);
      const asleep = await cli.client().branches.sleep(project, chosen, { force });
      say(cli, `branch ${asleep.name} is asleep, and wakes when somebody connects`);
      await print(cli, output, asleep, () => '');
    });

  withOutput(define('wake [branch]', 'offshoot branch wake fix-42'))
    .description('start the server of a branch that is asleep, before anybody connects')
    .addOption(timeoutOption('2m'))
    .action(async (name: string | undefined, { output, project: flag, waitTimeout }) => {
      const project = await chooseProject(cli, flag);
      const started = performance.now();
      const { id, name: own } = await cli.client().branches.wake(project, chooseBranch(cli, project, name));
      await waitForBranch(cli, project, id, waitTimeout);
      say(cli, `branch ${own} is awake (${took(performance.now() - started)})`);
      await print(cli, output, await cli.client().branches.get(project, id), () => '');
    });

  withOutput(
    define(
      'sleep-after <branch> <duration>',
      'offshoot branch sleep-after fix-42 30m',
      'offshoot branch sleep-after fix-42 never',
      'offshoot branch sleep-after fix-42 default',
    ),
  )
    .description(
      'how long nobody has to use a branch for it to sleep; never; or default: as its project says',
    )
    .action(async (name: string, duration: string, { output, project: flag }) => {
      const project = await chooseProject(cli, flag);
      const seconds = duration === 'default' ? null : parseSleepAfter(duration);
      const found = await cli.client().branches.sleepAfter(project, name, seconds);
      const when = { never: 'never sleeps', default: 'sleeps as its project says' }[duration];
      say(cli, `branch ${found.name} ${when ?? `sleeps when nobody has used it for ${duration}`}`);
      await print(cli, output, found, () => '');
    });

  withOutput(
    define(
      'silent-after <branch> <duration>',
      'offshoot branch silent-after fix-42 30m',
      'offshoot branch silent-after fix-42 never',
    ),
  )
    .description(
      'how long a session has to say nothing to lose its server until it speaks, if that has nothing of it; never (the default)',
    )
    .action(async (name: string, duration: string, { output, project: flag }) => {
      const project = await chooseProject(cli, flag);
      const seconds = parseSleepAfter(duration) || null;
      const found = await cli.client().branches.silentAfter(project, name, seconds);
      const what = seconds === null ? 'keep their server' : `may lose it after ${duration} of silence`;
      say(cli, `sessions of branch ${found.name} that begin from now on ${what}`);
      await print(cli, output, found, () => '');
    });
}
