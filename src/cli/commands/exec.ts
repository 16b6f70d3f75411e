import { type Command, Option } from 'commander';
import type { Cli } from '../context.ts';
import { runInside } from '../enter.ts';
import { withExamples } from '../options.ts';
import { ExitCode, UsageError } from '../output.ts';

export function register(program: Command, cli: Cli): void {
  withExamples(
    program.command('exec <of...>'),
    'offshoot exec sandbox/fix-42/users -- npm run migrate',
    'offshoot exec deployment/users -n demo -c main -- env',
  )
    .usage('[options] <of> -- <command...>')
    .description('run a program where a fork or a workload runs: its files, network, names and environment')
    .option('-c, --container <name>', 'which container (default: the first)')
    .option('-n, --namespace <namespace>', 'only workloads of this namespace')
    // Whoever is used to "-it": there is a terminal where there is one.
    .addOption(new Option('-i, --stdin').hideHelp())
    .addOption(new Option('-t, --tty').hideHelp())
    .action(([of = '', ...command]: string[], options) => {
      if (command.length === 0) throw new UsageError(`what is to run there? offshoot exec ${of} -- COMMAND`);
      return run(cli, of, command, options);
    });
}

/** @throws ExitCode with that of the program */
export async function run(
  cli: Cli,
  of: string,
  command: readonly string[],
  { container, namespace }: { readonly container?: string; readonly namespace?: string },
): Promise<never> {
  const there = await cli.client().enter({ of, container, namespace, program: command[0]! });
  throw new ExitCode(await runInside(cli, of, there, command));
}
