/** How a fork stands in a cluster, by what its Deployment and pods say of themselves, and why it does not. Pure. */
import { forkAnnotations } from './fork-objects.ts';

/** The part of a Deployment that says so (API reference, DeploymentStatus). */
export type DeploymentSeen = {
  readonly hash: string;
  readonly generation: number;
  readonly status: {
    readonly observedGeneration?: number;
    readonly replicas?: number;
    readonly updatedReplicas?: number;
    readonly availableReplicas?: number;
    readonly conditions?: readonly Condition[];
  };
};

/** The part of a pod (API reference, PodStatus). */
export type PodSeen = {
  readonly name: string;
  readonly namespace: string;
  /** Of what it was made. */
  readonly hash: string;
  readonly deleting: boolean;
  readonly status: {
    readonly phase?: string;
    readonly reason?: string;
    readonly message?: string;
    readonly podIP?: string;
    readonly conditions?: readonly Condition[];
    readonly initContainerStatuses?: readonly ContainerStatus[];
    readonly containerStatuses?: readonly ContainerStatus[];
  };
};

type Condition = {
  readonly type: string;
  readonly status: string;
  readonly reason?: string;
  readonly message?: string;
};

type Ended = {
  readonly exitCode: number;
  readonly reason?: string;
  readonly message?: string;
  readonly signal?: number;
};

type ContainerStatus = {
  readonly name: string;
  readonly ready: boolean;
  readonly started?: boolean;
  readonly restartCount: number;
  readonly state?: {
    readonly waiting?: { readonly reason?: string; readonly message?: string };
    readonly running?: unknown;
    readonly terminated?: Ended;
  };
  readonly lastState?: { readonly terminated?: Ended };
};

export type ForkState = {
  readonly ready: boolean;
  readonly serving: boolean;
  readonly reason: string;
  readonly message: string;
  readonly restarts: number;
  /** Whose last lines tell why; `previous`: those of its life before. */
  readonly logOf?: { readonly pod: string; readonly container: string; readonly previous: boolean };
};

export type Cause = Pick<ForkState, 'reason' | 'message' | 'logOf'>;

/** @param pods all of the fork */
export function forkState(deployment: DeploymentSeen, pods: readonly PodSeen[]): ForkState {
  const newest = pods.filter(pod => pod.hash === deployment.hash && !pod.deleting);
  const serving = pods.some(isReady);
  const restarts = newest
    .flatMap(({ status }) => containersOf(status))
    .reduce((sum, { restartCount }) => sum + restartCount, 0);
  if (isRolledOut(deployment) && newest.some(isReady))
    return { ready: true, serving, reason: 'Running', message: 'ready', restarts };
  const cause =
    refusal(deployment) ??
    newest.map(causeOf).find(found => found !== undefined) ??
    lateness(deployment) ??
    starting;
  return { ready: false, serving, restarts, ...cause };
}

export const containersOf = ({
  initContainerStatuses = [],
  containerStatuses = [],
}: PodSeen['status']): readonly ContainerStatus[] => [...initContainerStatuses, ...containerStatuses];

export const hashOf = (annotations: Readonly<Record<string, string>> = {}): string =>
  annotations[forkAnnotations.spec] ?? '';

/** Why a pod does not do what it is for; also what is no trouble: Starting, Init:Running. */
export function causeOf(pod: Pick<PodSeen, 'name' | 'status'>): Cause | undefined {
  const {
    phase,
    reason,
    message,
    conditions,
    initContainerStatuses = [],
    containerStatuses = [],
  } = pod.status;
  const scheduled = conditionOf(conditions, 'PodScheduled');
  if (scheduled?.status === 'False')
    return { reason: 'Unschedulable', message: scheduled.message ?? 'no node has room for it' };
  if (phase === 'Failed') return { reason: reason ?? 'Failed', message: message ?? 'its pod has failed' };
  const init = initContainerStatuses.map(status => troubleOf(pod, status, 'Init:')).find(found => found);
  if (init !== undefined) return init;
  const own = containerStatuses.map(status => troubleOf(pod, status, '')).find(found => found);
  if (own !== undefined) return own;
  const waiting = initContainerStatuses.find(({ ready, started }) => !ready && started !== true);
  if (waiting !== undefined && waiting.state?.running !== undefined)
    return { reason: 'Init:Running', message: `init container "${waiting.name}" runs` };
  const late = containerStatuses.find(({ ready, state }) => !ready && state?.running !== undefined);
  if (late === undefined) return undefined;
  const what =
    late.started === false ? 'has not started yet, as its startup probe says' : 'runs, and is not ready';
  return { reason: 'Starting', message: `container "${late.name}" ${what}` };
}

