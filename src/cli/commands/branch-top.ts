/** `offshoot branch top`: what the server of a branch does, once or again and again on a terminal. */
import { type Command, Option } from 'commander';
import { delay } from '../../lib/wait.ts';
import { bytesText } from '../../model/bytes.ts';
import type { BranchInsight } from '../../model/insight.ts';
import type { InsightView } from '../../model/view.ts';
import type { Cli, OutputFormat } from '../context.ts';
import { legible } from '../legible.ts';
import { parseDuration, withExamples } from '../options.ts';
import { print, table, took, withOutput, write } from '../output.ts';
import { chooseBranch, chooseProject } from '../target.ts';

/** @param branch the command that this is one of */
export function registerTop(branch: Command, cli: Cli): void {
  const command = branch.command('top [branch]').option('-p, --project <name>', 'the project');
  withOutput(withExamples(command, 'offshoot branch top fix-42', 'offshoot branch top main --once -o json'))
    .description(
      'what the server of a branch does: sessions, transactions, caches, statements that take long',
    )
    .option('--once', 'once, also on a terminal')
    .addOption(
      new Option('--every <duration>', 'pause between two looks')
        .argParser(parseDuration)
        .default(2_000, '2s'),
    )
    .action(async (name: string | undefined, { output, project: flag, once, every }) => {
      const project = await chooseProject(cli, flag);
      const branch = chooseBranch(cli, project, name);
      await showTop(cli, () => cli.client().branches.insight(project, branch), {
        ...{ output, everyMs: Math.max(100, every) },
        again: !once && output === 'text' && cli.stdout.isTTY === true,
      });
    });
}

type TopOptions = { readonly output: OutputFormat; readonly everyMs: number; readonly again: boolean };

/** @param look asks the daemon; with `again` until Ctrl-C, drawn over what was shown before */
export async function showTop(
  cli: Cli,
  look: () => Promise<InsightView>,
  { output, everyMs, again }: TopOptions,
): Promise<void> {
  let before: BranchInsight | null = null;
  for (;;) {
    const seen = await look();
    const size = { columns: cli.stdout.columns || 80, rows: cli.stdout.rows || 24 };
    if (!again) return await print(cli, output, seen, view => top(view, null, size).join('\n'));
    const lines = top(seen, before, size).slice(0, size.rows - 1);
    before = seen.insight;
    await write(cli, `\x1b[H\x1b[2J${lines.map(line => `${line.slice(0, size.columns - 1)}\n`).join('')}`);
    await delay(everyMs, cli.signal);
  }
}

// --- internal -----------------------------------------------------------------------------------

type Size = { readonly columns: number; readonly rows: number };

function top(
  { name, state, message, size, insight }: InsightView,
  before: BranchInsight | null,
  { columns }: Size,
): readonly string[] {
  const taken = size === undefined ? '' : `, ${bytesText(size.bytes)} of its own`;
  if (insight === null) return [`${name}: ${state}: ${message}${taken}`];
  const { sessions, transactions, pages, running, statements } = insight;
  const asked = pages.hit + pages.read;
  const lines = [
    `${name}: ${state}, ${bytesText(insight.databaseBytes)}${taken}`,
    `sessions      ${sessions.open} of ${sessions.most}: ${sessions.active} active, ${sessions.idleInTransaction} idle in a transaction, ${sessions.blocked} waiting for a lock`,
    `transactions  ${transactions.committed} committed, ${transactions.rolledBack} rolled back${rate(insight, before)}`,
    `pages         ${asked === 0 ? '-' : `${((100 * pages.hit) / asked).toFixed(1)} %`} found in its buffers`,
    `deadlocks     ${insight.deadlocks}; temporary files ${bytesText(insight.temporaryBytes)}`,
    ...(running.length === 0 ? [] : ['', 'running:']),
    ...running.map(({ pid, role, ms, waits, text }) => {
      const head = `  ${pid} ${role} ${took(ms)}${waits === undefined ? '' : ` (${waits})`}  `;
      return `${head}${oneLine(text, columns - head.length - 1)}`;
    }),
    '',
    ...counted(statements, columns),
  ];
  return lines.map(legible);
}

function counted(statements: BranchInsight['statements'], columns: number): readonly string[] {
  if (statements === undefined)
    return ['statements are not counted: this PostgreSQL has no pg_stat_statements'];
  if (statements.length === 0) return ['no statement has been counted'];
  const rows = statements.map(({ text, calls, rows, ms }) => [
    ...[took(ms), String(calls), `${(ms / calls).toFixed(2)} ms`, String(rows)],
    oneLine(text, columns - 40),
  ]);
  return table(['TIME', 'CALLS', 'EACH', 'ROWS', 'STATEMENT'], rows).split('\n');
}

const oneLine = (text: string, width: number): string =>
  text.replaceAll(/\s+/g, ' ').trim().slice(0, Math.max(20, width));

/** A server that was started anew counts from 0. */
function rate(now: BranchInsight, before: BranchInsight | null): string {
  if (before === null || before.startedAt !== now.startedAt) return '';
  const seconds = (Date.parse(now.at) - Date.parse(before.at)) / 1000;
  const done = (insight: BranchInsight) => insight.transactions.committed + insight.transactions.rolledBack;
  return seconds > 0 ? `, ${((done(now) - done(before)) / seconds).toFixed(1)} a second` : '';
}
