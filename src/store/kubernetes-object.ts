/**
 * Objects of the store as objects of a cluster, and back. Pure.
 *
 * **One write of one object is what counts**: it holds spec and annotations, and one annotation names the Secret that
 * belongs to it. Such a Secret is never changed; a new one is written first, and the write that names it makes spec, secret
 * and the wish to delete hold together. Status has a write of its own, because it is only a cache.
 */
import {
  annotations,
  apiVersion,
  clusterKinds,
  finalizer,
  type KeptKind,
  objectName,
  storedName,
} from '../kubernetes/kinds.ts';
import { withoutReady } from '../kubernetes/ready.ts';
import type { KubernetesObject } from '../kubernetes/resource.ts';
import type { Kinds, Stored } from './contract.ts';

type Metadata = KubernetesObject['metadata'];

/** What we write into an object's annotations. */
export type Notes = {
  readonly secret?: string;
  readonly created?: string;
  /** When the spec became what it is in `generation`. */
  readonly updated?: { readonly generation: number; readonly at: string };
  readonly deleted?: string;
};

export const nameOf = (kind: KeptKind, { metadata }: KubernetesObject): string =>
  storedName(kind, metadata.name, metadata.annotations?.[annotations.name]);

/** Whether it stands where it would be looked for: somebody may have called it otherwise. */
export const isInPlace = (kind: KeptKind, object: KubernetesObject): boolean =>
  objectName(kind, nameOf(kind, object)) === object.metadata.name;

/** Changes of the spec, from 1. The cluster counts the wish to delete as one, too. */
export const generationOf = ({ metadata: { generation = 1, deletionTimestamp } }: KubernetesObject): number =>
  generation - (deletionTimestamp === undefined ? 0 : 1);

export function notesOf({ metadata: { annotations: all = {} } }: KubernetesObject): Notes {
  const [generation, at] = (all[annotations.updated] ?? '').split(' ');
  const { secret, created, deleted } = annotations;
  return {
    ...(all[secret] !== undefined && { secret: all[secret] }),
    ...(all[created] !== undefined && { created: all[created] }),
    ...(at !== undefined && { updated: { generation: Number(generation), at } }),
    ...(all[deleted] !== undefined && { deleted: all[deleted] }),
  };
}

/** It is gone for us, whoever else may still hold it. */
export const isGone = ({ metadata: { deletionTimestamp, finalizers = [] } }: KubernetesObject): boolean =>
  deletionTimestamp !== undefined && !finalizers.includes(finalizer);

/** A new one. */
export function newObject(
  kind: KeptKind,
  name: string,
  namespace: string,
  spec: unknown,
  notes: Notes,
): KubernetesObject {
  const metadata = { name: objectName(kind, name), namespace };
  const bare = { apiVersion, kind: clusterKinds[kind].kind, metadata, spec };
  return noted(kind, name, bare, notes, clusterKinds[kind].finalizer);
}

/** `object` with `notes` besides those that it has. @param kept it gets our finalizer */
export function noted(
  kind: KeptKind,
  name: string,
  object: KubernetesObject,
  notes: Notes,
  kept: boolean,
): KubernetesObject {
  const { metadata } = object;
  const { secret, created, updated, deleted } = notes;
  const isOwnName = storedName(kind, metadata.name) === name;
  const all = {
    ...metadata.annotations,
    ...(!isOwnName && { [annotations.name]: name }),
    ...(secret !== undefined && { [annotations.secret]: secret }),
    ...(created !== undefined && { [annotations.created]: created }),
    ...(updated !== undefined && { [annotations.updated]: `${updated.generation} ${updated.at}` }),
    ...(deleted !== undefined && { [annotations.deleted]: deleted }),
  };
  const { finalizers = [] } = metadata;
  const own = kept && !finalizers.includes(finalizer) ? [...finalizers, finalizer] : finalizers;
  const next: Metadata = { ...metadata, annotations: all, ...(own.length > 0 && { finalizers: own }) };
  return { ...object, metadata: next };
}

export function withoutFinalizer(object: KubernetesObject): KubernetesObject {
  const finalizers = (object.metadata.finalizers ?? []).filter(one => one !== finalizer);
  return { ...object, metadata: { ...object.metadata, finalizers } };
}

/**
 * What has to be noted in an object before it counts: one that kubectl has made or changed lacks it. What it lacks of a
 * Secret is not among these.
 */
export function isNoted(kind: KeptKind, object: KubernetesObject): boolean {
  const { secret, created, updated, deleted } = notesOf(object);
  const { deletionTimestamp, finalizers = [] } = object.metadata;
  if (
    deletionTimestamp !== undefined &&
    updated !== undefined &&
    (secret !== undefined || !clusterKinds[kind].secret)
  )
    return true; // nothing but the end is to come
  return (
    (secret !== undefined || !clusterKinds[kind].secret) &&
    (finalizers.includes(finalizer) || !clusterKinds[kind].finalizer) &&
    created !== undefined &&
    updated?.generation === generationOf(object) &&
    deleted === undefined
  );
}

/** @param secret what its Secret holds; null for a kind that has none */
export function toStored<K extends KeptKind>(
  kind: K,
  object: KubernetesObject,
  secret: Kinds[K]['secret'],
  version: number,
): Stored<K> {
  const { created, updated, deleted } = notesOf(object);
  const { creationTimestamp = '', deletionTimestamp } = object.metadata;
  const createdAt = created ?? inMilliseconds(creationTimestamp);
  const deletedAt = deleted ?? (deletionTimestamp && inMilliseconds(deletionTimestamp));
  return {
    ...{ kind, name: nameOf(kind, object), generation: generationOf(object), version },
    ...{
      spec: (object.spec ?? {}) as Kinds[K]['spec'],
      status: (withoutReady(object.status) ?? null) as Kinds[K]['status'],
      secret,
    },
    ...{ createdAt, updatedAt: updated?.at ?? createdAt },
    ...(deletedAt !== undefined && { deletedAt }),
  };
}

// --- internal -----------------------------------------------------------------------------------

/** The cluster tells seconds. */
const inMilliseconds = (time: string): string => {
  const at = Date.parse(time);
  return Number.isNaN(at) ? time : new Date(at).toISOString();
};
