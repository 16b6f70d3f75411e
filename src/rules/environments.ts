/** Intents about environments: which sandbox a git branch has, and what it is made of; see model/environment.ts. */
import type { Baseline } from '../baseline/contract.ts';
import { checkSandbox } from '../model/document/sandbox.ts';
import {
  describeOwner,
  type EnvironmentConfig,
  type EnvironmentDatabase,
  type EnvironmentOwner,
  environmentIdentity,
  environmentLabels,
  environmentNames,
  environmentOwner,
  environmentResource,
  sameEnvironment,
} from '../model/environment.ts';
import { OffshootError } from '../model/errors.ts';
import type { ImageMap } from '../model/image.ts';
import type { Container, Workload } from '../model/kubernetes.ts';
import type { Migration } from '../model/migration.ts';
import { sandboxNameFor } from '../model/names.ts';
import { findImage } from '../model/offshoot-config.ts';
import type { ResourcePlugin } from '../model/plugin.ts';
import type { EnvOperation, Fork, SandboxSpec } from '../model/sandbox.ts';
import { keyOfWorkload, runsToItsEnd, workloadAtPath } from '../model/workload.ts';
import type { Store, Stored } from '../store/contract.ts';
import { defaultProject, findBranch, requireProject } from './branches.ts';
import { holding } from './locks.ts';
import { applyPlugin } from './plugins.ts';
import { type Applied, applySandbox } from './sandboxes.ts';

export type EnvironmentWish = {
  readonly owner: EnvironmentOwner;
  readonly config: EnvironmentConfig;
  /** Of the worktree's project file. */
  readonly images: ImageMap;
  /** Of the same; absent: it has none. */
  readonly migrate?: Migration;
  /** Path of that, for sentences. */
  readonly file: string;
  /** What its database grows from: a branch of the project, or a git branch with an environment. */
  readonly from?: string;
  /** Git branches that it may have come from; the first one with an environment counts when `from` is absent. */
  readonly cameFrom?: readonly string[];
};

export type Environment = Applied & {
  /** Environments of other branches that ran this worktree's folder: they keep their databases, and nothing else. */
  readonly parked: readonly string[];
  /** Name of the branch that its database has grown from; absent: it has none of its own. */
  readonly grownFrom?: string;
};

/**
 * Makes the environment of a git branch, or brings it to what its worktree says now.
 * @throws OffshootError environment/*, sandbox/*, api/not-found
 */
export function applyEnvironment(
  store: Store,
  baseline: Baseline,
  wish: EnvironmentWish,
): Promise<Environment> {
  return holding(store, { alone: [lockOf(wish.owner)] }, () => apply(store, baseline, wish));
}

/** The sandbox of a git branch, or of a worktree without one; undefined when there is none. */
export const environmentOf = (store: Store, owner: EnvironmentOwner): Stored<'sandbox'> | undefined =>
  store.list('sandbox').find(sandbox => isOf(sandbox, owner));

/**
 * A folder runs one branch at a time: what had it before keeps its data, under its name, until it is checked out again.
 * @param owner what has the folder now
 * @returns the names of the others
 */
export async function parkEnvironments(
  store: Store,
  baseline: Baseline,
  owner: EnvironmentOwner,
): Promise<readonly string[]> {
  const others = store.list('sandbox').filter(({ spec, deletedAt }) => {
    const other = environmentOwner(spec);
    if (other === undefined || deletedAt !== undefined || sameEnvironment(other, owner)) return false;
    return other.worktree === owner.worktree && (spec.forks ?? []).length > 0;
  });
  for (const { name, spec } of others) {
    const { forks: _, defaultRouteGroup: __, images: ___, migrate: ____, ...rest } = spec;
    await applySandbox(store, baseline, { name, spec: rest });
  }
  return others.map(({ name }) => name);
}

/**
 * The git branch has another name now, and its environment stays what it is: its name, key, database and programs.
 * @param to what the branch is called now
 * @returns the name of the environment; undefined when there is none, or when the new name has one already
 */
