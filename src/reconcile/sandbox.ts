/** A sandbox: resources, then forks, then endpoints; backwards to delete. */
import type { Ctx } from '../drivers/contract.ts';
import type { Log } from '../lib/log.ts';
import { backoffMs } from '../lib/wait.ts';
import { endpointsOf, type PreviewSite, previewUrl } from '../model/endpoint.ts';
import { OffshootError, toOffshootError } from '../model/errors.ts';
import type { ResourceRecord } from '../model/resource-record.ts';
import type { SandboxStatus } from '../model/sandbox.ts';
import { deleteTime } from '../model/ttl.ts';
import { branchGone, deleteBranch } from '../rules/branches.ts';
import { deleteSandbox, removeSandbox } from '../rules/sandboxes.ts';
import type { Store, Stored } from '../store/contract.ts';
import { type ForkRunner, type ForkStatus, waitingForFork } from './forks.ts';
import type { Result } from './queue.ts';
import type { ResourceRunner } from './resource.ts';
import { type Outcome, reasonOf, type Walk, walk } from './steps.ts';
import { sandboxOwner } from './workload-spec.ts';

export type SandboxDeps = {
  readonly store: Store;
  readonly forks: ForkRunner;
  readonly resources: ResourceRunner;
  readonly site: () => PreviewSite;
  readonly retry: { readonly baseMs: number; readonly maxMs: number };
  readonly now: () => Date;
  readonly log: Log;
};

export type SandboxReconciler = (name: string, signal: AbortSignal) => Promise<Result>;

