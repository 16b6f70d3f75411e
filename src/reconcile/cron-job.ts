/**
 * A CronJob of the baseline: makes a run at each time of its schedule, as the controller of a cluster does it (Kubernetes,
 * "CronJob"). Of times that were missed only the newest counts. A run keeps the form that it was started with.
 */
import type { Ctx, WorkloadDriver } from '../drivers/contract.ts';
import type { CronJobManifest, Workload } from '../model/kubernetes.ts';
import { namespaceOf } from '../model/manifest-name.ts';
import { runOf, type ScheduledRun, type Schedules, scheduledName } from '../model/run.ts';
import { readSchedule } from '../model/schedule.ts';
import type { Stored } from '../store/contract.ts';
import { specOfBaseline } from './baseline-workload.ts';
import { endOf, type Report, type RunDeps, runOnce } from './job.ts';
import type { Result } from './scheduler.ts';
import { runId } from './workload-spec.ts';

export async function reconcileCronJob(
  { store, baseline, workloads, now }: RunDeps,
  object: Stored<'manifest'>,
  report: Report,
  ctx: Ctx,
): Promise<Result> {
  const cronJob = object.spec as CronJobManifest;
  const { spec } = cronJob;
  const schedule = readSchedule(spec.schedule, spec.timeZone);
  const at = now();
  const known = object.secret?.schedules ?? { until: object.createdAt, runs: [] };

  const keep = async (schedules: Schedules): Promise<void> => {
    await store.modify('manifest', object.name, ({ secret }) => ({ secret: { ...secret, schedules } }));
  };
  const idOf = ({ name }: ScheduledRun) => runId(cronJob, name);

  const look = async (run: ScheduledRun): Promise<ScheduledRun> => {
    if (run.phase !== 'running') return run;
    const spec = () => specOfBaseline({ store, baseline }, object, jobOf(cronJob, run.name));
    return endOf(run, await runOnce(workloads, idOf(run), spec, ctx), at) ?? run;
  };
  let runs = await Promise.all(known.runs.map(look));
  let { until } = known;

  const due = schedule.latest(new Date(until), at);
  if (due !== undefined && spec.suspend !== true) {
    const { startingDeadlineSeconds: deadline, concurrencyPolicy = 'Allow' } = spec;
    const late = deadline !== undefined && at.getTime() - due.getTime() > deadline * 1000;
    const active = runs.filter(run => run.phase === 'running');
    const waits = concurrencyPolicy === 'Forbid' && active.length > 0;
    // One that waits for another to end is due as long as its deadline says.
    if (late || !waits) until = due.toISOString();
    if (!late && !waits) {
      if (concurrencyPolicy === 'Replace') {
        for (const run of active) await workloads.remove(idOf(run), ctx);
        runs = runs.filter(run => !active.includes(run));
      }
      const job = jobOf(cronJob, scheduledName(due));
      const run = { of: runOf(job, 0), phase: 'running', startedAt: at.toISOString() } as const;
      const started = { name: scheduledName(due), ...run };
      runs = [...runs.filter(({ name }) => name !== started.name), started];
      await keep({ until, runs });
      await look(started);
    }
  } else if (spec.suspend === true) until = at.toISOString();

  const { successfulJobsHistoryLimit: successes = 3, failedJobsHistoryLimit: failures = 1 } = spec;
  const surplus = [
    ...runs.filter(run => run.phase === 'succeeded').slice(0, -successes || undefined),
    ...runs.filter(run => run.phase === 'failed').slice(0, -failures || undefined),
    ...runs.filter(run => hasExpired(run, spec.jobTemplate.spec.ttlSecondsAfterFinished, at)),
  ];
  for (const run of surplus) await workloads.remove(idOf(run), ctx);
  runs = runs.filter(run => !surplus.includes(run));
  await keep({ until, runs });

  const next = spec.suspend === true ? undefined : schedule.after(at);
  await report(object, {
    ...{ ready: true, reason: spec.suspend === true ? 'Suspended' : 'Scheduled' },
    message: sentence(runs, next, spec.suspend === true),
    observedGeneration: object.generation,
  });
  const times = [
    ...(next === undefined ? [] : [next.getTime()]),
    ...runs.flatMap(run => expiryOf(run, spec.jobTemplate.spec.ttlSecondsAfterFinished) ?? []),
  ];
  // A timer holds no more than 24 days.
  const again = Math.min(...times.map(time => Math.max(1, time - at.getTime())), 86_400_000);
  return { again };
}

/** Ends and forgets all runs. */
export async function removeRuns(
  workloads: WorkloadDriver,
  { spec, secret }: Stored<'manifest'>,
  ctx: Ctx,
): Promise<void> {
  const runs = secret?.schedules?.runs ?? [];
  await Promise.all(runs.map(({ name }) => workloads.remove(runId(spec as CronJobManifest, name), ctx)));
}

// --- internal -----------------------------------------------------------------------------------

/** The Job of one run. */
function jobOf(cronJob: CronJobManifest, run: string): Workload {
  const { metadata, spec } = cronJob;
  const name = `${metadata.name}-${run}`;
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name, namespace: namespaceOf(cronJob) },
    spec: spec.jobTemplate.spec,
  };
}

function expiryOf({ endedAt }: ScheduledRun, ttlSeconds: number | undefined): number | undefined {
  if (endedAt === undefined || ttlSeconds === undefined) return undefined;
  return Date.parse(endedAt) + ttlSeconds * 1000;
}

const hasExpired = (run: ScheduledRun, ttlSeconds: number | undefined, at: Date): boolean =>
  (expiryOf(run, ttlSeconds) ?? Number.POSITIVE_INFINITY) <= at.getTime();

function sentence(runs: readonly ScheduledRun[], next: Date | undefined, suspended: boolean): string {
  const active = runs.filter(run => run.phase === 'running').length;
  const last = runs.findLast(run => run.endedAt !== undefined);
  const why = last?.phase === 'failed' ? `: ${last.reason}: ${last.message}` : '';
  return [
    suspended ? 'it is suspended' : `next run at ${next?.toISOString() ?? 'no time that will ever come'}`,
    ...(active > 0 ? [`${active} running`] : []),
    ...(last === undefined ? [] : [`the last one ${last.phase} at ${last.endedAt}${why}`]),
  ].join('; ');
}
