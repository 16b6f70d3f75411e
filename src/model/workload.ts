/** Kinds of workloads: how a manifest is seen as one, and by which names they are told apart. Pure. */
import type { Manifest, Workload, WorkloadKind } from './kubernetes.ts';
import type { WorkloadKey } from './sandbox.ts';

export const workloadKinds = ['Deployment'] as const satisfies readonly WorkloadKind[];

export const isWorkloadKind = (kind: string): kind is WorkloadKind =>
  (workloadKinds as readonly string[]).includes(kind);

/** @returns undefined for a manifest of another kind */
export function asWorkload(manifest: Manifest): Workload | undefined {
  return isWorkloadKind(manifest.kind) ? (manifest as Workload) : undefined;
}

/** `namespace/name` for a Deployment, `Kind/namespace/name` for any other. */
export const workloadPath = ({ kind, namespace, name }: WorkloadKey): string =>
  kind === 'Deployment' ? `${namespace}/${name}` : `${kind}/${namespace}/${name}`;

export const sameWorkload = (a: WorkloadKey, b: WorkloadKey): boolean => workloadPath(a) === workloadPath(b);

export const keyOfWorkload = ({ kind, metadata }: Workload): WorkloadKey => ({
  ...{ kind, namespace: metadata.namespace ?? 'default', name: metadata.name },
});

/** Labels of its pods. */
export const podLabels = ({ spec }: Workload): Readonly<Record<string, string>> =>
  spec.template.metadata?.labels ?? {};
