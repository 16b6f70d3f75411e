/**
 * Which pods of the baseline have a sidecar, and which of those know the newest table: what a sandbox has to know before it
 * is ready. Pods come from an informer, what sidecars know from those who follow the stream.
 */
import type { Log } from '../lib/log.ts';
import type { WorkloadKey } from '../model/sandbox.ts';
import { workloadPath } from '../model/workload.ts';
import type { ClusterClient } from './client.ts';
import { type Informer, type InformerState, informer } from './informer.ts';
import { forkLabel } from './pod-identity.ts';
import { workloadByName } from './pod-owner.ts';
import { type KubernetesObject, resources } from './resource.ts';
import { sidecarAnnotations, sidecarNames } from './sidecar-names.ts';

export type Sidecars = {
  /**
   * Why requests to pods of a workload are not led by their keys; undefined: they are.
   * @param isNew all sidecars have to know the newest table; else it is enough that there are some
   */
  problem(
    workload: WorkloadKey,
    isNew: boolean,
  ): { readonly reason: string; readonly message: string } | undefined;
  /** Resolves when all pods are known that the cluster lets us read; rejects when it is closed before. */
  readonly synced: Promise<unknown>;
  states(): readonly InformerState[];
  close(): Promise<void>;
};

export type SidecarsOptions = {
  /** Closed by whoever made it. */
  readonly client: ClusterClient;
  /** Of the baseline; undefined: all. */
  readonly namespaces: readonly string[] | undefined;
  /** Name by which sidecars of this installation know its controller. */
  readonly controller: string;
  /** Those who follow, by what they are: see proxy/stream/feed.ts. `id` is the uid of a pod. */
  readonly followers: () => readonly {
    readonly destination: string;
    readonly id?: string;
    readonly upToDate: boolean;
  }[];
  /** Told of a workload whose pods have changed. */
  readonly onChange: (workload: WorkloadKey) => void;
  readonly log: Log;
};

export function followSidecars(options: SidecarsOptions): Sidecars {
  const { client, namespaces, controller, followers, onChange, log } = options;
  const byWorkload = new Map<string, Map<string, SeenPod>>();

  function put(key: string, before: SeenPod | undefined, now: SeenPod | undefined): void {
    const { workload } = (now ?? before)!;
    const path = workloadPath(workload);
    const pods = byWorkload.get(path) ?? new Map<string, SeenPod>();
    if (now === undefined) pods.delete(key);
    else pods.set(key, now);
    if (pods.size === 0) byWorkload.delete(path);
    else byWorkload.set(path, pods);
    onChange(workload);
  }

  const watch = (namespace: string | undefined): Informer<SeenPod> =>
    informer<SeenPod>({
      ...{ client, resource: resources.Pod, selection: { labelSelector: `!${forkLabel}` }, log },
      ...(namespace !== undefined && { namespace }),
      keep: seen,
      onChange: ({ key, before, now }) => put(key, before, now),
    });
  const informers = (namespaces ?? [undefined]).map(watch);

  const synced = Promise.all(informers.map(one => one.settled));
  synced.catch(() => {}); // who does not wait for it need not hear

  return {
    synced,
    states: () => informers.map(one => one.state()),
    problem(workload, isNew) {
      const path = workloadPath(workload);
      const pods = [...(byWorkload.get(path)?.values() ?? [])].filter(({ leaves }) => !leaves);
      const without = pods.filter(({ sidecar }) => sidecar === 'none');
      if (without.length > 0) return none(workload, without, pods.length);
      const foreign = pods.find(pod => pod.controller !== undefined && pod.controller !== controller);
      if (foreign !== undefined) return others(workload, foreign);
      if (!isNew) return undefined;
      const told = new Set(
        followers().flatMap(({ destination, id, upToDate }) =>
          upToDate && destination === `workload/${path}` ? [id] : [],
        ),
      );
      // One that has not started yet has no table, and lets no key through.
      const untold = pods.find(({ sidecar, uid }) => sidecar === 'runs' && !told.has(uid));
      if (untold === undefined) return undefined;
      const message = `the sidecar of pod ${workload.namespace}/${untold.name} does not know yet where keys lead; its log says why, if it stays so`;
      return { reason: 'SidecarsPending', message };
    },
    close: async () => void (await Promise.all(informers.map(one => one.close()))),
  };
}

// --- internal ------------------------------------------------------------------------------------

type SeenPod = {
  readonly uid: string;
  readonly name: string;
  readonly workload: WorkloadKey;
  /** It ends, or has ended. */
  readonly leaves: boolean;
  readonly sidecar: 'none' | 'starts' | 'runs';
  /** Name of the controller that it follows, which may be another installation's. */
  readonly controller: string | undefined;
  /** What the webhook has said of it. */
  readonly said: string | undefined;
};

type Pod = KubernetesObject & {
  readonly spec?: {
    readonly initContainers?: readonly { readonly name: string; readonly args?: readonly string[] }[];
  };
  readonly status?: {
    readonly phase?: string;
    readonly initContainerStatuses?: readonly {
      readonly name: string;
      readonly started?: boolean;
      readonly restartCount?: number;
    }[];
  };
};

/** @returns the one before when nothing of interest has changed */
function seen(object: KubernetesObject, before: SeenPod | undefined): SeenPod | undefined {
  const { metadata, spec, status } = object as Pod;
  const workload = workloadByName(metadata, metadata.namespace!);
  if (workload === undefined) return undefined;
  const router = spec?.initContainers?.find(({ name }) => name === sidecarNames.container);
  const its = status?.initContainerStatuses?.find(({ name }) => name === sidecarNames.container);
  // Started once, it may have a table on its disk.
  const runs = its?.started === true || (its?.restartCount ?? 0) > 0;
  const now: SeenPod = {
    ...{ uid: metadata.uid ?? '', name: metadata.name, workload },
    leaves: metadata.deletionTimestamp !== undefined || ['Succeeded', 'Failed'].includes(status?.phase ?? ''),
    sidecar: router === undefined ? 'none' : runs ? 'runs' : 'starts',
    controller: controllerIn(router?.args ?? []),
    said: metadata.annotations?.[sidecarAnnotations.status],
  };
  const isSame =
    before?.uid === now.uid &&
    before.leaves === now.leaves &&
    before.sidecar === now.sidecar &&
    before.said === now.said;
  return isSame ? before : now;
}

/** As webhook/inject.ts writes it. */
function controllerIn(args: readonly string[]): string | undefined {
  const at = args.indexOf('--controller');
  return at < 0 ? undefined : args[at + 1]?.replace(/:\d+$/, '');
}

function others({ kind, namespace, name }: WorkloadKey, { name: pod, controller }: SeenPod) {
  return {
    reason: 'OtherInstallation',
    message: `the sidecars of ${kind} ${namespace}/${name} follow another installation (${controller}, pod ${pod}): of two that both have the namespace as a baseline, sandboxes of one only are led by key`,
  };
}

function none({ kind, namespace, name }: WorkloadKey, without: readonly SeenPod[], all: number) {
  const label = `${kind} ${namespace}/${name}`;
  const said = without.find(pod => pod.said !== undefined)?.said;
  const some = without.length === all ? '' : `in ${without.length} of ${all} pods `;
  const why =
    said ??
    `annotate its pod template with ${sidecarAnnotations.inject[0]}: "true", or, when it is annotated, restart it: kubectl rollout restart -n ${namespace} ${kind.toLowerCase()} ${name}`;
  return {
    reason: 'NoSidecar',
    message: `the baseline has no sidecar ${some}(${label}), so requests with the key would reach it: ${why}`,
  };
}
