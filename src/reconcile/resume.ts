/**
 * The first look after a start. What the store says of the world is from before: what does not run any more is
 * no longer called ready, so that nobody is told so and no request is sent to a port that somebody else may have.
 */
import type { BranchNode, Ctx, WorkloadDriver } from '../drivers/contract.ts';
import { asWorkload, keyOfWorkload, runsToItsEnd } from '../model/workload.ts';
import type { Store } from '../store/contract.ts';
import { branchesHere } from './placed.ts';
import { baselineId, forkId } from './workload-spec.ts';

export type ResumeDeps = {
  readonly store: Store;
  /** What there is here; see reconcile/loop.ts. */
  readonly branches?: BranchNode | undefined;
  readonly workloads?: WorkloadDriver | undefined;
  /** Of several nodes of branches, the one that this is. */
  readonly node?: string | undefined;
};

const resuming = { ready: false, reason: 'Resuming', message: 'being started again' } as const;

export async function resume({ store, branches, workloads, node }: ResumeDeps, ctx: Ctx): Promise<void> {
  if (workloads !== undefined) await resumePrograms(store, workloads, ctx);
  if (branches !== undefined) await resumeBranches(store, branches, node, ctx);
}

// --- internal -----------------------------------------------------------------------------------

async function resumePrograms(store: Store, workloads: WorkloadDriver, ctx: Ctx): Promise<void> {
  const runs = async (id: string): Promise<boolean> => (await workloads.observe(id, ctx))?.ready ?? false;

  for (const { name, spec, status } of store.list('manifest')) {
    const workload = asWorkload(spec);
    if (workload === undefined || status === null || runsToItsEnd(workload)) continue;
    if (await runs(baselineId(keyOfWorkload(workload)))) continue;
    await store.modify('manifest', name, () => ({ status: { ...status, ...resuming } }));
  }
  for (const { name, status } of store.list('sandbox')) {
    if (status === null) continue;
    const forks = await Promise.all(
      status.forks.map(async fork =>
        (await runs(forkId(name, fork.forkOf))) ? fork : { ...fork, ...resuming },
      ),
    );
    if (forks.every((fork, i) => fork === status.forks[i])) continue;
    const ready = status.ready ? resuming : {};
    await store.modify('sandbox', name, () => ({ status: { ...status, ...ready, forks } }));
  }
}

async function resumeBranches(
  store: Store,
  branches: BranchNode,
  node: string | undefined,
  ctx: Ctx,
): Promise<void> {
  const { reason, message } = resuming;
  await Promise.all(
    branchesHere(store, node).map(async ({ name, status }) => {
      if (status?.state !== 'ready') return;
      // One that cannot be looked at is not ready either; its next look says why.
      const seen = await branches.observe(name, ctx).catch(() => undefined);
      if (seen?.server.status === 'True') return;
      await store.modify('branch', name, () => ({
        status: { ...status, state: 'creating', reason, message },
      }));
    }),
  );
}
