/**
 * The items of the data path (model/route.ts) as a function of what the store knows: each object has its own, and
 * only those of objects that changed are computed again, together at the end of the turn in which they did.
 */
import { endpointsOf, serviceDestination } from '../model/endpoint.ts';
import type { Deployment, Service } from '../model/kubernetes.ts';
import { manifestGroup, namespaceOf } from '../model/manifest-name.ts';
import { previewLabel } from '../model/names.ts';
import { addressKey, forkRoute, type RouteChange, type Target, workloadRoute } from '../model/route.ts';
import { sandboxRoutes } from '../model/sandbox-route.ts';
import { containerPortOf, selects } from '../model/service.ts';
import { isTrashed } from '../model/trash.ts';
import type { ManifestStatus } from '../model/workload-status.ts';
import type { Change, Kind, Store, Stored } from '../store/contract.ts';

export type Routes = {
  /** Computes what waits to be computed, now. */
  flush(): void;
  /** Follows the store no longer. */
  stop(): void;
};

/** Publishes everything now, and from then on what changes. @param publish gets what is gone first */
export function followRoutes(store: Store, publish: (changes: readonly RouteChange[]) => void): Routes {
  /** Objects whose items are out of date. */
  const stale = new Map<ObjectKey, readonly [Kind, string]>();
  /** What was published for each object. */
  const owned = new Map<ObjectKey, readonly RouteChange[]>();
  let timer: NodeJS.Immediate | undefined;

  const touch = (kind: Kind, name: string): void => {
    stale.set(`${kind} ${name}`, [kind, name]);
    timer ??= setImmediate(flush);
  };

  const onChange = (change: Change): void => {
    if (change.type === 'event' || !(change.kind in itemsOf)) return;
    touch(change.kind, change.name);
    if (change.kind === 'manifest') touchDependents(change);
  };

  /** Which workloads a Service selects depends on their labels and ports. */
  const generations = new Map<string, string>();
  const touchDependents = (change: Exclude<Change, { type: 'event' }>): void => {
    const object = change.type === 'put' ? (change.object as Stored<'manifest'>) : undefined;
    if (object?.spec.kind === 'Deployment') {
      const now = `${object.createdAt} ${object.generation}`;
      if (generations.get(change.name) === now) return;
      generations.set(change.name, now);
    } else if (object !== undefined || !generations.delete(change.name)) return;
    const [, namespace = ''] = change.name.split('/');
    for (const service of store.by('manifest/group', manifestGroup('Service', namespace)))
      touch('manifest', service.name);
  };

  const flush = (): void => {
    if (timer !== undefined) clearImmediate(timer);
    timer = undefined;
    if (stale.size === 0) return;
    const gone: RouteChange[] = [];
    const there: RouteChange[] = [];
    for (const [key, [kind, name]] of stale) {
      const object = store.get(kind, name);
      const items = object === undefined ? [] : itemsOf[kind as RoutedKind]!(object as never, store);
      const names = new Set(items.map(nameOf));
      for (const { kind, name } of owned.get(key) ?? [])
        if (!names.has(nameOf({ kind, name }))) gone.push({ kind, name } as RouteChange);
      there.push(...items);
      if (items.length > 0) owned.set(key, items);
      else owned.delete(key);
    }
    stale.clear();
    publish([...gone, ...there]);
  };

  for (const kind of Object.keys(itemsOf) as Kind[]) {
    for (const { name } of store.list(kind)) touch(kind, name);
  }
  flush();
  const unsubscribe = store.onChange(onChange);
  return {
    flush,
    stop() {
      unsubscribe();
      if (timer !== undefined) clearImmediate(timer);
    },
  };
}

// --- internal -----------------------------------------------------------------------------------

type ObjectKey = `${Kind} ${string}`;
type RoutedKind = keyof typeof itemsOf;

const nameOf = ({ kind, name }: Pick<RouteChange, 'kind' | 'name'>): string => `${kind} ${name}`;

