/**
 * What of a fork leads to a root, `main`, as it does in the baseline: what a sandbox writes there, everybody sees. An
 * address of a branch always holds its id, as the user, the host, the database or an option, so nothing else is looked for.
 */
import type { WorkloadSpec } from '../drivers/contract.ts';
import type { Condition } from '../model/conditions.ts';
import { resolveEnv } from '../model/container-env.ts';
import type { Container, PodSpec } from '../model/kubernetes.ts';
import { namespaceOf } from '../model/manifest-name.ts';
import type { RootUse, SandboxStatus, WorkloadKey } from '../model/sandbox.ts';
import { isTrashed } from '../model/trash.ts';
import type { Store } from '../store/contract.ts';

/** By variables, command lines and files of the pod. */
export function rootUses(store: Store, { workload, refs, network }: WorkloadSpec): readonly RootUse[] {
  const { template } = workload.spec;
  const { containers, initContainers = [] } = template.spec;
  const meta = { ...template.metadata, namespace: namespaceOf(workload) };
  const node = { name: '', cpus: 1, memoryBytes: 1 };
  const pod = { name: workload.metadata.name, ip: '', node, spec: template.spec };
  const inContainer = (container: Container) => [
    ...Object.entries(resolveEnv(container, meta, refs, pod, network.env).env),
    [
      `the command of container ${container.name}`,
      [container.command, container.args].flat().join(' '),
    ] as const,
  ];
  const texts = [
    ...[...initContainers, ...containers].flatMap(inContainer),
    ...filesOf(template.spec, meta.namespace, refs),
  ];
  const found = texts.flatMap(([what, text]) => rootsIn(store, text).map(project => ({ what, project })));
  return [...new Map(found.map(use => [`${use.what}\0${use.project}`, use])).values()];
}

/** One sentence for each fork that has some. */
export const rootUseSentences = (forks: SandboxStatus['forks']): readonly string[] =>
  forks.flatMap(({ forkOf, sharesData = [] }) =>
    sharesData.length === 0 ? [] : [sentence(forkOf, sharesData)],
  );

/** undefined: none is needed. */
export function dataCondition(
  forks: SandboxStatus['forks'],
): Omit<Condition, 'lastTransitionTime'> | undefined {
  const sentences = rootUseSentences(forks);
  if (sentences.length === 0) return undefined;
  return { type: 'DataIsolated', status: 'False', reason: 'UsesMain', message: sentences.join('; ') };
}

// --- internal -----------------------------------------------------------------------------------

function sentence({ namespace, name }: WorkloadKey, uses: readonly RootUse[]): string {
  const projects = [...new Set(uses.map(u => u.project))];
  const what = uses.map(u => u.what).join(', ');
  const lead = uses.length === 1 ? 'leads' : 'lead';
  return `fork of ${namespace}/${name}: ${what} ${lead} to main of project ${projects.join(', ')}, as in the baseline, so all see what it writes; give the sandbox a branch and override ${uses.length === 1 ? 'it' : 'them'}`;
}

/** Projects whose root a text names. Ids may stand behind an escape (`%2e`), so each place where one can begin counts. */
function rootsIn(store: Store, text: string): readonly string[] {
  const words = text.toLowerCase().match(/[a-z0-9]+/g) ?? [];
  const places = words.flatMap(word => [...word.matchAll(/(?=(br[a-z0-9]{12}))/g)].map(([, id]) => id!));
  const projects = [...words, ...places].flatMap(id => {
    const branch = store.get('branch', id);
    const isRoot = branch !== undefined && branch.spec.parent === undefined && branch.deletedAt === undefined;
    return isRoot && !isTrashed(branch) ? [branch.spec.project] : [];
  });
  return [...new Set(projects)];
}

/** Keys of the ConfigMaps and Secrets that are mounted, in words, and what stands in them. */
function filesOf(
  { volumes = [] }: PodSpec,
  namespace: string,
  { configMaps, secrets }: WorkloadSpec['refs'],
): readonly (readonly [string, string])[] {
  const sources = volumes.flatMap(({ configMap, secret, projected }) => [
    { configMap: configMap?.name, secret: secret?.secretName },
    ...(projected?.sources ?? []).map(s => ({ configMap: s.configMap?.name, secret: s.secret?.name })),
  ]);
  const files = (kind: string, data: typeof secrets, name: string | undefined) =>
    name === undefined
      ? []
      : Object.entries(data[`${namespace}/${name}`] ?? {}).map(
          ([key, text]) => [`file ${key} of ${kind} ${name}`, text] as const,
        );
  return sources.flatMap(({ configMap, secret }) => [
    ...files('ConfigMap', configMaps, configMap),
    ...files('Secret', secrets, secret),
  ]);
}
