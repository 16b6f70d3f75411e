import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { type BranchAddress, connectionString } from '../../model/branch.ts';
import { bytesText, parseBytes } from '../../model/bytes.ts';
import { OffshootError } from '../../model/errors.ts';
import type { BranchSize, BranchView } from '../../model/view.ts';
import { CONNECTION_FORMATS, type Connection, connectionText } from '../connection-formats.ts';
import type { Cli } from '../context.ts';
import { findLink, writeLink } from '../link.ts';
import { parseMoment } from '../moment.ts';
import { parseSleepAfter, sizeOption, timeoutOption, withExamples } from '../options.ts';
import { sayOutdated } from '../outdated-password.ts';
import { age, left, print, say, table, took, withOutput } from '../output.ts';
import { chooseBranch, chooseProject } from '../target.ts';
import { waitFor } from '../wait.ts';
import { registerHistory } from './branch-history.ts';
import { registerPort } from './branch-port.ts';
import { registerSleep } from './branch-sleep.ts';
import { registerTop } from './branch-top.ts';
import { registerDump } from './dump.ts';
import { registerBranchSettings } from './server-settings.ts';
import { inTheTrash } from './trash.ts';

const defaultWait = '2m';

export function register(program: Command, cli: Cli): void {
  const branch = withExamples(
    program.command('branch').description('copy-on-write branches of a project'),
    'offshoot branch list',
    'offshoot branch create fix-42 --parent main',
    'psql "$(offshoot branch url fix-42)"',
    'offshoot branch delete fix-42',
  );
  const withProject = (command: Command) => command.option('-p, --project <name>', 'the project');
  const define = (usage: string, ...examples: readonly string[]) =>
    withProject(withExamples(branch.command(usage), ...examples));

  withOutput(define('list', 'offshoot branch list', 'offshoot branch list -p shop -o json'))
    .alias('ls')
    .description('all branches; * marks the one that this folder works with')
    .action(async ({ output, project: flag }) => {
      const project = await chooseProject(cli, flag);
      const current = chooseBranch(cli, project, undefined);
      const branches = await cli.client().branches.list(project);
      await print(cli, output, branches, list =>
        table(
          ['', 'NAME', 'ID', 'PARENT', 'STATE', 'SIZE', 'OWNER', 'AGE', 'EXPIRES'],
          list.map(b => [
            b.name === current ? '*' : ' ',
            b.name,
            b.id,
            b.parent ?? '-',
            b.state === 'asleep' && b.since !== undefined ? `asleep ${age(b.since)}` : b.state,
            sizeText(b.size),
            b.owner ?? '-',
            age(b.createdAt),
            b.scheduledDeleteTime === null ? '-' : left(b.scheduledDeleteTime),
          ]),
        ),
      );
    });

  withOutput(define('tree', 'offshoot branch tree'))
    .description('the branches as a tree')
    .action(async ({ output, project: flag }) => {
      const branches = await cli.client().branches.list(await chooseProject(cli, flag));
      await print(cli, output, treeOf(branches, null), tree => drawTree(tree).join('\n'));
    });

  withOutput(define('get [branch]', 'offshoot branch get fix-42'))
    .description('one branch in full')
    .action(async (name: string | undefined, { output, project: flag }) => {
      const project = await chooseProject(cli, flag);
      const found = await cli.client().branches.get(project, chooseBranch(cli, project, name));
      await print(cli, output, found, b =>
        [
          `name     ${b.name}`,
          `id       ${b.id}`,
          `project  ${b.project}`,
          `parent   ${b.parent ?? '-'}`,
          `owner    ${b.owner ?? '-'}`,
          `state    ${b.state}: ${b.message}${b.protected ? '; protected' : ''}`,
          ...(b.port === null ? [] : [`port     ${b.port}${b.portProblem ? `: ${b.portProblem}` : ''}`]),
          ...(b.since === undefined ? [] : [`since    ${b.since}`]),
          `size     ${sizeText(b.size)}${b.size?.limitBytes ? ` of ${bytesText(b.size.limitBytes)}` : ''}`,
          ...(b.size?.logicalBytes === undefined
            ? []
            : [
                `logical  ${bytesText(b.size.logicalBytes)}, ${bytesText(b.size.sharedBytes!)} of it shared with its parent`,
              ]),
          ...(b.emptied === undefined ? [] : [`emptied  ${b.emptied.join(', ')}`]),
          `created  ${b.createdAt}`,
          ...(b.moment === undefined
            ? []
            : [`holds    what was held at ${b.moment}, and what came after it was made`]),
          ...(b.scheduledDeleteTime === null ? [] : [`expires  ${b.scheduledDeleteTime}`]),
        ].join('\n'),
      );
    });

  withOutput(
    define(
      'create <name>',
      'offshoot branch create fix-42',
      'offshoot branch create fix-42b --parent fix-42',
      'offshoot branch create before-it --at 10:42',
    ),
  )
    .description('a new branch, ready when this returns')
    .option('--parent <branch>', 'branch to grow it from', 'main')
    .option('--at <moment>', 'what that held then, e.g. 10:42; see "branch history"')
    .option('--no-wait', 'return before it accepts connections')
    .option('--wait', 'wait until it accepts connections (the default)')
    .addOption(timeoutOption(defaultWait))
    .option('--owner <owner>', 'sandbox/NAME: the branch goes with that sandbox')
    .addOption(sizeOption('--limit <size>', 'most that it may take of its own, e.g. 2G'))
    .option('--ttl <duration>', 'it goes into the trash after that, e.g. 2h or 3d')
    .option(
      '--sleep-after <duration>',
      'it sleeps when nobody has used it for so long, or never',
      parseSleepAfter,
    )
    .option('--if-not-exists', 'an existing branch of that name (and owner) is fine')
    .action(
      async (
        name: string,
        { output, project: flag, parent, at, wait, waitTimeout, owner, limit, ttl, ifNotExists, ...flags },
      ) => {
        const project = await chooseProject(cli, flag);
        const started = performance.now();
        try {
          await cli.client().branches.create(project, {
            ...{ name, parent, owner, limitBytes: limit, ttl },
            sleepAfterSeconds: flags.sleepAfter,
            at: at === undefined ? undefined : parseMoment(at),
          });
        } catch (error) {
          if (!(ifNotExists && error instanceof OffshootError && error.code === 'branch/exists')) throw error;
          const existing = await cli.client().branches.get(project, name);
          if (owner !== undefined && existing.owner !== owner) throw error;
        }
        if (wait !== false) await waitForBranch(cli, project, name, waitTimeout);
        const made = await cli.client().branches.get(project, name);
        say(
          cli,
          `branch ${name} of ${made.parent} ${wait === false ? 'is being made' : `is ready (${took(performance.now() - started)})`}`,
        );
        warnOfEmptied(cli, made);
        sayPasswordless(cli, made);
        await print(cli, output, made, () => '');
      },
    );

  withOutput(
    define('limit <branch> <size>', 'offshoot branch limit fix-42 2G', 'offshoot branch limit fix-42 none'),
  )
    .description('the most that a branch may take of its own; none: as its project says')
    .action(async (name: string, size: string, { output, project: flag }) => {
      const project = await chooseProject(cli, flag);
      const limited = await cli.client().branches.limit(project, name, parseLimit(size));
      const limit = limited.size?.limitBytes;
      say(cli, `branch ${limited.name} may take ${limit ? bytesText(limit) : 'all there is'}`);
      await print(cli, output, limited, () => '');
    });

  withOutput(
    define(
      'url [branch]',
      'psql "$(offshoot branch url fix-42)"',
      'offshoot branch url fix-42 --role reporting --database stats --format jdbc',
    ),
  )
    .description('the connection string; it holds the password')
    .option('--role <role>', 'as another role than the owner')
    .option('--own-port', 'at the port that it has of its own, with the role as it is called')
    .option('-d, --database <name>', 'to another database of the branch')
    .addOption(new Option('--format <format>', 'for whom it is').choices(CONNECTION_FORMATS).default('url'))
    .addOption(
      new Option('--sslmode <mode>', 'how the client encrypts').choices([
        'require',
        'verify-ca',
        'verify-full',
      ]),
    )
    .option('--sslrootcert <file>', 'whom the client trusts, see "offshoot ca"')
    .action(async (name: string | undefined, { output, project: flag, sslmode, sslrootcert, ...flags }) => {
      const project = await chooseProject(cli, flag);
      const chosen = chooseBranch(cli, project, name);
      const { outdated, ...found } = await cli
        .client()
        .branches.credentials(project, chosen, { check: true });
      if (outdated && flags.role === undefined) sayOutdated(cli, chosen);
      const role = await asRole(cli, project, found, flags.role);
      const address = {
        ...(flags.ownPort ? await atOwnPort(cli, project, role) : role),
        ...(flags.database !== undefined && { database: flags.database }),
        ...(sslmode !== undefined && { sslmode }),
        ...(sslrootcert !== undefined && { sslrootcert: resolve(cli.cwd, sslrootcert) }),
      };
      await print(cli, output, { ...address, connectionString: connectionString(address) }, () =>
        connectionText(address, flags.format),
      );
    });

  withOutput(define('wait [branch]', 'offshoot branch wait fix-42 --wait-timeout 30s'))
    .description('wait until a branch accepts connections')
    .addOption(timeoutOption(defaultWait))
    .action(async (name: string | undefined, { output, project: flag, waitTimeout }) => {
      const project = await chooseProject(cli, flag);
      const chosen = chooseBranch(cli, project, name);
      await waitForBranch(cli, project, chosen, waitTimeout);
      await print(
        cli,
        output,
        await cli.client().branches.get(project, chosen),
        b => `${b.name} is ${b.state === 'asleep' ? 'asleep, and wakes when somebody connects' : 'ready'}`,
      );
    });

  define(
    'delete <branch>',
    'offshoot branch delete fix-42',
    'offshoot branch delete fix-42 --now --if-exists',
  )
    .description('put a branch into the trash; one that belongs to a sandbox is removed for good')
    .option('--now', 'remove it and its data for good; it is gone when this returns')
    .option('--owner <owner>', 'sandbox/NAME: only if it belongs to that sandbox')
    .option('--force', 'also when it belongs to a sandbox')
    .option('--recursive', 'what grows from it goes the same way')
    .option('--if-exists', 'a branch that is not there is fine')
    .addOption(timeoutOption(defaultWait))
    .action(async (name: string, { project: flag, owner, force, recursive, now, ifExists, waitTimeout }) => {
      const project = await chooseProject(cli, flag);
      let gone: BranchView;
      try {
        const found = await cli.client().branches.get(project, name);
        if (owner !== undefined && ifExists && found.owner !== owner)
          return say(cli, `branch ${name} does not belong to ${owner}; nothing to do`);
        const how = { owner, force: force ?? false, now: now ?? false, recursive: recursive ?? false };
        gone = await cli.client().branches.delete(project, name, how);
      } catch (error) {
        if (!(ifExists && error instanceof OffshootError && error.code === 'api/not-found')) throw error;
        return say(cli, `branch ${name} does not exist; nothing to do`);
      }
      if (gone.state === 'trashed')
        return say(cli, inTheTrash(`branch ${name}`, { id: gone.id, until: gone.trashed!.until }));
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

  withOutput(define('checkout <branch>', 'offshoot branch checkout fix-42'))
    .description('make it the branch that this folder works with')
    .action(async (name: string, { output, project: flag }) => {
      const project = await chooseProject(cli, flag);
      const found = await cli.client().branches.get(project, name);
      const file = writeLink(cli.cwd, { project, branch: found.name });
      say(cli, `this folder now works with branch ${found.name} (${file})`);
      await print(cli, output, { project, branch: found.name }, () => '');
    });

  withOutput(
    define(
      'reset <branch>',
      'offshoot branch reset fix-42',
      'offshoot branch reset fix-42b --to main --force',
    ),
  )
    .description('begin a branch anew from what its parent holds now; id, address and password stay')
    .option('--to <ancestor>', 'from what this one holds, instead of its parent')
    .option('--at <moment>', 'from what that held then, e.g. 10:42; see "branch history"')
    .option('--force', 'also when it has children, which keep what they hold')
    .addOption(timeoutOption(defaultWait))
    .action(async (name: string, { output, project: flag, to, at, force, waitTimeout }) => {
      const project = await chooseProject(cli, flag);
      const started = performance.now();
      const {
        id,
        name: own,
        parent,
      } = await cli.client().branches.reset(project, name, {
        ...{ to, force },
        at: at === undefined ? undefined : parseMoment(at),
      });
      await waitForBranch(cli, project, id, waitTimeout);
      const made = await cli.client().branches.get(project, id);
      say(cli, `branch ${own} was reset to ${to ?? parent} (${took(performance.now() - started)})`);
      warnOfEmptied(cli, made);
      await print(cli, output, made, () => '');
    });

  withOutput(
    define('ttl <branch> <duration>', 'offshoot branch ttl fix-42 2h', 'offshoot branch ttl fix-42 none'),
  )
    .alias('extend')
    .description('let a branch live for so long from now on; none: until somebody deletes it')
    .action(async (name: string, duration: string, { output, project: flag }) => {
      const project = await chooseProject(cli, flag);
      const ttl = duration === 'none' ? null : duration;
      const found = await cli.client().branches.ttl(project, name, ttl);
      const end = found.scheduledDeleteTime;
      say(cli, `branch ${found.name} ${end === null ? 'stays' : `goes into the trash at ${end}`}`);
      await print(cli, output, found, () => '');
    });

  withOutput(define('rename <branch> <name>', 'offshoot branch rename fix-42 feature/Login-2'))
    .description('give a branch another name; id, address and password stay')
    .action(async (name: string, to: string, { output, project: flag }) => {
      const project = await chooseProject(cli, flag);
      const before = await cli.client().branches.get(project, name);
      const renamed = await cli.client().branches.rename(project, before.id, to);
      say(cli, `branch ${before.name} is now ${renamed.name}`);
      const link = findLink(cli.cwd);
      if (link?.project === project && link.branch === before.name) {
        const file = writeLink(cli.cwd, { project, branch: renamed.name });
        say(cli, `this folder still works with it (${file})`);
      }
      await print(cli, output, renamed, () => '');
    });

  for (const wanted of [true, false]) {
    const verb = wanted ? 'protect' : 'unprotect';
    withOutput(define(`${verb} <branch>`, `offshoot branch ${verb} fix-42`))
      .description(
        wanted
          ? 'keep a branch from being deleted or reset, and from expiring'
          : 'let a branch be deleted and reset again',
      )
      .action(async (name: string, { output, project: flag }) => {
        const project = await chooseProject(cli, flag);
        const found = await cli.client().branches.protect(project, name, wanted);
        say(cli, `branch ${found.name} is ${wanted ? 'protected' : 'not protected any more'}`);
        await print(cli, output, found, () => '');
      });
  }

  registerDump(branch, cli);
  registerPort(define, cli);
  registerHistory(define, cli);
  registerSleep(define, cli);
  registerBranchSettings(define, cli);
  registerTop(branch, cli);

  withOutput(define('restart [branch]', 'offshoot branch restart fix-42'))
    .description(
      'end the server of a branch and start it anew; one that could not be started is tried at once',
    )
    .addOption(timeoutOption(defaultWait))
    .action(async (name: string | undefined, { output, project: flag, waitTimeout }) => {
      const project = await chooseProject(cli, flag);
      const started = performance.now();
      const { id, name: own } = await cli
        .client()
        .branches.restart(project, chooseBranch(cli, project, name));
      await waitForBranch(cli, project, id, waitTimeout);
      say(cli, `branch ${own} was restarted (${took(performance.now() - started)})`);
      await print(cli, output, await cli.client().branches.get(project, id), () => '');
    });

  withOutput(define('rotate-password <branch>', 'offshoot branch rotate-password fix-42'))
    .description('give a branch a new password, and end the sessions that are open')
    .option('--keep-sessions', 'let them go on')
    .action(async (name: string, { output, project: flag, keepSessions = false }) => {
      const project = await chooseProject(cli, flag);
      const rotated = await cli.client().branches.rotatePassword(project, name, { keepSessions });
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
    hint: `it goes on; look with "offshoot branch get ${name} -p ${project}"`,
    probe: objects => {
      const seen = objects.get(id);
      if (seen === undefined) throw new OffshootError('api/not-found', { kind: 'branch', name });
      if (seen.state === 'failed')
        throw new OffshootError('branch/failed', { name, why: seen.message, hint: seen.hint });
      return seen.state === 'ready' || seen.state === 'asleep' ? true : undefined;
    },
    last: objects => objects.get(id)?.message,
  });
}

/** A size, or none. @throws OffshootError branch/bad-limit */
export function parseLimit(text: string): number | null {
  if (text === 'none') return null;
  const bytes = parseBytes(text);
  if (bytes === undefined)
    throw new OffshootError('branch/bad-limit', { limit: text, why: 'it is not a size' });
  return bytes;
}

// --- internal -----------------------------------------------------------------------------------

/** @throws OffshootError branch/no-port */
async function atOwnPort(cli: Cli, project: string, address: Connection): Promise<Connection> {
  const at = address.user.lastIndexOf('.');
  const { name, port } = await cli.client().branches.get(project, address.user.slice(at + 1));
  if (port === null) throw new OffshootError('branch/no-port', { name });
  return { ...address, port, user: address.user.slice(0, at) };
}

/** Another role has the branch's password only where its project says so. */
async function asRole(
  cli: Cli,
  project: string,
  { connectionString: _, ...address }: BranchAddress & { readonly connectionString: string },
  role: string | undefined,
): Promise<Connection> {
  if (role === undefined) return address;
  const { role: owner, rolePasswords } = await cli.client().projects.get(project);
  if (role === owner) return address;
  const { password, user, ...rest } = address;
  const other = { ...rest, user: `${role}${user.slice(owner.length)}` };
  if (rolePasswords === 'branch') return { ...other, password };
  say(cli, `the password of ${role} is not known here; add it yourself`);
  return other;
}

function warnOfEmptied(cli: Cli, { emptied }: BranchView): void {
  if (emptied === undefined) return;
  const tables = emptied.join(', ');
  say(cli, `warning: without the rows of these unlogged tables, which were written to meanwhile: ${tables}`);
}

function sayPasswordless(cli: Cli, { project, passwordless }: BranchView): void {
  if (passwordless === undefined) return;
  const roles = passwordless === 1 ? 'one of its roles has' : `${passwordless} of its roles have`;
  say(
    cli,
    `${roles} no password; "offshoot project passwords ${project} branch" makes the branch's own theirs, too`,
  );
}

/** ~ before what is not exact. */
const sizeText = (size: BranchSize | undefined): string =>
  size === undefined ? '-' : `${size.exact ? '' : '~'}${bytesText(size.bytes)}`;

type Tree = readonly { readonly name: string; readonly state: string; readonly children: Tree }[];

const treeOf = (branches: readonly BranchView[], parent: string | null): Tree =>
  branches
    .filter(b => b.parent === parent)
    .map(({ name, state }) => ({ name, state, children: treeOf(branches, name) }));

function drawTree(tree: Tree, indent = ''): readonly string[] {
  return tree.flatMap(({ name, state, children }, i) => {
    const last = i === tree.length - 1;
    const own = `${indent}${last ? '└─ ' : '├─ '}${name}${state === 'ready' ? '' : ` (${state})`}`;
    return [own, ...drawTree(children, `${indent}${last ? '   ' : '│  '}`)];
  });
}
