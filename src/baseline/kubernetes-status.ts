/** How an object of a cluster stands, by what its own status says; nothing is asked of its pods. */
import type { KubernetesObject } from '../kubernetes/resource.ts';
import { isWorkloadKind } from '../model/workload.ts';
import type { ManifestStatus } from '../model/workload-status.ts';
import type { ObjectKind } from './contract.ts';

/** @returns null when nobody has looked at it yet, and of what has no status */
export function statusOf(
  kind: ObjectKind,
  { metadata, spec = {}, status = {} }: KubernetesObject,
): ManifestStatus | null {
  if (kind === 'Service') return serviceStatus(spec as ServiceSpec);
  if (!isWorkloadKind(kind)) return null;
  const { generation = 0 } = metadata;
  const seen = status as Seen;
  const observed = kind in countsOf ? (seen.observedGeneration ?? 0) : generation;
  if (Object.keys(seen).length === 0 || (kind in countsOf && observed === 0)) return null;
  const one =
    kind in countsOf
      ? counted(kind, spec as Wanted, seen, observed >= generation)
      : (others[kind]?.(seen) ?? running);
  return { ...one, observedGeneration: observed };
}

// --- internal -----------------------------------------------------------------------------------

type Condition = {
  readonly type?: string;
  readonly status?: string;
  readonly reason?: string;
  readonly message?: string;
};

/** Of all kinds together. */
type Seen = {
  readonly observedGeneration?: number;
  readonly conditions?: readonly Condition[];
  readonly replicas?: number;
  readonly readyReplicas?: number;
  readonly availableReplicas?: number;
  readonly updatedReplicas?: number;
  readonly currentRevision?: string;
  readonly updateRevision?: string;
  readonly desiredNumberScheduled?: number;
  readonly numberReady?: number;
  readonly updatedNumberScheduled?: number;
  readonly podIP?: string;
  readonly phase?: string;
  readonly message?: string;
  readonly containerStatuses?: readonly {
    readonly restartCount?: number;
    readonly state?: { readonly waiting?: { readonly reason?: string; readonly message?: string } };
  }[];
};

type Wanted = { readonly replicas?: number };
type ServiceSpec = { readonly clusterIP?: string; readonly ports?: readonly { readonly port: number }[] };
type Standing = Omit<ManifestStatus, 'observedGeneration'>;

const running: Standing = { ready: true, reason: 'Running', message: '', serving: true };

const found = (seen: Seen, type: string, status: string): Condition | undefined =>
  seen.conditions?.find(one => one.type === type && one.status === status);

/** Of kinds with a number of pods: wanted, made of the newest template, ready. */
const countsOf: Partial<
  Record<ObjectKind, (wanted: Wanted, seen: Seen) => readonly [number, number, number]>
> = {
  Deployment: ({ replicas = 1 }, s) => [replicas, s.updatedReplicas ?? 0, s.availableReplicas ?? 0],
  StatefulSet: ({ replicas = 1 }, s) => {
    const isWhole = s.updateRevision === undefined || s.updateRevision === s.currentRevision;
    return [replicas, isWhole ? (s.replicas ?? 0) : (s.updatedReplicas ?? 0), s.readyReplicas ?? 0];
  },
  DaemonSet: (_, s) => [s.desiredNumberScheduled ?? 0, s.updatedNumberScheduled ?? 0, s.numberReady ?? 0],
  ReplicaSet: ({ replicas = 1 }, s) => [replicas, s.replicas ?? 0, s.readyReplicas ?? 0],
  ReplicationController: ({ replicas = 1 }, s) => [replicas, s.replicas ?? 0, s.readyReplicas ?? 0],
};

function counted(kind: ObjectKind, wanted: Wanted, seen: Seen, isCurrent: boolean): Standing {
  const [all, updated, ready] = countsOf[kind]!(wanted, seen);
  const serving = ready > 0;
  if (all === 0) return { ready: isCurrent, reason: 'ScaledToZero', message: 'it has no pods', serving };
  // Old pods of a Deployment that are still there are more than it wants.
  const isWhole = updated >= all && ready >= all && (kind !== 'Deployment' || (seen.replicas ?? 0) <= all);
  if (isCurrent && isWhole) return running;
  const failure = found(seen, 'ReplicaFailure', 'True') ?? found(seen, 'Progressing', 'False');
  if (isCurrent && failure !== undefined)
    return { ready: false, reason: failure.reason ?? 'Failed', message: failure.message ?? '', serving };
  return {
    ready: false,
    reason: 'Starting',
    message: `${ready} of ${all} pods are ready, ${updated} are up to date`,
    serving,
  };
}

const others: Partial<Record<ObjectKind, (seen: Seen) => Standing>> = {
  Job(seen) {
    const failed = found(seen, 'Failed', 'True');
    if (failed !== undefined)
      return { ready: false, reason: failed.reason ?? 'Failed', message: failed.message ?? '' };
    if (found(seen, 'Complete', 'True')) return { ready: true, reason: 'Completed', message: '' };
    if (found(seen, 'Suspended', 'True'))
      return { ready: false, reason: 'Suspended', message: 'it is suspended' };
    return { ready: false, reason: 'InProgress', message: 'its pods have not ended' };
  },
  /** It counts what it has seen as a text, and says itself how it stands (argoproj.io/v1alpha1, RolloutStatus). */
  Rollout({ phase = 'Progressing', message = '', availableReplicas = 0 }) {
    if (phase === 'Healthy') return running;
    return { ready: false, reason: phase, message, serving: availableReplicas > 0 };
  },
  CronJob: () => ({ ready: true, reason: 'Waiting', message: '' }),
  Pod(seen) {
    const restarts = (seen.containerStatuses ?? []).reduce((sum, one) => sum + (one.restartCount ?? 0), 0);
    const ips = seen.podIP === undefined ? {} : { ips: [seen.podIP] };
    if (found(seen, 'Ready', 'True')) return { ...running, restarts, ...ips };
    const waiting = (seen.containerStatuses ?? [])
      .map(one => one.state?.waiting)
      .find(one => one?.reason !== undefined);
    const placed = found(seen, 'PodScheduled', 'False');
    const { reason = seen.phase ?? 'Pending', message = '' } = waiting ?? placed ?? {};
    return { ready: false, reason, message, serving: false, restarts, ...ips };
  },
};

/** Where it answers inside of the cluster. */
function serviceStatus({ clusterIP, ports = [] }: ServiceSpec): ManifestStatus | null {
  if (clusterIP === undefined || clusterIP === '' || clusterIP === 'None') return null;
  const addresses = Object.fromEntries(ports.map(({ port }) => [port, { host: clusterIP, port }]));
  return { ready: true, reason: 'Listening', message: '', observedGeneration: 0, addresses };
}
