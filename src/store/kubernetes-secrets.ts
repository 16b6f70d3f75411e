/**
 * The Secrets of the store's objects. Each belongs to one object, is never changed, and goes when that names another one,
 * or by the cluster's own collector when the object is gone (owner reference).
 *
 * One that nobody names is what a writer left that was killed between two writes. It may go as soon as the object has moved
 * on from the resourceVersion that it was made for, because then no write can name it any more.
 */
import { randomBytes } from 'node:crypto';
import { type ClusterClient, isCode } from '../kubernetes/client.ts';
import { annotations, apiVersion, clusterKinds, type KeptKind, labels } from '../kubernetes/kinds.ts';
import { type KubernetesObject, resources } from '../kubernetes/resource.ts';
import { freeze } from './known.ts';

export type Secrets = {
  /** What the Secret of that name holds, as far as it is known here. */
  get(name: string): unknown;
  /** Asks the cluster. @returns undefined when there is none */
  fetch(name: string): Promise<unknown>;
  /** Takes it over; false: somebody else's of that name is there, and is taken instead. */
  create(kind: KeptKind, owner: KubernetesObject, name: string, value: unknown): Promise<boolean>;
  /** Names of those that an object owns, the newest first. */
  ownedBy(owner: KubernetesObject): Promise<readonly string[]>;
  /** One that nobody names any more. */
  remove(name: string): Promise<void>;
  /** Forgets it; the cluster's own collector removes it. */
  forget(name: string): void;
};

export const newSecretName = (kind: KeptKind, object: string): string =>
  `offshoot-${clusterKinds[kind].singular}-${object.slice(0, 200)}-${randomBytes(5).toString('hex')}`;

/**
 * @param kinds whose Secrets are read
 * @returns `sweep`, too. objectOf: the newest known object of that kind and name; those that it does not name are swept away
 */
export async function openSecrets(
  client: ClusterClient,
  namespace: string,
  kinds: readonly KeptKind[],
): Promise<Secrets & { sweep(objectOf: (uid: string) => KubernetesObject | undefined): Promise<void> }> {
  const known = new Map<string, unknown>();
  /** Of the first list, for the sweep. */
  let found: {
    readonly name: string;
    readonly owner: string | undefined;
    readonly basedOn: string | undefined;
  }[] = [];
  // A node of branches has no use for what belongs to sandboxes.
  const [one = '', ...others] = kinds.filter(kind => clusterKinds[kind].secret);
  const labelSelector = others.length > 0 ? labels.kind : `${labels.kind}=${one}`;
  for await (const { items } of client.pages(resources.Secret, { namespace }, { labelSelector })) {
    for (const secret of items) {
      const { name, ownerReferences = [], annotations: notes = {} } = secret.metadata;
      known.set(name, heldBy(secret));
      found.push({ name, owner: ownerReferences[0]?.uid, basedOn: notes[annotations.basedOn] });
    }
  }

  async function fetch(name: string): Promise<unknown> {
    const secret = await client.get(resources.Secret, { namespace, name });
    if (secret === undefined) known.delete(name);
    else known.set(name, heldBy(secret));
    return known.get(name);
  }

  async function remove(name: string): Promise<void> {
    known.delete(name);
    await client.remove(resources.Secret, { namespace, name });
  }

  return {
    get: name => known.get(name),
    fetch,
    remove,
    async create(kind, owner, name, value) {
      const { uid = '', resourceVersion = '' } = owner.metadata;
      const reference = { apiVersion, kind: clusterKinds[kind].kind, name: owner.metadata.name, uid };
      const secret = {
        ...{ apiVersion: 'v1', kind: 'Secret', type: `offshoot.dev/${kind}`, immutable: true },
        metadata: {
          ...{ name, namespace, labels: { [labels.kind]: kind }, ownerReferences: [reference] },
          annotations: { [annotations.basedOn]: resourceVersion },
        },
        data: { [field]: Buffer.from(JSON.stringify(value)).toString('base64') },
      };
      try {
        await client.create(resources.Secret, secret);
        known.set(name, freeze(JSON.parse(JSON.stringify(value))));
        return true;
      } catch (error) {
        if (!isCode(error, 'kubernetes/conflict')) throw error;
        await fetch(name);
        return false;
      }
    },
    async ownedBy({ metadata: { uid } }) {
      const owned: KubernetesObject[] = [];
      for await (const { items } of client.pages(resources.Secret, { namespace }, { labelSelector }))
        owned.push(
          ...items.filter(({ metadata }) => metadata.ownerReferences?.some(owner => owner.uid === uid)),
        );
      const at = ({ metadata }: KubernetesObject) => Number(metadata.resourceVersion);
      return owned.sort((a, b) => at(b) - at(a)).map(({ metadata }) => metadata.name);
    },
    forget: name => void known.delete(name),
    async sweep(objectOf) {
      const left = found;
      found = [];
      for (const { name, owner, basedOn } of left) {
        const object = owner === undefined ? undefined : objectOf(owner);
        if (object === undefined || object.metadata.annotations?.[annotations.secret] === name) continue;
        if (object.metadata.resourceVersion !== basedOn) await remove(name);
      }
    },
  };
}

// --- internal -----------------------------------------------------------------------------------

/** The one key of its data. */
const field = 'offshoot.json';

/** @returns undefined for one that is not ours, whatever its name */
function heldBy(secret: KubernetesObject): unknown {
  const text = (secret.data as Readonly<Record<string, string>> | undefined)?.[field];
  if (text === undefined) return undefined;
  try {
    return freeze(JSON.parse(Buffer.from(text, 'base64').toString()));
  } catch {
    return undefined;
  }
}
