import type { Command } from 'commander';
import { isInside } from '../../model/folder.ts';
import { nameOfManifest } from '../../model/manifest-name.ts';
import type { DiskView, ManifestView } from '../../model/view.ts';
import { confirm } from '../confirm.ts';
import type { Cli } from '../context.ts';
import { storeName } from '../deploy-wait.ts';
import { type ManifestOptions, readManifestsGiven, withManifests } from '../manifest-files.ts';
import { timeoutOption, withExamples } from '../options.ts';
import { say, UsageError } from '../output.ts';
import { folderNamed } from '../project-file.ts';
import { waitFor } from '../wait.ts';

export function register(program: Command, cli: Cli): void {
  withExamples(
    withManifests(program.command('undeploy')),
    'offshoot undeploy -f k8s/',
    'offshoot undeploy deployment/users-service -n demo',
    'offshoot undeploy -n demo --yes',
    'offshoot undeploy --folder ~/shop --yes',
    'offshoot undeploy -f k8s/ --disks',
  )
    .usage('[options] [KIND/NAME...]')
    .allowExcessArguments() // declared ones would widen the list of all commands
    .summary('remove baseline manifests')
    .description(
      'remove baseline manifests: what came from files, all of a namespace or a folder, or by KIND/NAME',
    )
    .option(
      '-n, --namespace <namespace>',
      'all in it; with -f, for objects that name none; with KIND/NAME, their namespace',
    )
    .option('--folder <folder>', 'all that was deployed from there')
    .option('--disks', 'also the disks that are there for nothing else; otherwise disks stay')
    .option('-y, --yes', 'do not ask')
    .addOption(timeoutOption('1m'))
    .action(async ({ yes, disks, waitTimeout, ...options }, { args: objects }: Command) => {
      const there = await cli.client().manifests.list();
      const { chosen, missing, question } = await choose(cli, there, objects, options);
      for (const what of missing) say(cli, `${what} does not exist; nothing to do`);
      if (chosen.length === 0) return say(cli, 'nothing to remove');
      const idle = await disksOnlyOf(cli, chosen);
      const lost = disks && idle.length > 0 ? ` What is on ${disksText(idle)} is lost for good.` : '';
      const what = question ?? `${chosen.length} objects`;
      if (question !== undefined || lost !== '')
        await confirm(cli, what, `${chosen.length} objects of ${what} are removed.${lost}`, yes);
      await cli
        .client()
        .manifests.deleteAll(
          chosen.map(m => ({ kind: m.kind, name: m.name, namespace: m.namespace || m.name })),
        );
      const names = chosen.map(storeName);
      await waitFor<ManifestView>(cli, {
        kind: 'manifest',
        timeoutMs: waitTimeout,
        what: 'the manifests to be gone',
        probe: seen => (names.some(name => seen.has(name)) ? undefined : true),
      });
      for (const { kind, namespace, name } of chosen)
        say(cli, `${[kind, namespace, name].filter(part => part !== '').join('/')} is gone`);
      const left = (await cli.client().disks.list()).filter(disk => idle.some(one => isSame(one, disk)));
      if (left.length === 0) return;
      if (!disks)
        return say(cli, `${disksText(left)} stay${left.length === 1 ? 's' : ''}, see "offshoot disk list"`);
      for (const { namespace, claim } of left) {
        await cli.client().disks.delete(namespace, claim);
        say(cli, `disk ${namespace}/${claim} is gone`);
      }
    });
}

// --- internal -----------------------------------------------------------------------------------

/** Disks that are there for these objects, and for no others. */
async function disksOnlyOf(cli: Cli, chosen: readonly ManifestView[]): Promise<readonly DiskView[]> {
  const isChosen = (namespace: string, user: string) =>
    chosen.some(m => m.namespace === namespace && `${m.kind}/${m.name}` === user);
  const disks = await cli.client().disks.list();
  return disks.filter(
    ({ namespace, users }) => users.length > 0 && users.every(user => isChosen(namespace, user)),
  );
}

const disksText = (disks: readonly DiskView[]): string => {
  const names = disks.map(({ namespace, claim }) => `${namespace}/${claim}`).join(', ');
  return disks.length === 1 ? `disk ${names}` : `${disks.length} disks (${names})`;
};

