import type { Command } from 'commander';
import type { EventView } from '../../model/view.ts';
import type { Cli, OutputFormat } from '../context.ts';
import { parseCount, withExamples } from '../options.ts';
import { print, withOutput } from '../output.ts';

const line = (e: EventView): string =>
  `${e.at}  ${e.severity.padEnd(7)}  ${e.kind} ${e.name}  ${e.reason}: ${e.message}`;

export function register(program: Command, cli: Cli): void {
  withExamples(withOutput(program.command('events')), 'offshoot events', 'offshoot events --follow -o json')
    .description('what happened lately')
    .option('--follow', 'go on with what happens from now on, until Ctrl-C')
    .option('--limit <n>', 'how many of the newest', parseCount, 50)
    .action(async ({ output, follow, limit }) => {
      const events = await cli.client().events({ limit });
      if (!follow) return print(cli, output, events, list => list.map(line).join('\n'));
      const { stringify } = await import('yaml');
      const render = {
        text: line,
        json: (e: EventView) => JSON.stringify(e),
        yaml: (e: EventView) => `---\n${stringify(e).trimEnd()}`,
      }[output as OutputFormat];
      const show = (e: EventView) => cli.stdout.write(`${render(e)}\n`);
      events.forEach(show);
      try {
        for await (const change of cli.client().watch({}, cli.signal))
          if (change.type === 'event') show(change.event);
      } catch (error) {
        if (!cli.signal.aborted) throw error;
      }
    });
}
