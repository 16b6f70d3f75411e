/** How the pods of a workload are replaced by newer ones, from what its manifest says. Pure. */

/** Times in milliseconds. */
export type Rollout = {
  /**
   * `rolling`: new ones first, as far as `maxSurge` goes; `recreate`: none before the last old one is gone; `ordered`:
   * one after the other, each in the place of the old one, from the highest number down; `never`: those that are there
   * stay as they are.
   */
  readonly how: 'rolling' | 'recreate' | 'ordered' | 'never';
  /** How many pods there may be beyond those asked for, and how many of those may be missing. */
  readonly maxSurge: number;
  readonly maxUnavailable: number;
  /** Pods start one after the other, each when the ones before it are ready. */
  readonly inOrder: boolean;
  /** `ordered`: the number of the first pod; pods below `partition` stay as they are. */
  readonly first: number;
  readonly partition: number;
  /** For how long a pod must have been ready before it counts. */
  readonly minReadyMs: number;
  /** Without progress for so long, the rollout is said to have failed; it is tried on. */
  readonly progressMs: number;
};

/** Sources: the API reference of DeploymentSpec, StatefulSetSpec and DaemonSetSpec, with their defaults. */
export function rolloutOf({
  kind,
  spec,
}: {
  readonly kind: string;
  readonly spec: Readonly<Record<string, unknown>>;
}): Rollout {
  const { replicas = 1, minReadySeconds = 0, progressDeadlineSeconds = 600 } = spec;
  const { type, rollingUpdate } = objectAt(spec, 'strategy') ?? objectAt(spec, 'updateStrategy') ?? {};
  const rolling = (rollingUpdate ?? {}) as Readonly<Record<string, unknown>>;
  const times = {
    minReadyMs: 1000 * countOf(minReadySeconds, 0),
    progressMs: 1000 * countOf(progressDeadlineSeconds, 600),
  };
  const common = { maxSurge: 0, maxUnavailable: 1, inOrder: false, first: 0, partition: 0, ...times };
  switch (kind) {
    case 'StatefulSet':
      return {
        ...common,
        how: 'ordered',
        inOrder: spec.podManagementPolicy !== 'Parallel',
        first: countOf(objectAt(spec, 'ordinals')?.start, 0),
        partition: type === 'OnDelete' ? Number.MAX_SAFE_INTEGER : countOf(rolling.partition, 0),
      };
    case 'Pod': // its name is one that another cannot have at the same time
      return { ...common, how: 'recreate' };
    case 'DaemonSet': {
      const maxSurge = share(rolling.maxSurge ?? 0, 1, Math.ceil);
      if (type === 'OnDelete') return { ...common, how: 'never' };
      return { ...common, how: 'rolling', maxSurge, maxUnavailable: maxSurge > 0 ? 0 : 1 };
    }
    default: {
      if (spec.paused === true) return { ...common, how: 'never' };
      if (type === 'Recreate') return { ...common, how: 'recreate' };
      const pods = countOf(replicas, 1);
      const maxSurge = share(rolling.maxSurge ?? '25%', pods, Math.ceil);
      const maxUnavailable = share(rolling.maxUnavailable ?? '25%', pods, Math.floor);
      // Both may come out as zero for few pods; then one is given up first, as Kubernetes does.
      return {
        ...common,
        how: 'rolling',
        maxSurge,
        maxUnavailable: maxSurge + maxUnavailable > 0 ? maxUnavailable : 1,
      };
    }
  }
}

/** Whether a pod of this number is as asked for although it is of an older version. */
export const mayBeOlder = ({ how, partition }: Rollout, index: number): boolean =>
  how === 'never' || (how === 'ordered' && index < partition);

// --- internal -----------------------------------------------------------------------------------

const objectAt = (spec: Readonly<Record<string, unknown>>, field: string) =>
  spec[field] as Readonly<Record<string, unknown>> | undefined;

const countOf = (value: unknown, otherwise: number): number =>
  typeof value === 'number' && Number.isInteger(value) && value >= 0 ? value : otherwise;

/** A number, or a percentage of all. */
function share(value: unknown, all: number, round: (exact: number) => number): number {
  const [, percent] = /^(\d+)%$/.exec(String(value)) ?? [];
  return percent === undefined ? countOf(Number(value), 0) : round((all * Number(percent)) / 100);
}
