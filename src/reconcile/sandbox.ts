/** A sandbox: resources, then migrations, then forks, then endpoints; backwards to delete. */
import type { Baseline } from '../baseline/contract.ts';
import type { Ctx } from '../drivers/contract.ts';
import type { Log } from '../lib/log.ts';
import { type Condition, reasonOf, setCondition } from '../model/conditions.ts';
import { endpointsOf, type PreviewSite, previewUrl } from '../model/endpoint.ts';
import { OffshootError, toOffshootError } from '../model/errors.ts';
import type { SandboxStatus } from '../model/sandbox.ts';
import { hasFailed, isHopeless } from '../model/tries.ts';
import { deleteTime } from '../model/ttl.ts';
import { sameWorkload } from '../model/workload.ts';
import { offspringOfSandbox, sandboxHasChildren } from '../rules/offspring.ts';
import {
  deleteOffspringOfSandbox,
  deleteSandbox,
  removeSandbox,
  takeUpResources,
} from '../rules/sandboxes.ts';
import type { Store, Stored } from '../store/contract.ts';
import { deleteOwned, type TrashOptions } from './branch-action.ts';
import { crashSince } from './crashes.ts';
import { type ForkRunner, type ForkStatus, pendingForks, waitingForFork } from './forks.ts';
import type { MigrationRunner } from './migrations.ts';
import type { ResourceRunner, Tell } from './resource.ts';
import { dataCondition } from './root-uses.ts';
import type { Routers } from './routers.ts';
import type { Result } from './scheduler.ts';
import { routedCondition } from './speech.ts';
import { type Outcome, together, type Waits, type Walk, walk } from './steps.ts';
import { topicOf } from './wake.ts';
import { sandboxOwner } from './workload-spec.ts';

