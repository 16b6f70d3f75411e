import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import type { Cli, OutputFormat } from '../context.ts';
import { withExamples } from '../options.ts';
import { ExitCode, say, withOutput } from '../output.ts';
import { runScript } from '../sql/script.ts';
import { openSession, type SqlResult, type SqlSession } from '../sql/session.ts';
import { type Show, showResults } from '../sql/show.ts';
import { fileSource, source } from '../sql/source.ts';
import { chooseBranch, chooseProject } from '../target.ts';

export function register(program: Command, cli: Cli): void {
  withExamples(
    withOutput(program.command('sql [branch]')),
    'offshoot sql -c "select * from users"',
    'offshoot sql sb-xata-test -f db/seed.sql',
    'offshoot sql sb-xata-test',
  )
    .summary('run SQL on a branch; without -c or -f a session (psql where there is one)')
    .description(
      'run SQL on a branch; without -c or -f a session (psql where there is one). A file may be what pg_dump writes or psql reads: its statements run one by one until the first error, COPY takes its rows from it, and \\i, \\set, \\connect and the like work.',
    )
    .option('-p, --project <name>', 'the project')
    .option('-c, --command <sql>', 'statements to run, in one transaction')
    .addOption(
      new Option('-f, --file <file>', 'file with statements; - reads standard input').conflicts('command'),
    )
    .option('-1, --single-transaction', 'all of the file, or nothing of it')
    .action(async (argument: string | undefined, { project: flag, ...given }) => {
      const project = await chooseProject(cli, flag);
      const branch = chooseBranch(cli, project, argument);
      const { connectionString } = await cli.client().branches.credentials(project, branch);
      const asked = given.command !== undefined || given.file !== undefined || cli.stdin.isTTY !== true;
      return asked ? runGiven(cli, connectionString, given) : psqlOrOurs(cli, connectionString);
    });
}

// --- internal -----------------------------------------------------------------------------------

type Given = {
  readonly output: OutputFormat;
  readonly command?: string;
  readonly file?: string;
  readonly singleTransaction?: true;
};

async function runGiven(
  cli: Cli,
  url: string,
  { output, command, file = '-', singleTransaction }: Given,
): Promise<void> {
  const session = await openSession(url, cli.signal, sentence => say(cli, sentence));
  const show = showResults(cli, output);
  let failed = true;
  try {
    if (command !== undefined) await runCommand(cli, session, command, show);
    else {
      const script =
        file === '-' ? source('<stdin>', bytesOf(cli)) : fileSource(resolve(cli.cwd, file), file);
      const run = () => runScript(script, { cli, session, show });
      await (singleTransaction ? whole(session, run) : run());
    }
    failed = false;
  } finally {
    await show.end(failed);
    await session.close();
  }
}

/** One transaction, so nothing is shown of one that fails. Rows for COPY … FROM stdin are what the command is given. */
async function runCommand(cli: Cli, session: SqlSession, text: string, show: Show): Promise<void> {
  const results: SqlResult[] = [];
  await session.run(Buffer.from(text), {
    onResult: async result => void results.push(result),
    copyIn: () => bytesOf(cli),
    copyOut: show.copied,
  });
  for (const result of results) await show.result(result);
}

/** An error ends the session, and with it what the transaction did. */
async function whole(session: SqlSession, body: () => Promise<void>): Promise<void> {
  const nothing = { onResult: async () => {}, async *copyIn() {}, copyOut: async () => {} };
  await session.run(Buffer.from('BEGIN'), nothing);
  await body();
  await session.run(Buffer.from('COMMIT'), nothing);
}

const bytesOf = (cli: Cli): AsyncIterable<Buffer> => cli.stdin as AsyncIterable<Buffer>;

/** The password goes through the environment: command lines are for everybody to read. */
async function psqlOrOurs(cli: Cli, url: string): Promise<void> {
  const { hostname, port, username, password, pathname } = new URL(url);
  const env = {
    ...cli.env,
    PGHOST: hostname,
    PGPORT: port,
    PGUSER: decodeURIComponent(username),
    PGPASSWORD: decodeURIComponent(password),
    PGDATABASE: decodeURIComponent(pathname.slice(1)),
  };
  const psql = spawn('psql', [], { stdio: 'inherit', env });
  const failed = once(psql, 'error').then(([error]) => error as NodeJS.ErrnoException);
  const exited = once(psql, 'exit').then(([code]) => code as number | null);
  const end = await Promise.race([failed, exited]);
  if (typeof end === 'number') {
    if (end !== 0) throw new ExitCode(end);
    return;
  }
  const { interactiveSql } = await import('../sql/interactive.ts');
  await interactiveSql(cli, url);
}
