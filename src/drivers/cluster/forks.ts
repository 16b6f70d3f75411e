/**
 * Forks in a cluster: each is objects of the cluster (fork-objects.ts), and its controllers do the rest. What is seen are
 * the informers' copies of them; what is asked for is written when it differs from what was last written. Nothing that
 * somebody else has made is touched: a name that is taken is an error.
 */
import { type ClusterClient, isCode } from '../../kubernetes/client.ts';
import { type Informer, type InformerOptions, informer } from '../../kubernetes/informer.ts';
import { type KubernetesObject, resources } from '../../kubernetes/resource.ts';
import { Listeners } from '../../lib/listeners.ts';
import type { Log } from '../../lib/log.ts';
import { OffshootError } from '../../model/errors.ts';
import type { Ctx, WorkloadDriver, WorkloadSeen, WorkloadSpec } from '../contract.ts';
import { type ForkObjects, forkAnnotations, forkLabels, forkObjects } from './fork-objects.ts';
import { containersOf, type DeploymentSeen, forkState, hashOf, type PodSeen } from './fork-state.ts';
import { lastLines, podLogLines } from './pod-logs.ts';

export type ClusterForksOptions = {
  readonly client: ClusterClient;
  /** Its namespace names it. */
  readonly installation: string;
  /** Where forks may be; default: everywhere, which needs rights everywhere. */
  readonly namespaces?: readonly string[] | undefined;
  readonly informers?: Pick<InformerOptions<unknown>, 'idleMs' | 'relistMs' | 'pauseMs'>;
  readonly log: Log;
};

