import { type Command, Option } from 'commander';
import { describeOwner, environmentResource } from '../../model/environment.ts';
import { OffshootError } from '../../model/errors.ts';
import type { SandboxView } from '../../model/view.ts';
import type { Cli } from '../context.ts';
import { environmentAs } from '../environment.ts';
import { goneReason } from '../environment-gone.ts';
import { environmentNamed, environments, lookFor, whereWeAre } from '../environment-here.ts';
import { followRename } from '../environment-renamed.ts';
import { upEnvironment } from '../environment-up.ts';
import { asDirenv, variablesOf } from '../environment-variables.ts';
import { timeoutOption, withExamples } from '../options.ts';
import { age, ExitCode, print, say, table, took, UsageError, withOutput, write } from '../output.ts';
import { projectReader } from '../project-file.ts';
import { runProgram } from '../run-program.ts';
import { openPreview, parsePreviewPath } from './open.ts';
import { deleteSandbox } from './sandbox.ts';

export function register(program: Command, cli: Cli): void {
  const env = withExamples(
    program
      .command('env')
      .enablePositionalOptions() // what follows the command of "run" is that command's
      .description(
        'an environment for the git branch that you stand in: its code, and a database of its own',
      ),
    'offshoot env up',
    'offshoot env url',
    'offshoot env list',
    'offshoot env down',
  );
  const define = (usage: string, ...examples: readonly string[]) =>
    withExamples(env.command(usage), ...examples);

  withOutput(define('up', 'offshoot env up', 'offshoot env up --from fix-41'))
    .description('make it, or bring it to what the worktree says now; ready when this returns')
    .option(
      '--from <branch>',
      'what its database grows from: a branch, or a git branch with an environment (default: the one that this git branch came from, else main)',
    )
    .option('--no-wait', 'return before it is ready')
    .addOption(timeoutOption('3m'))
    .action(async ({ output, from, wait, waitTimeout }) => {
      const started = performance.now();
      const [here] = await Promise.all([whereWeAre(cli), projectReader()]);
      const made = await upEnvironment(cli, here, {
        ...{ from, wait: wait !== false, timeoutMs: waitTimeout },
      });
      if (wait !== false) say(cli, `ready in ${took(performance.now() - started)}`);
      await print(cli, output, made, endpointTable);
    });

  define('down [name]', 'offshoot env down', 'offshoot env down feature/Login-2')
    .description('remove it; its database goes into the trash')
    .option('--if-exists', 'one that is not there is fine')
    .option('--no-wait', 'return before it is gone')
    .addOption(timeoutOption('5m'))
    .action(async (name: string | undefined, { ifExists = false, wait, waitTimeout }) => {
      const { found, wanted } = await lookFor(cli, name);
      if (found === undefined && ifExists)
        return say(cli, `${describeOwner(wanted!)} has no environment; nothing to do`);
      if (found === undefined)
        throw new OffshootError('environment/missing', { owner: describeOwner(wanted!) });
      await deleteSandbox(cli, found.name, {
        ...{ force: false, recursive: false, ifExists: true, wait: wait !== false, timeoutMs: waitTimeout },
      });
    });

  withOutput(define('gc', 'offshoot env gc --dry-run', 'offshoot env gc --all'))
    .description('remove the environments of git branches and worktrees that are gone')
    .option('--all', 'of all repositories (default: of this one)')
    .option('--dry-run', 'only say which')
    .addOption(timeoutOption('5m'))
    .action(async ({ output, all = false, dryRun = false, waitTimeout }) => {
      const found = await listed(cli, all);
      const gone: (SandboxView & { readonly why: string })[] = [];
      for (const { owner, ...one } of found) {
        const reason = one.deletedAt === undefined ? await goneReason(cli, owner, one.createdAt) : undefined;
        if (reason === undefined) continue;
        const { why, stays = false, isRenamed = false } = reason;
        if (isRenamed && !dryRun && (await followRename(cli, { ...one, owner }))) continue;
        const after = stays ? `; it stays ("offshoot env down ${one.name}")` : '';
        say(cli, `environment ${one.name}: ${why}${isRenamed && dryRun ? '; it goes on' : after}`);
        if (isRenamed && dryRun) continue;
        if (!stays) gone.push({ ...one, why });
      }
      if (!dryRun)
        for (const { name } of gone)
          await deleteSandbox(cli, name, {
            ...{ force: false, recursive: false, ifExists: true, wait: true, timeoutMs: waitTimeout },
          });
      else if (gone.length > 0) say(cli, `${gone.length} would be removed`);
      if (gone.length === 0) say(cli, 'nothing to remove');
      await print(cli, output, gone, () => '');
    });

  withOutput(define('list', 'offshoot env list', 'offshoot env list --all'))
    .alias('ls')
    .description('the environments of this repository')
    .option('--all', 'of all repositories')
    .action(async ({ output, all = false }) => {
      await print(cli, output, await listed(cli, all), list =>
        table(
          ['NAME', 'GIT BRANCH', 'STATUS', 'DATABASE', 'AGE', 'WORKTREE'],
          list.map(one => [
            one.name,
            one.owner.branch ?? '-',
            statusWord(one),
            databaseOf(one),
            age(one.createdAt),
            one.owner.worktree,
          ]),
        ),
      );
    });

  withOutput(define('url [endpoint]', 'curl -H "Authorization: Bearer $KEY" "$(offshoot env url)"'))
    .description('the address of its preview')
    .action(async (endpoint: string | undefined, { output }) => {
      const { name, endpoints } = await environmentNamed(cli);
      const names = endpoints.map(one => one.name);
      const found = endpoints.find(one => endpoint === undefined || one.name === endpoint);
      if (found === undefined)
        throw new UsageError(
          names.length === 0
            ? `environment ${name} has no previews now: "offshoot env up" brings them back`
            : `environment ${name} has no preview ${endpoint}; there are: ${names.join(', ')}`,
        );
      await print(cli, output, found, ({ url }) => url);
    });

  withOutput(define('open [endpoint]', 'offshoot env open', 'offshoot env open --path /users'))
    .description('open its preview in the browser, by a link that works once, within a minute')
    .option('--path <path>', 'a path of it', parsePreviewPath, '/')
    .option('--print', 'print the link instead')
    .action(async (endpoint: string | undefined, options) => {
      const { name } = await environmentNamed(cli);
      await openPreview(cli, name, endpoint, options);
    });

  define('run <command...>', 'offshoot env run -- npm test', 'offshoot env run -w users-service -- psql')
    .usage('[options] -- <command...>')
    .passThroughOptions()
    .description('run a command here with the variables of a fork: its database, its services, its keys')
    .option('-w, --workload <workload>', 'which fork (default: the first)')
    .action(async ([file = '', ...args]: string[], { workload }) => {
      const variables = await variablesOf(cli, await environmentNamed(cli), workload);
      try {
        throw new ExitCode(await runProgram(cli, file, args, { ...cli.env, ...variables }, { cwd: cli.cwd }));
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code !== 'ENOENT' && code !== 'EACCES') throw error;
        say(cli, `error: ${file}: ${code === 'ENOENT' ? 'there is no such program' : 'it cannot be run'}`);
        throw new ExitCode(code === 'ENOENT' ? 127 : 126); // as sh(1) does
      }
    });

  define(
    'env',
    'eval "$(offshoot env env)"',
    'offshoot env env --format dotenv > .env',
    'eval "$(offshoot env env --format direnv)"     in an .envrc',
  )
    .description('the variables of a fork, for programs that read them; they hold passwords')
    .option('-w, --workload <workload>', 'which fork (default: the first)')
    .addOption(
      new Option('--format <format>', 'for eval, for readers of .env files, for an .envrc, or for programs')
        .choices(['shell', 'dotenv', 'direnv', 'json'])
        .default('shell'),
    )
    .action(async ({ workload, format }) => {
      const variables = await variablesOf(cli, await environmentNamed(cli), workload);
      if (format === 'json') return await print(cli, 'json', variables, String);
      const text =
        format === 'direnv' ? asDirenv(await whereWeAre(cli), variables) : environmentAs(format, variables);
      // For a program, so exactly.
      await write(cli, text);
    });
}

// --- internal -----------------------------------------------------------------------------------

async function listed(cli: Cli, all: boolean) {
  const here = all ? undefined : await whereWeAre(cli);
  return (await environments(cli)).filter(
    ({ owner }) => here === undefined || owner.repository === here.owner.repository,
  );
}

const endpointTable = ({ endpoints }: SandboxView): string =>
  endpoints.length === 0
    ? ''
    : table(
        ['PREVIEW', 'URL'],
        endpoints.map(({ name, url }) => [name, url]),
      );

const databaseOf = ({ spec }: SandboxView): string =>
  spec.resources?.some(({ name }) => name === environmentResource) ? 'own' : 'shared';

/** One whose folder has another branch checked out keeps its database only. */
function statusWord({ status, spec, deletedAt }: SandboxView): string {
  if (deletedAt !== undefined) return 'Deleting';
  if (status.failed) return `Failed: ${status.reason}`;
  if (!status.ready) return 'Not Ready';
  return (spec.forks ?? []).length === 0 ? 'Parked' : 'Ready';
}
