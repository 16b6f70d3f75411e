import type { Command } from 'commander';
import type { LogFilter } from '../../client/index.ts';
import { inLists } from '../../lib/channel.ts';
import type { LogLineView } from '../../model/view.ts';
import type { Cli, OutputFormat } from '../context.ts';
import { legible } from '../legible.ts';
import { parseCountOrNone, parseSince, withExamples } from '../options.ts';
import { asYaml, print, say, withOutput, write } from '../output.ts';
import { chooseProject } from '../target.ts';

export function register(program: Command, cli: Cli): void {
  withExamples(
    withOutput(program.command('logs [of...]')),
    'offshoot logs                                      all of the baseline and of the sandboxes',
    'offshoot logs -f deployment/users -n demo          a workload of the baseline, and what it says from now on',
    'offshoot logs -f users sandbox/fix-42              it beside the forks of a sandbox',
    'offshoot logs sandbox/fix-42/users --previous      what a fork said before it was started again',
    'offshoot logs -f --since 5m --timestamps           of all, what was said in the last minutes',
    'offshoot logs resource/fix-42/usersDb              why a resource failed',
    'offshoot logs branch/main                          the PostgreSQL server of a branch',
  )
    .description('what programs say: workloads, forks, failed resources, branches')
    .option('-f, --follow', 'go on with what they say from now on, until Ctrl-C')
    .option('--previous', 'only what was said before the program was started last')
    .option(
      '--tail <n>',
      'how many of the newest lines of each program (200, with --since all)',
      parseCountOrNone,
    )
    .option('--since <time>', 'only what was said since then: 5m, or 2030-01-31T12:00:00Z', parseSince)
    .option('--timestamps', 'say when')
    .option('-c, --container <name>', 'only containers of this name')
    .option('-n, --namespace <namespace>', 'only workloads of this namespace')
    .option('-p, --project <project>', 'of branches')
    .option('--plain', 'without the names of those who say it')
    .action(async (selectors: string[], options) => {
      const { output, tail, since, timestamps, follow, previous, container, namespace, plain } = options;
      const ofBranches = selectors.some(of => of.startsWith('branch/'));
      const project = ofBranches ? await chooseProject(cli, options.project) : undefined;
      const filter: LogFilter = {
        ...{ of: selectors, lines: tail, since, container, namespace, project },
        timestamps: timestamps ?? false,
        ...{ follow: follow ?? false, previous: previous ?? false },
      };
      await showLogs(cli, filter, { output, plain: plain ?? false });
    });
}

/** Prints lines as they come, each with the name of who says it. */
export async function showLogs(
  cli: Cli,
  filter: LogFilter,
  { output, plain }: { readonly output: OutputFormat; readonly plain: boolean },
): Promise<void> {
  if (output !== 'text' && !filter.follow)
    return await print(cli, output, await Array.fromAsync(cli.client().logs(filter, cli.signal)), String);
  const names = plain ? () => '' : naming(cli);
  const render = (line: LogLineView): string => {
    if (output === 'json') return JSON.stringify(line);
    if (output === 'yaml') return `---\n${asYaml(line).trimEnd()}`;
    return `${names(line)}${line.at === undefined ? '' : `${line.at} `}${legible(line.text)}`;
  };
  let any = false;
  try {
    for await (const lines of inLists(cli.client().logs(filter, cli.signal))) {
      any = true;
      await write(cli, lines.map(line => `${render(line)}\n`).join(''));
    }
  } catch (error) {
    if (!cli.signal.aborted) throw error;
  }
  if (!any && output === 'text') say(cli, 'nothing was said');
}

// --- internal -----------------------------------------------------------------------------------

/** ECMA-48, 8.3.117: foreground colours that are legible on dark and on light. */
const COLOURS = [36, 33, 32, 35, 34, 31];

/** `users-0 | ` before a line; names of pods and what else is needed to tell them apart, each in its colour on a terminal. */
function naming({ stdout, env }: Cli): (line: LogLineView) => string {
  const coloured = stdout.isTTY === true && !env.NO_COLOR;
  const known = new Map<string, string>();
  return ({ of, pod, container }) => {
    const sandbox = /^sandbox\/([^/]+)/.exec(of)?.[1];
    const name = pod === undefined ? of : [sandbox, pod, container].filter(Boolean).join(' ');
    let shown = known.get(name);
    if (shown === undefined) {
      const colour = COLOURS[known.size % COLOURS.length];
      shown = coloured ? `\x1b[${colour}m${legible(name)} |\x1b[0m ` : `${legible(name)} | `;
      known.set(name, shown);
    }
    return shown;
  };
}
