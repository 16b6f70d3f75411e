/**
 * What a sandbox's routing key means at each workload that it forks. One answer for the router and for those who ask
 * instead of being routed, such as consumers of a queue: as long as a fork is asked for, being made, failed or being
 * deleted, its key is the fork's, and whoever is not the fork leaves it alone.
 */
import type { Target } from './route.ts';
import type { SandboxSpec, SandboxStatus, WorkloadKey } from './sandbox.ts';
import { sameWorkload } from './workload.ts';

export type SandboxRoute = {
  readonly forkOf: WorkloadKey;
  readonly sandbox: string;
  readonly routingKey: string;
  readonly target: Target;
};

export type RoutedSandbox = {
  readonly name: string;
  readonly spec: SandboxSpec;
  readonly status: SandboxStatus | null;
  readonly secret: { readonly routingKey: string };
  readonly deletedAt?: string;
};

export const sandboxRoutes = (sandbox: RoutedSandbox): readonly SandboxRoute[] =>
  (sandbox.spec.forks ?? []).map(({ forkOf }) => ({
    forkOf,
    sandbox: sandbox.name,
    routingKey: sandbox.secret.routingKey,
    target: targetOf(sandbox, forkOf),
  }));

// --- internal -----------------------------------------------------------------------------------

function targetOf({ name, status, deletedAt }: RoutedSandbox, forkOf: WorkloadKey): Target {
  if (deletedAt !== undefined)
    return { ready: false, reason: 'Deleting', message: `sandbox "${name}" is being deleted` };
  const fork = status?.forks.find(f => sameWorkload(f.forkOf, forkOf));
  if (fork === undefined) return { ready: false, reason: 'Pending', message: 'not started yet' };
  const { ready, serving = ready, ports, reason, message } = fork;
  return serving ? { ready: true, ports } : { ready: false, reason, message };
}
