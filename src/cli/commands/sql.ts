import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { clientToolFor } from '../../lib/client-tools.ts';
import { createScanner } from '../../sql/scanner.ts';
import { nowhere, openSession, type SqlSession } from '../../sql/session.ts';
import { fileSource, ScriptError, type Source, source } from '../../sql/source.ts';
import type { Cli } from '../context.ts';
import { withExamples } from '../options.ts';
import { toldIfOutdated } from '../outdated-password.ts';
import { ExitCode, ReaderGone, say, UsageError, write } from '../output.ts';
import { environmentOf } from '../postgres-environment.ts';
import { openScript } from '../sql/script.ts';
import { type SqlFormat, showResults } from '../sql/show.ts';
import { chooseBranch, chooseProject } from '../target.ts';

export function register(program: Command, cli: Cli): void {
  withExamples(
    program.command('sql [branch]'),
    'offshoot sql -c "select * from users"',
    'offshoot sql sb-xata-test -f db/seed.sql',
    'offshoot sql -o csv -c "select * from users" > users.csv',
    'offshoot sql sb-xata-test',
  )
    .summary('run SQL on a branch; without -c or -f a session (psql where there is one)')
    .description(
      'run SQL on a branch; without -c or -f a session (psql where there is one that is new enough). A file may be what pg_dump writes or psql reads: its statements run one by one until the first error, COPY takes its rows from it, and \\i, \\set, \\copy, \\connect, \\if, \\d and the like work.',
    )
    .option('-o, --output <format>', 'json, yaml or csv instead of a table', parseFormat, 'table')
    .option('-p, --project <name>', 'the project')
    .option('-c, --command <sql>', 'statements to run, in one transaction; or one command such as \\dt')
    .addOption(
      new Option('-f, --file <file>', 'file with statements; - reads standard input').conflicts('command'),
    )
    .option('-1, --single-transaction', 'all of the file, or nothing of it')
    .option('-v, --variable <name=value>', 'a variable of the script, as \\set makes them', collect, {})
    .option('--read-only', 'transactions read only')
    .action(async (argument: string | undefined, { project: flag, ...given }) => {
      if (argument !== undefined && /\s/.test(argument))
        throw new UsageError('a branch has no blanks in its name; SQL goes behind -c: offshoot sql -c "…"');
      const project = await chooseProject(cli, flag);
      const branch = chooseBranch(cli, project, argument);
      const { connectionString } = await cli.client().branches.credentials(project, branch);
      const asked = given.command !== undefined || given.file !== undefined || cli.stdin.isTTY !== true;
      const run = asked ? runGiven : runTyped;
      await toldIfOutdated(cli, { project, branch }, () => run(cli, connectionString, given));
    });
}

// --- internal -----------------------------------------------------------------------------------

type Given = {
  readonly output: SqlFormat;
  readonly command?: string;
  readonly file?: string;
  readonly singleTransaction?: true;
  readonly variable: Readonly<Record<string, string>>;
  readonly readOnly?: boolean;
};

async function runGiven(cli: Cli, url: string, given: Given): Promise<void> {
  const { command, file = '-', readOnly = false } = given;
  let script: Source | undefined;
  if (command === undefined)
    script = file === '-' ? source('<stdin>', bytesOf(cli)) : fileSource(resolve(cli.cwd, file), file);
  else if (command.trimStart().startsWith('\\')) script = source('<command>', [Buffer.from(command)]);
  const place = () =>
    script === undefined || command !== undefined ? '' : `${script.file}:${script.line}: `;
  const onNotice = (sentence: string) => say(cli, `${place()}${sentence}`);
  const session = await openSession(url, cli.signal, { onNotice, readOnly });
  try {
    if (script === undefined) return await runText(cli, session, command!, given.output);
    const run = () =>
      openScript(script, { cli, session, format: given.output, variables: given.variable }).run();
    await (given.singleTransaction ? whole(session, run) : run());
  } catch (error) {
    if (!cli.signal.aborted || cli.signal.reason instanceof ReaderGone)
      throw error instanceof ScriptError ? new UsageError(error.message) : error;
    say(cli, 'interrupted; the statement that ran was cancelled');
    throw new ExitCode(130);
  } finally {
    await session.close();
  }
}

/** The installed psql where it knows this server, and a table is what it shows; otherwise ours. */
async function runTyped(cli: Cli, url: string, { output, readOnly = false }: Given): Promise<void> {
  const session = await openSession(url, cli.signal, { onNotice: sentence => say(cli, sentence), readOnly });
  const major = Number.parseInt(session.parameter('server_version') ?? '', 10);
  const psql = output === 'table' ? await clientToolFor('psql', major, cli) : undefined;
  if (psql === undefined) {
    const { interactiveSql } = await import('../sql/interactive.ts');
    return interactiveSql(cli, session, output);
  }
  await session.close();
  // The password goes through the environment: command lines are for everybody to read. Ctrl-C is psql's.
  const env = { ...cli.env, ...environmentOf(url), ...(readOnly && { PGOPTIONS: READ_ONLY }) };
  const [code] = (await once(spawn(psql.path, [], { stdio: 'inherit', env }), 'exit')) as [number | null];
  if (code !== 0) throw new ExitCode(code ?? 1);
}

const READ_ONLY = '-c default_transaction_read_only=on';

/** In one transaction. Rows for COPY … FROM stdin are what the command is given. */
async function runText(cli: Cli, session: SqlSession, text: string, format: SqlFormat): Promise<void> {
  const last = async () => statementsIn(text) < 2;
  const show = showResults({ write: out => write(cli, out), format, last });
  let failed = true;
  try {
    await session.run(Buffer.from(text), { ...nowhere, ...show, copyIn: () => bytesOf(cli) });
    failed = false;
  } finally {
    await show.end(failed);
  }
}

function statementsIn(text: string): number {
  const scanner = createScanner({ variable: () => undefined, standardStrings: () => true });
  scanner.feed(text, 1);
  let count = 0;
  while (scanner.next() !== undefined) count++;
  return scanner.end() === undefined ? count : count + 1;
}

/** An error ends the session, and with it what the transaction did. */
async function whole(session: SqlSession, body: () => Promise<void>): Promise<void> {
  await session.run(Buffer.from('BEGIN'), nowhere);
  await body();
  await session.run(Buffer.from('COMMIT'), nowhere);
}

const bytesOf = (cli: Cli): AsyncIterable<Buffer> => cli.stdin as AsyncIterable<Buffer>;

function parseFormat(text: string): SqlFormat {
  if (text === 'text') return 'table'; // as other commands call it
  if (text === 'json' || text === 'yaml' || text === 'csv' || text === 'table') return text;
  throw new UsageError(`--output takes table, json, yaml or csv, not "${text}"`);
}

function collect(text: string, before: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const [, name, value] = /^([\w\x80-\uffff]+)=(.*)$/s.exec(text) ?? [];
  if (name === undefined) throw new UsageError(`--variable takes NAME=VALUE, not "${text}"`);
  return { ...before, [name]: Buffer.from(value!).toString('latin1') };
}
