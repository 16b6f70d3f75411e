/** Intents about sandboxes: what can be known to be wrong is refused before anything is kept. */

import { isDeepStrictEqual } from 'node:util';
import type { Baseline, Found, ObjectKind } from '../baseline/contract.ts';
import { randomRoutingKey } from '../lib/random.ts';
import { outputKeys } from '../model/document/plugin.ts';
import { type EndpointTarget, endpointsOf } from '../model/endpoint.ts';
import { describeOwner, environmentOwner, sameEnvironment } from '../model/environment.ts';
import { OffshootError } from '../model/errors.ts';
import { manifestName } from '../model/manifest-name.ts';
import type { FolderCode } from '../model/migration.ts';
import { similarName } from '../model/names.ts';
import { newResourceRecord, type ResourceRecord } from '../model/resource-record.ts';
import type { Sandbox, SandboxStatus } from '../model/sandbox.ts';
import { hasFailed, triedAgain } from '../model/tries.ts';
import { sameWorkload } from '../model/workload.ts';
import { workloadPorts } from '../model/workload-ports.ts';
import type { Store, Stored } from '../store/contract.ts';
import { checkUnprotected, deleteBranch } from './branches.ts';
import { holding } from './locks.ts';
import { manifestLock } from './manifests.ts';
import { offspringOf, offspringOfSandbox, ownersOf, sandboxHasChildren } from './offspring.ts';
import { findPlugin, pluginLock } from './plugins.ts';

export type Applied = {
  readonly object: Stored<'sandbox'>;
  readonly outcome: 'created' | 'updated' | 'unchanged';
};

/**
 * Creates or updates a sandbox. One that has failed is tried again, also with the same document: what was
 * wrong may have been mended elsewhere. All references are checked against what is there now.
 * @param code what the project file above the document says; its images come before those of the baseline's folder
 * @throws OffshootError sandbox/*
 */
export function applySandbox(
  store: Store,
  baseline: Baseline,
  { name, spec: document }: Sandbox,
  { images = {}, migrate }: FolderCode = {},
): Promise<Applied> {
  const around = { store, baseline };
  const spec = {
    ...document,
    ...(Object.keys(images).length > 0 && { images }),
    ...(migrate && { migrate }),
  };
  const plugins = (spec.resources ?? []).map(r => pluginLock(r.plugin));
  const keys = { alone: [`sandbox/${name}`], shared: [...plugins, ...manifestsOf(spec).map(manifestLock)] };
  return holding(store, keys, async (): Promise<Applied> => {
    if (store.get('sandbox', name) === undefined) {
      const secret = { routingKey: freshRoutingKey(store), resources: recordsFor(around, spec, undefined) };
      const object = await store.create('sandbox', name, { spec, status: null, secret });
      return { object, outcome: 'created' };
    }
    // The reconciler writes its journal meanwhile: what follows from it is decided together with the write.
    let before: Stored<'sandbox'> | undefined;
    const object = (await store.modify('sandbox', name, found => {
      before = found;
      checkChange(found, spec);
      const resources = recordsFor(around, spec, found);
      const { secret, status } = found;
      const again = status !== null && hasFailed(status);
      return {
        spec,
        secret: { ...secret, resources, ...(again && { tries: (secret.tries ?? 0) + 1 }) },
        ...(again && { status: asTriedAgain(status) }),
      };
    }))!;
    return { object, outcome: object.version === before!.version ? 'unchanged' : 'updated' };
  });
}

/**
 * A document that was written without us, by kubectl, has nothing for its resources yet: they get it here, after the checks of
 * an apply.
 * @returns the sandbox as it is then
 * @throws OffshootError sandbox/*
 */
