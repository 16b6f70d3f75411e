/**
 * The baseline as it is in a cluster, by informers: nothing is kept beside what they have of each object, which is what a
 * document would have of it. What we make ourselves (forks, and our Secrets) is no part of it, and neither is what no pod
 * can mention: releases of Helm, tokens of service accounts, endpoints that the cluster keeps for Services with pods.
 */
import type { ClusterClient } from '../kubernetes/client.ts';
import { type Informer, type InformerOptions, type InformerState, informer } from '../kubernetes/informer.ts';
import { group, labels } from '../kubernetes/kinds.ts';
import { type KubernetesObject, resources } from '../kubernetes/resource.ts';
import { type Log, silentLog } from '../lib/log.ts';
import { Table } from '../lib/ordered-table.ts';
import type { Service, Workload } from '../model/kubernetes.ts';
import { manifestGroup, namespaceOf } from '../model/manifest-name.ts';
import { podSources } from '../model/pod-sources.ts';
import { selects } from '../model/service.ts';
import { isWorkloadKind, podLabels } from '../model/workload.ts';
import { labelKey, sourceKey } from '../store/indexes.ts';
import type { Baseline, BaselineChange, Found, ObjectKind } from './contract.ts';
import { foundIn } from './kubernetes-object.ts';
import { lentTemplates } from './lent-templates.ts';

export type KubernetesBaseline = {
  readonly baseline: Baseline;
  /**
   * Resolves when everything that is there is known, but for namespaces that the cluster does not let us read while it does others:
   * those are known, all at once, when they can be. Rejects when it is closed before.
   */
  readonly synced: Promise<void>;
  /** How fresh it is, by resource. */
  states(): readonly InformerState[];
  close(): Promise<void>;
};

export type KubernetesBaselineOptions = {
  /** Closed by whoever made it. */
  readonly client: ClusterClient;
  /** Default: all, which needs rights in all. */
  readonly namespaces?: readonly string[];
  readonly log?: Log;
  readonly informers?: Pick<InformerOptions<unknown>, 'idleMs' | 'relistMs' | 'pauseMs'>;
};

