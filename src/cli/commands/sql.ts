import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type Command, Option } from 'commander';
import type { Cli } from '../context.ts';
import { withExamples } from '../options.ts';
import { ExitCode, print, withOutput } from '../output.ts';
import { readSource } from '../read-file.ts';
import { runSql, sqlJson, sqlText } from '../sql.ts';
import { chooseBranch, chooseProject } from '../target.ts';

export function register(program: Command, cli: Cli): void {
  withExamples(
    withOutput(program.command('sql [branch]')),
    'offshoot sql -c "select * from users"',
    'offshoot sql sb-xata-test -f db/seed.sql',
    'offshoot sql sb-xata-test',
  )
    .description('run SQL on a branch; without -c or -f a session (psql where there is one)')
    .option('-p, --project <name>', 'the project')
    .option('-c, --command <sql>', 'statements to run')
    .addOption(
      new Option('-f, --file <file>', 'file with statements; - reads standard input').conflicts('command'),
    )
    .action(async (argument: string | undefined, { output, project: flag, command, file }) => {
      const project = await chooseProject(cli, flag);
      const branch = chooseBranch(cli, project, argument);
      const { connectionString } = await cli.client().branches.credentials(project, branch);
      const piped = command === undefined && file === undefined && cli.stdin.isTTY !== true;
      if (command === undefined && file === undefined && !piped) return session(cli, connectionString);
      const text = command ?? (await readSource(cli, file ?? '-')).text;
      const results = await runSql(connectionString, text, cli.signal);
      const objects = results.map(sqlJson);
      await print(cli, output, objects.length === 1 ? objects[0] : objects, () =>
        results.map(sqlText).join('\n'),
      );
    });
}

/** The password goes through the environment: command lines are for everybody to read. */
async function session(cli: Cli, url: string): Promise<void> {
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
  const { interactiveSql } = await import('../sql.ts');
  await interactiveSql(cli, url);
}
