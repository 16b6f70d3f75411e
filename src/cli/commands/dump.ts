import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { clientToolFor, howToInstall } from '../../lib/client-tools.ts';
import { OffshootError } from '../../model/errors.ts';
import { openSession } from '../../sql/session.ts';
import type { Cli } from '../context.ts';
import { parseCount, withExamples } from '../options.ts';
import { say, UsageError } from '../output.ts';
import { environmentOf } from '../postgres-environment.ts';
import { chooseBranch, chooseProject } from '../target.ts';

/** @param branch the command that this is one of */
export function registerDump(branch: Command, cli: Cli): void {
  withExamples(
    branch.command('dump [branch]'),
    'offshoot branch dump fix-42 -f fix-42.sql',
    'offshoot branch dump main --schema-only',
    'offshoot branch dump main -F d -f main.dump --jobs 2',
  )
    .description(
      'write what a branch holds as pg_dump does, by a pg_dump that is not older than its server; a file is there only when it is whole',
    )
    .option('-p, --project <name>', 'the project')
    .addOption(
      new Option('-F, --format <format>', 'p: SQL; c: archive; d: folder; t: tar')
        .choices(['p', 'c', 'd', 't'])
        .default('p'),
    )
    .option('-f, --file <file>', 'where to; without it SQL and archives go to standard output')
    .option('-d, --database <name>', 'another database of the branch')
    .option('-s, --schema-only', 'no rows')
    .option('-a, --data-only', 'rows alone')
    .option('-O, --no-owner', 'without who owns what')
    .option('-x, --no-privileges', 'without who may do what')
    .option('-j, --jobs <number>', 'tables at a time, for a folder', parseCount)
    .action(
      async (argument: string | undefined, { project: flag, ...given }: Given & { project?: string }) => {
        const project = await chooseProject(cli, flag);
        const found = await cli.client().branches.credentials(project, chooseBranch(cli, project, argument));
        const url = new URL(found.connectionString);
        if (given.database !== undefined) url.pathname = `/${encodeURIComponent(given.database)}`;
        await dump(cli, url.href, given);
      },
    );
}

// --- internal -----------------------------------------------------------------------------------

type Given = {
  readonly format: 'p' | 'c' | 'd' | 't';
  readonly file?: string;
  readonly database?: string;
  readonly schemaOnly?: true;
  readonly dataOnly?: true;
  readonly owner: boolean;
  readonly privileges: boolean;
  readonly jobs?: number;
};

/** @throws OffshootError branch/no-dump-tool, branch/dump-failed; UsageError */
async function dump(cli: Cli, url: string, given: Given): Promise<void> {
  if (given.format === 'd' && given.file === undefined) throw new UsageError('a folder needs --file');
  const file = given.file === undefined ? undefined : resolve(cli.cwd, given.file);
  if (given.format === 'd' && existsSync(file!)) throw new UsageError(`${given.file} is there already`);
  const session = await openSession(url, cli.signal, { onNotice: () => {} });
  const version = session.parameter('server_version') ?? '';
  await session.close();
  const major = Number.parseInt(version, 10);
  const tool = await clientToolFor('pg_dump', major, cli);
  if (tool === undefined)
    throw new OffshootError('branch/no-dump-tool', { version, hint: howToInstall(major) });
  // Renamed when it is whole, so what has the name of a dump is one.
  const partial = file === undefined ? undefined : `${file}.${process.pid}.partial`;
  try {
    await run(cli, tool.path, argumentsOf(given, partial), environmentOf(url));
    if (partial !== undefined) await rename(partial, file!);
  } finally {
    if (partial !== undefined) await rm(partial, { recursive: true, force: true });
  }
  if (file !== undefined) say(cli, `wrote ${given.file} with pg_dump ${tool.version}`);
}

const argumentsOf = (
  { format, schemaOnly, dataOnly, owner, privileges, jobs }: Given,
  file: string | undefined,
): readonly string[] => [
  `--format=${format}`,
  '--no-password',
  ...(file === undefined ? [] : [`--file=${file}`]),
  ...(schemaOnly ? ['--schema-only'] : []),
  ...(dataOnly ? ['--data-only'] : []),
  ...(owner ? [] : ['--no-owner']),
  ...(privileges ? [] : ['--no-privileges']),
  ...(jobs === undefined ? [] : [`--jobs=${jobs}`]),
];

/** What it writes to standard output goes to ours, as fast as that is read. */
async function run(
  cli: Cli,
  path: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<void> {
  const child = spawn(path, args, {
    env: { ...cli.env, ...env },
    cwd: cli.cwd,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const stop = () => void child.kill('SIGINT');
  cli.signal.addEventListener('abort', stop, { once: true });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-MOST_SAID);
  });
  for (const stream of [child.stdout, child.stderr]) stream.on('error', () => {});
  const failed = once(child, 'error').then(([error]) => Promise.reject(error));
  const ended = once(child, 'close').then(([code]) => code as number | null);
  failed.catch(() => {});
  child.stdout.pipe(cli.stdout, { end: false });
  try {
    const code = await Promise.race([ended, failed]);
    cli.signal.throwIfAborted();
    const lines = said.trim().split('\n').filter(Boolean);
    if (code !== 0)
      throw new OffshootError(
        'branch/dump-failed',
        { why: lines[0] ?? `exit code ${code}` },
        { output: lines.slice(1).join('\n') },
      );
    for (const line of lines) say(cli, line);
  } finally {
    cli.signal.removeEventListener('abort', stop);
  }
}

/** Characters of what the program says that are kept: the last ones. */
const MOST_SAID = 64 * 1024;
