/**
 * Who is looked at, and who is told, when something has changed. Everything that is found here is found by name
 * or by index: a change costs what it changes. What we wrote ourselves (status, journal) wakes nobody but those
 * who wait for it.
 */
import type { Baseline, BaselineChange, Found } from '../baseline/contract.ts';
import { manifestName, nameOfManifest } from '../model/manifest-name.ts';
import type { WorkloadKey } from '../model/sandbox.ts';
import { settingsKey } from '../model/server-settings.ts';
import { isHeadless } from '../model/service.ts';
import { isTrashed } from '../model/trash.ts';
import { asWorkload, keyOfWorkload } from '../model/workload.ts';
import { usersOfWorkload } from '../rules/manifests.ts';
import type { Change, Kind, Kinds, Store, Stored } from '../store/contract.ts';
import { patchedIn, sourceKey } from '../store/indexes.ts';
import type { Key, Scheduler, Wish } from './scheduler.ts';
import type { Topic } from './topics.ts';
import { workloadOf } from './workload-spec.ts';

/** The kinds whose objects are looked at. */
export const reconciledKinds = ['project', 'branch', 'manifest', 'sandbox', 'tombstone'] as const;
export type ReconciledKind = (typeof reconciledKinds)[number];

export const keyOf = (kind: ReconciledKind, name: string): Key => `${kind} ${name}`;
export const kindOf = (key: Key): string => key.slice(0, key.indexOf(' '));

/** What is waited for. */
export const topicOf = {
  /** A branch is in another state, is gone, or had a look that went well. */
  branch: (id: string): Topic => `branch/${id}`,
  /** A child of the branch is gone. */
  children: (id: string): Topic => `children/${id}`,
  /** A branch of the project is gone. */
  branches: (project: string): Topic => `branches/${project}`,
};

export type Wake = {
  /** Looks at everything once. */
  all(): void;
  /** The store has changed. */
  change(change: Change): void;
  /** The baseline has changed, of which forks are made, and its workloads of each other. */
  baseline(change: BaselineChange): void;
  /** What is seen of a workload may have changed. @param id see reconcile/workload-spec.ts */
  workload(id: string): void;
};