export async function takeUpResources(
  around: Around,
  sandbox: Stored<'sandbox'>,
): Promise<Stored<'sandbox'>> {
  const lacks = ({ spec, secret }: Stored<'sandbox'>) =>
    (spec.resources ?? []).some(({ name }) => secret.resources[name] === undefined);
  if (!lacks(sandbox)) return sandbox;
  const plugins = (sandbox.spec.resources ?? []).map(r => pluginLock(r.plugin));
  const taken = await holding(around.store, { alone: [`sandbox/${sandbox.name}`], shared: plugins }, () =>
    around.store.modify('sandbox', sandbox.name, found => {
      if (!lacks(found)) return undefined;
      const { secret, spec } = found;
      return {
        secret: { ...secret, resources: { ...recordsFor(around, spec, found), ...secret.resources } },
      };
    }),
  );
  return taken ?? sandbox;
}

/**
 * Its migrations have changed since they ran: it is ready when they have run again.
 * @returns undefined when there is none, or it goes
 */
export const migrateAgain = (store: Store, name: string): Promise<Stored<'sandbox'> | undefined> =>
  store.modify('sandbox', name, ({ secret, status, deletedAt }) =>
    deletedAt === undefined
      ? {
          secret: { ...secret, tries: (secret.tries ?? 0) + 1 },
          ...(status !== null && { status: asTriedAgain(status) }),
        }
      : undefined,
  );

export type SandboxDeletion = {
  /** The plugins' delete steps are not run. */
  readonly force: boolean;
  /** What grows from its branches is deleted too, for good. */
  readonly recursive?: boolean;
};

/**
 * Marks a sandbox for deletion; again is harmless.
 * @returns undefined when there is none
 * @throws OffshootError sandbox/has-children when something of others grows from its branches
 */
export async function deleteSandbox(
  store: Store,
  name: string,
  { force, recursive = false }: SandboxDeletion,
): Promise<Stored<'sandbox'> | undefined> {
  for (;;) {
    // Nothing must begin to grow from its branches meanwhile.
    const owned = ownedBy(store, name);
    const alone = [`sandbox/${name}`, ...owned.map(id => `branch/${id}`)];
    const marked = await holding(store, { alone }, async () => {
      if (!isDeepStrictEqual(ownedBy(store, name), owned)) return 'again';
      checkOffspring(store, name, recursive);
      return store.modify('sandbox', name, ({ secret, status }) => ({
        deleted: true,
        ...((force || recursive) && {
          secret: { ...secret, ...(force && { force }), ...(recursive && { recursive }) },
        }),
        // What was in the way before is not any more.
        ...(recursive &&
          status !== null && { status: { ...status, reason: 'Deleting', message: 'in progress' } }),
      }));
    });
    if (marked !== 'again') return marked;
  }
}

/** Marks what grows from a sandbox's branches for deletion, as far as it belongs to nobody else; again is harmless. */
export async function deleteOffspringOfSandbox(store: Store, name: string): Promise<void> {
  for (const branch of offspringOfSandbox(store, name)) {
    if (ownersOf(store, [branch, ...offspringOf(store, [branch.name])]).length > 0) continue;
    const { owner } = branch.spec;
    await deleteBranch(store, branch, owner === undefined ? {} : { asOwner: owner });
  }
}

/** The end of a sandbox's record. @returns false while branches belong to it, also such as came just now */
export function removeSandbox(store: Store, name: string): Promise<boolean> {
  return holding(store, { alone: [`sandbox/${name}`] }, async () => {
    if (store.by('branch/owner', `sandbox/${name}`).length > 0) return false;
    const found = store.get('sandbox', name);
    if (found !== undefined) await bury(store, found);
    const event = { reason: 'Deleted', message: 'nothing of it is left', severity: 'info' } as const;
    await Promise.all([store.remove('sandbox', name), store.record({ kind: 'sandbox', name, ...event })]);
    return true;
  });
}

/**
 * What a document names of the baseline: workloads, Services and their ports.
 * @throws OffshootError sandbox/baseline-missing, sandbox/baseline-unread, sandbox/port-missing: the first that is not there
 */
