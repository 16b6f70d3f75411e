import type { Command } from 'commander';
import { describeOwner, environmentResource } from '../../model/environment.ts';
import { OffshootError } from '../../model/errors.ts';
import type { SandboxView } from '../../model/view.ts';
import type { Cli } from '../context.ts';
import { environmentNamed, environments, lookFor, whereWeAre } from '../environment-here.ts';
import { upEnvironment } from '../environment-up.ts';
import { timeoutOption, withExamples } from '../options.ts';
import { age, print, say, table, took, UsageError, withOutput } from '../output.ts';
import { openPreview, parsePreviewPath } from './open.ts';
import { deleteSandbox } from './sandbox.ts';

export function register(program: Command, cli: Cli): void {
  const env = withExamples(
    program
      .command('env')
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
      const made = await upEnvironment(cli, await whereWeAre(cli), {
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

  withOutput(define('list', 'offshoot env list', 'offshoot env list --all'))
    .alias('ls')
    .description('the environments of this repository')
    .option('--all', 'of all repositories')
    .action(async ({ output, all = false }) => {
      const here = all ? undefined : await whereWeAre(cli);
      const found = (await environments(cli)).filter(
        ({ owner }) => here === undefined || owner.repository === here.owner.repository,
      );
      await print(cli, output, found, list =>
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
}

// --- internal -----------------------------------------------------------------------------------

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
