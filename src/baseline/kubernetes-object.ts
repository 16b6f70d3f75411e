/** Objects of a cluster as the baseline shows them: as a document would have them, and nothing that only the cluster needs. */

import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { KubernetesObject } from '../kubernetes/resource.ts';
import { deepFreeze } from '../model/freeze.ts';
import type { Manifest } from '../model/kubernetes.ts';
import { asWorkload } from '../model/workload.ts';
import type { Found, ObjectKind } from './contract.ts';
import { statusOf } from './kubernetes-status.ts';

/**
 * @param before what it was until now; parts that are the same stay the same
 * @returns undefined for what belongs to another object: pods of a Deployment, Jobs of a CronJob
 */
export function foundIn(
  kind: ObjectKind,
  object: KubernetesObject,
  before: Found | undefined,
): Found | undefined {
  const { metadata } = object;
  if (isMadeByWorkloads.has(kind) && (metadata.ownerReferences ?? []).some(({ controller }) => controller))
    return undefined;
  const manifest = {
    apiVersion: apiVersions[kind] ?? 'v1',
    kind,
    ...partsOf(kind, object),
    metadata: metaOf(object),
  };
  const now = deepFreeze(asWorkload(manifest as unknown as Manifest) ?? manifest) as Found['object'];
  const shown = before !== undefined && isDeepStrictEqual(before.object, now) ? before.object : now;
  const next: Found = {
    ...{ kind, namespace: metadata.namespace ?? 'default', name: metadata.name, object: shown },
    revision:
      shown === before?.object && metadata.generation === undefined
        ? before.revision
        : revisionOf(object, shown),
    deleting: metadata.deletionTimestamp !== undefined,
    status: statusOf(kind, object),
  };
  // Another one of that name is another one, also when it looks the same.
  return before !== undefined && isDeepStrictEqual(before, next) ? before : deepFreeze(next);
}

// --- internal -----------------------------------------------------------------------------------

/** Kinds that are also made by controllers of others. */
const isMadeByWorkloads: ReadonlySet<ObjectKind> = new Set([
  'ReplicaSet',
  'Job',
  'Pod',
  'ReplicationController',
]);

/** Lists do not say it of their items. */
const apiVersions: Partial<Record<ObjectKind, string>> = {
  ...{ Deployment: 'apps/v1', StatefulSet: 'apps/v1', DaemonSet: 'apps/v1', ReplicaSet: 'apps/v1' },
  ...{ Job: 'batch/v1', CronJob: 'batch/v1', EndpointSlice: 'discovery.k8s.io/v1' },
  Rollout: 'argoproj.io/v1alpha1',
};

/** What controllers and kubectl note for themselves. The second is the whole document once more. */
const ofNoUse =
  /^(deployment\.kubernetes\.io\/|rollout\.argoproj\.io\/|notified\.notifications\.argoproj\.io\/|kubectl\.kubernetes\.io\/last-applied-configuration$|deprecated\.daemonset)/;

function metaOf({ metadata: { name, namespace, labels, annotations = {} } }: KubernetesObject) {
  const notes = Object.fromEntries(Object.entries(annotations).filter(([note]) => !ofNoUse.test(note)));
  return {
    ...{ name, namespace },
    ...(labels !== undefined && { labels }),
    ...(Object.keys(notes).length > 0 && { annotations: notes }),
  };
}

function partsOf(
  kind: ObjectKind,
  { spec, data, binaryData, type, endpoints, ports, addressType }: KubernetesObject,
) {
  if (kind === 'Secret') return { type, ...decoded((data ?? {}) as Readonly<Record<string, string>>) };
  if (kind === 'ConfigMap')
    return { ...(data !== undefined && { data }), ...(binaryData !== undefined && { binaryData }) };
  if (kind === 'EndpointSlice') return { endpoints, ports, addressType };
  return { spec };
}

/** As documents are read: text as it is, and in base64 what is none. */
function decoded(data: Readonly<Record<string, string>>) {
  const [text, binary]: Record<string, string>[] = [{}, {}];
  for (const [key, value] of Object.entries(data)) {
    const bytes = Buffer.from(value, 'base64');
    if (isUtf8(bytes)) text![key] = bytes.toString();
    else binary![key] = value;
  }
  return { data: text, ...(Object.keys(binary!).length > 0 && { binaryData: binary }) };
}

/** The same for every process that sees it. What counts its changes does not count its status. */
function revisionOf(
  { metadata: { uid, generation, deletionTimestamp } }: KubernetesObject,
  shown: object,
): string {
  if (generation !== undefined) return `${uid}.${generation - (deletionTimestamp === undefined ? 0 : 1)}`;
  return `${uid}.${createHash('sha256').update(JSON.stringify(shown)).digest('base64url').slice(0, 16)}`;
}
