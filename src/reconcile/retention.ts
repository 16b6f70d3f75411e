/** Disks of StatefulSets that their manifests let go (Kubernetes, "PersistentVolumeClaim retention"). All others stay. */
import type { Ctx, WorkloadDriver } from '../drivers/contract.ts';
import { ordinalOfClaim, ordinalsOf } from '../model/claims.ts';
import type { Workload } from '../model/kubernetes.ts';
import { namespaceOf } from '../model/manifest-name.ts';

/** To be called when none of its pods is left. */
export async function removeDisksOfDeleted(
  workloads: WorkloadDriver,
  workload: Workload,
  ctx: Ctx,
): Promise<void> {
  if (workload.spec.persistentVolumeClaimRetentionPolicy?.whenDeleted !== 'Delete') return;
  await removeDisks(workloads, workload, () => true, ctx);
}

/** To be called when it has exactly the pods that it is to have. */
export async function removeDisksOfSurplus(
  workloads: WorkloadDriver,
  workload: Workload,
  ctx: Ctx,
): Promise<void> {
  if (workload.spec.persistentVolumeClaimRetentionPolicy?.whenScaled !== 'Delete') return;
  const wanted = ordinalsOf(workload);
  await removeDisks(workloads, workload, ordinal => !wanted.includes(ordinal), ctx);
}

// --- internal -----------------------------------------------------------------------------------

async function removeDisks(
  { disks }: WorkloadDriver,
  workload: Workload,
  isMeant: (ordinal: number) => boolean,
  ctx: Ctx,
): Promise<void> {
  for (const { namespace, claim } of await disks.list(ctx)) {
    const ordinal = namespace === namespaceOf(workload) ? ordinalOfClaim(workload, claim) : undefined;
    if (ordinal !== undefined && isMeant(ordinal)) await disks.remove(namespace, claim, ctx);
  }
}
