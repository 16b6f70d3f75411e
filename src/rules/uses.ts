/** Who would miss a project: workloads and sandboxes whose environment names one of its branches. */
import type { Baseline, Found } from '../baseline/contract.ts';
import { OffshootError } from '../model/errors.ts';
import { podSources } from '../model/pod-sources.ts';
import type { Store, Stored } from '../store/contract.ts';

/**
 * A branch's id stands in every address of it and nowhere else, so it is looked for in the text of manifests and of the
 * ConfigMaps and Secrets that they take variables from.
 * @throws OffshootError project/in-use
 */
export function checkUnused(
  store: Store,
  baseline: Baseline,
  project: string,
  branches: readonly Stored<'branch'>[],
): void {
  const mentions = (value: unknown) => {
    const text = JSON.stringify(value);
    return branches.some(b => text.includes(b.name));
  };
  const workloads = baseline
    .list('Workload')
    .filter(found => environmentsOf(baseline, found).some(mentions))
    .map(({ namespace, name }) => `${namespace}/${name}`);
  const sandboxes = store
    .list('sandbox')
    .filter(s => s.deletedAt === undefined && mentions(s.spec))
    .map(s => `sandbox ${s.name}`);
  const users = [...workloads, ...sandboxes].join(', ');
  if (users !== '') throw new OffshootError('project/in-use', { project, users });
}

// --- internal -------------------------------------------------------------------------------------

/** The pod itself, and the data of what it refers to. */
function environmentsOf(baseline: Baseline, { object, namespace }: Found<'Workload'>): readonly unknown[] {
  const { template } = object.spec;
  const sources = podSources(template);
  const data = (['ConfigMap', 'Secret'] as const).flatMap(kind =>
    [...sources[kind]].map(name => baseline.get(kind, namespace, name)?.object.data ?? {}),
  );
  return [template, ...data];
}
