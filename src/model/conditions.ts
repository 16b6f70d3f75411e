/** Conditions as Kubernetes has them: a type, a three-valued status, a machine reason and a human message. */

export type ConditionStatus = 'True' | 'False' | 'Unknown';

export type Condition = {
  readonly type: string;
  readonly status: ConditionStatus;
  /** CamelCase, for machines. */
  readonly reason: string;
  /** One sentence, for people. */
  readonly message: string;
  /** RFC 3339; when `status` last changed. */
  readonly lastTransitionTime: string;
};

/** Of a branch, and only while it is false: the node that looks after it is not heard of. */
export const NODE_HEARD = 'NodeHeard';

/**
 * Returns `conditions` with one entry set. The transition time moves only when the status changes.
 * @param now RFC 3339
 */
export function setCondition(
  conditions: readonly Condition[],
  next: Omit<Condition, 'lastTransitionTime'>,
  now: string,
): readonly Condition[] {
  const before = conditions.find(c => c.type === next.type);
  const entry: Condition = {
    ...next,
    lastTransitionTime: before?.status === next.status ? before.lastTransitionTime : now,
  };
  return before === undefined ? [...conditions, entry] : conditions.map(c => (c === before ? entry : c));
}

/** The reason of what failed with an error: `branch/parent-missing` → `BranchParentMissing`. */
export const reasonOf = (code: string): string =>
  code
    .split(/[^a-z0-9]+/i)
    .map(word => word.charAt(0).toUpperCase() + word.slice(1))
    .join('');
