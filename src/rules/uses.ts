/** Who would miss a project: workloads and sandboxes whose environment names one of its branches. */
import { envSources } from '../model/env-sources.ts';
import { OffshootError } from '../model/errors.ts';
import type { ConfigMap, Deployment, Secret } from '../model/kubernetes.ts';
import { manifestName, namespaceOf } from '../model/manifest-name.ts';
import type { Store, Stored } from '../store/contract.ts';

/**
 * A branch's id stands in every address of it and nowhere else, so it is looked for in the text of manifests and of the
 * ConfigMaps and Secrets that they take variables from.
 * @throws OffshootError project/in-use
 */
export function checkUnused(store: Store, project: string, branches: readonly Stored<'branch'>[]): void {
  const mentions = (value: unknown) => {
    const text = JSON.stringify(value);
    return branches.some(b => text.includes(b.name));
  };
  const workloads = store
    .by('manifest/kind', 'Deployment')
    .filter(m => m.deletedAt === undefined && environmentsOf(store, m.spec as Deployment).some(mentions))
    .map(m => `${namespaceOf(m.spec)}/${m.spec.metadata.name}`);
  const sandboxes = store
    .list('sandbox')
    .filter(s => s.deletedAt === undefined && mentions(s.spec))
    .map(s => `sandbox ${s.name}`);
  const users = [...workloads, ...sandboxes].join(', ');
  if (users !== '') throw new OffshootError('project/in-use', { project, users });
}

// --- internal -------------------------------------------------------------------------------------

/** The pod itself, and the data of what it refers to. */
function environmentsOf(store: Store, deployment: Deployment): readonly unknown[] {
  const { template } = deployment.spec;
  const namespace = namespaceOf(deployment);
  const sources = envSources(template);
  const data = (['ConfigMap', 'Secret'] as const).flatMap(kind =>
    [...sources[kind]].map(name => store.get('manifest', manifestName(kind, namespace, name))),
  );
  return [
    template,
    ...data.flatMap(m =>
      m === undefined || m.deletedAt !== undefined ? [] : [(m.spec as ConfigMap | Secret).data ?? {}],
    ),
  ];
}