export function kubernetesBaseline(options: KubernetesBaselineOptions): KubernetesBaseline {
  const { client, namespaces, log = silentLog, informers: timing = {} } = options;
  const index = new BaselineIndex();
  const lent = lentTemplates((namespace, name) => index.get('Deployment', namespace, name));
  const listeners = new Set<(change: BaselineChange) => void>();
  const made = new Map<Found, string>();
  const at = (found: Found) => made.get(found) ?? '';
  /** What is known of half a namespace is not told: forks would be made of it. */
  const groups = (namespaces ?? [undefined]).map((namespace): Group => {
    const group: Group = { namespace, early: new Map(), informers: [] };
    group.informers = watchedKinds.map(kind => watch(kind, group));
    return group;
  });

  function changed({ early }: Group, before: Found | undefined, now: Found | undefined): void {
    const { kind, namespace, name } = (now ?? before)!;
    if (early !== undefined) {
      const key = `${kind}/${namespace}/${name}`;
      if (now === undefined) early.delete(key);
      else early.set(key, now);
      return;
    }
    if (kind === 'Rollout') {
      put(...lent.take(before, now));
      return;
    }
    put(before, now);
    if (kind === 'Deployment') for (const other of lent.lenderChanged(namespace, name)) put(...other);
  }

  function put(before: Found | undefined, now: Found | undefined): void {
    if (before === now) return;
    const { kind, namespace, name } = (now ?? before)!;
    index.put(before, now);
    const change = { kind, namespace, name, ...(before && { before }), ...(now && { now }) };
    for (const listener of listeners) {
      try {
        listener(change);
      } catch (err) {
        log.error({ err, kind, namespace, name }, 'a listener of the baseline failed');
      }
    }
  }

  function watch(kind: WatchedKind, group: Group): Informer<Found> {
    return informer<Found>({
      ...{ client, resource: resources[kind], selection: selectionOf(kind), log, ...timing },
      ...(group.namespace !== undefined && { namespace: group.namespace }),
      ...(kind === 'Rollout' && { undefinedMs: UNDEFINED_MS }),
      keep(object: KubernetesObject, before) {
        const found = foundIn(kind, object, before);
        if (found !== undefined && group.early !== undefined)
          made.set(found, object.metadata.creationTimestamp ?? '');
        return found;
      },
      onChange: ({ before, now }) => changed(group, before, now),
    });
  }

  /** Tells what has been listed, in order of creation. */
  function open(some: readonly Group[]): void {
    const all = some.flatMap(({ early }) => [...(early?.values() ?? [])]);
    const sorted = all.sort((a, b) => (at(a) < at(b) ? -1 : at(a) > at(b) ? 1 : 0));
    for (const group of some) group.early = undefined;
    for (const found of sorted) {
      made.delete(found);
      changed({ early: undefined } as Group, undefined, found);
    }
  }

  const whole = ({ informers }: Group) => Promise.all(informers.map(one => one.synced));
  const isWhole = ({ informers }: Group) => informers.every(one => one.state().synced);
  const settled = groups.map(({ informers }) => Promise.all(informers.map(one => one.settled)));
  const some = groups.length === 0 ? undefined : Promise.any(groups.map(whole));
  const synced = Promise.all([...settled, some]).then(() => {
    open(groups.filter(isWhole));
    for (const late of groups.filter(({ early }) => early !== undefined))
      whole(late).then(
        () => open([late]),
        () => {}, // it is closed
      );
  });
  synced.catch(() => {}); // who does not wait for it need not hear
  const informers = groups.flatMap(group => group.informers);

  return {
    baseline: {
      get(kind, namespace, name) {
        const found = index.get(kind, namespace, name);
        return found === undefined || found.deleting ? undefined : (found as never);
      },
      list: (kind, namespace) =>
        staying(index.list(namespace === undefined ? kind : manifestGroup(kind, namespace))) as never,
      workloadsBehind(service) {
        const [label] = Object.entries(service.spec.selector ?? {});
        if (label === undefined) return [];
        const all = index.list(
          `label ${labelKey(namespaceOf(service), label)}`,
        ) as readonly Found<'Workload'>[];
        return all.filter(({ object }) => selects(service, podLabels(object)));
      },
      servicesOf(workload) {
        const all = podLabels(workload);
        return Object.entries(all)
          .flatMap(
            label =>
              index.list(`selector ${labelKey(namespaceOf(workload), label)}`) as readonly Found<'Service'>[],
          )
          .filter(({ object, deleting }) => !deleting && selects(object, all));
      },
      usersOf: (kind, namespace, name) =>
        staying(index.list(`source ${sourceKey(kind, namespace, name)}`)) as never,
      whyUnknown(namespace) {
        const group = groups.find(one => one.namespace === undefined || one.namespace === namespace);
        if (group === undefined)
          return `namespace "${namespace}" is none of those that this installation may fork`;
        if (group.early === undefined) return undefined;
        const [failure] = group.informers.flatMap(one => one.state().failure ?? []);
        return failure?.message ?? `namespace "${namespace}" has not been read yet`;
      },
      watch(listener) {
        const own = (change: BaselineChange) => listener(change); // the same function may listen twice
        listeners.add(own);
        return () => listeners.delete(own);
      },
    },
    synced,
    states: () => informers.map(one => one.state()),
    async close() {
      listeners.clear();
      await Promise.all(informers.map(one => one.close()));
    },
  };
}

// --- internal -----------------------------------------------------------------------------------

/** What is read together. */
type Group = {
  /** undefined: all. */
  readonly namespace: string | undefined;
  informers: readonly Informer<Found>[];
  /** What is there, until all of it has been listed. */
  early: Map<string, Found> | undefined;
};