const isSame = (a: DiskView, b: DiskView): boolean => a.namespace === b.namespace && a.claim === b.claim;

type Choice = {
  readonly chosen: readonly ManifestView[];
  readonly missing: readonly string[];
  /** What is asked about first. */
  readonly question?: string;
};

type Options = ManifestOptions & { readonly namespace?: string; readonly folder?: string };

async function choose(
  cli: Cli,
  there: readonly ManifestView[],
  objects: readonly string[],
  options: Options,
): Promise<Choice> {
  const { namespace, folder, filename = [], kustomize } = options;
  const files = filename.length > 0 || kustomize !== undefined;
  if ([objects.length > 0, files, folder !== undefined].filter(Boolean).length > 1)
    throw new UsageError('name objects, or files with -f, or a folder with --folder');
  if (objects.length > 0) return byName(there, objects, namespace ?? 'default');
  if (files) return await byFiles(cli, there, options);
  if (folder !== undefined) {
    const path = folderNamed(cli, folder);
    const chosen = there.filter(m => m.folder !== undefined && isInside(path, m.folder));
    return { chosen, missing: [], question: `folder ${path}` };
  }
  if (namespace === undefined)
    throw new UsageError('name what to remove: -f PATH, KIND/NAME, -n NAMESPACE or --folder FOLDER');
  const chosen = there.filter(m => (m.namespace || m.name) === namespace);
  return { chosen, missing: [], question: `namespace ${namespace}` };
}

function byName(there: readonly ManifestView[], objects: readonly string[], namespace: string): Choice {
  const asked = objects.map(object => {
    const [, kind, name] = /^([a-z]+)\/(.+)$/i.exec(object) ?? [];
    if (kind === undefined)
      throw new UsageError(`"${object}" is not KIND/NAME, e.g. deployment/users-service`);
    const found = there.find(
      m =>
        m.kind.toLowerCase() === kind.toLowerCase() &&
        m.name === name &&
        (m.namespace === '' || m.namespace === namespace),
    );
    return { object, found };
  });
  return {
    chosen: [...new Set(asked.flatMap(({ found }) => found ?? []))],
    missing: asked
      .filter(({ found }) => found === undefined)
      .map(({ object }) => `${object} in namespace ${namespace}`),
  };
}

/** What came from there, and what stands there now, unless it came from another folder. */
async function byFiles(cli: Cli, there: readonly ManifestView[], options: Options): Promise<Choice> {
  const { files, folder, scope } = await readManifestsGiven(cli, options);
  const { readManifestFiles } = await import('../../model/document/manifest.ts');
  const { namespace } = options;
  const named = readManifestFiles(files, namespace === undefined ? {} : { namespace }).manifests;
  const within = (file: string) =>
    scope.paths.some(
      path => path !== '-' && (scope.recursive ? isInside(path, file) : isDirectlyIn(path, file)),
    );
  const names = new Set(named.map(nameOfManifest));
  // Standard input comes from no folder: its objects are as good as named one by one.
  const nameless = scope.paths.every(path => path === '-');
  const mine = (m: ManifestView) => nameless || m.folder === undefined || m.folder === folder;
  const foreign = there.find(m => names.has(storeName(m)) && !mine(m));
  if (foreign !== undefined)
    throw new UsageError(
      `${foreign.kind} "${foreign.name}" in namespace "${foreign.namespace || foreign.name}" was deployed from ${foreign.folder}; ` +
        'undeploy it from there, or by its name',
    );
  const chosen = there.filter(
    m => names.has(storeName(m)) || (mine(m) && m.file !== undefined && within(m.file)),
  );
  const known = new Set(there.map(storeName));
  const missing = named
    .filter(manifest => !known.has(nameOfManifest(manifest)))
    .map(({ kind, metadata }) => `${kind.toLowerCase()}/${metadata.name}`);
  return { chosen, missing };
}

const isDirectlyIn = (path: string, file: string): boolean =>
  file === path || (isInside(path, file) && !file.slice(path.length + 1).includes('/'));
