/** What runs to its end: how many pods have to end well, how many may fail, and what is to be done next. Pure. */
import type { Workload } from '../../model/kubernetes.ts';
import type { Problem, RestartPolicy } from './plan.ts';

export type RunPlan = {
  /** How many pods have to end well; how many run at once. */
  readonly completions: number;
  readonly parallelism: number;
  /** Nobody says how many there are: one that ends well says that the work is done. */
  readonly workQueue?: boolean;
  /** Each pod has a number of its own to do; otherwise any that ends well counts. */
  readonly indexed: boolean;
  /** So many failures are tried again. */
  readonly backoffLimit: number;
  /** What failures mean, the first that fits counts; absent: each is one more. */
  readonly failureRules?: readonly FailureRule[];
  /** Milliseconds from the start until it has failed; absent: it may take as long as it likes. */
  readonly deadlineMs?: number;
};

/** Of `podFailurePolicy`. */
export type FailureRule = {
  readonly action: 'FailJob' | 'Ignore' | 'Count';
  /** Absent: any. */
  readonly container?: string;
  readonly isIn: boolean;
  readonly codes: readonly number[];
};

/** Kept on disk: a run that has ended does not begin again. */
export type RunRecord = {
  /** Milliseconds since 1970. */
  readonly startedAt: number;
  /** `workloadHash` of what runs. */
  readonly of: string;
  /** Of pods that are gone. */
  failures?: number;
  ended?: { readonly how: 'succeeded' | 'failed' } & Problem;
};

export type RunPod = {
  readonly index: number;
  readonly end: 'succeeded' | 'failed' | undefined;
  readonly restarts: number;
  /** Containers that have ended badly, with their exit codes. */
  readonly exits?: readonly { readonly container: string; readonly code: number }[];
  /** Why it is not well. */
  readonly problem: Problem;
};

/** @returns undefined for what is to run for ever. Source: the API reference of JobSpec, with its defaults */
export function runOf({ kind, spec }: Workload, restartPolicy: RestartPolicy): RunPlan | undefined {
  // A bare Pod is one try.
  if (kind === 'Pod' && restartPolicy !== 'Always')
    return {
      completions: 1,
      parallelism: 1,
      indexed: false,
      backoffLimit: restartPolicy === 'Never' ? 0 : 1e9,
    };
  if (kind !== 'Job' && kind !== 'CronJob') return undefined;
  const { completions, parallelism = 1, backoffLimit = 6, activeDeadlineSeconds, completionMode } = spec;
  const failureRules = failureRulesOf(spec);
  return {
    completions: completions ?? 1,
    parallelism,
    ...(completions === undefined && { workQueue: true }),
    indexed: completionMode === 'Indexed',
    backoffLimit,
    ...(failureRules.length > 0 && { failureRules }),
    ...(activeDeadlineSeconds !== undefined && { deadlineMs: 1000 * activeDeadlineSeconds }),
  };
}

export type RunSteps = {
  readonly start: readonly number[];
  /** Numbers of pods that have failed, and leave their numbers to others. */
  readonly retire: readonly number[];
  readonly ended?: NonNullable<RunRecord['ended']>;
};

/** @param failures of pods that are gone @param ranMs since it began */
export function nextRunSteps(
  pods: readonly RunPod[],
  plan: RunPlan,
  failures: number,
  ranMs: number,
): RunSteps {
  const succeeded = pods.filter(pod => pod.end === 'succeeded').length;
  const active = pods.filter(pod => pod.end === undefined).length;
  // Of a queue of work the others go on to their ends (API reference, JobSpec, completions).
  const goesOn = plan.workQueue === true && succeeded > 0;
  if (succeeded >= plan.completions && !(goesOn && active > 0))
    return over('succeeded', 'Completed', completed(plan));
  const failed = pods.filter(pod => pod.end === 'failed');
  const final = failed.find(pod => meaningOf(pod, plan) === 'FailJob');
  if (final !== undefined) return over('failed', 'PodFailurePolicy', final.problem.message);
  const tries = pods.reduce((sum, pod) => sum + triesOf(pod, plan), failures);
  if (tries > plan.backoffLimit) {
    const last = failed.at(-1) ?? pods.toSorted((a, b) => b.restarts - a.restarts)[0];
    return over('failed', 'BackoffLimitExceeded', last?.problem.message ?? 'it has failed too often');
  }
  if (plan.deadlineMs !== undefined && ranMs >= plan.deadlineMs)
    return over('failed', 'DeadlineExceeded', `it did not end within ${plan.deadlineMs / 1000} s`);
  const most = plan.parallelism - active;
  const left = goesOn ? 0 : plan.workQueue ? most : Math.min(most, plan.completions - succeeded - active);
  return {
    start: free(pods, plan, left),
    retire: plan.indexed ? failed.map(pod => pod.index) : [],
  };
}

/** How many failures a pod counts for, gone or not. */
export const triesOf = (pod: RunPod, plan: RunPlan): number =>
  pod.restarts + (pod.end === 'failed' && meaningOf(pod, plan) !== 'Ignore' ? 1 : 0);

// --- internal -----------------------------------------------------------------------------------

/** Kubernetes, "Handling retriable and non-retriable pod failures". Conditions of pods are those of clusters. */
function failureRulesOf({ podFailurePolicy }: Workload['spec']): readonly FailureRule[] {
  return (podFailurePolicy?.rules ?? []).flatMap(({ action, onExitCodes }) =>
    onExitCodes === undefined
      ? []
      : [
          {
            action: action === 'FailJob' || action === 'Ignore' ? action : 'Count',
            ...(onExitCodes.containerName !== undefined && { container: onExitCodes.containerName }),
            isIn: onExitCodes.operator !== 'NotIn',
            codes: onExitCodes.values ?? [],
          },
        ],
  );
}

const meaningOf = ({ exits = [] }: RunPod, { failureRules = [] }: RunPlan): FailureRule['action'] =>
  failureRules.find(rule =>
    exits.some(
      ({ container, code }) =>
        code !== 0 && (rule.container ?? container) === container && rule.codes.includes(code) === rule.isIn,
    ),
  )?.action ?? 'Count';

const completed = ({ completions }: RunPlan): string =>
  completions === 1 ? 'it has run to its end' : `all ${completions} have run to their ends`;

const over = (how: 'succeeded' | 'failed', reason: string, message: string): RunSteps => ({
  start: [],
  retire: [],
  ended: { how, reason, message },
});

function free(pods: readonly RunPod[], { indexed, completions }: RunPlan, count: number): number[] {
  const taken = new Set(pods.map(pod => pod.index));
  const found: number[] = [];
  for (let index = 0; found.length < count && (!indexed || index < completions); index++)
    if (!taken.has(index)) found.push(index);
  return found;
}
