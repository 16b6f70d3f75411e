/** What runs to its end: which runs there were, and how they ended. Kept with the intent, because a run is not repeated. */
import { createHash } from 'node:crypto';
import type { Workload } from './kubernetes.ts';

export type Run = {
  /** Differs when it has to run anew. */
  readonly of: string;
  readonly phase: 'running' | 'succeeded' | 'failed';
  /** RFC 3339. */
  readonly startedAt: string;
  readonly endedAt?: string;
  /** Of a failure: a reason in CamelCase and a sentence. */
  readonly reason?: string;
  readonly message?: string;
};

/** One run of a CronJob. */
export type ScheduledRun = Run & {
  /** Whole minutes since 1970 of the time that it was due, as in the names of Jobs that a cluster makes. */
  readonly name: string;
};

export type Schedules = {
  /** Newest time for which it was decided whether to run; RFC 3339. */
  readonly until: string;
  /** Oldest first. */
  readonly runs: readonly ScheduledRun[];
};

/**
 * What a run is of. Not what only says when and for how long it is kept: another value of that is no reason to run again.
 * @param tries how often it was asked for again after a failure
 */
export function runOf({ spec }: Workload, tries: number): string {
  const { template, completions, parallelism, completionMode, podFailurePolicy, successPolicy } = spec;
  const what = [template, completions, parallelism, completionMode, podFailurePolicy, successPolicy];
  const hash = createHash('sha256').update(JSON.stringify(what)).digest('hex').slice(0, 16);
  return tries === 0 ? hash : `${hash}.${tries}`;
}

export const scheduledName = (due: Date): string => String(Math.floor(due.getTime() / 60_000));
