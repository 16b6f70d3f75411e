/** By which questions objects are found without looking at all of them. */
import { nowhere } from '../model/folder.ts';
import { manifestGroup, namespaceOf } from '../model/manifest-name.ts';
import { podSources } from '../model/pod-sources.ts';
import { addressKey } from '../model/route.ts';
import type { Fork } from '../model/sandbox.ts';
import { asWorkload, podLabels, workloadPath } from '../model/workload.ts';
import type { Kind, Stored } from './contract.ts';

/** There is one trash for all. */
export const TRASH = 'trash';

/** Name of the index (its kind first) → the keys that an object stands under. */
export const indexes = {
  'branch/project': (b: Stored<'branch'>) => [b.spec.project],
  'branch/parent': (b: Stored<'branch'>) => (b.spec.parent === undefined ? [] : [b.spec.parent]),
  /** Key: see `TRASH`. */
  'branch/trash': (b: Stored<'branch'>) => (b.spec.trashed === undefined ? [] : [TRASH]),
  'project/trash': (p: Stored<'project'>) => (p.spec.trashed === undefined ? [] : [TRASH]),
  'project/takes-over': (p: Stored<'project'>) => (p.spec.takesOver === undefined ? [] : [p.spec.takesOver]),
  /** Key: name of a branch node. */
  'project/node': (p: Stored<'project'>) => (p.spec.node === undefined ? [] : [p.spec.node]),
  /** Key: `sandbox/NAME`. */
  'branch/owner': (b: Stored<'branch'>) => (b.spec.owner === undefined ? [] : [b.spec.owner]),
  /** Key: see `workloadPath`, of what it forks. */
  'sandbox/workload': (s: Stored<'sandbox'>) => [
    ...new Set((s.spec.forks ?? []).map(({ forkOf }) => workloadPath(forkOf))),
  ],
  /** Key: see `sourceKey`, of what its forks may mention and their baselines may not; see `patchedIn` for patches. */
  'sandbox/source': (s: Stored<'sandbox'>) => [...new Set((s.spec.forks ?? []).flatMap(sourcesOfFork))],
  /** Key: `bare@version`. */
  'sandbox/plugin': (s: Stored<'sandbox'>) => [
    ...new Set(Object.values(s.secret.resources).map(r => r.plugin)),
  ],
  'sandbox/routing-key': (s: Stored<'sandbox'>) => [s.secret.routingKey],
  'plugin/bare-name': (p: Stored<'plugin'>) => [p.name.split('@')[0]!],
  /** Workloads also stand under `Workload`. */
  'manifest/kind': (m: Stored<'manifest'>) => kindsOf(m),
  /** Key: see `manifestGroup`; the same. */
  'manifest/group': (m: Stored<'manifest'>) =>
    kindsOf(m).map(kind => manifestGroup(kind, namespaceOf(m.spec))),
  /** Key: see `labelKey`, for each label of a workload's pods. */
  'manifest/label': (m: Stored<'manifest'>) => {
    const workload = asWorkload(m.spec);
    if (workload === undefined) return [];
    return Object.entries(podLabels(workload)).map(label => labelKey(namespaceOf(m.spec), label));
  },
  /** Key: see `labelKey`, for the first label that a Service asks for. */
  'manifest/selector': (m: Stored<'manifest'>) => {
    const [first] = m.spec.kind === 'Service' ? Object.entries(m.spec.spec.selector ?? {}) : [];
    return first === undefined ? [] : [labelKey(namespaceOf(m.spec), first)];
  },
  /** Key: see `sourceKey`, for each ConfigMap and Secret that a workload's pods mention. */
  'manifest/source': (m: Stored<'manifest'>) => {
    const template = asWorkload(m.spec)?.spec.template;
    if (template === undefined) return [];
    const { ConfigMap, Secret } = podSources(template);
    const namespace = namespaceOf(m.spec);
    return [
      ...[...ConfigMap].map(name => sourceKey('ConfigMap', namespace, name)),
      ...[...Secret].map(name => sourceKey('Secret', namespace, name)),
    ];
  },
  'manifest/namespace': (m: Stored<'manifest'>) => [namespaceOf(m.spec)],
  /** Key: the folder that it came from, or `nowhere`. */
  'manifest/folder': (m: Stored<'manifest'>) => [m.secret?.from?.folder ?? nowhere],
  /** Keys: `host:port` at which a Service answers, and the host alone. */
  'manifest/address': (m: Stored<'manifest'>) => {
    const all = Object.values(m.status?.addresses ?? {});
    return [...new Set(all.flatMap(address => [addressKey(address), address.host]))];
  },
  'key/hash': (k: Stored<'key'>) => [k.spec.hash],
  'key/label': (k: Stored<'key'>) => [k.spec.label],
} as const;

export const labelKey = (namespace: string, [label, value]: readonly [string, string]): string =>
  `${namespace}/${label}=${value}`;

export const sourceKey = (kind: 'ConfigMap' | 'Secret', namespace: string, name: string): string =>
  `${kind}/${namespace}/${name}`;

/** A patch may mention anything of its namespace. */
export const patchedIn = (namespace: string): string => `patch/${namespace}`;

export type Index = keyof typeof indexes;
/** The kind that an index is about. */
export type KindOf<I extends Index> = I extends `${infer K extends Kind}/${string}` ? K : never;

export const indexesOf = (kind: Kind): readonly (readonly [Index, (object: never) => readonly string[]])[] =>
  byKind[kind] ?? [];

// --- internal -----------------------------------------------------------------------------------

const kindsOf = ({ spec }: Stored<'manifest'>): readonly string[] =>
  asWorkload(spec) === undefined ? [spec.kind] : [spec.kind, 'Workload'];

function sourcesOfFork({ forkOf, customizations = {} }: Fork): readonly string[] {
  const { namespace } = forkOf;
  const { env = [], patch } = customizations;
  const sources = env.flatMap(({ valueFrom: from }) => {
    if (from === undefined) return [];
    if ('configMap' in from) return [sourceKey('ConfigMap', namespace, from.configMap.name)];
    return 'secret' in from ? [sourceKey('Secret', namespace, from.secret.name)] : [];
  });
  return patch === undefined ? sources : [...sources, patchedIn(namespace)];
}

const byKind: Partial<Record<Kind, [Index, (object: never) => readonly string[]][]>> = {};
for (const [index, keysOf] of Object.entries(indexes)) {
  const kind = index.slice(0, index.indexOf('/')) as Kind;
  byKind[kind] = [...(byKind[kind] ?? []), [index as Index, keysOf]];
}
