/** Kinds of workloads: how a manifest is seen as one, and by which names they are told apart. Pure. */

import { deepFreeze } from './freeze.ts';
import type { Manifest, Workload, WorkloadKind, WorkloadManifest } from './kubernetes.ts';
import type { WorkloadKey } from './sandbox.ts';

export const workloadKinds = [
  'Deployment',
  'StatefulSet',
  'DaemonSet',
  'ReplicaSet',
  'ReplicationController',
  'Rollout',
  'Job',
  'CronJob',
  'Pod',
] as const satisfies readonly WorkloadKind[];

export const isWorkloadKind = (kind: string): kind is WorkloadKind =>
  (workloadKinds as readonly string[]).includes(kind);

/**
 * Of a CronJob its template is that of its runs; see `jobOfRun` for those.
 * @returns undefined for a manifest of another kind; always the same for the same manifest
 */
export function asWorkload(manifest: Manifest): Workload | undefined {
  if (!isWorkloadKind(manifest.kind)) return undefined;
  const known = seen.get(manifest);
  if (known !== undefined) return known;
  const workload = seenAs(manifest as WorkloadManifest);
  seen.set(manifest, workload);
  return workload;
}

/** How a folder's pod template is found in its manifest: the pod's spec, and the labels and annotations beside it. */
export const podPath = (kind: WorkloadKind): readonly string[] => {
  if (kind === 'Pod') return ['spec'];
  return kind === 'CronJob'
    ? ['spec', 'jobTemplate', 'spec', 'template', 'spec']
    : ['spec', 'template', 'spec'];
};

/** `namespace/name` for a Deployment, `Kind/namespace/name` for any other. */
export const workloadPath = ({ kind, namespace, name }: WorkloadKey): string =>
  kind === 'Deployment' ? `${namespace}/${name}` : `${kind}/${namespace}/${name}`;

/** The way back. @returns undefined for what is no such path */
export function workloadAtPath(path: string): WorkloadKey | undefined {
  const [name, namespace, kind = 'Deployment', ...more] = path.split('/').reverse();
  if (!name || !namespace || more.length > 0 || !isWorkloadKind(kind)) return undefined;
  return { kind, namespace, name };
}

export const sameWorkload = (a: WorkloadKey, b: WorkloadKey): boolean => workloadPath(a) === workloadPath(b);

export const keyOfWorkload = ({ kind, metadata }: Workload): WorkloadKey => ({
  ...{ kind, namespace: metadata.namespace ?? 'default', name: metadata.name },
});

/** It is ready when it has ended, not while it runs. */
export const runsToItsEnd = ({ kind }: Workload): boolean => kind === 'Job' || kind === 'CronJob';

/** Labels of its pods. */
export const podLabels = ({ spec }: Workload): Readonly<Record<string, string>> =>
  spec.template.metadata?.labels ?? {};

// --- internal -----------------------------------------------------------------------------------

const seen = new WeakMap<Manifest, Workload>();

function seenAs(manifest: WorkloadManifest): Workload {
  if (manifest.kind === 'Pod') {
    const { metadata, spec } = manifest;
    const { labels, annotations } = metadata;
    const own = { ...(labels && { labels }), ...(annotations && { annotations }) };
    return deepFreeze({ ...manifest, spec: { replicas: 1, template: { metadata: own, spec } } });
  }
  if (manifest.kind === 'CronJob')
    return deepFreeze({ ...manifest, spec: { ...manifest.spec.jobTemplate.spec, ...manifest.spec } });
  if (manifest.kind === 'ReplicationController') {
    const { selector, ...spec } = manifest.spec;
    const matchLabels = selector as Readonly<Record<string, string>> | undefined;
    return deepFreeze({ ...manifest, spec: { ...spec, ...(matchLabels && { selector: { matchLabels } }) } });
  }
  return manifest;
}