/** Resolves when all that is there of the installation's forks is known, where the cluster lets us read it. */
export async function openClusterForks({
  client,
  installation,
  namespaces,
  informers = {},
  log,
}: ClusterForksOptions): Promise<WorkloadDriver> {
  const changes = new Listeners<string>();
  /** By `namespace/name` of its objects. */
  const forks = new Map<string, Known>();
  /** By id. */
  const ids = new Map<string, string>();
  const waiting = new Map<string, Set<() => void>>();

  const known = (key: string): Known => {
    const there = forks.get(key) ?? { id: undefined, parts: new Map(), pods: new Map() };
    forks.set(key, there);
    return there;
  };

  /** After a change of any of its objects. */
  const told = (key: string): void => {
    const fork = forks.get(key)!;
    const { id } = fork;
    if (fork.parts.size === 0 && fork.pods.size === 0) {
      forks.delete(key);
      if (id !== undefined && ids.get(id) === key) ids.delete(id);
      for (const wake of waiting.get(key) ?? []) wake();
    }
    if (id !== undefined) changes.tell(id);
  };

  const selection = { labelSelector: `${forkLabels.installation}=${installation}` };
  const partOf = <T extends Part>(
    place: Place,
    kind: Kind,
    more: (object: KubernetesObject) => Omit<T, keyof Part>,
  ) =>
    informer<T>({
      ...{ ...place, ...informers, client, resource: resources[kind], log, selection },
      keep: object => {
        const { annotations = {}, uid = '' } = object.metadata;
        const id = annotations[forkAnnotations.id] ?? '';
        const owner = annotations[forkAnnotations.owner] ?? '';
        return { id, owner, uid, hash: hashOf(annotations), ...more(object) } as T;
      },
      onChange: ({ key, now }) => {
        const fork = known(key);
        if (now === undefined) fork.parts.delete(kind);
        else {
          fork.parts.set(kind, now);
          fork.id = now.id;
          ids.set(now.id, key);
        }
        told(key);
      },
    });

  const partsIn = (place: Place): PartInformers => ({
    Deployment: partOf<DeploymentPart>(place, 'Deployment', ({ metadata, status }) => ({
      generation: metadata.generation ?? 0,
      status: (status ?? {}) as DeploymentSeen['status'],
    })),
    Service: partOf<ServicePart>(place, 'Service', ({ spec }) => {
      const { clusterIP = '', ports = [] } = (spec ?? {}) as {
        clusterIP?: string;
        ports?: { port: number }[];
      };
      return { clusterIP, ports: ports.map(({ port }) => port) };
    }),
    Secret: partOf(place, 'Secret', () => ({})),
  });

  const podsIn = (place: Place) =>
    informer<PodSeen>({
      ...{ ...place, ...informers, client, resource: resources.Pod, log, selection },
      keep: ({ metadata, status }) => {
        const { name, namespace = '', labels = {}, annotations, deletionTimestamp } = metadata;
        if (labels[forkLabels.fork] === undefined) return undefined;
        return {
          ...{ name, namespace, hash: hashOf(annotations), deleting: deletionTimestamp !== undefined },
          ...{ fork: labels[forkLabels.fork], status: (status ?? {}) as PodSeen['status'] },
        };
      },
      onChange: ({ key, before, now }) => {
        const { namespace, fork } = (now ?? before) as PodSeen & { readonly fork: string };
        const owner = `${namespace}/${fork}`;
        if (now === undefined) known(owner).pods.delete(key);
        else known(owner).pods.set(key, now);
        told(owner);
      },
    });

  const places: readonly Place[] = namespaces?.map(namespace => ({ namespace })) ?? [{}];
  const parts = new Map(places.map(place => [place.namespace, partsIn(place)]));
  const informersIn = (namespace: string): PartInformers =>
    parts.get(parts.has(namespace) ? namespace : undefined)!;
  const pods = new Map(places.map(place => [place.namespace, podsIn(place)]));
  const all = [...[...parts.values()].flatMap(one => Object.values(one)), ...pods.values()];
  /** Nothing is done where it is not known what is there. @throws OffshootError kubernetes/… */
  const checkRead = (namespace: string): void => {
    const place = pods.has(namespace) ? namespace : undefined;
    const states = [...Object.values(parts.get(place) ?? {}), ...(pods.has(place) ? [pods.get(place)!] : [])];
    const unread = states.map(one => one.state()).find(one => !one.synced);
    if (unread !== undefined)
      throw (
        unread.failure ??
        new OffshootError('kubernetes/unavailable', {
          verb: 'list',
          what: unread.resource,
          why: 'it has not been read yet',
        })
      );
  };
  try {
    // A namespace that cannot be read does not keep others from being looked after.
    await Promise.all(all.map(({ settled }) => settled));
  } catch (error) {
    await Promise.all(all.map(one => one.close()));
    throw error;
  }

  const seenOf = async (key: string, ctx: Ctx): Promise<WorkloadSeen | undefined> => {
    const fork = forks.get(key);
    const deployment = fork?.parts.get('Deployment') as DeploymentPart | undefined;
    if (fork === undefined || deployment === undefined) return undefined;
    const { logOf, ...state } = forkState(deployment, [...fork.pods.values()]);
    const [namespace] = key.split('/') as [string];
    const log = logOf === undefined ? [] : await lastLines(client, { namespace, ...logOf }, ctx);
    const service = fork.parts.get('Service') as ServicePart | undefined;
    const ports = Object.fromEntries(
      (service?.ports ?? []).map(port => [port, [{ host: service!.clusterIP, port }]]),
    );
    return { owner: deployment.owner, specHash: deployment.hash, ...state, ports, leaving: [], log };
  };

  /** Creates what is not there, and writes what is there and ours. */
  const write = async (kind: Kind, object: KubernetesObject, { signal }: Ctx): Promise<void> => {
    const resource = resources[kind];
    const { name, namespace = '' } = object.metadata;
    const there = forks.get(`${namespace}/${name}`)?.parts.get(kind);
    const limits = { signal };
    const informer = informersIn(namespace)[kind];
    if (there !== undefined) {
      informer.offer(await client.replace(resource, object, limits));
      return;
    }
    try {
      informer.offer(await client.create(resource, object, limits));
    } catch (error) {
      if (!isCode(error, 'kubernetes/conflict')) throw error;
      const found = await client.get(resource, { namespace, name }, limits);
      if (found !== undefined && found.metadata.labels?.[forkLabels.installation] !== installation)
        throw new OffshootError('fork/name-taken', { kind, name, namespace });
      informer.offer(await client.replace(resource, object, limits));
    }
  };

  const drop = async (kind: Kind, key: string, { signal }: Ctx): Promise<void> => {
    const there = forks.get(key)?.parts.get(kind);
    if (there === undefined) return;
    const [namespace, name] = key.split('/') as [string, string];
    await client.remove(resources[kind], { namespace, name }, { signal, uid: there.uid });
  };

  const isWritten = (key: string, { hash, service, secret }: ForkObjects): boolean => {
    const parts = forks.get(key)?.parts;
    const is = (kind: Kind, wanted: boolean) =>
      wanted ? parts?.get(kind)?.hash === hash : parts?.get(kind) === undefined;
    return (
      is('Deployment', true) && is('Service', service !== undefined) && is('Secret', secret !== undefined)
    );
  };

  const driver: WorkloadDriver = {
    name: 'cluster',
    capabilities: async () =>
      all.map(one => {
        const { resource, synced, failure } = one.state();
        return { name: resource, ok: synced && failure === undefined, detail: failure?.message ?? 'watched' };
      }),
    observe: async (id, ctx) => {
      const key = ids.get(id);
      return key === undefined ? undefined : seenOf(key, ctx);
    },

    async ensure(id, spec: WorkloadSpec, ctx) {
      const objects = forkObjects(id, spec, installation);
      const key = `${objects.namespace}/${objects.name}`;
      checkRead(objects.namespace);
      if (!isWritten(key, objects)) {
        const { secret, service, deployment } = objects;
        // A pod waits for a Secret that is not there yet; its first try would be lost.
        if (secret !== undefined) await write('Secret', secret, ctx);
        await Promise.all([
          write('Deployment', deployment, ctx),
          service === undefined ? drop('Service', key, ctx) : write('Service', service, ctx),
        ]);
        if (secret === undefined) await drop('Secret', key, ctx);
      }
      return (await seenOf(key, ctx))!;
    },

    async remove(id, ctx) {
      const key = ids.get(id);
      if (key === undefined) {
        checkRead(namespaceIn(id));
        return;
      }
      await Promise.all((['Deployment', 'Service', 'Secret'] as const).map(kind => drop(kind, key, ctx)));
      await untilGone(key, ctx.signal);
    },

    list: async () => [...ids.keys()],
    // Claims are the cluster's, and no fork has one of the baseline (fork-objects.ts).
    disks: {
      list: async () => [],
      bytes: async () => undefined,
      remove: async () => {},
    },
    onChange: changes.add,
    release() {},
    async *logs(id, query, ctx) {
      const key = ids.get(id);
      if (key === undefined) return;
      const [namespace] = key.split('/') as [string];
      const sources = () =>
        speakingOf(forks.get(key)).flatMap(({ name: pod, status }) =>
          containersOf(status).map(({ name, restartCount }) => ({
            ...{ namespace, pod, container: name, life: restartCount },
          })),
        );
      const onSources = (listener: () => void) => changes.add(changed => void (changed === id && listener()));
      yield* podLogLines(client, sources, onSources, query, ctx.signal);
    },
    async close() {
      await Promise.all(all.map(one => one.close()));
    },
  };
  return driver;

  async function untilGone(key: string, signal: AbortSignal): Promise<void> {
    while (forks.has(key)) {
      signal.throwIfAborted();
      const { promise, resolve } = Promise.withResolvers<void>();
      const wakers = waiting.get(key) ?? new Set();
      waiting.set(key, wakers.add(resolve));
      signal.addEventListener('abort', resolve as () => void, { once: true });
      await promise;
      signal.removeEventListener('abort', resolve as () => void);
      wakers.delete(resolve);
      if (wakers.size === 0) waiting.delete(key);
    }
  }
}

// --- internal -----------------------------------------------------------------------------------

type Kind = 'Deployment' | 'Service' | 'Secret';
type Place = { readonly namespace?: string };
type PartInformers = { readonly [K in Kind]: Informer<Part> };

type Part = { readonly id: string; readonly owner: string; readonly uid: string; readonly hash: string };
type DeploymentPart = Part & DeploymentSeen;
type ServicePart = Part & { readonly clusterIP: string; readonly ports: readonly number[] };

/** See reconcile/workload-spec.ts. */
const namespaceIn = (id: string): string => id.split('.')[1] ?? '';

/** Those that stay; of a fork that goes, all. */
function speakingOf(fork: Known | undefined): readonly PodSeen[] {
  const pods = [...(fork?.pods.values() ?? [])];
  const staying = pods.filter(({ deleting }) => !deleting);
  return staying.length > 0 ? staying : pods;
}

/** What is there of a fork. */
type Known = {
  id: string | undefined;
  readonly parts: Map<Kind, Part>;
  readonly pods: Map<string, PodSeen>;
};
