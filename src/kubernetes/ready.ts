/**
 * The condition `Ready`, for which `kubectl wait` and GitOps tools look: in a cluster a status has it, in the store it does
 * not, where `ready` or `state` say the same.
 */
import { type Condition, NODE_HEARD, setCondition } from '../model/conditions.ts';

const TYPE = 'Ready';

/** What the statuses of all kinds have of it. */
type Status = {
  readonly reason: string;
  readonly message: string;
  readonly observedGeneration: number;
  readonly conditions: readonly Condition[];
  /** Sandboxes. */
  readonly ready?: boolean;
  /** Branches. */
  readonly state?: string;
};

/**
 * A status of the store as the cluster gets it.
 * @param before what the cluster has now: when it became ready, or stopped being so, is known only from there
 */
export function withReady(status: unknown, before: unknown, now: Date): unknown {
  if (!hasConditions(status)) return status;
  const { observedGeneration } = status;
  // Who logs in to one that is asleep gets in.
  const isReady = status.ready ?? (status.state === 'ready' || status.state === 'asleep');
  const silent = status.conditions.find(({ type }) => type === NODE_HEARD);
  const { reason, message } = silent ?? status;
  const earlier = hasConditions(before) ? before.conditions.filter(({ type }) => type === TYPE) : [];
  const next = {
    type: TYPE,
    status: silent ? 'Unknown' : isReady ? 'True' : 'False',
    reason,
    message,
  } as const;
  const [ready] = setCondition(earlier, next, now.toISOString());
  // kubectl waits on when this is older than the object's own generation.
  return { ...status, conditions: [...status.conditions, { ...ready, observedGeneration }] };
}

/** The way back. */
export function withoutReady(status: unknown): unknown {
  if (!hasConditions(status)) return status;
  return { ...status, conditions: status.conditions.filter(({ type }) => type !== TYPE) };
}

// --- internal -----------------------------------------------------------------------------------

const hasConditions = (status: unknown): status is Status =>
  typeof status === 'object' && status !== null && 'conditions' in status && Array.isArray(status.conditions);
