import { Argument, type Command, Option } from 'commander';
import type { RolePasswords } from '../../model/branch.ts';
import { bytesText } from '../../model/bytes.ts';
import { OffshootError } from '../../model/errors.ts';
import type { ProjectView } from '../../model/view.ts';
import { confirm } from '../confirm.ts';
import type { Cli } from '../context.ts';
import { fromOf, importOptionsOf, postgresOf, takingBack, withImportOptions } from '../import-options.ts';
import { sayReport, seeImport } from '../import-wait.ts';
import { parseCount, parseSleepAfter, sizeOption, withExamples } from '../options.ts';
import { age, print, say, table, UsageError, withOutput } from '../output.ts';
import { waitFor } from '../wait.ts';
import { parseLimit, waitForBranch } from './branch.ts';
import { registerExtensions } from './project-extensions.ts';
import { registerImport } from './project-import.ts';
import { registerMask } from './project-mask.ts';
import { registerProjectSettings, settingsOption } from './server-settings.ts';
import { inTheTrash } from './trash.ts';

export function register(program: Command, cli: Cli): void {
  const project = withExamples(
    program.command('project').description('PostgreSQL clusters, each with a tree of branches'),
    'offshoot project create shop --database shop',
    'offshoot project list',
    'offshoot project delete shop --yes',
  );

  withExamples(withOutput(project.command('list').alias('ls')), 'offshoot project list')
    .description('all projects')
    .action(async ({ output }) => {
      const projects = await cli.client().projects.list();
      await print(cli, output, projects, list =>
        table(
          ['NAME', 'DATABASE', 'ROLE', 'BRANCHES', 'AGE'],
          list.map(p => [p.name, p.database, p.role, String(p.branches), age(p.createdAt)]),
        ),
      );
    });

  withExamples(
    withImportOptions(
      withOutput(project.command('create <name>')),
      'fill it from a running PostgreSQL 13 to 18, postgresql://USER:PASSWORD@HOST:PORT/DATABASE, or from a dump: FILE, FOLDER or -',
    ),
    'offshoot project create shop --database shop',
    'PGPASSWORD=… offshoot project create shop --from postgresql://reader@staging.example.com/shop',
    'offshoot project create shop --from postgresql://reader@staging.example.com/shop --mask mask.yaml',
    'offshoot project create old --postgres 15',
    'offshoot project create shop --from shop.dump',
  )
    .description('a new cluster with the branch main, empty or with data from elsewhere')
    .option('--database <name>', "database that connection strings point at (default app, or the source's)")
    .option('--role <name>', "role that owns it (default app, or the owner of the source's)")
    .option('--no-wait', 'return before its data have come')
    .addOption(sizeOption('--branch-limit <size>', 'most that each of its branches may take, e.g. 2G'))
    .option('--max-branches <number>', 'most branches that it may have beside main', parseCount)
    .option(
      '--sleep-after <duration>',
      'its branches sleep when nobody has used them for so long, or never (default 5m)',
      parseSleepAfter,
    )
    .addOption(
      new Option('--role-passwords <mode>', 'of other roles than its owner, in branches').choices(MODES),
    )
    .option(
      '--postgres <path|version>',
      'another PostgreSQL of this machine, 15 to 18, e.g. 15 (default: the one that is here)',
    )
    .option('--setting <name=value>', 'of its servers, e.g. wal_level=logical', settingsOption)
    .action(async (name: string, { output, wait, ...flags }) => {
      const { database, role, branchLimit: branchLimitBytes, maxBranches, rolePasswords } = flags;
      if (flags.from === undefined && flags.mask !== undefined)
        throw new UsageError('--mask takes effect on data that come --from a source');
      const options = flags.from === undefined ? undefined : await importOptionsOf(cli, flags);
      const source = flags.from === undefined ? undefined : await fromOf(cli, flags.from, options);
      const { projects } = cli.client();
      const wish = {
        ...{ name, database, role, branchLimitBytes, maxBranches, rolePasswords, from: source?.from },
        sleepAfterSeconds: flags.sleepAfter,
        settings: flags.setting,
        postgres: flags.postgres && postgresOf(cli, flags.postgres),
        import: options,
      };
      const made = await takingBack(source, () => projects.create(wish));
      if (source === undefined) await waitForBranch(cli, name, 'main', 60_000);
      else if (wait)
        sayReport(cli, await seeImport(cli, { project: name, count: 1, from: flags.from, giveUp: 'delete' }));
      const coming = source !== undefined && !wait ? '; its data come' : '';
      say(cli, `made project ${name} with branch main${coming}`);
      await print(cli, output, made, () => '');
    });

  registerImport(project, cli);
  registerMask(project, cli);
  registerProjectSettings(project, cli);
  registerExtensions(project, cli);

  withExamples(
    withOutput(project.command('limit <name>')),
    'offshoot project limit shop --max-branches 50',
    'offshoot project limit shop --branch-limit none',
  )
    .description('what the branches of a project may take; what is not named stays as it is')
    .option('--branch-limit <size>', 'most that each of its branches may take, or none', parseLimit)
    .option('--max-branches <number>', 'most branches that it may have beside main, or none', parseMost)
    .option(
      '--sleep-after <duration>',
      'how long nobody has to use one for it to sleep, never, or default',
      (text: string) => (text === 'default' ? null : parseSleepAfter(text)),
    )
    .action(async (name: string, { output, branchLimit, maxBranches, sleepAfter }) => {
      const limits = { branchLimitBytes: branchLimit, maxBranches, sleepAfterSeconds: sleepAfter };
      const found = await cli.client().projects.limit(name, limits);
      const { branchLimitBytes: bytes, maxBranches: most } = found;
      const size = bytes === null ? 'half of everything' : bytesText(bytes);
      say(cli, `each branch of ${name} may take ${size}; it may have ${most ?? 'any number of'} branches`);
      await print(cli, output, found, () => '');
    });

  withExamples(
    withOutput(
      project.command('passwords <name>').addArgument(new Argument('<mode>', 'see below').choices(MODES)),
    ),
    'offshoot project passwords shop branch',
    'offshoot project passwords shop ended',
  )
    .description(
      "what becomes of passwords of a team's own roles in branches: they are ended (the default), kept, or those of the branch",
    )
    .action(async (name: string, mode: RolePasswords, { output }) => {
      const found = await cli.client().projects.rolePasswords(name, mode);
      say(cli, SAYS[mode]);
      await print(cli, output, found, () => '');
    });

  withExamples(
    project.command('delete <name>'),
    'offshoot project delete shop',
    'offshoot project delete shop --yes',
  )
    .description('put a project and its branch main into the trash; other branches must be gone')
    .option('--now', 'remove it for good, and what the trash holds of its branches')
    .option('-y, --yes', 'do not ask')
    .action(async (name: string, { now, yes }) => {
      const what = `project ${name}`;
      const consequence = now
        ? `${what} is removed for good, with its branch main and what the trash holds of it.`
        : `${what} and its branch main stop, and can be restored for a while.`;
      await confirm(cli, what, consequence, yes);
      const { trashed } = await cli.client().projects.delete(name, { now: now ?? false });
      if (trashed !== null) return say(cli, inTheTrash(what, trashed));
      await waitFor<ProjectView>(cli, {
        kind: 'project',
        name,
        timeoutMs: 60_000,
        what: `${what} to be gone`,
        hint: 'it goes on; look with "offshoot project list"',
        probe: objects => (objects.has(name) ? undefined : true),
      });
      say(cli, `${what} is gone`);
    });
}

// --- internal -----------------------------------------------------------------------------------

const MODES = ['ended', 'kept', 'branch'] as const;

const SAYS: Readonly<Record<RolePasswords, string>> = {
  ended: 'passwords of other roles end in new branches',
  kept: 'passwords of other roles come along into new branches; that of the owner never does',
  branch: "each branch's own password is that of all its roles",
};

function parseMost(text: string): number | null {
  if (text === 'none') return null;
  if (!/^\d{1,9}$/.test(text)) throw new OffshootError('project/bad-limit', { limit: text });
  return Number(text);
}
