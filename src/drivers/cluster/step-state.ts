/** How far a step has come in a cluster, by what its Job, its pod and the cluster's events say. Pure. */
import { scriptContainer } from '../../model/pod-overlay.ts';
import type { StepCause } from '../contract.ts';
import { causeOf, type PodSeen } from './fork-state.ts';

export type StepPod = Pick<PodSeen, 'name' | 'namespace' | 'deleting' | 'status'> & {
  /** Of its Job. */
  readonly owner: string;
};

export type StepSeen = {
  /** undefined: the Job is gone. */
  readonly job: { readonly conditions: readonly Condition[] } | undefined;
  readonly pod: StepPod | undefined;
  /** The cluster's newest word on why it makes no pod. */
  readonly refusal: string | undefined;
};

type Condition = {
  readonly type: string;
  readonly status: string;
  readonly reason?: string;
  readonly message?: string;
};

export type StepState =
  /** `hopeless`: it does not come by itself, as far as the cluster knows. */
  | { readonly state: 'waiting'; readonly cause?: StepCause; readonly hopeless: boolean }
  | { readonly state: 'running' }
  /** The script has ended; `how` when not well. */
  | { readonly state: 'ended'; readonly code: number; readonly how: string }
  | { readonly state: 'late' }
  | { readonly state: 'lost'; readonly why: string };

export function stepState({ job, pod, refusal }: StepSeen): StepState {
  const { state, ready } = pod?.status.containerStatuses?.find(({ name }) => name === scriptContainer) ?? {};
  const { terminated } = state ?? {};
  if (terminated !== undefined && !unstarted.has(terminated.reason ?? '')) {
    const { exitCode: code, reason, signal } = terminated;
    if (reason === 'OOMKilled')
      return { state: 'ended', code, how: 'OOMKilled: more memory than its limit allows' };
    return { state: 'ended', code, how: signal ? `signal ${signal}` : `exit code ${code}` };
  }
  const failed = job?.conditions.find(({ type, status }) => type === 'Failed' && status === 'True');
  if (failed?.reason === 'DeadlineExceeded' || pod?.status.reason === 'DeadlineExceeded')
    return { state: 'late' };
  if (terminated !== undefined) {
    const { reason = 'StartError', message = 'its container could not be started' } = terminated;
    return { state: 'waiting', cause: { reason, message }, hopeless: true };
  }
  if (job === undefined) return { state: 'lost', why: 'its Job was deleted' };
  if (pod?.deleting) return { state: 'lost', why: 'its pod was deleted' };
  if (pod?.status.phase === 'Failed') {
    const { reason = 'Failed', message = 'its pod has failed' } = pod.status;
    return { state: 'lost', why: `${reason}: ${message}` };
  }
  if (failed !== undefined && pod === undefined)
    return { state: 'lost', why: failed.message ?? failed.reason ?? 'its Job has failed' };
  if (state?.running !== undefined || ready) return { state: 'running' };
  const cause = pod === undefined ? refused(refusal) : trouble(pod);
  return { state: 'waiting', ...(cause && { cause }), hopeless: cause !== undefined && isHopeless(cause) };
}

// --- internal -----------------------------------------------------------------------------------

/** Of a container that never ran (kubelet: "StartError", "ContainerCannotRun"). */
const unstarted = new Set(['StartError', 'ContainerCannotRun', 'ContainerStatusUnknown']);

function refused(message: string | undefined): StepCause | undefined {
  if (message === undefined) return undefined;
  const reason = /exceeded quota/.test(message)
    ? 'QuotaExceeded'
    : /violates PodSecurity/.test(message)
      ? 'PodSecurity'
      : 'FailedCreate';
  return { reason, message };
}

function trouble(pod: StepPod): StepCause | undefined {
  const { reason, message } = causeOf(pod) ?? {};
  if (reason === undefined || reason === 'Starting' || reason === 'Init:Running') return undefined;
  return { reason, message: message ?? reason };
}

/**
 * A cluster may find room, a quota may be raised; an image that was not found after two tries, or a Secret that is not
 * there, are the work of somebody who then says so, or of our next try.
 */
const isHopeless = ({ reason }: StepCause): boolean =>
  /^(Init:)?(ImagePullBackOff|InvalidImageName|ErrImageNeverPull|CreateContainerConfigError|CreateContainerError|RunContainerError|CrashLoopBackOff|OOMKilled)$/.test(
    reason,
  ) || reason === 'PodSecurity';
