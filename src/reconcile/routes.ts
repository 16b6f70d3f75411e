/**
 * The items of the data path (model/route.ts) as a function of what the store knows: each object has its own, and
 * only those of objects that changed are computed again, together at the end of the turn in which they did.
 */
import type { Baseline, BaselineChange, Found, ObjectKind } from '../baseline/contract.ts';
import { endpointsOf, serviceDestination } from '../model/endpoint.ts';
import type { Service, Workload } from '../model/kubernetes.ts';
import { previewLabel } from '../model/names.ts';
import {
  type Address,
  addressKey,
  type DestinationKey,
  forkRoute,
  type RouteChange,
  type Target,
} from '../model/route.ts';
import { sandboxRoutes } from '../model/sandbox-route.ts';
import { containerPortOf, isHeadless } from '../model/service.ts';
import { addressesAt, selectsNothing, serviceOf } from '../model/service-endpoints.ts';
import { declaredSpeech } from '../model/speaks.ts';
import { isTrashed } from '../model/trash.ts';
import { isWorkloadKind, keyOfWorkload, workloadPath } from '../model/workload.ts';
import type { ManifestStatus } from '../model/workload-status.ts';
import type { Change, Kind, Store, Stored } from '../store/contract.ts';

export type Routes = {
  /** Computes what waits to be computed, now. */
  flush(): void;
  /** Follows the store no longer. */
  stop(): void;
};

/**
 * Publishes everything now, and from then on what changes.
 * @param publish gets what is gone first
 * @param where branches that have a port of their own are to be reached at it; absent: nowhere
 */