export function wake(store: Store, baseline: Baseline, scheduler: Pick<Scheduler, 'add' | 'tell'>): Wake {
  /** Objects as they were when they were last told of. */
  const known = new Map<Key, Stored<Kind>>();

  const add = (kind: ReconciledKind, name: string, wish?: Wish) => scheduler.add(keyOf(kind, name), wish);
  const onBranch = (now: Stored<'branch'>, before: Stored<'branch'> | undefined): void => {
    const { state, message } = now.status ?? {};
    // Who waits for the end of a branch wants to know why it does not come.
    if (before?.status?.state !== state || (state === 'deleting' && before?.status?.message !== message))
      scheduler.tell(topicOf.branch(now.name));
    // What holds other data now lacks what its owner's migrations had made.
    const owner = /^sandbox\/(.+)$/.exec(now.spec.owner ?? '')?.[1];
    if (before !== undefined && now.status?.resets !== before.status?.resets && owner !== undefined)
      add('sandbox', owner, { intent: true });
    // What is in the trash keeps nothing that it grows from.
    const { parent } = now.spec;
    if (before !== undefined && isTrashed(now) && !isTrashed(before) && parent !== undefined)
      scheduler.tell(topicOf.children(parent));
  };

  /** From here on, or not before, somebody looks after its branches. */
  const onPlaced = ({ name }: Stored<'project'>): void => {
    for (const branch of store.by('branch/project', name)) add('branch', branch.name, { intent: true });
  };

  const onBranchGone = ({ name, spec }: Stored<'branch'>): void => {
    scheduler.tell(topicOf.branch(name));
    scheduler.tell(topicOf.branches(spec.project));
    if (spec.parent !== undefined) scheduler.tell(topicOf.children(spec.parent));
  };

  /** A workload of the baseline, and its forks. */
  const addWorkload = ({ object }: Found<'Workload'>, wish: Wish): void => {
    add('manifest', nameOfManifest(object), wish);
    addForksOf(keyOfWorkload(object), wish);
  };

  const addForksOf = (key: WorkloadKey, wish: Wish): void => {
    for (const user of usersOfWorkload(store, key)) add('sandbox', user, wish);
  };

  /** Every workload knows every Service's address. */
  const addAllWorkloads = (wish: Wish): void => {
    for (const { object } of baseline.list('Workload')) add('manifest', nameOfManifest(object), wish);
    for (const { name, spec } of store.list('sandbox'))
      if ((spec.forks ?? []).length > 0) add('sandbox', name, wish);
  };

  const onService = (now: Found<'Service'> | undefined, before: Found<'Service'> | undefined): void => {
    if (addressesOf(now) !== addressesOf(before)) addAllWorkloads({ intent: false });
    // Its message says what it speaks, and so do the conditions of the sandboxes behind it.
    if (now !== undefined && foundAt(now) !== foundAt(before)) {
      add('manifest', nameOfManifest(now.object), { intent: false });
      for (const { object } of baseline.workloadsBehind(now.object))
        addForksOf(keyOfWorkload(object), { intent: false });
    }
    const changed = now ?? before;
    // What its name means hangs on what it speaks.
    if (changed !== undefined && isHeadless(changed.object) && foundAt(now) !== foundAt(before))
      addAllWorkloads({ intent: false });
    if (askedFor(now) === askedFor(before)) return;
    // Where it sends to are ports that no container may declare.
    const services = [before, now].filter(service => service !== undefined);
    for (const { object } of services)
      for (const found of baseline.workloadsBehind(object)) addWorkload(found, { intent: true });
  };

  /** Every workload knows the pods behind a headless Service. */
  const onPods = ({ object }: Found<'Workload'>): void => {
    if (baseline.servicesOf(object).some(service => isHeadless(service.object)))
      addAllWorkloads({ intent: false });
  };

  /** A ConfigMap or a Secret. */
  const onSource = (kind: 'ConfigMap' | 'Secret', namespace: string, name: string): void => {
    for (const found of baseline.usersOf(kind, namespace, name)) addWorkload(found, { intent: true });
    for (const key of [sourceKey(kind, namespace, name), patchedIn(namespace)])
      for (const sandbox of store.by('sandbox/source', key)) add('sandbox', sandbox.name, { intent: true });
  };

  /** How the images of its workloads run may have changed. */
  const onFolder = ({ name }: Stored<'folder'>): void => {
    for (const manifest of store.by('manifest/folder', name)) {
      const workload = asWorkload(manifest.spec);
      if (workload === undefined) continue;
      add('manifest', manifest.name, { intent: true });
      addForksOf(keyOfWorkload(workload), { intent: true });
    }
  };

  /** Sandboxes that were written before it was there. */
  const onPlugin = ({ name }: Stored<'plugin'>): void => {
    const bare = (plugin: string) => plugin.split('@')[0];
    const lacks = ({ spec, secret }: Stored<'sandbox'>) =>
      spec.resources?.some(
        resource => bare(resource.plugin) === bare(name) && secret.resources[resource.name] === undefined,
      );
    for (const sandbox of store.list('sandbox'))
      if (lacks(sandbox)) add('sandbox', sandbox.name, { intent: true });
  };

  const put = (now: Stored<Kind>): void => {
    const key: Key = `${now.kind} ${now.name}`;
    const before = known.get(key);
    known.set(key, now);
    const intent = before === undefined || intentOf(before) !== intentOf(now);
    if (intent && isReconciled(now.kind)) {
      // A delete does not wait for the end of a create that may take minutes.
      add(now.kind, now.name, {
        intent,
        ...(isEnding(now) && { interrupt: true, lane: 'delete' }),
      });
    }
    if (isOf('branch', now)) onBranch(now, before as Stored<'branch'> | undefined);
    if (isOf('project', now) && placeOf(now) !== placeOf(before as Stored<'project'> | undefined))
      onPlaced(now);
    if (isOf('folder', now) && intent) onFolder(now);
    if (isOf('plugin', now) && intent) onPlugin(now);
  };

  return {
    all() {
      for (const kind of reconciledKinds) {
        for (const object of store.list(kind)) {
          const { name, status } = object;
          known.set(keyOf(kind, name), object);
          // What was there before we were comes before what is only wished for.
          const lane = isEnding(object) ? 'delete' : status === null ? 'usual' : 'recovery';
          add(kind, name, { lane });
        }
      }
    },

    change(change) {
      if (change.type === 'put') put(change.object);
      if (change.type !== 'gone') return;
      const key: Key = `${change.kind} ${change.name}`;
      const before = known.get(key);
      known.delete(key);
      if (before !== undefined && isOf('branch', before)) onBranchGone(before);
    },

    baseline({ kind, namespace, name, before, now }) {
      if (kind === 'Service') return onService(now as Found<'Service'>, before as Found<'Service'>);
      if (podsOf(now) !== podsOf(before)) onPods((now ?? before) as Found<'Workload'>);
      if (askedFor(now) === askedFor(before)) return;
      else if (kind === 'ConfigMap' || kind === 'Secret') onSource(kind, namespace, name);
      else if (kind !== 'Endpoints' && kind !== 'EndpointSlice')
        addForksOf({ kind, namespace, name }, { intent: true });
    },

    workload(id) {
      const known = workloadOf(id);
      if (known === undefined) return;
      if (known.sandbox !== undefined) add('sandbox', known.sandbox);
      else add('manifest', manifestName(known.kind, known.namespace, known.name));
    },
  };
}

