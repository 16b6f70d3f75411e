/** A baseline that is just there: for tests of those who read one, and the other implementation of its contract. */
import type { Baseline, BaselineChange, BaselineKind, Found } from '../../src/baseline/contract.ts';
import type { Manifest, Service } from '../../src/model/kubernetes.ts';
import { manifestName, nameOfManifest, namespaceOf } from '../../src/model/manifest-name.ts';
import { podSources } from '../../src/model/pod-sources.ts';
import { selects } from '../../src/model/service.ts';
import { asWorkload, isWorkloadKind, podLabels } from '../../src/model/workload.ts';
import type { ManifestStatus } from '../../src/model/workload-status.ts';

export type MemoryBaseline = {
  readonly baseline: Baseline;
  /** Adds or replaces. */
  put(manifest: Manifest): void;
  /** By `Kind/namespace/name`. */
  change(name: string, change: { readonly status?: ManifestStatus; readonly deleting?: true }): void;
  remove(name: string): void;
};

/** Looks through everything at every question, so that it cannot be wrong in the way of an index. */
export function memoryBaseline(...manifests: readonly Manifest[]): MemoryBaseline {
  const objects = new Map<string, Found>();
  const listeners = new Set<(change: BaselineChange) => void>();
  const lists = new Map<string, readonly Found[]>();
  let revision = 0;

  const set = (key: string, now: Found | undefined): void => {
    const before = objects.get(key);
    if (now === undefined) objects.delete(key);
    else objects.set(key, Object.freeze(now));
    const { kind, namespace, name } = (now ?? before)!;
    for (const listener of listeners)
      listener({ kind, namespace, name, ...(before && { before }), ...(now && { now }) });
  };

  const matching = (wanted: (found: Found) => boolean) => [...objects.values()].filter(wanted);
  const workloads = (namespace: string) =>
    matching(found => isWorkloadKind(found.kind) && found.namespace === namespace) as Found<'Workload'>[];
  const isOf = (kind: BaselineKind, found: Found) =>
    kind === 'Workload' ? isWorkloadKind(found.kind) : found.kind === kind;

  const baseline: Baseline = {
    get(kind, namespace, name) {
      const found = objects.get(manifestName(kind, namespace, name));
      return found === undefined || found.deleting ? undefined : (found as never);
    },
    list(kind, namespace) {
      const list = matching(
        found =>
          !found.deleting && isOf(kind, found) && (namespace === undefined || found.namespace === namespace),
      );
      const key = `${kind}/${namespace}`;
      const before = lists.get(key);
      if (before?.length === list.length && list.every((one, i) => one === before[i])) return before as never;
      lists.set(key, list);
      return list as never;
    },
    workloadsBehind: service =>
      workloads(namespaceOf(service)).filter(({ object }) => selects(service, podLabels(object))),
    servicesOf: workload =>
      baseline
        .list('Service', namespaceOf(workload))
        .filter(({ object }) => selects(object as Service, podLabels(workload))),
    usersOf: (kind, namespace, name) =>
      workloads(namespace).filter(
        ({ object, deleting }) => !deleting && podSources(object.spec.template)[kind].has(name),
      ),
    watch(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };

  const put = (manifest: Manifest): void => {
    const object = asWorkload(manifest) ?? manifest;
    if (object.kind === 'Namespace' || object.kind === 'PersistentVolumeClaim') return;
    const key = nameOfManifest(manifest);
    const before = objects.get(key);
    if (before !== undefined && JSON.stringify(before.object) === JSON.stringify(object)) return;
    set(key, {
      ...{ kind: object.kind, namespace: namespaceOf(manifest), name: object.metadata.name },
      object: frozen(object) as Found['object'],
      revision: String(++revision),
      deleting: false,
      status: before?.status ?? null,
    });
  };
  for (const manifest of manifests) put(manifest);
  return {
    baseline,
    put,
    change: (name, change) => set(name, { ...objects.get(name)!, ...change }),
    remove: name => set(name, undefined),
  };
}

// --- internal -----------------------------------------------------------------------------------

function frozen<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value;
  for (const part of Object.values(value)) frozen(part);
  return Object.freeze(value);
}