export function renameEnvironment(
  store: Store,
  owner: EnvironmentOwner,
  to: string,
): Promise<string | undefined> {
  const renamed = { ...owner, branch: to };
  return holding(store, { alone: [lockOf(owner), lockOf(renamed)] }, async () => {
    const found = environmentOf(store, owner);
    if (found === undefined || found.deletedAt !== undefined || environmentOf(store, renamed) !== undefined)
      return undefined;
    await store.modify('sandbox', found.name, ({ spec, deletedAt }) => {
      const was = environmentOwner(spec);
      if (deletedAt !== undefined || was === undefined || !sameEnvironment(was, owner)) return undefined;
      const is = { ...was, branch: to };
      const labels = { ...spec.labels, ...environmentLabels(is) };
      return { spec: { ...spec, labels, description: describeEnvironment(is) } };
    });
    return found.name;
  });
}

// --- internal -----------------------------------------------------------------------------------

const lockOf = (owner: EnvironmentOwner): string => `environment/${environmentIdentity(owner)}`;

async function apply(store: Store, baseline: Baseline, wish: EnvironmentWish): Promise<Environment> {
  const { owner, config, images, migrate } = wish;
  const existing = environmentOf(store, owner);
  const forks = forksOf(baseline, wish);
  const database = config.database && (await databaseOf(store, wish, config.database, existing));
  const endpoints = config.endpoints
    ? Object.entries(config.endpoints).map(([name, target]) => ({ name, target }))
    : defaultEndpoints(baseline, forks);
  const spec: SandboxSpec = {
    cluster: 'local',
    description: describeEnvironment(owner),
    labels: environmentLabels(owner),
    ...(database && { resources: [database.resource] }),
    forks: forks.map(workload => forkOf(workload, config.database)),
    ...(endpoints.length > 0 && { defaultRouteGroup: { endpoints } }),
  };
  const parked = await parkEnvironments(store, baseline, owner);
  const grownFrom = database && { grownFrom: database.parent };
  const names = existing === undefined ? environmentNames(owner) : [existing.name];
  for (const [i, name] of names.entries()) {
    const found = store.get('sandbox', name);
    const isLast = i === names.length - 1;
    if (found !== undefined && !isOf(found, owner) && !isLast) continue;
    try {
      const { sandbox } = checkSandbox({ name, spec }, wish.file);
      return {
        ...(await applySandbox(store, baseline, sandbox, { images, ...(migrate && { migrate }) })),
        parked,
        ...grownFrom,
      };
    } catch (error) {
      // Somebody was quicker.
      if (isLast || !(error instanceof OffshootError) || error.code !== 'environment/name-taken') throw error;
    }
  }
  throw new Error('an environment has a name');
}

const describeEnvironment = (owner: EnvironmentOwner): string => `environment of ${describeOwner(owner)}`;

function isOf({ spec }: Stored<'sandbox'>, owner: EnvironmentOwner): boolean {
  const found = environmentOwner(spec);
  return found !== undefined && sameEnvironment(found, owner);
}

// --- forks ----------------------------------------------------------------------------------------

function forksOf(baseline: Baseline, { config, images, file }: EnvironmentWish): readonly Workload[] {
  if (config.forks === undefined) {
    const isOurs = (workload: Workload) =>
      !runsToItsEnd(workload) && containersOf(workload).some(({ image }) => findImage(images, image));
    const found = baseline.list('Workload').flatMap(({ object }) => (isOurs(object) ? [object] : []));
    if (found.length === 0) throw new OffshootError('environment/nothing-to-fork', { file });
    return found;
  }
  return config.forks.map((path, i) => {
    const key = workloadAtPath(path);
    const found = key && baseline.get(key.kind, key.namespace, key.name);
    if (found !== undefined) return found.object;
    const { kind, namespace, name } = key ?? { kind: 'Deployment', namespace: '', name: path };
    const where = `environment.forks[${i}]`;
    throw new OffshootError('sandbox/baseline-missing', { path: where, what: kind, name, namespace });
  });
}

/** Variables are set where the baseline sets them, else in the first container. */
function forkOf(workload: Workload, database: EnvironmentDatabase | undefined): Fork {
  const env = Object.entries(database?.variables ?? {}).flatMap(([name, output]): EnvOperation[] => {
    const valueFrom = { resource: { name: environmentResource, outputKey: `${STEP}.${output}` } };
    const holders = containersOf(workload).filter(container =>
      container.env?.some(variable => variable.name === name),
    );
    if (holders.length === 0) return [{ name, valueFrom }];
    return holders.map(container => ({ name, container: container.name, valueFrom }));
  });
  return { forkOf: keyOfWorkload(workload), ...(env.length > 0 && { customizations: { env } }) };
}

