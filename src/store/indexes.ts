/** By which questions objects are found without looking at all of them. */
import { manifestGroup, namespaceOf } from '../model/manifest-name.ts';
import { addressKey } from '../model/route.ts';
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
  /** Key: `sandbox/NAME`. */
  'branch/owner': (b: Stored<'branch'>) => (b.spec.owner === undefined ? [] : [b.spec.owner]),
  /** Key: `namespace/name` of what it forks. */
  'sandbox/workload': (s: Stored<'sandbox'>) => [
    ...new Set((s.spec.forks ?? []).map(({ forkOf }) => `${forkOf.namespace}/${forkOf.name}`)),
  ],
  /** Key: `bare@version`. */
  'sandbox/plugin': (s: Stored<'sandbox'>) => [
    ...new Set(Object.values(s.secret.resources).map(r => r.plugin)),
  ],
  'sandbox/routing-key': (s: Stored<'sandbox'>) => [s.secret.routingKey],
  'plugin/bare-name': (p: Stored<'plugin'>) => [p.name.split('@')[0]!],
  'manifest/kind': (m: Stored<'manifest'>) => [m.spec.kind],
  /** Key: see `manifestGroup`. */
  'manifest/group': (m: Stored<'manifest'>) => [manifestGroup(m.spec.kind, namespaceOf(m.spec))],
  /** Key: `host:port` at which a Service answers. */
  'manifest/address': (m: Stored<'manifest'>) => Object.values(m.status?.addresses ?? {}).map(addressKey),
  'key/hash': (k: Stored<'key'>) => [k.spec.hash],
  'key/label': (k: Stored<'key'>) => [k.spec.label],
} as const;

export type Index = keyof typeof indexes;
/** The kind that an index is about. */
export type KindOf<I extends Index> = I extends `${infer K extends Kind}/${string}` ? K : never;

export const indexesOf = (kind: Kind): readonly (readonly [Index, (object: never) => readonly string[]])[] =>
  byKind[kind] ?? [];

// --- internal -----------------------------------------------------------------------------------

const byKind: Partial<Record<Kind, [Index, (object: never) => readonly string[]][]>> = {};
for (const [index, keysOf] of Object.entries(indexes)) {
  const kind = index.slice(0, index.indexOf('/')) as Kind;
  byKind[kind] = [...(byKind[kind] ?? []), [index as Index, keysOf]];
}
