/** The next steps from the pods that there are to those that there should be. Pure. */
import { mayBeOlder, type Rollout } from './rollout-plan.ts';

export type PodState = {
  /** Numbers begin at 0 and are used again. */
  readonly index: number;
  /** It is as asked for now, not as before. */
  readonly current: boolean;
  /** Somebody wants another in its place, whatever the rollout would keep. */
  readonly again?: boolean;
  readonly ready: boolean;
  /** Ready for as long as the rollout wants. */
  readonly available: boolean;
  /** It was ready once; one that never was serves nobody. */
  readonly served: boolean;
  /** It is on its way out, or being ended. */
  readonly leaving: boolean;
};

export type Steps = {
  /** Numbers of pods to start. */
  readonly start: readonly number[];
  /** Numbers of pods that have to go. */
  readonly retire: readonly number[];
};

/**
 * Called again after each change, it comes to an end when all pods that were asked for are there, current and
 * available, and no others.
 */
export function nextSteps(pods: readonly PodState[], replicas: number, rollout: Rollout): Steps {
  const staying = pods.filter(pod => !pod.leaving);
  // One that has never served and is out of date is in nobody's way but that of the new one.
  const useless = staying.filter(pod => isOutdated(pod, rollout) && !pod.served);
  if (useless.length > 0) {
    const without = pods.map(pod => (useless.includes(pod) ? { ...pod, leaving: true } : pod));
    const { start, retire } = nextSteps(without, replicas, rollout);
    return { start, retire: [...indices(useless), ...retire] };
  }
  return steps[rollout.how](pods, staying, replicas, rollout);
}

// --- internal -----------------------------------------------------------------------------------

type Step = (
  pods: readonly PodState[],
  staying: readonly PodState[],
  replicas: number,
  rollout: Rollout,
) => Steps;

const steps: Readonly<Record<Rollout['how'], Step>> = {
  /** Kubernetes, "Deployments", rolling update. */
  rolling(pods, staying, replicas, { maxSurge, maxUnavailable }) {
    const current = staying.filter(pod => pod.current);
    const old = staying.filter(pod => !pod.current);
    const missing = replicas - current.length;
    const start = freeIndices(pods, Math.min(missing, replicas + maxSurge - staying.length));
    const surplus = leastFirst(current).slice(0, Math.max(0, -missing));
    // What is not available may go as far as enough of the others stay; of the available only what is too much.
    const least = replicas - maxUnavailable;
    const missingNow = current.filter(pod => !pod.available).length + start.length;
    const mayGo = old.length === 0 ? 0 : staying.length + start.length - least - missingNow;
    const broken = old.filter(pod => !pod.available).slice(0, Math.max(0, mayGo));
    const available = staying.filter(pod => pod.available).length;
    const served = old.filter(pod => pod.available).slice(0, Math.max(0, available - least));
    return { start, retire: indices([...surplus, ...broken, ...served]) };
  },

  recreate(pods, staying, replicas) {
    const old = staying.filter(pod => !pod.current);
    if (old.length > 0) return { start: [], retire: indices(staying.filter(pod => !pod.current)) };
    if (pods.some(pod => pod.leaving && !pod.current)) return { start: [], retire: [] };
    return scale(pods, staying, replicas);
  },

  /** Kubernetes, "StatefulSets", deployment and scaling guarantees, rolling updates. */
  ordered(pods, staying, replicas, rollout) {
    const { inOrder, first } = rollout;
    const there = new Set(indices(pods));
    const wanted = Array.from({ length: replicas }, (_, i) => first + i);
    const missing = wanted.filter(index => !there.has(index));
    const readyBelow = (index: number) =>
      wanted.every(i => i >= index || staying.some(pod => pod.index === i && pod.available));
    const start = inOrder ? missing.slice(0, 1).filter(readyBelow) : missing;
    const surplus = staying.filter(pod => !wanted.includes(pod.index)).sort(highestFirst);
    if (surplus.length > 0) return { start, retire: indices(inOrder ? surplus.slice(0, 1) : surplus) };
    const allWell = missing.length === 0 && staying.length === pods.length;
    const old = staying.filter(pod => isOutdated(pod, rollout)).sort(highestFirst);
    const next = old.find(pod => !pod.available) ?? old[0];
    const othersAvailable = staying.every(pod => pod === next || pod.available);
    return { start, retire: allWell && othersAvailable && next !== undefined ? [next.index] : [] };
  },

  never(pods, staying, replicas, rollout) {
    const old = staying.filter(pod => isOutdated(pod, rollout));
    return old.length > 0 ? { start: [], retire: indices(old) } : scale(pods, staying, replicas);
  },
};

/** It is to be replaced. */
const isOutdated = ({ current, again = false, index }: PodState, rollout: Rollout): boolean =>
  !current && (again || !mayBeOlder(rollout, index));

/** More or fewer, whatever they are. */
function scale(pods: readonly PodState[], staying: readonly PodState[], replicas: number): Steps {
  return {
    start: freeIndices(pods, replicas - staying.length),
    retire: indices(leastFirst(staying).slice(0, Math.max(0, staying.length - replicas))),
  };
}

function freeIndices(pods: readonly PodState[], count: number): number[] {
  const taken = new Set(indices(pods));
  const free: number[] = [];
  for (let index = 0; free.length < count; index++) if (!taken.has(index)) free.push(index);
  return free;
}

/** Those that are missed least: not ready, then with the highest number. */
const leastFirst = (pods: readonly PodState[]): PodState[] =>
  [...pods].sort((a, b) => Number(a.ready) - Number(b.ready) || highestFirst(a, b));

const highestFirst = (a: PodState, b: PodState): number => b.index - a.index;

const indices = (pods: readonly PodState[]): number[] => pods.map(pod => pod.index);
