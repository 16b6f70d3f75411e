import type { Command } from 'commander';
import type { EventView } from '../../model/view.ts';
import type { Cli, OutputFormat } from '../context.ts';
import { legible } from '../legible.ts';
import { parseCount, withExamples } from '../options.ts';
import { asYaml, print, withOutput, write } from '../output.ts';

export function register(program: Command, cli: Cli): void {
  withExamples(withOutput(program.command('events')), 'offshoot events', 'offshoot events --follow -o json')
    .description('what happened lately')
    .option('--follow', 'go on with what happens from now on, until Ctrl-C')
    .option('--limit <n>', 'how many of the newest', parseCount, 50)
    .action(async ({ output, follow, limit }) => {
      if (follow) return followEvents(cli, output, limit);
      const events = await cli.client().events({ limit });
      await print(cli, output, events, list => list.map(line).join('\n'));
    });
}

// --- internal -----------------------------------------------------------------------------------

const line = (e: EventView): string =>
  `${e.at}  ${e.severity.padEnd(7)}  ${e.kind} ${e.name}  ${e.reason}: ${e.message}`;

async function followEvents(cli: Cli, output: OutputFormat, limit: number): Promise<void> {
  const render: Readonly<Record<OutputFormat, (e: EventView) => string>> = {
    text: e => legible(line(e)),
    json: e => JSON.stringify(e),
    yaml: e => `---\n${asYaml(e).trimEnd()}`,
  };
  let newest = 0;
  const show = async (e: EventView) => {
    if (e.version <= newest) return;
    newest = e.version;
    await write(cli, `${render[output](e)}\n`);
  };
  try {
    for await (const change of cli.client().watch({}, cli.signal)) {
      if (change.type === 'event') await show(change.event);
      // Listed only while the watch runs already, so that nothing falls between the two.
      else if (change.type === 'synced') for (const e of await cli.client().events({ limit })) await show(e);
    }
  } catch (error) {
    if (!cli.signal.aborted) throw error;
  }
}