// --- internal -----------------------------------------------------------------------------------

const starting: Cause = { reason: 'Starting', message: 'its pod is being made' };

const conditionOf = (conditions: readonly Condition[] = [], type: string): Condition | undefined =>
  conditions.find(condition => condition.type === type);

const isReady = ({ deleting, status }: PodSeen): boolean =>
  !deleting && conditionOf(status.conditions, 'Ready')?.status === 'True';

/** As `kubectl rollout status` has it: nobody is led to an older pod, and the new one is available. */
function isRolledOut({ generation, status }: DeploymentSeen): boolean {
  const { observedGeneration = 0, replicas = 0, updatedReplicas = 0, availableReplicas = 0 } = status;
  return (
    observedGeneration >= generation &&
    updatedReplicas >= 1 &&
    replicas === updatedReplicas &&
    availableReplicas >= 1
  );
}

/** The cluster makes no pod. */
function refusal({ status }: DeploymentSeen): Cause | undefined {
  const failure = conditionOf(status.conditions, 'ReplicaFailure');
  if (failure?.status !== 'True') return undefined;
  const message = failure.message ?? 'the cluster makes no pod';
  return {
    reason: /exceeded quota/.test(message) ? 'QuotaExceeded' : (failure.reason ?? 'FailedCreate'),
    message,
  };
}

function lateness({ status }: DeploymentSeen): Cause | undefined {
  const progress = conditionOf(status.conditions, 'Progressing');
  return progress?.reason === 'ProgressDeadlineExceeded'
    ? { reason: progress.reason, message: progress.message ?? 'it has come no further for too long' }
    : undefined;
}

/** On its way, and no trouble. */
const fine = new Set(['ContainerCreating', 'PodInitializing']);

function troubleOf(
  { name: pod }: Pick<PodSeen, 'name'>,
  { name, state, lastState, restartCount }: ContainerStatus,
  prefix: string,
): Cause | undefined {
  const { waiting, terminated } = state ?? {};
  const last = terminated ?? lastState?.terminated;
  const reason = waiting?.reason ?? '';
  if (terminated !== undefined && (terminated.exitCode !== 0 || prefix === '')) {
    const logOf = { pod, container: name, previous: false };
    const word = terminated.reason === 'OOMKilled' ? 'OOMKilled' : 'CrashLoopBackOff';
    return { reason: `${prefix}${word}`, message: `container "${name}" ${endOf(terminated)}`, logOf };
  }
  if (reason === '' || fine.has(reason)) return undefined;
  if (reason === 'CrashLoopBackOff' && last !== undefined) {
    const word = last.reason === 'OOMKilled' ? 'OOMKilled' : reason;
    const message = `container "${name}" ${endOf(last)}; started ${restartCount + 1} times`;
    return { reason: `${prefix}${word}`, message, logOf: { pod, container: name, previous: true } };
  }
  return {
    reason: `${prefix}${reason}`,
    message: waiting?.message ?? `container "${name}" waits: ${reason}`,
  };
}

function endOf({ exitCode, reason, signal, message }: Ended): string {
  if (reason === 'OOMKilled') return 'took more memory than its limit allows';
  const how =
    signal !== undefined && signal > 0 ? `was ended by signal ${signal}` : `ended with exit code ${exitCode}`;
  return message ? `${how}: ${message.trim()}` : how;
}