export function checkBaseline(baseline: Baseline, spec: Sandbox['spec']): void {
  (spec.forks ?? []).forEach(({ forkOf }, i) => {
    requireObject(baseline, forkOf, `spec.forks[${i}].forkOf`);
  });
  for (const { to, path, port } of endpointsOf(spec)) {
    if (to.kind === 'Service') {
      const { object } = requireObject(baseline, { ...to, kind: to.kind }, path);
      const ports = (object.spec.ports ?? []).map(p => p.port);
      if (!ports.includes(port)) throw portMissing(path, to, port, ports);
    } else {
      const key = { ...to, kind: to.kind };
      const { object } = requireObject(baseline, key, path);
      const ports = workloadPorts(
        object,
        baseline.servicesOf(object).map(s => s.object),
      );
      // One that says nothing of ports may have any; its fork learns which.
      const forked = spec.forks?.some(({ forkOf }) => sameWorkload(forkOf, key));
      if (!ports.includes(port) && !(ports.length === 0 && forked)) throw portMissing(path, to, port, ports);
    }
  }
}

/** Why a document cannot have what it names of the baseline. @param path of the document */
export function baselineMissing(
  baseline: Baseline,
  { kind, namespace, name }: { readonly kind: ObjectKind; readonly namespace: string; readonly name: string },
  path: string,
): OffshootError {
  const why = baseline.whyUnknown?.(namespace);
  if (why !== undefined) return new OffshootError('sandbox/baseline-unread', { path, what: kind, name, why });
  const known = baseline.list(kind, namespace).map(one => one.name);
  const similar = similarName(name, known);
  return new OffshootError('sandbox/baseline-missing', { path, what: kind, name, namespace, similar });
}

// --- internal -----------------------------------------------------------------------------------

const ownedBy = (store: Store, sandbox: string): readonly string[] =>
  store.by('branch/owner', `sandbox/${sandbox}`).map(b => b.name);

function checkOffspring(store: Store, name: string, recursive: boolean): void {
  const inTheWay = offspringOfSandbox(store, name);
  // Once it is going, the loop says what it waits for.
  const going = store.get('sandbox', name)?.deletedAt !== undefined;
  const refused = recursive ? ownersOf(store, inTheWay).length > 0 : !going && inTheWay.length > 0;
  if (refused) throw sandboxHasChildren(store, name, inTheWay);
  if (recursive) for (const branch of inTheWay) checkUnprotected(branch);
}

/** The routing key of a sandbox outlives it, so that it leads nowhere at first, and never to the baseline by surprise. */
async function bury(store: Store, { name, spec, secret }: Stored<'sandbox'>): Promise<void> {
  if (store.get('tombstone', secret.routingKey) !== undefined) return;
  const forks = (spec.forks ?? []).map(({ forkOf }) => forkOf);
  await store.create('tombstone', secret.routingKey, {
    ...{ spec: { sandbox: name, forks }, status: null, secret: null },
  });
}

function checkChange(
  { name, deletedAt, spec: before, secret }: Stored<'sandbox'>,
  spec: Sandbox['spec'],
): void {
  if (deletedAt !== undefined) throw new OffshootError('sandbox/deleting', { name });
  const [is, wanted] = [environmentOwner(before), environmentOwner(spec)];
  if (is === undefined ? wanted !== undefined : wanted === undefined || !sameEnvironment(is, wanted)) {
    const what =
      is === undefined ? 'no environment of a git branch' : `the environment of ${describeOwner(is)}`;
    throw new OffshootError('environment/name-taken', { name, is: what });
  }
  if (spec.cluster !== before.cluster)
    throw new OffshootError('sandbox/immutable', { name, path: 'spec.cluster' });
  const same = isDeepStrictEqual(spec.resources ?? [], before.resources ?? []);
  // While nothing is provisioned there is nothing that a change could lose.
  const failed = Object.values(secret.resources).every(r => r.phase === 'failed');
  if (!same && !failed) throw new OffshootError('sandbox/immutable', { name, path: 'spec.resources' });
}

/** Nothing of what the try before has said. */
const asTriedAgain = ({ migration: _, ...status }: SandboxStatus): SandboxStatus => ({
  ...status,
  ready: false,
  failed: false,
  ...triedAgain,
  conditions: status.conditions.filter(c => c.status === 'True'),
  forks: status.forks.map(({ log: _, ...fork }) =>
    fork.ready ? fork : { ...fork, ...triedAgain, restarts: 0 },
  ),
});

