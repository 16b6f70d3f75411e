import type { Command } from 'commander';
import { OffshootError } from '../../model/errors.ts';
import type { BranchView } from '../../model/view.ts';
import type { Cli } from '../context.ts';
import { parseDuration } from '../duration.ts';
import { findLink, writeLink } from '../link.ts';
import { age, print, say, table, took, withOutput } from '../output.ts';
import { chooseBranch, chooseProject } from '../target.ts';
import { waitFor } from '../wait.ts';

const defaultWait = '2m';

export function register(program: Command, cli: Cli): void {
  const branch = program
    .command('branch')
    .description('copy-on-write branches of a project')
    .addHelpText(
      'after',
      `
Examples:
  $ offshoot branch list
  $ offshoot branch create fix-42 --parent main
  $ psql "$(offshoot branch url fix-42)"
  $ offshoot branch delete fix-42`,
    );
  const withProject = (command: Command) => withOutput(command.option('-p, --project <name>', 'the project'));

  withProject(branch.command('list').alias('ls'))
    .description('all branches; * marks the one that this folder works with')
    .action(async ({ output, project: flag }) => {
      const project = await chooseProject(cli, flag);
      const current = findLink(cli.cwd)?.branch ?? 'main';
      const branches = await cli.client().branches.list(project);
      await print(cli, output, branches, list =>
        table(
          ['', 'NAME', 'ID', 'PARENT', 'STATE', 'OWNER', 'AGE'],
          list.map(b => [
            b.name === current ? '*' : ' ',
            b.name,
            b.id,
            b.parent ?? '-',
            b.state,
            b.owner ?? '-',
            age(b.createdAt),
          ]),
        ),
      );
    });

  withProject(branch.command('get [branch]'))
    .description('one branch in full')
    .action(async (name: string | undefined, { output, project: flag }) => {
      const project = await chooseProject(cli, flag);
      const found = await cli.client().branches.get(project, chooseBranch(cli, name));
      await print(cli, output, found, b =>
        [
          `name     ${b.name}`,
          `id       ${b.id}`,
          `project  ${b.project}`,
          `parent   ${b.parent ?? '-'}`,
          `owner    ${b.owner ?? '-'}`,
          `state    ${b.state}: ${b.message}`,
          `created  ${b.createdAt}`,
        ].join('\n'),
      );
    });

  withProject(branch.command('create <name>'))
    .description('a new branch, ready when this returns')
    .option('--parent <branch>', 'branch to grow it from', 'main')
    .option('--no-wait', 'return before it accepts connections')
    .option('--wait', 'wait until it accepts connections (the default)')
    .option('--wait-timeout <duration>', 'give up waiting after', parseDuration, parseDuration(defaultWait))
    .option('--if-not-exists', 'an existing branch of that name is fine')
    .action(async (name: string, { output, project: flag, parent, wait, waitTimeout, ifNotExists }) => {
      const project = await chooseProject(cli, flag);
      const started = performance.now();
      try {
        await cli.client().branches.create(project, { name, parent });
      } catch (error) {
        if (!(ifNotExists && error instanceof OffshootError && error.code === 'branch/exists')) throw error;
      }
      if (wait !== false) await waitForBranch(cli, project, name, waitTimeout);
      const made = await cli.client().branches.get(project, name);
      say(
        cli,
        `branch ${name} of ${parent} ${wait === false ? 'is being made' : `is ready (${took(performance.now() - started)})`}`,
      );
      await print(cli, output, made, () => '');
    });

  withProject(branch.command('url [branch]'))
    .description('the connection string; it holds the password')
    .action(async (name: string | undefined, { output, project: flag }) => {
      const project = await chooseProject(cli, flag);
      const credentials = await cli.client().branches.credentials(project, chooseBranch(cli, name));
      await print(cli, output, credentials, c => c.connectionString);
    });

  withProject(branch.command('wait [branch]'))
    .description('wait until a branch accepts connections')
    .option('--wait-timeout <duration>', 'give up after', parseDuration, parseDuration(defaultWait))
    .action(async (name: string | undefined, { output, project: flag, waitTimeout }) => {
      const project = await chooseProject(cli, flag);
      const chosen = chooseBranch(cli, name);
      await waitForBranch(cli, project, chosen, waitTimeout);
      await print(cli, output, await cli.client().branches.get(project, chosen), b => `${b.name} is ready`);
    });

  withProject(branch.command('delete <branch>'))
    .description('remove a branch and its data; it is gone when this returns')
    .option('--force', 'also when it belongs to a sandbox')
    .option('--if-exists', 'a branch that is not there is fine')
    .option('--wait-timeout <duration>', 'give up waiting after', parseDuration, parseDuration(defaultWait))
    .action(async (name: string, { project: flag, force, ifExists, waitTimeout }) => {
      const project = await chooseProject(cli, flag);
      let gone: BranchView;
      try {
        gone = await cli.client().branches.delete(project, name, { force: force ?? false });
      } catch (error) {
        if (!(ifExists && error instanceof OffshootError && error.code === 'api/not-found')) throw error;
        return say(cli, `branch ${name} does not exist; nothing to do`);
      }
      await waitFor<BranchView>(cli, {
        kind: 'branch',
        name: gone.id,
        timeoutMs: waitTimeout,
        what: `branch ${name} to be gone`,
        probe: objects => (objects.has(gone.id) ? undefined : true),
        last: objects => objects.get(gone.id)?.message,
      });
      say(cli, `branch ${name} is gone`);
    });

  withProject(branch.command('checkout <branch>'))
    .description('make it the branch that this folder works with')
    .action(async (name: string, { output, project: flag }) => {
      const project = await chooseProject(cli, flag);
      const found = await cli.client().branches.get(project, name);
      const file = writeLink(cli.cwd, { project, branch: found.name });
      say(cli, `this folder now works with branch ${found.name} (${file})`);
      await print(cli, output, { project, branch: found.name }, () => '');
    });

  withProject(branch.command('rotate-password <branch>'))
    .description('give a branch a new password; sessions that are open go on')
    .action(async (name: string, { output, project: flag }) => {
      const project = await chooseProject(cli, flag);
      const rotated = await cli.client().branches.rotatePassword(project, name);
      say(cli, `branch ${name} has a new password: see "offshoot branch url ${name}"`);
      await print(cli, output, rotated, () => '');
    });
}

/** @throws OffshootError branch/failed as soon as it cannot become ready by itself, api/timeout */
export async function waitForBranch(
  cli: Cli,
  project: string,
  nameOrId: string,
  timeoutMs: number,
): Promise<void> {
  const { id, name } = await cli.client().branches.get(project, nameOrId);
  await waitFor<BranchView>(cli, {
    kind: 'branch',
    name: id,
    timeoutMs,
    what: `branch ${name} to be ready`,
    probe: objects => {
      const seen = objects.get(id);
      if (seen === undefined) throw new OffshootError('api/not-found', { kind: 'branch', name });
      if (seen.state === 'failed')
        throw new OffshootError('branch/failed', { name, why: seen.message, hint: seen.hint });
      return seen.state === 'ready' ? true : undefined;
    },
    last: objects => objects.get(id)?.message,
  });
}
