/** Which disks the pods of a workload have (Kubernetes, "Persistent Volumes", "StatefulSets"). Pure. */
import type { Workload } from './kubernetes.ts';

/** A disk of a claim of the baseline. It outlives the pods that use it, and the manifests that name it. */
export type Disk = { readonly namespace: string; readonly claim: string };

/** Name of the claim of one pod of a StatefulSet. @param index the pod's number, or what stands in for it */
export const claimOfPod = (template: string, set: string, index: number | string): string =>
  `${template}-${set}-${index}`;

/** Numbers of the pods of a StatefulSet. */
export function ordinalsOf({ spec }: Workload): readonly number[] {
  const { replicas = 1, ordinals } = spec;
  return Array.from({ length: replicas }, (_, i) => (ordinals?.start ?? 0) + i);
}

/** Claims of all its pods, by name; they are in its namespace. */
export function claimsOf(workload: Workload): readonly string[] {
  const { metadata, spec } = workload;
  const templates = spec.volumeClaimTemplates ?? [];
  const ownNames = templates.map(({ metadata }) => metadata.name);
  const named = (spec.template.spec.volumes ?? []).flatMap(({ name, persistentVolumeClaim }) =>
    persistentVolumeClaim && !ownNames.includes(name) ? [persistentVolumeClaim.claimName] : [],
  );
  const own = ownNames.flatMap(name =>
    ordinalsOf(workload).map(index => claimOfPod(name, metadata.name, index)),
  );
  return [...new Set([...named, ...own])];
}

/** The number of the pod that `claim` is of, if it is made by a StatefulSet's templates; it may have no such pod now. */
export function ordinalOfClaim({ metadata, spec }: Workload, claim: string): number | undefined {
  for (const template of spec.volumeClaimTemplates ?? []) {
    const start = claimOfPod(template.metadata.name, metadata.name, '');
    const rest = claim.startsWith(start) ? claim.slice(start.length) : '';
    if (/^(0|[1-9]\d*)$/.test(rest)) return Number(rest);
  }
  return undefined;
}
