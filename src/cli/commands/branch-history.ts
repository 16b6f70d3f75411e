import type { Command } from 'commander';
import { until } from '../../lib/wait.ts';
import { bytesText } from '../../model/bytes.ts';
import { ttlMs } from '../../model/ttl.ts';
import type { HistoryView } from '../../model/view.ts';
import type { Cli, OutputFormat } from '../context.ts';
import { parseMoment } from '../moment.ts';
import { timeoutOption } from '../options.ts';
import { print, say, took, UsageError, withOutput } from '../output.ts';
import { chooseBranch, chooseProject } from '../target.ts';
import { waitForBranch } from './branch.ts';

/** @param define makes a command of branches with its examples */
export function registerHistory(
  define: (usage: string, ...examples: readonly string[]) => Command,
  cli: Cli,
): void {
  withOutput(
    define(
      'history [branch]',
      'offshoot branch history main',
      'offshoot branch history main --keep 24h',
      'offshoot branch history main --keep 7d --every 6h',
      'offshoot branch history main --off',
    ),
  )
    .description('which moments of a branch can be reached; and how much of that is kept')
    .option('--keep <duration>', 'from now on, every moment of so long a time can be reached', parseSpan)
    .option('--every <duration>', 'between two snapshots while it changes (default: 1h)', parseSpan)
    .option('--off', 'keep nothing, and remove what there is')
    .addOption(timeoutOption('2m'))
    .action(
      async (
        name: string | undefined,
        { output, project: flag, keep, every, off, waitTimeout }: HistoryFlags,
      ) => {
        const project = await chooseProject(cli, flag);
        const chosen = chooseBranch(cli, project, name);
        if (off && (keep ?? every) !== undefined) throw new UsageError('--off is alone');
        const { history, setHistory } = cli.client().branches;
        const before = await history(project, chosen);
        if (off) {
          const none = await setHistory(project, chosen, null);
          say(cli, `branch ${none.name} keeps no history`);
          return print(cli, output, none, () => '');
        }
        if ((keep ?? every) === undefined) return print(cli, output, before, historyText);
        const keepSeconds = keep ?? before.history?.keepSeconds;
        if (keepSeconds === undefined) throw new UsageError('say how long, for example --keep 24h');
        await setHistory(project, chosen, {
          keepSeconds,
          ...(every !== undefined && { everySeconds: every }),
        });
        const kept = await until(
          async () => {
            const found = await history(project, chosen);
            return found.reach?.spans.some(({ to }) => to === undefined) ? found : undefined;
          },
          {
            what: `the first snapshot of ${chosen}`,
            deadlineMs: waitTimeout,
            signal: cli.signal,
            intervalMs: 25,
          },
        );
        say(cli, `every moment of branch ${kept.name} can be reached from now on`);
        await print(cli, output, kept, () => '');
      },
    );

  withOutput(
    define(
      'restore <branch>',
      'offshoot branch restore main --at 10:42',
      'offshoot branch restore main --at "15m ago"',
    ),
  )
    .description('let a branch hold again what it held at a moment; id, address and password stay')
    .requiredOption('--at <moment>', 'e.g. 10:42, "15m ago" or 2026-11-27T10:42:30Z; see "branch history"')
    .option('--force', 'also when it has children, which keep what they hold')
    .addOption(timeoutOption('10m'))
    .action(async (name: string, { output, project: flag, at, force, waitTimeout }) => {
      const project = await chooseProject(cli, flag);
      const started = performance.now();
      const moment = parseMoment(at);
      const { id, name: own } = await cli.client().branches.restore(project, name, { at: moment, force });
      await waitForBranch(cli, project, id, waitTimeout);
      say(cli, `branch ${own} holds what it held at ${moment} (${took(performance.now() - started)})`);
      await print(cli, output, await cli.client().branches.get(project, id), () => '');
    });
}

// --- internal -----------------------------------------------------------------------------------

type HistoryFlags = {
  readonly output: OutputFormat;
  readonly project?: string;
  readonly keep?: number;
  readonly every?: number;
  readonly off?: true;
  readonly waitTimeout: number;
};

/** @returns seconds */
function parseSpan(text: string): number {
  const ms = /^\d+s$/.test(text) ? Number(text.slice(0, -1)) * 1000 : ttlMs(text);
  if (ms === undefined) throw new UsageError(`"${text}" is not a time; write for example 6h, 24h or 7d`);
  return ms / 1000;
}

function historyText({ name, history, reach }: HistoryView): string {
  if (history === null || reach === null) {
    const why = history === null ? 'keeps no history' : 'has not been running since it was to keep history';
    return `branch ${name} ${why}`;
  }
  const { spans, snapshots, bytes } = reach;
  return [
    `keeps      ${history.keepSeconds / 3600} h, with a snapshot every ${history.everySeconds / 60} min while it changes`,
    ...spans.map(
      ({ from, to, cut }) =>
        `reachable  ${from} to ${to ?? 'now'}${cut ? '; what came after it is not kept: its log grew too large while no daemon ran' : ''}`,
    ),
    ...snapshots.map(at => `snapshot   ${at}`),
    `takes      ${bytesText(bytes)} beside the branch`,
  ].join('\n');
}