const watchedKinds = [
  ...([
    'Deployment',
    'StatefulSet',
    'DaemonSet',
    'ReplicaSet',
    'ReplicationController',
    'Rollout',
    'Job',
    'CronJob',
    'Pod',
  ] as const),
  ...(['Service', 'EndpointSlice', 'ConfigMap', 'Secret'] as const),
] as const satisfies readonly (ObjectKind & keyof typeof resources)[];

type WatchedKind = (typeof watchedKinds)[number];

/** Who has no Argo Rollouts may come by them. */
const UNDEFINED_MS = 30_000;

function selectionOf(kind: WatchedKind): { readonly labelSelector: string; readonly fieldSelector?: string } {
  const notOurs = `!${group}/sandbox`;
  if (kind === 'EndpointSlice')
    return {
      labelSelector: `${notOurs},endpointslice.kubernetes.io/managed-by!=endpointslice-controller.k8s.io`,
    };
  if (kind !== 'Secret') return { labelSelector: notOurs };
  const types = [
    'helm.sh/release.v1',
    'kubernetes.io/service-account-token',
    'bootstrap.kubernetes.io/token',
  ];
  return {
    labelSelector: `${notOurs},!${labels.kind}`,
    fieldSelector: types.map(type => `type!=${type}`).join(','),
  };
}

/** The same objects under all that they are asked for by. */
class BaselineIndex {
  readonly #tables = new Map<string, Table<Found>>();
  #seats = 0;
  readonly #seatOf = new Map<string, number>();

  get(kind: ObjectKind | 'Workload', namespace: string, name: string): Found | undefined {
    return this.#tables.get(manifestGroup(kind, namespace))?.get(`${kind}/${namespace}/${name}`);
  }

  list(key: string): readonly Found[] {
    return this.#tables.get(key)?.list() ?? none;
  }

  put(before: Found | undefined, now: Found | undefined): void {
    const { kind, namespace, name } = (now ?? before)!;
    const id = `${kind}/${namespace}/${name}`;
    const seat = this.#seatOf.get(id) ?? ++this.#seats;
    if (now === undefined) this.#seatOf.delete(id);
    else this.#seatOf.set(id, seat);
    const keys = now === undefined ? [] : keysOf(now);
    for (const key of before === undefined ? [] : keysOf(before))
      if (!keys.includes(key)) this.#table(key).set(id, undefined);
    for (const key of keys) this.#table(key).set(id, now, seat);
  }

  #table(key: string): Table<Found> {
    const table = this.#tables.get(key) ?? new Table<Found>(() => this.#tables.delete(key));
    this.#tables.set(key, table);
    return table;
  }
}

const none: readonly never[] = Object.freeze([]);
const lists = new WeakMap<readonly Found[], readonly Found[]>();

function staying(all: readonly Found[]): readonly Found[] {
  const known = lists.get(all);
  if (known !== undefined) return known;
  const list = Object.freeze(all.filter(({ deleting }) => !deleting));
  lists.set(all, list);
  return list;
}

/** Its kind, its kind in its namespace, and what questions are asked by. */
function keysOf({ kind, namespace, object }: Found): readonly string[] {
  const own = [kind, manifestGroup(kind, namespace)];
  if (kind === 'Service') {
    // Under the first of the labels that it asks for.
    const [first] = Object.entries((object as Service).spec.selector ?? {});
    return first === undefined ? own : [...own, `selector ${labelKey(namespace, first)}`];
  }
  if (!isWorkloadKind(kind)) return own;
  const workload = object as Workload;
  const { ConfigMap, Secret } = podSources(workload.spec.template);
  return [
    ...own,
    ...['Workload', manifestGroup('Workload', namespace)],
    ...Object.entries(podLabels(workload)).map(label => `label ${labelKey(namespace, label)}`),
    ...[...ConfigMap].map(name => `source ${sourceKey('ConfigMap', namespace, name)}`),
    ...[...Secret].map(name => `source ${sourceKey('Secret', namespace, name)}`),
  ];
}
