/** The workload that a pod is of, by what the pod itself bears: for who only sees pods. What it is worth, see pod-identity.ts. */
import type { WorkloadKey } from '../model/sandbox.ts';

type Owned = {
  readonly labels?: Readonly<Record<string, string>>;
  readonly ownerReferences?: readonly {
    readonly kind: string;
    readonly name: string;
    readonly controller?: boolean;
  }[];
};

/**
 * A Deployment's ReplicaSet is named after it, with the hash that its pods bear as a label; an Argo Rollout's as well.
 * @returns undefined for a pod of nobody, or of what runs to its end
 */
export function workloadByName(
  { labels = {}, ownerReferences = [] }: Owned,
  namespace: string,
): WorkloadKey | undefined {
  const owner = ownerReferences.find(({ controller }) => controller === true);
  if (owner === undefined) return undefined;
  for (const [kind, label] of hashed) {
    const end = `-${labels[label]}`;
    if (owner.kind === 'ReplicaSet' && labels[label] !== undefined && owner.name.endsWith(end))
      return { kind, namespace, name: owner.name.slice(0, -end.length) };
  }
  const kind = kinds.find(one => one === owner.kind);
  return kind && { kind, namespace, name: owner.name };
}

// --- internal ------------------------------------------------------------------------------------

const hashed = [
  ['Deployment', 'pod-template-hash'],
  ['Rollout', 'rollouts-pod-template-hash'],
] as const;

const kinds = ['ReplicaSet', 'StatefulSet', 'DaemonSet', 'ReplicationController'] as const;
