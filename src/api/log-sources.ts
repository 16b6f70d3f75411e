/** Which programs are meant by selectors, and where each of their logs comes from. */

import { OffshootError } from '../model/errors.ts';
import type { LogQuery } from '../model/log.ts';
import type { LogSelector } from '../model/log-selector.ts';
import { resourceStatuses } from '../model/resource-status.ts';
import type { WorkloadKey } from '../model/sandbox.ts';
import type { LogLineView } from '../model/view.ts';
import { keyOfWorkload } from '../model/workload.ts';
import { findBranch, requireProject } from '../rules/branches.ts';
import type { Stored } from '../store/contract.ts';
import type { ApiContext } from './context.ts';

export type Source = (query: LogQuery, signal: AbortSignal) => AsyncIterable<LogLineView>;

type Where = { readonly namespace?: string | undefined; readonly project?: string | undefined };

/**
 * One for each program that is meant, in the order of the selectors; without selectors all of the baseline and of the
 * sandboxes. @throws OffshootError api/not-found
 */
export function logSources(context: ApiContext, selectors: readonly LogSelector[], where: Where): Source[] {
  const { store } = context;
  const { namespace } = where;
  const workloads = context.baseline.list('Workload', namespace).map(({ object }) => keyOfWorkload(object));
  const ofFork = ({ name: sandbox }: Stored<'sandbox'>, workload: WorkloadKey) =>
    ofWorkload(context, { workload, sandbox }, { of: `sandbox/${sandbox}/${workload.name}` });
  const forksOf = (sandbox: Stored<'sandbox'>) =>
    (sandbox.spec.forks ?? []).filter(
      ({ forkOf }) => namespace === undefined || forkOf.namespace === namespace,
    );

  if (selectors.length === 0)
    return [
      ...workloads.map(key => ofBaseline(context, key)),
      ...store
        .list('sandbox')
        .flatMap(sandbox => forksOf(sandbox).map(({ forkOf }) => ofFork(sandbox, forkOf))),
    ];
  return selectors.flatMap((selector): Source[] => {
    if (selector.of === 'branch') return [ofBranch(context, selector.name, where.project ?? 'default')];
    if (selector.of === 'workload') {
      const { kind, name } = selector;
      const found = workloads.filter(key => key.name === name && (kind === undefined || key.kind === kind));
      if (found.length === 0) throw missing(kind ?? 'workload', name, 'see "offshoot status"');
      return found.map(key => ofBaseline(context, key));
    }
    const sandbox = store.get('sandbox', selector.sandbox);
    if (sandbox === undefined) throw missing('sandbox', selector.sandbox, 'see "offshoot sandbox list"');
    if (selector.of === 'resource') return [ofResource(sandbox, selector.name)];
    const forks = forksOf(sandbox);
    const { fork } = selector;
    const meant = forks.filter(f => fork === undefined || f.forkOf.name === fork || f.name === fork);
    if (fork !== undefined && meant.length === 0)
      throw missing('fork', fork, `its forks are: ${forks.map(f => f.forkOf.name).join(', ') || 'none'}`);
    return meant.map(({ forkOf }) => ofFork(sandbox, forkOf));
  });
}

// --- internal -----------------------------------------------------------------------------------

const missing = (kind: string, name: string, hint: string): OffshootError =>
  new OffshootError('api/not-found', { kind, name, hint });

const ofBaseline = (context: ApiContext, workload: WorkloadKey): Source =>
  ofWorkload(
    context,
    { workload },
    { of: `${workload.kind.toLowerCase()}/${workload.name}`, namespace: workload.namespace },
  );

function ofWorkload(
  { logs }: ApiContext,
  which: { readonly workload: WorkloadKey; readonly sandbox?: string },
  names: Pick<LogLineView, 'of' | 'namespace'>,
): Source {
  return async function* (query, signal) {
    for await (const line of logs.ofWorkload(which, query, signal)) yield { ...names, ...line };
  };
}

function ofBranch({ store, logs }: ApiContext, name: string, project: string): Source {
  requireProject(store, project);
  const branch = findBranch(store, project, name);
  if (branch === undefined) throw missing('branch', name, 'see "offshoot branch list"');
  return async function* ({ lines, follow = false }, signal) {
    for await (const text of logs.ofBranch(branch.name, { lines, follow }, signal))
      yield { of: `branch/${name}`, text };
  };
}

/** Of one that has not failed nothing is kept. */
function ofResource(sandbox: Stored<'sandbox'>, name: string): Source {
  const status = resourceStatuses(sandbox.spec, sandbox.secret.resources).find(r => r.name === name);
  if (status === undefined) throw missing('resource', name, 'see its spec');
  return async function* ({ lines }) {
    for (const text of lines === 0 ? [] : (status.output ?? []).slice(-lines))
      yield { of: `resource/${sandbox.name}/${name}`, text };
  };
}
