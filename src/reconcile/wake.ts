/**
 * Who is looked at, and who is told, when something has changed. Everything that is found here is found by name
 * or by index: a change costs what it changes. What we wrote ourselves (status, journal) wakes nobody but those
 * who wait for it.
 */
import { manifestGroup, manifestName, namespaceOf } from '../model/manifest-name.ts';
import { usersOfWorkload } from '../rules/manifests.ts';
import type { Change, Kind, Kinds, Store, Stored } from '../store/contract.ts';
import type { Key, Scheduler, Wish } from './scheduler.ts';
import type { Topic } from './topics.ts';
import { workloadOf } from './workload-spec.ts';

/** The kinds whose objects are looked at. */
export const reconciledKinds = ['project', 'branch', 'manifest', 'sandbox', 'tombstone'] as const;
export type ReconciledKind = (typeof reconciledKinds)[number];

export const keyOf = (kind: ReconciledKind, name: string): Key => `${kind} ${name}`;

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
  /** What is seen of a workload may have changed. @param id see reconcile/workload-spec.ts */
  workload(id: string): void;
};

export function wake(store: Store, scheduler: Pick<Scheduler, 'add' | 'tell'>): Wake {
  /** Objects as they were when they were last told of. */
  const known = new Map<Key, Stored<Kind>>();

  const add = (kind: ReconciledKind, name: string, wish?: Wish) => scheduler.add(keyOf(kind, name), wish);
  const addAll = (kind: ReconciledKind, objects: readonly Stored<Kind>[], wish: Wish): void => {
    for (const { name } of objects) add(kind, name, wish);
  };

  const onBranch = (now: Stored<'branch'>, before: Stored<'branch'> | undefined): void => {
    const { state, message } = now.status ?? {};
    // Who waits for the end of a branch wants to know why it does not come.
    if (before?.status?.state !== state || (state === 'deleting' && before?.status?.message !== message))
      scheduler.tell(topicOf.branch(now.name));
  };

  const onBranchGone = ({ name, spec }: Stored<'branch'>): void => {
    scheduler.tell(topicOf.branch(name));
    scheduler.tell(topicOf.branches(spec.project));
    if (spec.parent !== undefined) scheduler.tell(topicOf.children(spec.parent));
  };

  /** @param intent what is asked for has changed; otherwise only where it answers */
  const onManifest = ({ spec: manifest }: Stored<'manifest'>, intent: boolean): void => {
    const namespace = namespaceOf(manifest);
    switch (manifest.kind) {
      case 'Deployment':
        for (const user of usersOfWorkload(store, namespace, manifest.metadata.name))
          add('sandbox', user, { intent });
        break;
      // Every workload knows every Service's address: by name everywhere, by variable in its own namespace.
      case 'Service':
        addAll('manifest', store.by('manifest/kind', 'Deployment'), { intent });
        addAll('sandbox', store.list('sandbox'), { intent });
        break;
      case 'ConfigMap':
      case 'Secret':
        for (const deployment of store.by('manifest/group', manifestGroup('Deployment', namespace))) {
          add('manifest', deployment.name, { intent });
          for (const user of usersOfWorkload(store, namespace, deployment.spec.metadata.name))
            add('sandbox', user, { intent });
        }
        break;
      case 'Namespace':
        break;
    }
  };

  /** Any workload may be run by it. */
  const onImage = (): void => {
    addAll('manifest', store.by('manifest/kind', 'Deployment'), { intent: true });
    addAll('sandbox', store.list('sandbox'), { intent: true });
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
    if (isOf('image', now) && intent) onImage();
    if (isOf('manifest', now)) {
      const moved = addressesOf(now) !== addressesOf(before as Stored<'manifest'> | undefined);
      if (intent || moved) onManifest(now, intent);
    }
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

    workload(id) {
      const { namespace, name, sandbox } = workloadOf(id);
      if (sandbox !== undefined) add('sandbox', sandbox);
      else add('manifest', manifestName('Deployment', namespace, name));
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
  const { password, force, recursive, tries } = (secret ?? {}) as Partial<
    Kinds['branch']['secret'] & Kinds['sandbox']['secret']
  >;
  return [generation, deletedAt, password, force, recursive, tries].join(' ');
}

const addressesOf = (manifest: Stored<'manifest'> | undefined): string =>
  JSON.stringify(manifest?.status?.addresses ?? null);