const containersOf = ({ spec }: Workload): readonly Container[] => [
  ...spec.template.spec.containers,
  ...(spec.template.spec.initContainers ?? []),
];

/** One for each fork that a Service leads to, called as the workload is. */
function defaultEndpoints(
  baseline: Baseline,
  forks: readonly Workload[],
): readonly { readonly name: string; readonly target: string }[] {
  const endpoints = new Map<string, string>();
  for (const workload of forks) {
    const { name, namespace } = keyOfWorkload(workload);
    for (const service of baseline.servicesOf(workload)) {
      const port = service.object.spec.ports?.find(({ protocol = 'TCP' }) => protocol === 'TCP')?.port;
      if (port === undefined) continue;
      const plain = sandboxNameFor(name);
      const own = endpoints.has(plain) ? sandboxNameFor(`${name}-${namespace}`) : plain;
      endpoints.set(own, `http://${service.name}.${service.namespace}.svc:${port}`);
      break;
    }
  }
  return [...endpoints].map(([name, target]) => ({ name, target }));
}

// --- the database ---------------------------------------------------------------------------------

const STEP = 'provision';

const PLUGIN: ResourcePlugin = {
  name: 'offshoot-environment@1.0.0',
  spec: {
    description: 'the database branch of an environment; it goes into the trash with it',
    create: [
      {
        name: STEP,
        uses: 'branch/create',
        inputs: ['parent-branch', 'project', 'afterwards'].map(name => ({ name, valueFromSandbox: true })),
      },
    ],
    delete: [
      {
        name: 'deprovision',
        uses: 'branch/delete',
        inputs: [{ name: 'project', valueFromSandbox: true }],
      },
    ],
  },
};

type Resource = NonNullable<SandboxSpec['resources']>[number];

/** @returns what stands in the document, and the name of the branch that it grows from */
async function databaseOf(
  store: Store,
  wish: EnvironmentWish,
  { project = defaultProject(store) }: EnvironmentDatabase,
  existing: Stored<'sandbox'> | undefined,
): Promise<{ readonly resource: Resource; readonly parent: string }> {
  const nameOf = (id: string) => store.get('branch', id)?.spec.name ?? id;
  const made = existing?.spec.resources?.find(({ name }) => name === environmentResource);
  if (made !== undefined) {
    const { 'parent-branch': id = 'main', project: before } = made.params ?? {};
    const wanted = wish.from === undefined ? undefined : parentOf(store, wish, project);
    if (wanted !== undefined && (wanted.name !== id || project !== before)) {
      const params = { name: existing!.name, from: nameOf(id) };
      throw new OffshootError('environment/grown', params);
    }
    return { resource: made, parent: nameOf(id) };
  }
  requireProject(store, project);
  const { name: id, spec } = parentOf(store, wish, project);
  await applyPlugin(store, PLUGIN);
  const params = { 'parent-branch': id, project, afterwards: 'trash' };
  return { resource: { name: environmentResource, plugin: PLUGIN.name, params }, parent: spec.name };
}

/** @throws OffshootError api/not-found */
function parentOf(
  store: Store,
  { owner, from, cameFrom = [] }: EnvironmentWish,
  project: string,
): Stored<'branch'> {
  const ofGitBranch = (branch: string): Stored<'branch'> | undefined => {
    const environment = environmentOf(store, { ...owner, branch });
    if (environment === undefined || environment.deletedAt !== undefined) return undefined;
    return store
      .by('branch/owner', `sandbox/${environment.name}`)
      .find(b => b.spec.project === project && b.deletedAt === undefined);
  };
  if (from !== undefined) {
    const found = findBranch(store, project, from) ?? ofGitBranch(from);
    if (found !== undefined) return found;
    const hint = `name a branch of project ${project}, or a git branch of this repository that has an environment`;
    throw new OffshootError('api/not-found', { kind: 'branch', name: from, hint });
  }
  for (const branch of cameFrom) {
    const found = branch === owner.branch ? undefined : ofGitBranch(branch);
    if (found !== undefined) return found;
  }
  const main = findBranch(store, project, 'main');
  if (main === undefined) throw new OffshootError('api/not-found', { kind: 'branch', name: 'main' });
  return main;
}
