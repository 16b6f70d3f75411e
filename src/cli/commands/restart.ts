import type { Command } from 'commander';
import type { Cli } from '../context.ts';
import { waitForForks, waitReady } from '../deploy-wait.ts';
import { timeoutOption, withExamples } from '../options.ts';
import { ExitCode, print, say, took, withOutput } from '../output.ts';
import { chooseProject } from '../target.ts';
import { waitForBranch } from './branch.ts';

export function register(program: Command, cli: Cli): void {
  withExamples(
    withOutput(program.command('restart <of...>')),
    'offshoot restart deployment/users -n demo          a workload of the baseline, for example because its code has changed',
    'offshoot restart sandbox/fix-42                    all forks of a sandbox; sandbox/fix-42/users: one',
    'offshoot restart branch/main                       the PostgreSQL server of a branch',
    'offshoot restart job/migrate -n demo               a Job once more',
  )
    .description('start programs anew as they are asked for; the new pod is ready before the old one ends')
    .option('-n, --namespace <namespace>', 'only workloads of this namespace')
    .option('-p, --project <project>', 'of branches')
    .option('--no-wait', 'return at once')
    .addOption(timeoutOption('3m'))
    .action(async (of: string[], { output, namespace, project: flag, wait, waitTimeout }) => {
      const ofBranches = of.some(one => one.startsWith('branch/'));
      const project = ofBranches ? await chooseProject(cli, flag) : undefined;
      const started = performance.now();
      const done = await cli.client().restart({ of, namespace, project });
      let failed: readonly object[] = [];
      if (wait) {
        await waitReady(cli, done.workloads, [], waitTimeout);
        failed = await waitForForks(cli, done.forks, waitTimeout);
        for (const { project, id } of done.branches) await waitForBranch(cli, project, id, waitTimeout);
      }
      const names = [
        ...done.workloads.map(({ kind, name }) => `${kind.toLowerCase()}/${name}`),
        ...done.forks
          .filter(fork => !failed.includes(fork))
          .map(({ sandbox, forkOf }) => `sandbox/${sandbox}/${forkOf.name}`),
        ...done.branches.map(({ name }) => `branch/${name}`),
      ];
      const how = wait ? `restarted in ${took(performance.now() - started)}` : 'being restarted';
      for (const name of names) say(cli, `${name} ${how}`);
      await print(cli, output, done, () => '');
      if (failed.length > 0) throw new ExitCode(1); // it is told already
    });
}
