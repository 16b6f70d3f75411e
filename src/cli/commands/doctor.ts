import type { Command } from 'commander';
import type { Cli } from '../context.ts';
import { print, withOutput } from '../output.ts';

export function register(program: Command, cli: Cli): void {
  withOutput(program.command('doctor'))
    .description('what this machine can do, and why or why not')
    .addHelpText(
      'after',
      '\nAsks the running daemon; without one, probes the machine itself.\n\nExamples:\n  $ offshoot doctor',
    )
    .action(async ({ output }) => {
      const { probeMachine } = await import('../probe.ts');
      const checks = await probeMachine(cli);
      await print(cli, output, checks, list =>
        list.map(c => `${c.ok ? '✓' : '✗'} ${c.area.padEnd(10)} ${c.name}: ${c.detail}`).join('\n'),
      );
    });
}
