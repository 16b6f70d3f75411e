/** A workload of the baseline as it is asked for, and as it is reported. */
import type { Baseline } from '../baseline/contract.ts';
import type { WorkloadSeen, WorkloadSpec } from '../drivers/contract.ts';
import type { Workload } from '../model/kubernetes.ts';
import type { ManifestStatus } from '../model/workload-status.ts';
import { imagesOf } from '../rules/folders.ts';
import { inputsOf } from '../rules/inputs.ts';
import type { Store, Stored } from '../store/contract.ts';
import { baselineOwner, servedBy, workloadSpec } from './workload-spec.ts';

export function specOfBaseline(
  around: { readonly store: Store; readonly baseline: Baseline },
  object: Stored<'manifest'>,
  workload: Workload,
): WorkloadSpec {
  return workloadSpec(around.baseline, baselineOwner, workload, {
    ports: servedBy(around.baseline, workload),
    wish: inputsOf(around, object),
    restarts: object.secret?.restarts,
    images: [imagesOf(around.store, object.name)],
  });
}

export function workloadStatus(seen: WorkloadSeen, generation: number): ManifestStatus {
  return {
    ready: seen.ready,
    serving: seen.serving,
    reason: seen.reason,
    message: seen.message,
    observedGeneration: generation,
    ports: seen.ports,
    ...(seen.ips !== undefined && seen.ips.length > 0 && { ips: seen.ips }),
    ...(seen.pods !== undefined && seen.pods.length > 0 && { pods: seen.pods }),
    restarts: seen.restarts,
    ...(!seen.ready && seen.log.length > 0 && { log: seen.log.slice(-20) }),
  };
}
