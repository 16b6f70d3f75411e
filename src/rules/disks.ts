/** Disks of claims of the baseline: who has them, and when one may go. */
import { claimsOf } from '../model/claims.ts';
import { OffshootError } from '../model/errors.ts';
import { manifestName } from '../model/manifest-name.ts';
import { asWorkload } from '../model/workload.ts';
import type { Store } from '../store/contract.ts';

/** Manifests that a disk is kept for, as `Kind/name`: workloads whose pods have it, and its claim. Sorted. */
export function usersOfDisk(store: Store, namespace: string, claim: string): readonly string[] {
  const users = store.by('manifest/namespace', namespace).flatMap(({ spec }) => {
    const workload = asWorkload(spec);
    const named = `${spec.kind}/${spec.metadata.name}`;
    return workload !== undefined && claimsOf(workload).includes(claim) ? [named] : [];
  });
  const own = store.get('manifest', manifestName('PersistentVolumeClaim', namespace, claim));
  return [...users, ...(own === undefined ? [] : [`PersistentVolumeClaim/${claim}`])].sort();
}

/** @throws OffshootError disk/in-use */
export function checkDiskUnused(store: Store, namespace: string, claim: string): void {
  const users = usersOfDisk(store, namespace, claim);
  if (users.length > 0) throw new OffshootError('disk/in-use', { namespace, claim, users: users.join(', ') });
}