// --- internal -----------------------------------------------------------------------------------

const isReconciled = (kind: Kind): kind is ReconciledKind =>
  (reconciledKinds as readonly Kind[]).includes(kind);

/** It is to go, for good or into the trash. */
const isEnding = ({ deletedAt, spec }: Stored<Kind>): boolean =>
  deletedAt !== undefined || ('trashed' in spec && spec.trashed !== undefined);

const isOf = <K extends Kind>(kind: K, object: Stored<Kind>): object is Stored<K> => object.kind === kind;

/** Differs when what is asked for differs; a reconciler's own writes (status, journal) leave it as it is. */
function intentOf({ generation, deletedAt, secret }: Stored<Kind>): string {
  const { password, force, recursive, tries, from } = (secret ?? {}) as Partial<
    Kinds['branch']['secret'] & Kinds['sandbox']['secret'] & NonNullable<Kinds['manifest']['secret']>
  >;
  return [generation, deletedAt, password, force, recursive, tries, from?.folder].join(' ');
}

/** Differs when a project's branches have something to do: they have a place, their root is filled, they may sleep sooner, other passwords open them, or their servers have other settings. */
const placeOf = (project: Stored<'project'> | undefined): string =>
  [
    ...[project?.spec.node, project?.spec.import?.count, project?.spec.import?.cancelled],
    ...[project?.spec.sleepAfterSeconds, project?.spec.rolePasswords, settingsKey(project?.spec.settings)],
  ].join(' ');

/** Differs when something else is asked for, or the same once more. */
const askedFor = (found: Found | undefined): string => `${found?.revision} ${found?.deleting}`;

/** Where others find it. */
const addressesOf = (found: Found | undefined): string =>
  JSON.stringify(
    (found?.deleting ? undefined : (found?.status?.addresses ?? found?.status?.external)) ?? null,
  );

/** Where its pods are found. */
const podsOf = (found: Found | undefined): string =>
  found?.status?.pods === undefined ? '' : JSON.stringify([found.status.ips, found.status.pods]);

/** What its ports were found to speak. */
const foundAt = (found: Found | undefined): string => JSON.stringify(found?.status?.found ?? null);
