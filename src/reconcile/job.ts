/**
 * A Job of the baseline: it runs once for each form of what it runs. Applied unchanged it does not run again, also when
 * nothing of its run is left; changed, or asked for again after a failure, it is replaced (a cluster refuses the former).
 */
import type { Baseline } from '../baseline/contract.ts';
import type { Ctx, WorkloadDriver, WorkloadSeen, WorkloadSpec } from '../drivers/contract.ts';
import type { Workload } from '../model/kubernetes.ts';
import { type Run, runOf } from '../model/run.ts';
import { keyOfWorkload } from '../model/workload.ts';
import type { ManifestStatus } from '../model/workload-status.ts';
import type { Store, Stored } from '../store/contract.ts';
import { specOfBaseline, workloadStatus } from './baseline-workload.ts';
import type { Result } from './scheduler.ts';
import { baselineId } from './workload-spec.ts';

export type RunDeps = {
  readonly store: Store;
  readonly baseline: Baseline;
  readonly workloads: WorkloadDriver;
  readonly now: () => Date;
};

export type Report = (object: Stored<'manifest'>, status: ManifestStatus) => Promise<boolean>;

export async function reconcileJob(
  { store, baseline, workloads, now }: RunDeps,
  object: Stored<'manifest'>,
  job: Workload,
  report: Report,
  ctx: Ctx,
): Promise<Result> {
  const id = baselineId(keyOfWorkload(job));
  const { generation: observedGeneration } = object;
  const say = (status: Omit<ManifestStatus, 'observedGeneration'>) =>
    report(object, { ...status, observedGeneration });
  const keep = async (run: Run | undefined): Promise<void> => {
    await store.modify('manifest', object.name, ({ secret }) => {
      const { run: _, ...rest } = secret ?? {};
      return { secret: { ...rest, ...(run && { run }) } };
    });
  };

  const of = runOf(job, object.secret?.tries ?? 0);
  const known = object.secret?.run;
  let run = known?.of === of ? known : undefined;
  if (job.spec.suspend === true && run?.endedAt === undefined) {
    await workloads.remove(id, ctx);
    if (known !== undefined) await keep(undefined);
    await say({ ready: true, reason: 'Suspended', message: 'it is suspended' });
    return;
  }
  if (run === undefined) {
    // Nothing of the run before may be taken for this one.
    await workloads.remove(id, ctx);
    run = { of, phase: 'running', startedAt: now().toISOString() };
    await keep(run);
  }
  if (run.phase === 'running') {
    const seen = await runOnce(workloads, id, () => specOfBaseline({ store, baseline }, object, job), ctx);
    const ended = endOf(run, seen, now());
    if (ended === undefined) {
      await say(runningStatus(seen, observedGeneration));
      return;
    }
    run = ended;
    await keep(run);
  }
  await say({ ...endedStatus(run), ...(await logOf(run, id, workloads, ctx)) });
  const { ttlSecondsAfterFinished: ttl } = job.spec;
  if (ttl === undefined) return;
  const leftMs = Date.parse(run.endedAt!) + ttl * 1000 - now().getTime();
  if (leftMs > 0) return { again: leftMs };
  await store.modify('manifest', object.name, ({ secret }) =>
    secret?.run?.of === of ? { deleted: true } : undefined,
  );
  return;
}

/** What has begun goes on as it is: what it was made from may have changed meanwhile, and is no reason to begin anew. */
export async function runOnce(
  workloads: WorkloadDriver,
  id: string,
  spec: () => WorkloadSpec,
  ctx: Ctx,
): Promise<WorkloadSeen> {
  const seen = await workloads.observe(id, ctx);
  return seen === undefined || notBegun.has(seen.reason) ? workloads.ensure(id, spec(), ctx) : seen;
}

const notBegun = new Set(['ImageUnknown', 'ConfigError', 'Stopped']);

/** The run as it ended; undefined while it goes on. */
export function endOf<R extends Run>(run: R, seen: WorkloadSeen, now: Date): R | undefined {
  if (seen.ended === undefined) return undefined;
  const ended = { ...run, phase: seen.ended, endedAt: now.toISOString() };
  return seen.ended === 'succeeded' ? ended : { ...ended, reason: seen.reason, message: seen.message };
}

/** While it runs it is not ready, be its containers so. */
function runningStatus(seen: WorkloadSeen, generation: number): ManifestStatus {
  const status = workloadStatus(seen, generation);
  return seen.ready ? { ...status, ready: false, reason: 'Running', message: 'it runs' } : status;
}

type Ended = Pick<ManifestStatus, 'ready' | 'reason' | 'message'>;

function endedStatus({ phase, startedAt, endedAt, reason, message }: Run): Ended {
  const took = (Date.parse(endedAt!) - Date.parse(startedAt)) / 1000;
  if (phase === 'succeeded')
    return { ready: true, reason: 'Completed', message: `completed in ${took.toFixed(1)} s` };
  return { ready: false, reason: 'Failed', message: `${reason}: ${message}` };
}

async function logOf({ phase }: Run, id: string, workloads: WorkloadDriver, ctx: Ctx) {
  if (phase !== 'failed') return {};
  const log = await Array.fromAsync(workloads.logs(id, { lines: 20 }, ctx), ({ text }) => text);
  return log.length > 0 ? { log } : {};
}
