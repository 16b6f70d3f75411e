import type { Command } from 'commander';
import type { EventView } from '../../model/view.ts';
import type { Cli } from '../context.ts';
import { print, withOutput } from '../output.ts';

const line = (e: EventView): string =>
  `${e.at}  ${e.severity.padEnd(7)}  ${e.kind} ${e.name}  ${e.reason}: ${e.message}`;

export function register(program: Command, cli: Cli): void {
  withOutput(program.command('events'))
    .description('what happened lately')
    .option('--follow', 'go on with what happens from now on, until Ctrl-C')
    .option('--limit <n>', 'how many of the newest', Number, 50)
    .addHelpText('after', '\nExamples:\n  $ offshoot events\n  $ offshoot events --follow -o json')
    .action(async ({ output, follow, limit }) => {
      const events = await cli.client().events({ limit });
      if (!follow) return print(cli, output, events, list => list.map(line).join('\n'));
      const show = (e: EventView) => cli.stdout.write(`${output === 'json' ? JSON.stringify(e) : line(e)}\n`);
      events.forEach(show);
      try {
        for await (const change of cli.client().watch({}, cli.signal))
          if (change.type === 'event') show(change.event);
      } catch (error) {
        if (!cli.signal.aborted) throw error;
      }
    });
}
