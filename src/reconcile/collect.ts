/**
 * The collector: what exists, minus what is intended, is a leftover. Runs at start and every few minutes,
 * so that nothing that a crash or a bug left behind stays for ever.
 */
import type { Ctx, ServerDriver, StepDriver, VolumeDriver, WorkloadDriver } from '../drivers/contract.ts';
import type { Store } from '../store/contract.ts';
import { baselineId, forkIdPrefix, namespaceOf } from './workload-spec.ts';

export type CollectDeps = {
  readonly store: Store;
  readonly volumes: VolumeDriver;
  readonly servers: ServerDriver;
  readonly workloads: WorkloadDriver;
  readonly steps: StepDriver;
};

export type Leftovers = {
  readonly removed: readonly string[];
  /** Complete volumes that no branch claims. Data is never removed on a guess: a person decides. */
  readonly orphans: readonly string[];
};

/** Finds and removes leftovers. Things that are just being made are intended already, so they are safe. */
export async function collect(
  { store, volumes, servers, workloads, steps }: CollectDeps,
  ctx: Ctx,
): Promise<Leftovers> {
  const removed: string[] = [];
  const orphans: string[] = [];
  const branch = (id: string) => store.get('branch', id) !== undefined;

  for (const id of await servers.list(ctx)) {
    if (branch(id)) continue;
    await servers.remove(id, ctx);
    removed.push(`server ${id}`);
  }
  for (const id of await volumes.list(ctx)) {
    if (branch(id)) continue;
    if ((await volumes.observe(id, ctx)) !== undefined) {
      orphans.push(id);
      continue;
    }
    await volumes.remove(id, ctx);
    removed.push(`half-made volume ${id}`);
  }
  for (const id of await workloads.list(ctx)) {
    if (workloadIntended(store, id)) continue;
    await workloads.remove(id, ctx);
    removed.push(`workload ${id}`);
  }
  for (const id of await steps.list(ctx)) {
    const [sandbox = ''] = id.split('.');
    if (store.get('sandbox', sandbox) !== undefined) continue;
    await steps.remove(id, ctx);
    removed.push(`step ${id}`);
  }
  for (const gone of removed) ctx.log.warn({ gone }, 'removed a leftover');
  for (const id of orphans) ctx.log.warn({ volume: id }, 'a volume belongs to no branch');
  return { removed, orphans };
}

function workloadIntended(store: Store, id: string): boolean {
  const baseline = store
    .list('manifest')
    .some(m => m.spec.kind === 'Deployment' && baselineId(namespaceOf(m.spec), m.spec.metadata.name) === id);
  return baseline || store.list('sandbox').some(s => id.startsWith(forkIdPrefix(s.name)));
}
