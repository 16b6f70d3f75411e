/** Which programs are meant by selectors. */
import type { Baseline } from '../baseline/contract.ts';
import { OffshootError } from '../model/errors.ts';
import type { ProgramSelector } from '../model/program-selector.ts';
import { resourceOutput } from '../model/resource-status.ts';
import type { WorkloadKey } from '../model/sandbox.ts';
import { keyOfWorkload } from '../model/workload.ts';
import { findBranch, requireProject } from '../rules/branches.ts';
import type { Store, Stored } from '../store/contract.ts';

export type Program =
  | { readonly of: 'baseline'; readonly workload: WorkloadKey }
  | { readonly of: 'fork'; readonly sandbox: string; readonly workload: WorkloadKey }
  | {
      readonly of: 'resource';
      readonly sandbox: string;
      readonly name: string;
      readonly output: readonly string[];
    }
  | { readonly of: 'migration'; readonly sandbox: Stored<'sandbox'> }
  | { readonly of: 'branch'; readonly branch: Stored<'branch'> };

/**
 * In the order of the selectors; without selectors all of the baseline and of the sandboxes.
 * @param where only workloads of this namespace; the project of branches, default: `default`
 * @throws OffshootError api/not-found
 */
export function programs(
  { store, baseline }: { readonly store: Store; readonly baseline: Baseline },
  selectors: readonly ProgramSelector[],
  where: { readonly namespace?: string | undefined; readonly project?: string | undefined },
): readonly Program[] {
  const { namespace, project = 'default' } = where;
  const workloads = baseline.list('Workload', namespace).map(({ object }) => keyOfWorkload(object));
  const forksOf = ({ spec }: Stored<'sandbox'>) =>
    (spec.forks ?? []).filter(({ forkOf }) => namespace === undefined || forkOf.namespace === namespace);
  const ofBaseline = (workload: WorkloadKey): Program => ({ of: 'baseline', workload });
  const ofFork = (sandbox: string, workload: WorkloadKey): Program => ({ of: 'fork', sandbox, workload });

  if (selectors.length === 0)
    return [
      ...workloads.map(ofBaseline),
      ...store
        .list('sandbox')
        .flatMap(sandbox => forksOf(sandbox).map(({ forkOf }) => ofFork(sandbox.name, forkOf))),
    ];
  return selectors.flatMap((selector): readonly Program[] => {
    if (selector.of === 'branch') {
      requireProject(store, project);
      const branch = findBranch(store, project, selector.name);
      if (branch === undefined) throw missing('branch', selector.name, 'see "offshoot branch list"');
      return [{ of: 'branch', branch }];
    }
    if (selector.of === 'workload') {
      const { kind, name } = selector;
      const found = workloads.filter(key => key.name === name && (kind === undefined || key.kind === kind));
      if (found.length === 0) throw missing(kind ?? 'workload', name, 'see "offshoot status"');
      return found.map(ofBaseline);
    }
    const sandbox = store.get('sandbox', selector.sandbox);
    if (sandbox === undefined) throw missing('sandbox', selector.sandbox, 'see "offshoot sandbox list"');
    if (selector.of === 'resource') {
      const { name } = selector;
      const isThere = (sandbox.spec.resources ?? []).some(resource => resource.name === name);
      if (!isThere) throw missing('resource', name, 'see its spec');
      const record = sandbox.secret.resources[name];
      const output = record === undefined ? [] : resourceOutput(record);
      return [{ of: 'resource', sandbox: sandbox.name, name, output }];
    }
    const migrations: readonly Program[] =
      sandbox.spec.migrate === undefined ? [] : [{ of: 'migration', sandbox }];
    if (selector.of === 'migration') {
      if (migrations.length === 0)
        throw missing('migration', sandbox.name, 'no offshoot.yaml said "migrate:" when it was applied');
      return migrations;
    }
    const forks = forksOf(sandbox);
    const { fork } = selector;
    const meant = forks.filter(f => fork === undefined || f.forkOf.name === fork || f.name === fork);
    if (fork !== undefined && meant.length === 0)
      throw missing('fork', fork, `its forks are: ${forks.map(f => f.forkOf.name).join(', ') || 'none'}`);
    const programs = meant.map(({ forkOf }) => ofFork(sandbox.name, forkOf));
    return fork === undefined && namespace === undefined ? [...migrations, ...programs] : programs;
  });
}

// --- internal -----------------------------------------------------------------------------------

const missing = (kind: string, name: string, hint: string): OffshootError =>
  new OffshootError('api/not-found', { kind, name, hint });