export function sandboxReconciler(deps: SandboxDeps): SandboxReconciler {
  const { store, now } = deps;

  const reconcile: SandboxReconciler = async (name, signal) => {
    const sandbox = store.get('sandbox', name);
    if (sandbox === undefined) return;
    const ctx: Ctx = { signal, log: deps.log.child({ sandbox: name, generation: sandbox.generation }) };
    if (sandbox.deletedAt !== undefined) return remove(sandbox, ctx);

    const endsAt = deleteTime(sandbox.spec.ttl, sandbox);
    const leftMs = endsAt === undefined ? undefined : Date.parse(endsAt) - now().getTime();
    if (leftMs !== undefined && leftMs <= 0) {
      await store.record({
        kind: 'sandbox',
        name,
        severity: 'info',
        reason: 'Expired',
        message: 'its time to live is over',
      });
      await deleteSandbox(store, name, { force: false });
      return { again: 0 };
    }

    let forks: readonly ForkStatus[] = sandbox.status?.forks ?? [];
    const steps = [
      { condition: 'ResourcesReady', run: () => ensureResources(sandbox, ctx) },
      {
        condition: 'ForksReady',
        async run() {
          forks = await deps.forks.ensure(sandbox, ctx);
          return forksOutcome(forks);
        },
      },
      { condition: 'EndpointsReady', run: async () => endpointsOutcome(sandbox) },
    ];
    const report = (conditions: SandboxStatus['conditions']) => setStatus(sandbox, { conditions, forks });
    const walked = await walk(steps, sandbox.status?.conditions ?? [], { now, signal, report });
    const { stopped } = walked;
    await setStatus(sandbox, {
      conditions: walked.conditions,
      forks,
      ready: stopped === undefined,
      failed: stopped !== undefined && isFinal(walked, forks),
      reason: stopped?.outcome.reason ?? 'AllDesiredWorkloadsReady',
      message: stopped?.outcome.message ?? 'All desired workloads are available.',
      ...(endsAt !== undefined && { scheduledDeleteTime: endsAt }),
    });
    if (walked.error !== undefined) {
      // What is thrown here and cannot be mended by a retry waits for a change; the end of its time does not.
      if (leftMs === undefined || toOffshootError(walked.error).row.retry) throw walked.error;
      ctx.log.warn({ err: walked.error }, 'reconcile failed, waits for a change');
    }
    const again = [stopped?.outcome.done === false ? stopped.outcome.again : undefined, leftMs].filter(
      ms => ms !== undefined,
    );
    return again.length === 0 ? undefined : { again: Math.min(...again) };
  };

  // --- resources --------------------------------------------------------------------------------

  const ensureResources = async (sandbox: Stored<'sandbox'>, ctx: Ctx): Promise<Outcome> => {
    const wanted = sandbox.spec.resources ?? [];
    if (wanted.length === 0) return { done: true, reason: 'NoResources', message: 'none asked for' };
    const ends = await Promise.allSettled(wanted.map(r => deps.resources.create(sandbox, r, ctx)));
    const thrown = ends.find(end => end.status === 'rejected');
    if (thrown !== undefined) throw thrown.reason;
    for (const [i, end] of ends.entries()) {
      const record = (end as PromiseFulfilledResult<ResourceRecord>).value;
      if (record.phase === 'created') continue;
      const { step, message, retry } = record.failure!;
      const error = new OffshootError('sandbox/resource-failed', {
        resource: wanted[i]!.name,
        sandbox: sandbox.name,
        step,
        why: message,
      });
      const { baseMs, maxMs } = deps.retry;
      return {
        done: false,
        reason: retry ? 'ResourceRetrying' : 'ResourceFailed',
        message: error.message,
        ...(retry && { again: backoffMs(record.attempts, baseMs, maxMs) }),
      };
    }
    return { done: true, reason: 'ResourcesCreated', message: `${wanted.length} created` };
  };

  // --- forks ------------------------------------------------------------------------------------

  const forksOutcome = (forks: readonly ForkStatus[]): Outcome => {
    // A fork that waits for another one is not the reason.
    const open = forks.filter(f => !f.ready);
    const waiting = open.find(f => f.reason !== waitingForFork) ?? open[0];
    if (waiting === undefined) {
      const message = forks.length === 0 ? 'none asked for' : `${forks.length} ready`;
      return { done: true, reason: forks.length === 0 ? 'NoForks' : 'ForksRunning', message };
    }
    const { namespace, name } = waiting.forkOf;
    return {
      done: false,
      reason: waiting.reason,
      message: `fork of ${namespace}/${name}: ${waiting.message}`,
      ...(open.some(f => f.reason === waitingForFork) && { again: forkWaitMs }),
    };
  };

  // --- endpoints --------------------------------------------------------------------------------

  const endpointsOutcome = (sandbox: Stored<'sandbox'>): Outcome => {
    const count = endpointsOf(sandbox.spec).length;
    return {
      done: true,
      reason: 'RoutesPublished',
      message: count === 0 ? 'none asked for' : `${count} published`,
    };
  };

  // --- the way back -----------------------------------------------------------------------------

  const remove = async (sandbox: Stored<'sandbox'>, ctx: Ctx): Promise<Result> => {
    const { name } = sandbox;
    try {
      // The routes are gone already: the table is computed from intent, and this intent is to go.
      await setStatus(sandbox, {
        ready: false,
        failed: false,
        reason: 'Deleting',
        message: 'its forks are being stopped',
      });
      await deps.forks.remove(name, ctx);
      if (sandbox.secret.force !== true) {
        await setStatus(sandbox, {
          ready: false,
          failed: false,
          reason: 'Deleting',
          message: 'its resources are being removed',
        });
        await Promise.all((sandbox.spec.resources ?? []).map(r => deps.resources.remove(sandbox, r, ctx)));
      }
      await removeOwnedBranches(sandbox, ctx);
    } catch (thrown) {
      if (ctx.signal.aborted) return;
      const error = toOffshootError(thrown);
      await setStatus(sandbox, {
        ready: false,
        failed: false,
        reason: reasonOf(error.code),
        message: error.message,
      });
      throw thrown;
    }
    if (!(await removeSandbox(store, name))) return { again: 0 };
    return;
  };

  /** What belongs to the sandbox goes with it, also when its plugin forgot it or was not asked. */
  const removeOwnedBranches = async ({ name }: Stored<'sandbox'>, ctx: Ctx): Promise<void> => {
    const owner = sandboxOwner(name);
    for (const branch of store.by('branch/owner', owner)) {
      try {
        if (branch.deletedAt === undefined) await deleteBranch(store, branch, { asOwner: owner });
      } catch (cause) {
        const why = toOffshootError(cause).message;
        throw new OffshootError(
          'sandbox/undo-failed',
          { resource: branch.spec.name, sandbox: name, step: 'branch', why },
          { cause },
        );
      }
      await branchGone(store, branch.name, ctx.signal);
    }
  };

  // --- status -----------------------------------------------------------------------------------

  const setStatus = async (sandbox: Stored<'sandbox'>, change: Partial<SandboxStatus>): Promise<void> => {
    let before: SandboxStatus | null = null;
    const written = await store.modify('sandbox', sandbox.name, object => {
      const was = object.status;
      before = was;
      // What was said of another generation is not true of this one.
      const current = was?.observedGeneration === sandbox.generation;
      const status: SandboxStatus = {
        ready: current && was.ready,
        failed: current && was.failed,
        reason: current ? was.reason : 'InProgress',
        message: current ? was.message : 'in progress',
        conditions: was?.conditions ?? [],
        forks: was?.forks ?? [],
        ...change,
        observedGeneration: sandbox.generation,
        endpoints: endpointsOf(object.spec).map(e => ({
          name: e.name,
          url: previewUrl(deps.site(), e.name, object.name),
          target: e.target,
          routeType: e.routeType,
          protocol: e.protocol,
        })),
      };
      return { status };
    });
    if (written !== undefined) await tell(before, written);
  };

  /** History: only what a person would want to have been told. */
  const tell = async (before: SandboxStatus | null, { name, status }: Stored<'sandbox'>): Promise<void> => {
    const { ready, failed, reason, message } = status!;
    const event = { kind: 'sandbox', name, reason, message } as const;
    if (ready && !before?.ready) await store.record({ ...event, severity: 'info' });
    if (failed && !before?.failed) await store.record({ ...event, severity: 'warning' });
  };

  return reconcile;
}

// --- internal -----------------------------------------------------------------------------------

/** Reasons of workloads and resources that only a changed document, file or baseline can mend. */
const finalReasons = new Set(['ResourceFailed', 'ImageUnknown', 'CommandNotFound', 'ConfigError', 'NoPort']);

/** Milliseconds until another look at a fork that waits for the address of another one. */
const forkWaitMs = 20;

/** After so many restarts in a row nobody should wait any longer, though it is still tried. */
const hopelessRestarts = 3;

function isFinal({ stopped, error }: Walk, forks: readonly ForkStatus[]): boolean {
  if (error !== undefined) return !toOffshootError(error).row.retry;
  if (stopped !== undefined && finalReasons.has(stopped.outcome.reason)) return true;
  return forks.some(f => !f.ready && f.reason === 'CrashLoopBackOff' && f.restarts >= hopelessRestarts);
}
