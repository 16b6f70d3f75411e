import type { Command } from 'commander';
import type { Cli } from '../context.ts';
import { withExamples } from '../options.ts';
import { print, withOutput } from '../output.ts';

export function register(program: Command, cli: Cli): void {
  withExamples(withOutput(program.command('doctor')), 'offshoot doctor')
    .summary('what this machine can do, and why or why not')
    .description(
      'what this machine can do, and why or why not. Asks the running daemon; without one, probes the machine itself.',
    )
    .action(async ({ output }) => {
      const [{ probeMachine }, { probeClientTools }] = await Promise.all([
        import('../probe.ts'),
        import('../client-tools.ts'),
      ]);
      const checks = [...(await probeMachine(cli)), ...(await probeClientTools(cli))];
      await print(cli, output, checks, list =>
        list.map(c => `${c.ok ? '✓' : '✗'} ${c.area.padEnd(10)} ${c.name}: ${c.detail}`).join('\n'),
      );
    });
}
