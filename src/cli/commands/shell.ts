import type { Command } from 'commander';
import type { Cli } from '../context.ts';
import { withExamples } from '../options.ts';
import { run } from './exec.ts';

export function register(program: Command, cli: Cli): void {
  withExamples(
    program.command('shell <of>'),
    'offshoot shell sandbox/fix-42/users',
    'offshoot shell deployment/users -n demo',
  )
    .description('your shell where a fork or a workload runs; see "offshoot exec"')
    .option('-c, --container <name>', 'which container (default: the first)')
    .option('-n, --namespace <namespace>', 'only workloads of this namespace')
    .action((of: string, options) => run(cli, of, [cli.env.SHELL || '/bin/sh'], options));
}