type Around = { readonly store: Store; readonly baseline: Baseline };

/** The journal that the resources begin with, or go on with. All references of the document are checked. */
function recordsFor(
  { store, baseline }: Around,
  spec: Sandbox['spec'],
  before: Stored<'sandbox'> | undefined,
): Readonly<Record<string, ResourceRecord>> {
  const again = before !== undefined && before.status !== null && hasFailed(before.status);
  const records: Record<string, ResourceRecord> = {};
  for (const resource of spec.resources ?? []) {
    const kept = before?.secret.resources[resource.name];
    // What a version made, that version removes: a newer one is only taken while nothing is there.
    const provisioned = kept !== undefined && kept.phase !== 'failed';
    const plugin = provisioned ? kept.plugin : resolvePlugin(store, resource).name;
    const fresh = !provisioned && (again || kept?.plugin !== plugin);
    records[resource.name] = fresh || kept === undefined ? newResourceRecord(plugin) : kept;
  }
  checkBaseline(baseline, spec);
  checkOutputs(store, spec, records);
  return records;
}

/** Names of the baseline manifests that a document refers to. */
const manifestsOf = (spec: Sandbox['spec']): readonly string[] => [
  ...(spec.forks ?? []).map(({ forkOf }) => manifestName(forkOf.kind, forkOf.namespace, forkOf.name)),
  ...endpointsOf(spec).map(({ to }) => manifestName(to.kind, to.namespace, to.name)),
];

function resolvePlugin(
  store: Store,
  resource: { readonly name: string; readonly plugin: string },
): Stored<'plugin'> {
  const plugin = findPlugin(store, resource.plugin);
  if (plugin !== undefined) return plugin;
  const known = store.list('plugin').flatMap(p => [p.name, p.name.split('@')[0]!]);
  const similar = similarName(resource.plugin, known);
  throw new OffshootError('sandbox/plugin-missing', {
    resource: resource.name,
    plugin: resource.plugin,
    similar,
  });
}

function checkOutputs(
  store: Store,
  spec: Sandbox['spec'],
  records: Readonly<Record<string, ResourceRecord>>,
): void {
  const outputs = new Map<string, { plugin: string; keys: readonly string[] }>();
  for (const [resource, { plugin }] of Object.entries(records)) {
    outputs.set(resource, { plugin, keys: outputKeys(store.get('plugin', plugin)!.spec) });
  }
  (spec.forks ?? []).forEach((fork, i) => {
    (fork.customizations?.env ?? []).forEach((env, j) => {
      const from = env.valueFrom;
      if (from === undefined || !('resource' in from)) return;
      const known = outputs.get(from.resource.name);
      const key = from.resource.outputKey;
      if (known === undefined || known.keys.includes(key)) return;
      throw new OffshootError('sandbox/output-unknown', {
        path: `spec.forks[${i}].customizations.env[${j}].valueFrom.resource.outputKey`,
        key,
        plugin: known.plugin,
        outputs: known.keys.join(', ') || 'none',
      });
    });
  });
}

function requireObject<K extends ObjectKind>(
  baseline: Baseline,
  { kind, namespace, name }: { readonly kind: K; readonly namespace: string; readonly name: string },
  path: string,
): Found<K> {
  const found = baseline.get<ObjectKind>(kind, namespace, name);
  if (found !== undefined) return found as Found<K>;
  throw baselineMissing(baseline, { kind, namespace, name }, path);
}

const portMissing = (
  path: string,
  { kind, namespace, name }: EndpointTarget,
  port: number,
  ports: readonly number[],
) =>
  new OffshootError('sandbox/port-missing', {
    path,
    what: `${kind} "${name}"`,
    namespace,
    port,
    ports: ports.join(', ') || 'none',
  });

function freshRoutingKey(store: Store): string {
  for (;;) {
    const key = randomRoutingKey();
    const used = store.by('sandbox/routing-key', key).length > 0 || store.get('tombstone', key) !== undefined;
    if (!used) return key;
  }
}
