/**
 * The collector: what exists, minus what is intended, is a leftover. Runs at start and every few minutes,
 * so that nothing that a crash or a bug left behind stays for ever.
 */
import type { BranchNode, Ctx, Driver, StepDriver, WorkloadDriver } from '../drivers/contract.ts';
import { manifestName } from '../model/manifest-name.ts';
import { sameWorkload } from '../model/workload.ts';
import type { Store } from '../store/contract.ts';
import { unclaimed } from './unclaimed.ts';
import { workloadOf } from './workload-spec.ts';

export type CollectDeps = {
  readonly store: Store;
  /** What there is here; see reconcile/loop.ts. */
  readonly branches?: BranchNode | undefined;
  readonly workloads?: WorkloadDriver | undefined;
  readonly steps?: StepDriver | undefined;
};

export type Leftovers = {
  readonly removed: readonly string[];
  /** Complete volumes that no branch claims. Data is never removed on a guess: a person decides. */
  readonly orphans: readonly string[];
};

/**
 * Finds and removes leftovers. Things that are just being made are intended already, so they are safe. What cannot
 * be removed is logged and does not keep the rest.
 */
export async function collect({ store, ...o }: CollectDeps, ctx: Ctx): Promise<Leftovers> {
  const removed: string[] = [];
  const orphans: string[] = [];
  const remove = async (
    what: string,
    driver: Pick<Driver<never, unknown>, 'remove'>,
    id: string,
  ): Promise<void> => {
    try {
      await driver.remove(id, ctx);
      removed.push(`${what} ${id}`);
      ctx.log.warn({ what, id }, 'removed a leftover');
    } catch (err) {
      ctx.signal.throwIfAborted();
      ctx.log.warn({ what, id, err }, 'a leftover could not be removed');
    }
  };

  /** Whatever cannot be read in one area keeps nobody from looking at the others. */
  const area = async <D>(what: string, driver: D | undefined, look: (driver: D) => Promise<void>) => {
    if (driver === undefined) return;
    try {
      await look(driver);
    } catch (err) {
      ctx.signal.throwIfAborted();
      ctx.log.warn({ what, err }, 'leftovers could not be looked for');
    }
  };

  await area('branch', o.branches, async branches => {
    for (const { id, seen, halfMade } of await unclaimed(store, branches, ctx)) {
      if (halfMade) {
        await remove('half-made branch', branches, id);
        continue;
      }
      if (seen?.server.status !== 'False') await remove('server', { remove: branches.stop }, id);
      orphans.push(id);
    }
  });
  await area('workload', o.workloads, async workloads => {
    for (const id of await workloads.list(ctx)) {
      if (!workloadIntended(store, id)) await remove('workload', workloads, id);
    }
  });
  await area('migration', o.workloads?.migrations, async migrations => {
    for (const id of await migrations.list())
      if (store.get('branch', id) === undefined) await remove('migration', migrations, id);
  });
  await area('step', o.steps, async steps => {
    for (const id of await steps.list(ctx)) {
      const [sandbox = ''] = id.split('.');
      if (store.get('sandbox', sandbox) === undefined) await remove('step', steps, id);
    }
  });
  for (const id of orphans) ctx.log.warn({ volume: id }, 'a volume belongs to no branch');
  return { removed, orphans };
}

// --- internal -----------------------------------------------------------------------------------

function workloadIntended(store: Store, id: string): boolean {
  const known = workloadOf(id);
  if (known === undefined) return false;
  const { sandbox, kind, namespace, name, run } = known;
  if (sandbox === undefined) {
    const manifest = store.get('manifest', manifestName(kind, namespace, name));
    if (run === undefined) return manifest !== undefined;
    return manifest?.secret?.schedules?.runs.some(({ name }) => name === run) ?? false;
  }
  const found = store.get('sandbox', sandbox);
  const asked = [...(found?.spec.forks ?? []), ...(found?.status?.forks ?? [])];
  return asked.some(({ forkOf }) => sameWorkload(forkOf, known));
}