export type SandboxDeps = {
  readonly store: Store;
  readonly baseline: Baseline;
  readonly forks: ForkRunner;
  readonly resources: ResourceRunner;
  readonly migrations: MigrationRunner;
  readonly site: () => PreviewSite;
  /** Waits until the data path does what the store says now. */
  readonly routed: () => Promise<unknown>;
  readonly routers?: Routers | undefined;
  readonly trash: TrashOptions;
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
    let inTheWay: readonly Stored<'branch'>[] = [];
    if (leftMs !== undefined && leftMs <= 0) {
      inTheWay = offspringOfSandbox(store, name);
      if (inTheWay.length === 0) {
        await record(name, 'info', 'Expired', 'its time to live is over');
        await deleteSandbox(store, name, { force: false });
        return { again: 0 };
      }
    }

    const migrates = sandbox.spec.migrate !== undefined;
    const conditions = (await withExpiry(sandbox, inTheWay)).filter(
      ({ type }) => migrates || type !== 'MigrationsReady',
    );
    let forks = pendingForks(sandbox);
    let migration: Pick<SandboxStatus, 'migration'> = {};
    const steps = [
      { condition: 'ResourcesReady', run: () => ensureResources(sandbox, ctx) },
      ...(migrates
        ? [
            {
              condition: 'MigrationsReady',
              async run() {
                const { outcome, failed } = await migrate(sandbox, ctx);
                if (failed !== undefined) migration = { migration: failed };
                return outcome;
              },
            },
          ]
        : []),
      {
        condition: 'ForksReady',
        async run() {
          forks = await deps.forks.ensure(sandbox, ctx);
          return forksOutcome(forks);
        },
      },
      ...(deps.routers === undefined
        ? []
        : [{ condition: 'SidecarsReady', run: () => sidecarsOutcome(sandbox, deps.routers!) }]),
      { condition: 'EndpointsReady', run: async () => endpointsOutcome(sandbox) },
    ];
    const report = async (conditions: SandboxStatus['conditions']) => {
      await setStatus(sandbox, { conditions, forks, ...migration });
    };
    const walked = await walk(steps, conditions, { now, signal, report });
    const { stopped } = walked;
    const data = withData(walked.conditions, forks);
    const told = await setStatus(sandbox, {
      conditions: stopped === undefined ? withRouted(sandbox, data) : data,
      forks,
      ...migration,
      ready: stopped === undefined,
      failed: stopped !== undefined && isFinal(walked, forks),
      reason: stopped?.outcome.reason ?? 'AllDesiredWorkloadsReady',
      message: stopped?.outcome.message ?? 'All desired workloads are available.',
      ...(endsAt !== undefined && { scheduledDeleteTime: endsAt }),
    });
    if (told && deps.forks.leaving(name)) {
      await deps.routed();
      deps.forks.release(name);
    }
    const { waits, failed = walked.error } = stopped?.outcome.done === false ? stopped.outcome : {};
    const again = [waits?.again, leftMs].filter(ms => ms !== undefined && ms > 0) as number[];
    const until = [...(waits?.until ?? []), ...(inTheWay.length > 0 ? childrenOfOwned(name) : [])];
    if (until.length === 0 && failed === undefined && again.length === 0) return;
    return {
      ...(until.length > 0 && { until }),
      ...(failed !== undefined && { failed }),
      ...(again.length > 0 && { again: Math.min(...again) }),
    };
  };

  /** Its time is over, but what grows from its branches would be lost: it stays until that is gone, and says so. */
  const withExpiry = async (
    { name, status }: Stored<'sandbox'>,
    inTheWay: readonly Stored<'branch'>[],
  ): Promise<readonly Condition[]> => {
    const before = status?.conditions ?? [];
    if (inTheWay.length === 0) return before.filter(c => c.type !== 'Expired');
    const { code, message } = sandboxHasChildren(store, name, inTheWay);
    if (!before.some(c => c.type === 'Expired')) await record(name, 'warning', 'ExpiryBlocked', message);
    const condition = { type: 'Expired', status: 'False', reason: reasonOf(code), message } as const;
    return setCondition(before, condition, now().toISOString());
  };

  const childrenOfOwned = (name: string): readonly string[] =>
    store.by('branch/owner', sandboxOwner(name)).map(b => topicOf.children(b.name));

  // --- resources --------------------------------------------------------------------------------

  const ensureResources = async (written: Stored<'sandbox'>, ctx: Ctx): Promise<Outcome> => {
    const wanted = written.spec.resources ?? [];
    if (wanted.length === 0) return { done: true, reason: 'NoResources', message: 'none asked for' };
    const sandbox = await takeUpResources(deps, written);
    const { tell, told } = teller(sandbox);
    const settled = await Promise.allSettled(
      wanted.map(r => deps.resources.create(sandbox, r, ctx, tell(r.name))),
    );
    await told();
    const ends = settled.map(end => {
      if (end.status === 'rejected') throw end.reason;
      return end.value;
    });
    const waits = together(ends.map(end => end.waits));
    const more = waits === undefined ? {} : { waits };
    const failedAt = ends.findIndex(({ record }) => record.phase === 'failed');
    if (failedAt >= 0) {
      const { step, message: why, retry } = ends[failedAt]!.record.failure!;
      const params = { resource: wanted[failedAt]!.name, sandbox: sandbox.name, step, why };
      const { message } = new OffshootError('sandbox/resource-failed', params);
      if (!retry) return { done: false, reason: 'ResourceFailed', message, ...more };
      const failed = new OffshootError('sandbox/resource-retrying', params);
      return { done: false, reason: 'ResourceRetrying', message, failed, ...more };
    }
    if (waits !== undefined) {
      const at = ends.findIndex(end => end.waits !== undefined);
      const message = waits.why?.message ?? `resource "${wanted[at]!.name}" is being made`;
      return { done: false, reason: 'ResourcesPending', message, waits };
    }
    return { done: true, reason: 'ResourcesCreated', message: `${wanted.length} created` };
  };

  /** Why a step does not run yet is told while it is waited for. `told`: what was told stands in the status. */
  const teller = (sandbox: Stored<'sandbox'>) => {
    const { say, said } = sayer(sandbox);
    const tell =
      (resource: string): Tell =>
      (step, { reason, message: why }) =>
        say({ ready: false, reason, message: `resource "${resource}", step "${step}": ${why}` });
    return { tell, told: said };
  };

  /** Says what goes on while it does, one after the other. `said`: all of it stands in the status. */
  const sayer = (sandbox: Stored<'sandbox'>) => {
    let last: Promise<unknown> = Promise.resolve();
    const say = (change: Partial<SandboxStatus>): void => {
      last = last
        .then(() => setStatus(sandbox, change))
        .catch(err => deps.log.warn({ err, sandbox: sandbox.name }, 'what goes on could not be told'));
    };
    return { say, said: () => last };
  };

  // --- migrations -------------------------------------------------------------------------------

  const migrate = async (sandbox: Stored<'sandbox'>, ctx: Ctx) => {
    const { say, said } = sayer(sandbox);
    try {
      return await deps.migrations.ensure(sandbox, ctx, ({ reason, message }) =>
        say({ ready: false, reason, message }),
      );
    } finally {
      await said();
    }
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
    };
  };

  // --- sidecars ---------------------------------------------------------------------------------

  /** Who is told that it is ready may send requests at once: they must not reach the baseline of a fork. */
  const sidecarsOutcome = async (
    { spec, status, generation }: Stored<'sandbox'>,
    routers: Routers,
  ): Promise<Outcome> => {
    await deps.routed();
    // Those that once knew its keys go on by what they know while they look for another controller.
    const isNew = !(status?.ready && status.observedGeneration === generation);
    for (const { forkOf } of spec.forks ?? []) {
      const problem = routers.problem(forkOf, isNew);
      if (problem !== undefined) return { done: false, ...problem };
    }
    return { done: true, reason: 'LedByKey', message: 'the sidecars of what it forks know its key' };
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

  /** Not a step: a fork that nobody is led to runs all the same, but nobody should have to find out. */
  const withRouted = (sandbox: Stored<'sandbox'>, conditions: SandboxStatus['conditions']) => {
    const routed = routedCondition(deps.baseline, sandbox);
    if (routed === undefined) return conditions.filter(c => c.type !== 'Routed');
    return setCondition(conditions, routed, now().toISOString());
  };

  const withData = (conditions: readonly Condition[], forks: readonly ForkStatus[]) => {
    const data = dataCondition(forks);
    if (data === undefined) return conditions.filter(c => c.type !== 'DataIsolated');
    return setCondition(conditions, data, now().toISOString());
  };

  // --- the way back -----------------------------------------------------------------------------

  const remove = async (sandbox: Stored<'sandbox'>, ctx: Ctx): Promise<Result> => {
    const { name } = sandbox;
    const say = async (reason: string, message: string) => {
      await setStatus(sandbox, { ready: false, failed: false, reason, message });
    };
    try {
      if (sandbox.status?.reason !== 'Deleting') await say('Deleting', 'its forks are being stopped');
      // Routes follow the intent, which is to go. Only then may its addresses be somebody else's.
      await deps.routed();
      await deps.forks.remove(sandbox, ctx);
      if (sandbox.secret.recursive === true) await deleteOffspringOfSandbox(store, name);
      if (sandbox.secret.force !== true) await say('Deleting', 'its resources are being removed');
      const waits = (await removeResources(sandbox, ctx)) ?? (await removeOwnedBranches(sandbox));
      if (waits !== undefined) {
        const why = blocked(name) ?? waits.why;
        if (why !== undefined) await say(reasonOf(why.code), why.message);
        return waits;
      }
    } catch (thrown) {
      ctx.signal.throwIfAborted();
      const inTheWay = blocked(name);
      const { code, message } = inTheWay ?? toOffshootError(thrown);
      await say(reasonOf(code), message);
      if (inTheWay === undefined) throw thrown;
      // Before it is gone, another try of a script is of use only when the script takes it away itself.
      return { until: childrenOfOwned(name), again: BLOCKED_MS };
    }
    if (!(await removeSandbox(store, name))) return { again: 0 };
    return;
  };

  /** What of others grows from its branches: as long as it does, they stay. */
  const blocked = (name: string): OffshootError | undefined => {
    const inTheWay = offspringOfSandbox(store, name);
    return inTheWay.length === 0 ? undefined : sandboxHasChildren(store, name, inTheWay);
  };

  const removeResources = async (sandbox: Stored<'sandbox'>, ctx: Ctx): Promise<Waits | undefined> => {
    if (sandbox.secret.force === true) return;
    const { resources = [] } = sandbox.spec;
    const { tell, told } = teller(sandbox);
    try {
      return together(
        await Promise.all(resources.map(r => deps.resources.remove(sandbox, r, ctx, tell(r.name)))),
      );
    } finally {
      await told();
    }
  };

  /** What belongs to the sandbox goes with it, also when its plugin forgot it or was not asked. */
  const removeOwnedBranches = async ({ name }: Stored<'sandbox'>): Promise<Waits | undefined> => {
    const owned = store.by('branch/owner', sandboxOwner(name));
    const waits = together(await Promise.all(owned.map(branch => deleteOwned(store, branch, deps.trash))));
    if (waits?.why === undefined) return waits;
    const params = { resource: owned[0]!.spec.name, sandbox: name, step: 'branch', why: waits.why.message };
    return { ...waits, why: new OffshootError('sandbox/undo-failed', params, { cause: waits.why }) };
  };

  // --- status -----------------------------------------------------------------------------------

  /** @returns false when something newer is asked for */
  const setStatus = async (sandbox: Stored<'sandbox'>, change: Partial<SandboxStatus>): Promise<boolean> => {
    let before: SandboxStatus | null = null;
    const written = await store.modify('sandbox', sandbox.name, object => {
      const was = object.status;
      before = was;
      // Once it is applied again, nothing is said any more of the try before.
      if ((object.secret.tries ?? 0) !== (sandbox.secret.tries ?? 0)) return undefined;
      // Nor, once it is to take along what grows from it, that this is in the way.
      if (object.secret.recursive !== sandbox.secret.recursive) return undefined;
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
    return written !== undefined;
  };

  /** History: only what a person would want to have been told. */
  const tell = async (before: SandboxStatus | null, { name, status }: Stored<'sandbox'>): Promise<void> => {
    const { ready, failed, reason, message, forks } = status!;
    for (const fork of forks) {
      const { forkOf } = fork;
      const was = before?.forks.find(one => sameWorkload(one.forkOf, forkOf));
      const crash = crashSince(was, fork, `fork of ${forkOf.namespace}/${forkOf.name}`);
      if (crash !== undefined) await record(name, 'warning', 'Crashed', crash);
    }
    if (ready && !before?.ready) await record(name, 'info', reason, message);
    if (failed && !before?.failed) return record(name, 'warning', reason, message);
    // What may pass by itself is told, too: who waits for it looks here. Crashes have their own words.
    const isTrouble = !failed && hasFailed(status!) && !tellsCrash(reason) && reason !== before?.reason;
    if (isTrouble) await record(name, 'warning', reason, message);
  };

  const record = (name: string, severity: 'info' | 'warning', reason: string, message: string) =>
    store.record({ kind: 'sandbox', name, severity, reason, message });

  return reconcile;
}

// --- internal -----------------------------------------------------------------------------------

/** Reasons of workloads and resources that only a changed document, file or baseline can mend. */
const finalReasons = new Set([
  'ResourceFailed',
  'ImageUnknown',
  'CommandNotFound',
  'ConfigError',
  'NoPort',
  'SetupFailed',
  'BuildFailed',
  'MigrationFailed',
]);

const tellsCrash = (reason: string): boolean => /^(Init:)?(CrashLoopBackOff|OOMKilled)$/.test(reason);

/** Milliseconds between tries of a delete while something is in its way. */
const BLOCKED_MS = 30_000;

function isFinal({ stopped, error }: Walk, forks: readonly ForkStatus[]): boolean {
  if (error !== undefined) return !toOffshootError(error).row.retry;
  if (stopped !== undefined && finalReasons.has(ownReason(stopped.outcome.reason))) return true;
  return forks.some(isHopeless);
}

/** Of an init container that fails, as of any other. */
const ownReason = (reason: string): string => reason.replace(/^Init:/, '');
