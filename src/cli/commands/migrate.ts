import { dirname } from 'node:path';
import type { Command } from 'commander';
import { pathWith } from '../../lib/find-program.ts';
import { OffshootError } from '../../model/errors.ts';
import { type Migration, migrationVariables } from '../../model/migration.ts';
import type { Cli } from '../context.ts';
import { withExamples } from '../options.ts';
import { print, say, took, UsageError, withOutput } from '../output.ts';
import { findProjectFile, readProject } from '../project-file.ts';
import { runProgram } from '../run-program.ts';
import { chooseBranch, chooseProject } from '../target.ts';

export function register(program: Command, cli: Cli): void {
  withExamples(
    withOutput(program.command('migrate [branch]')),
    'offshoot migrate',
    'offshoot migrate fix-42',
    'offshoot migrate main --project shop -o json',
  )
    .description(
      'bring a branch (default: main) to what the code here expects: runs "migrate" of offshoot.yaml',
    )
    .option('-p, --project <project>', 'whose branch (default: as offshoot.yaml says)')
    .option('--config <file>', 'the offshoot.yaml (default: searched upwards from here)')
    .action(async (argument: string | undefined, { output, project: flag, config }) => {
      const started = performance.now();
      const file = findProjectFile(cli, '.', config);
      if (file === undefined)
        throw new UsageError(`there is no offshoot.yaml in ${cli.cwd} or above it; it says how to migrate`);
      const { migrate, environment } = await readProject(cli, file);
      if (migrate === undefined)
        throw new UsageError(`${file.file} does not say how: it has no "migrate:", see docs/data.md`);
      const project = await chooseProject(cli, flag ?? migrate.project ?? environment?.database?.project);
      const branch = chooseBranch(cli, project, argument);
      const { connectionString: _, ...address } = await cli.client().branches.credentials(project, branch);
      say(cli, `migrating branch ${branch} of project ${project}`);
      const how = await run(
        cli,
        migrate,
        migrationVariables(address, { project, branch }),
        output !== 'text',
      );
      const command = told(migrate.command);
      if (how !== undefined)
        throw new OffshootError('migration/failed', { branch, command, dir: migrate.dir, how });
      const ms = Math.round(performance.now() - started);
      say(cli, `branch ${branch} is up to date (${took(ms)})`);
      await print(cli, output, { project, branch, command: migrate.command, ms }, () => '');
    });
}

// --- internal -----------------------------------------------------------------------------------

/** @param apart what it says goes to standard error @returns how it failed; undefined: it did not */
async function run(
  cli: Cli,
  { command: [name = '', ...args], env, runtime, dir }: Migration,
  variables: Readonly<Record<string, string>>,
  apart: boolean,
): Promise<string | undefined> {
  const path = [cli.env.PATH, dirname(process.execPath)].filter(Boolean).join(':');
  const all = {
    ...{ ...cli.env, ...env, ...variables },
    PATH: runtime?.folder === undefined ? path : pathWith(runtime.folder, path),
  };
  try {
    const code = await runProgram(cli, name, args, all, { cwd: dir, apart });
    return code === 0 ? undefined : `ended with exit code ${code}`;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    return code === 'ENOENT'
      ? 'cannot be started: there is no such program, or folder'
      : `cannot be started: ${code}`;
  }
}

/** As it stands in the file. */
const told = (command: readonly string[]): string =>
  command[0] === 'sh' && command[1] === '-c' && command.length === 3 ? command[2]! : command.join(' ');