export function followRoutes(
  store: Store,
  baseline: Baseline,
  publish: (changes: readonly RouteChange[]) => void,
  where?: Where,
): Routes {
  /** What computes the items of an object, which are out of date. */
  const stale = new Map<ObjectKey, () => readonly RouteChange[]>();
  /** What was published for each object. */
  const owned = new Map<ObjectKey, readonly RouteChange[]>();
  let timer: NodeJS.Immediate | undefined;

  const touch = (key: ObjectKey, items: () => readonly RouteChange[]): void => {
    stale.set(key, items);
    timer ??= setImmediate(flush);
  };

  const touchStored = (kind: RoutedKind, name: string): void =>
    touch(`${kind} ${name}`, () => {
      const object = store.get(kind, name);
      return object === undefined ? [] : itemsOf[kind](object as never, where);
    });

  const touchFound = (kind: ObjectKind, namespace: string, name: string, found: Found | undefined): void =>
    touch(`${kind} ${namespace}/${name}`, () =>
      found === undefined ? [] : itemsOfBaseline(found, baseline),
    );

  const onBaseline = ({ kind, namespace, name, before, now }: BaselineChange): void => {
    if (kind === 'Endpoints' || kind === 'EndpointSlice') {
      for (const one of [before, now] as readonly (Found<'Endpoints' | 'EndpointSlice'> | undefined)[]) {
        const service = one && baseline.get('Service', namespace, serviceOf(one.object) ?? '');
        if (service !== undefined) touchFound('Service', namespace, service.name, service);
      }
      return;
    }
    if (kind !== 'Service' && !isWorkloadKind(kind)) return;
    touchFound(kind, namespace, name, now);
    if (kind === 'Service' || before?.object === now?.object) return;
    // Which workloads a Service selects depends on their labels and ports.
    for (const one of [before, now]) {
      if (one === undefined) continue;
      for (const service of baseline.servicesOf(one.object as Workload))
        touchFound('Service', service.namespace, service.name, service);
    }
  };

  const onChange = (change: Change): void => {
    if (change.type !== 'event' && isRouted(change.kind)) touchStored(change.kind, change.name);
  };

  const flush = (): void => {
    if (timer !== undefined) clearImmediate(timer);
    timer = undefined;
    if (stale.size === 0) return;
    const gone: RouteChange[] = [];
    const there: RouteChange[] = [];
    for (const [key, compute] of stale) {
      const items = compute();
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

  for (const kind of ['Workload', 'Service'] as const) {
    for (const found of baseline.list(kind)) touchFound(found.kind, found.namespace, found.name, found);
  }
  for (const kind of Object.keys(itemsOf) as RoutedKind[]) {
    for (const { name } of store.list(kind)) touchStored(kind, name);
  }
  flush();
  const unsubscribe = [baseline.watch(onBaseline), store.onChange(onChange)];
  return {
    flush,
    stop() {
      for (const stopOne of unsubscribe) stopOne();
      if (timer !== undefined) clearImmediate(timer);
    },
  };
}

// --- internal -----------------------------------------------------------------------------------

type ObjectKey = `${string} ${string}`;
type RoutedKind = keyof typeof itemsOf;

const isRouted = (kind: Kind): kind is RoutedKind => kind in itemsOf;

/** Of listeners for PostgreSQL. */
type Where = { readonly host: string; readonly encrypted?: true };

/** The name of the listener of a branch that has a port of its own. */
export const listenerOf = (branch: string): string => `branch:${branch}`;

const nameOf = ({ kind, name }: Pick<RouteChange, 'kind' | 'name'>): string => `${kind} ${name}`;

const itemsOf = {
  sandbox(sandbox: Stored<'sandbox'>): readonly RouteChange[] {
    const forks = sandboxRoutes(sandbox).map(({ forkOf, routingKey, target }): RouteChange => {
      const name = forkRoute(forkOf, routingKey);
      return { kind: 'fork', name, value: { sandbox: sandbox.name, target } };
    });
    const previews = endpointsOf(sandbox.spec).map(({ name, destination, protocol }): RouteChange => {
      const { routingKey } = sandbox.secret;
      const value = { sandbox: sandbox.name, endpoint: name, routingKey, destination, protocol };
      return { kind: 'preview', name: previewLabel(name, sandbox.name), value };
    });
    const visits = Object.entries(sandbox.secret.visits ?? {}).map(
      ([name, value]): RouteChange => ({ kind: 'visit', name, value }),
    );
    return [...forks, ...previews, ...visits];
  },

  /** Sessions end with the intent, not with the server: from here on nobody is led to it. */
  branch(branch: Stored<'branch'>, where?: Where): readonly RouteChange[] {
    const { name, spec, secret, status, deletedAt } = branch;
    if (deletedAt !== undefined || isTrashed(branch)) return [];
    // Asleep it has an address where a door is before it, which knows how to wake it.
    const open = status?.state === 'ready' || status?.state === 'asleep' ? status.open : undefined;
    const isNewest = open?.rotation === (secret.rotation ?? 0);
    const value = {
      sessions: secret.sessions ?? 0,
      ...(open && isNewest && { endpoint: open.endpoint }),
      ...(spec.silentAfterSeconds && { silentMs: spec.silentAfterSeconds * 1000 }),
    };
    const { port } = spec;
    const own: RouteChange[] =
      port === undefined || where === undefined
        ? []
        : [
            {
              ...{ kind: 'listener', name: listenerOf(name) },
              value: { ...where, port, serves: 'postgres', branch: name },
            },
          ];
    return [{ kind: 'branch', name, value }, ...own];
  },

  tombstone: ({ name, spec }: Stored<'tombstone'>): readonly RouteChange[] => [
    {
      ...{ kind: 'tombstone', name },
      value: { sandbox: spec.sandbox, workloads: spec.forks.map(workloadPath) },
    },
  ],

  key: ({ spec }: Stored<'key'>): readonly RouteChange[] => [{ kind: 'key', name: spec.hash, value: {} }],
} satisfies { readonly [K in Kind]?: (object: Stored<K>, where?: Where) => readonly RouteChange[] };

const itemsOfBaseline = (found: Found, baseline: Baseline): readonly RouteChange[] =>
  found.kind === 'Service'
    ? serviceItems(found as Found<'Service'>, baseline)
    : workloadItems(found as Found<'Workload'>);

function workloadItems({ object, status, deleting: isDeleting }: Found<'Workload'>): readonly RouteChange[] {
  const key = keyOfWorkload(object);
  const label = `${key.kind} ${key.namespace}/${key.name}`;
  const target = isDeleting ? deleting : targetOf(status);
  return [{ kind: 'workload', name: workloadPath(key), value: { label, target } }];
}

function serviceItems(
  { object: service, namespace, name, status }: Found<'Service'>,
  baseline: Baseline,
): readonly RouteChange[] {
  const elsewhere = selectsNothing(service) ? endpointsOfService(baseline, namespace, name) : undefined;
  const backing = baseline.workloadsBehind(service).map(({ object }) => object);
  return (service.spec.ports ?? []).flatMap((servicePort): RouteChange[] => {
    const speaks = declaredSpeech(servicePort);
    const isUdp = speaks === 'udp';
    const key = `${serviceDestination(namespace, name, servicePort.port)}${isUdp ? '/udp' : ''}`;
    const behind = backing.flatMap(workload => {
      const port = containerPortOf(servicePort, workload);
      return port === undefined ? [] : [{ workload: workloadPath(keyOfWorkload(workload)), port }];
    });
    const label = `Service ${namespace}/${name}`;
    const { targetPort } = servicePort;
    const missingPort = behind.length === 0 && backing.length > 0 ? String(targetPort) : undefined;
    const address = status?.addresses?.[servicePort.port];
    const outside = elsewhere && addressesAt(servicePort, elsewhere);
    const more = {
      ...(outside && { outside }),
      ...(speaks && { speaks }),
      ...(missingPort && { missingPort }),
    };
    return [
      { kind: 'service', name: key, value: { label, behind, ...more } },
      ...(address === undefined ? [] : [isUdp ? datagrams(address, key) : listener(address, key)]),
      ...(address === undefined || isUdp
        ? []
        : podPorts(service, behind).map(port => listener({ ...address, port }, key))),
    ];
  });
}

function endpointsOfService(baseline: Baseline, namespace: string, name: string) {
  const own = baseline.get('Endpoints', namespace, name);
  const slices = baseline.list('EndpointSlice', namespace).map(({ object }) => object);
  return [...(own === undefined ? [] : [own.object]), ...slices.filter(slice => serviceOf(slice) === name)];
}

/** Whoever asks for a headless Service means its pods, and so their ports, where those are others than its own. */
const podPorts = (service: Service, behind: readonly { readonly port: number }[]): readonly number[] =>
  isHeadless(service)
    ? [...new Set(behind.map(({ port }) => port))].filter(port =>
        (service.spec.ports ?? []).every(own => own.port !== port),
      )
    : [];

const listener = (address: Address, serves: DestinationKey): RouteChange => ({
  ...{ kind: 'listener', name: addressKey(address), value: { ...address, serves } },
});

const datagrams = (address: Address, serves: DestinationKey): RouteChange => ({
  ...{ kind: 'datagrams', name: addressKey(address), value: { ...address, serves } },
});

const deleting: Target = { ready: false, reason: 'Deleting', message: 'it is being deleted' };

function targetOf(status: ManifestStatus | null): Target {
  if (status?.serving ?? status?.ready) {
    const { ports = {}, ips } = status;
    return { ready: true, ports, ...(ips && { ips }) };
  }
  const { reason = 'Pending', message = 'not started yet' } = status ?? {};
  return { ready: false, reason, message };
}
