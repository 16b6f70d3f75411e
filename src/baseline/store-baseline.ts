/** The baseline as the manifests in the store say it. The store's indexes answer; nothing is kept here but what watchers were told. */
import type { Manifest } from '../model/kubernetes.ts';
import { manifestGroup, manifestName, namespaceOf } from '../model/manifest-name.ts';
import { selects } from '../model/service.ts';
import { asWorkload, podLabels } from '../model/workload.ts';
import type { Store, Stored } from '../store/contract.ts';
import { labelKey, sourceKey } from '../store/indexes.ts';
import type { Baseline, BaselineKind, Found } from './contract.ts';

export function storeBaseline(store: Store): Baseline {
  return {
    get(kind, namespace, name) {
      const object = store.get('manifest', manifestName(kind, namespace, name));
      return object === undefined || object.deletedAt !== undefined ? undefined : (found(object) as never);
    },
    list: (kind, namespace) =>
      staying(
        namespace === undefined
          ? store.by('manifest/kind', kind)
          : store.by('manifest/group', manifestGroup(kind, namespace)),
      ) as never,
    workloadsBehind(service) {
      const [label] = Object.entries(service.spec.selector ?? {});
      if (label === undefined) return [];
      return all(store.by('manifest/label', labelKey(namespaceOf(service), label))).filter(({ object }) =>
        selects(service, podLabels(object)),
      );
    },
    servicesOf(workload) {
      const labels = podLabels(workload);
      // A Service stands under the first of the labels that it asks for.
      return Object.entries(labels)
        .flatMap(label => [...store.by('manifest/selector', labelKey(namespaceOf(workload), label))])
        .filter(m => m.deletedAt === undefined)
        .map(m => found(m) as Found<'Service'>)
        .filter(({ object }) => selects(object, labels));
    },
    usersOf: (kind, namespace, name) =>
      staying(store.by('manifest/source', sourceKey(kind, namespace, name))) as never,
    watch(listener) {
      /** What the listener knows. */
      const told = new Map(store.list('manifest').map(m => [m.name, found(m)]));
      return store.onChange(change => {
        if (change.kind !== 'manifest' || change.type === 'event') return;
        const before = told.get(change.name);
        const now = change.type === 'put' ? found(change.object as Stored<'manifest'>) : undefined;
        const one = now ?? before;
        if (one === undefined) return;
        if (now === undefined) told.delete(change.name);
        else told.set(change.name, now);
        const { kind, namespace, name } = one;
        listener({ kind, namespace, name, ...(before && { before }), ...(now && { now }) });
      });
    },
  };
}

// --- internal -----------------------------------------------------------------------------------

type Manifests = readonly Stored<'manifest'>[];

const founds = new WeakMap<Stored<'manifest'>, Found>();
const lists = new WeakMap<Manifests, readonly Found[]>();

/** @returns undefined for a kind that is no part of a baseline */
function found(object: Stored<'manifest'>): Found | undefined {
  const known = founds.get(object);
  if (known !== undefined) return known;
  const { spec, generation, secret, status, createdAt, deletedAt } = object;
  const seen = seenAs(spec);
  if (seen === undefined) return undefined;
  const one: Found = Object.freeze({
    kind: seen.kind,
    namespace: namespaceOf(spec),
    name: spec.metadata.name,
    object: seen,
    revision: `${createdAt}.${generation}.${secret?.tries ?? 0}`,
    deleting: deletedAt !== undefined,
    status,
  });
  founds.set(object, one);
  return one;
}

const seenAs = (manifest: Manifest): Found['object'] | undefined =>
  manifest.kind === 'Namespace' || manifest.kind === 'PersistentVolumeClaim'
    ? undefined
    : (asWorkload(manifest) ?? (manifest as Found['object']));

const all = (manifests: Manifests): readonly Found<'Workload'>[] =>
  manifests.map(m => found(m) as Found<'Workload'>);

function staying(manifests: Manifests): readonly Found<BaselineKind>[] {
  const known = lists.get(manifests);
  if (known !== undefined) return known;
  const list = Object.freeze(manifests.filter(m => m.deletedAt === undefined).flatMap(m => found(m) ?? []));
  lists.set(manifests, list);
  return list;
}
