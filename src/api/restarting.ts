/** Another start of programs, for whoever asks: somebody by name, or an apply that finds their code changed. */
import { manifestName } from '../model/manifest-name.ts';
import type { WorkloadKey } from '../model/sandbox.ts';
import { sameWorkload } from '../model/workload.ts';
import { restartForks, restartWorkload } from '../rules/restart.ts';
import { type Applied, migrateAgain } from '../rules/sandboxes.ts';
import type { Store, Stored } from '../store/contract.ts';
import type { ApiContext } from './context.ts';
import type { Program } from './programs.ts';

export type WorkloadProgram = Extract<Program, { readonly of: 'baseline' | 'fork' }>;

export type RestartedFork = {
  readonly sandbox: string;
  readonly forkOf: WorkloadKey;
  /** What it was made from until now; absent: of nothing yet. */
  readonly inputs?: string;
};

export type Restarted = {
  readonly workloads: readonly Stored<'manifest'>[];
  readonly forks: readonly RestartedFork[];
};

export async function restartAll(store: Store, programs: readonly WorkloadProgram[]): Promise<Restarted> {
  const manifests = new Set<string>();
  const forks = new Map<string, WorkloadKey[]>();
  for (const program of programs) {
    const { kind, namespace, name } = program.workload;
    if (program.of === 'baseline') manifests.add(manifestName(kind, namespace, name));
    else forks.set(program.sandbox, [...(forks.get(program.sandbox) ?? []), program.workload]);
  }
  const [workloads, sandboxes] = await Promise.all([
    Promise.all([...manifests].map(name => restartWorkload(store, name))),
    Promise.all(
      [...forks].map(async ([sandbox, keys]) => {
        const before = store.get('sandbox', sandbox)?.status?.forks ?? [];
        if ((await restartForks(store, sandbox, keys)) === undefined) return [];
        return keys.map(forkOf => {
          const inputs = before.find(fork => sameWorkload(fork.forkOf, forkOf))?.inputs;
          return { sandbox, forkOf, ...(inputs !== undefined && { inputs }) };
        });
      }),
    ),
  ]);
  return { workloads: workloads.filter(object => object !== undefined), forks: sandboxes.flat() };
}

/** Those of `programs` that run and whose code has changed since they were started. What runs to its end is none of them. */
export async function restartChanged(
  { store, programs: { changed } }: Pick<ApiContext, 'store' | 'programs'>,
  programs: readonly WorkloadProgram[],
): Promise<Restarted> {
  const stay = programs.filter(({ workload: { kind } }) => kind !== 'Job' && kind !== 'CronJob');
  return restartAll(store, stay.length === 0 ? [] : await changed(stay));
}

/** What was applied as it was before looks once more at migrations that have changed. @returns the sandbox as it is then */
export async function migrateChanged(
  { store, programs }: Pick<ApiContext, 'store' | 'programs'>,
  { object, outcome }: Applied,
): Promise<Stored<'sandbox'>> {
  if (object.spec.migrate === undefined || outcome !== 'unchanged') return object;
  if (!(await programs.migrationDue(object))) return object;
  return (await migrateAgain(store, object.name)) ?? object;
}
