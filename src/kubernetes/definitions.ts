/**
 * Whether the definitions in the cluster know all that this program writes and reads. Helm does not renew them (`helm upgrade`
 * leaves what is in `crds/` alone), and an API server drops fields without a word that a definition does not name: a sandbox
 * would become another one than was asked for.
 */
import { OffshootError } from '../model/errors.ts';
import { type ClusterClient, isCode } from './client.ts';
import { customResourceDefinition } from './crd.ts';
import { clusterKinds, group, type KeptKind, keptKinds, version } from './kinds.ts';
import type { Structural } from './structural.ts';

/** @throws OffshootError kubernetes/definitions-older, kubernetes/… */
export async function checkDefinitions(client: Pick<ClusterClient, 'schemas'>): Promise<void> {
  const fields = await fieldsLacking(client).catch(error => {
    // Then nobody can know it; usually whoever is known to the cluster may read them.
    if (isCode(error, 'kubernetes/forbidden')) return [];
    throw error;
  });
  if (fields.length > 0)
    throw new OffshootError('kubernetes/definitions-older', { count: fields.length, first: fields[0]! });
}

/**
 * @param wanted by kind; default: ours
 * @returns fields that the cluster's definitions do not know, e.g. `sandboxes.offshoot.dev spec.forks[].name`; none of a kind that it
 * does not know at all, which whoever lists its objects is told
 * @throws OffshootError kubernetes/…
 */
export async function fieldsLacking(
  client: Pick<ClusterClient, 'schemas'>,
  wanted: (kept: KeptKind) => Structural = ours,
): Promise<readonly string[]> {
  const known = await client.schemas(group, version);
  return keptKinds.flatMap(kept => {
    const { kind, plural } = clusterKinds[kept];
    const there = known?.[kind];
    if (there === undefined) return [];
    const fields = lackingIn(wanted(kept).properties?.spec, (there as Seen).properties?.spec, 'spec');
    return fields.map(field => `${plural}.${group} ${field}`);
  });
}

// --- internal ------------------------------------------------------------------------------------

const ours = (kept: KeptKind): Structural =>
  customResourceDefinition(kept).spec.versions[0]!.schema.openAPIV3Schema;

/** The parts of a schema that say which fields there are. */
type Seen = {
  readonly properties?: Readonly<Record<string, Seen>>;
  readonly items?: Seen;
  readonly additionalProperties?: Seen | boolean;
  readonly 'x-kubernetes-preserve-unknown-fields'?: boolean;
};

function lackingIn(wanted: Seen | undefined, there: Seen | undefined, path: string): readonly string[] {
  if (wanted === undefined) return [];
  if (there === undefined) return [path];
  if (there['x-kubernetes-preserve-unknown-fields'] === true) return [];
  const fields = Object.entries(wanted.properties ?? {}).flatMap(([name, field]) =>
    lackingIn(field, there.properties?.[name], `${path}.${name}`),
  );
  const items = wanted.items === undefined ? [] : lackingIn(wanted.items, there.items, `${path}[]`);
  const values = schemaOf(wanted.additionalProperties);
  const others =
    values === undefined ? [] : lackingIn(values, schemaOf(there.additionalProperties), `${path}.*`);
  return [...fields, ...items, ...others];
}

const schemaOf = (of: Seen | boolean | undefined): Seen | undefined =>
  typeof of === 'object' ? of : undefined;