const itemsOf = {
  manifest(object: Stored<'manifest'>, store: Store): readonly RouteChange[] {
    const { spec } = object;
    if (spec.kind === 'Deployment') return workloadItems(object, spec);
    if (spec.kind === 'Service') return serviceItems(object, spec, store);
    return [];
  },

  sandbox(sandbox: Stored<'sandbox'>): readonly RouteChange[] {
    const forks = sandboxRoutes(sandbox).map(({ forkOf, routingKey, target }): RouteChange => {
      const name = forkRoute(forkOf.namespace, forkOf.name, routingKey);
      return { kind: 'fork', name, value: { sandbox: sandbox.name, target } };
    });
    const previews = endpointsOf(sandbox.spec).map(({ name, destination, protocol }): RouteChange => {
      const { routingKey } = sandbox.secret;
      const value = { sandbox: sandbox.name, endpoint: name, routingKey, destination, protocol };
      return { kind: 'preview', name: previewLabel(name, sandbox.name), value };
    });
    return [...forks, ...previews];
  },

  /** Sessions end with the intent, not with the server: from here on nobody is led to it. */
  branch(branch: Stored<'branch'>): readonly RouteChange[] {
    const { name, secret, status, deletedAt } = branch;
    if (deletedAt !== undefined || isTrashed(branch)) return [];
    const open = status?.state === 'ready' ? status.open : undefined;
    const isNewest = open?.rotation === (secret.rotation ?? 0);
    const value = { sessions: secret.sessions ?? 0, ...(open && isNewest && { endpoint: open.endpoint }) };
    return [{ kind: 'branch', name, value }];
  },

  tombstone: ({ name, spec }: Stored<'tombstone'>): readonly RouteChange[] => [
    { kind: 'tombstone', name, value: { sandbox: spec.sandbox } },
  ],

  key: ({ spec }: Stored<'key'>): readonly RouteChange[] => [{ kind: 'key', name: spec.hash, value: {} }],
} satisfies { readonly [K in Kind]?: (object: Stored<K>, store: Store) => readonly RouteChange[] };

function workloadItems(object: Stored<'manifest'>, { metadata }: Deployment): readonly RouteChange[] {
  const namespace = namespaceOf(object.spec);
  const target = object.deletedAt === undefined ? targetOf(object.status) : deleting;
  const label = `Deployment ${namespace}/${metadata.name}`;
  return [{ kind: 'workload', name: workloadRoute(namespace, metadata.name), value: { label, target } }];
}

function serviceItems(object: Stored<'manifest'>, service: Service, store: Store): readonly RouteChange[] {
  const { name } = service.metadata;
  const namespace = namespaceOf(service);
  const backing = store
    .by('manifest/group', manifestGroup('Deployment', namespace))
    .map(m => m.spec as Deployment)
    .filter(d => selects(service, d.spec.template.metadata?.labels ?? {}));
  return (service.spec.ports ?? []).flatMap((servicePort): RouteChange[] => {
    const key = serviceDestination(namespace, name, servicePort.port);
    const behind = backing.flatMap(deployment => {
      const port = containerPortOf(servicePort, deployment);
      if (port === undefined) return [];
      return [{ workload: workloadRoute(namespace, deployment.metadata.name), port }];
    });
    const label = `Service ${namespace}/${name}`;
    const { targetPort } = servicePort;
    const missingPort = behind.length === 0 && backing.length > 0 ? String(targetPort) : undefined;
    const address = object.status?.addresses?.[servicePort.port];
    return [
      { kind: 'service', name: key, value: { label, behind, ...(missingPort && { missingPort }) } },
      ...(address === undefined ? [] : [listener(addressKey(address), { ...address, serves: key })]),
    ];
  });
}

const listener = (name: string, value: Extract<RouteChange, { kind: 'listener' }>['value']): RouteChange => ({
  ...{ kind: 'listener', name, value },
});

const deleting: Target = { ready: false, reason: 'Deleting', message: 'it is being deleted' };

function targetOf(status: ManifestStatus | null): Target {
  if (status?.ready) return { ready: true, ports: status.ports ?? {} };
  const { reason = 'Pending', message = 'not started yet' } = status ?? {};
  return { ready: false, reason, message };
}
