/** Baseline manifests: Deployments become workloads, Services get an address; the rest only waits to be referred to. */
import type { Ctx, WorkloadDriver, WorkloadSeen } from '../drivers/contract.ts';
import type { Log } from '../lib/log.ts';
import { toOffshootError } from '../model/errors.ts';
import type { Deployment, Manifest, Service } from '../model/kubernetes.ts';
import { manifestName, namespaceOf } from '../model/manifest-name.ts';
import type { Address } from '../model/route.ts';
import type { ManifestStatus } from '../model/workload-status.ts';
import type { Store, Stored } from '../store/contract.ts';
import type { Result } from './queue.ts';
import { reasonOf } from './steps.ts';
import { baselineId, baselineOwner, workloadSpec } from './workload-spec.ts';

export type BaselineDeps = {
  readonly store: Store;
  readonly workloads: WorkloadDriver;
  /** Chooses the address of a Service's port; stays the same while it is free. */
  readonly allocate: (service: string, port: number, taken: readonly Address[]) => Address;
  /** Why an address could not be opened, if so; told by the router. */
  readonly listenProblem: (address: Address) => string | undefined;
  readonly log: Log;
};

export type BaselineReconciler = (name: string, signal: AbortSignal) => Promise<Result>;

export function baselineReconciler(deps: BaselineDeps): BaselineReconciler {
  const { store, workloads } = deps;

  const deployment = async (object: Stored<'manifest'>, spec: Deployment, ctx: Ctx): Promise<Result> => {
    const id = baselineId(namespaceOf(spec), spec.metadata.name);
    if (object.deletedAt !== undefined) {
      await workloads.remove(id, ctx);
      await store.remove('manifest', object.name);
      return;
    }
    try {
      const seen = await workloads.ensure(id, workloadSpec(store, baselineOwner, spec), ctx);
      await report(object, workloadStatus(seen, object.generation));
    } catch (thrown) {
      ctx.signal.throwIfAborted();
      const { code, message } = toOffshootError(thrown);
      await report(object, {
        ready: false,
        reason: reasonOf(code),
        message,
        observedGeneration: object.generation,
      });
      throw thrown;
    }
    return;
  };

  const service = async (object: Stored<'manifest'>, spec: Service): Promise<Result> => {
    if (object.deletedAt !== undefined) return void (await store.remove('manifest', object.name));
    const taken = store
      .list('manifest')
      .filter(m => m.name !== object.name)
      .flatMap(m => Object.values(m.status?.addresses ?? {}));
    const addresses: Record<number, Address> = {};
    for (const { port } of spec.spec.ports ?? []) {
      const kept = object.status?.addresses?.[port];
      // An address that somebody else holds is replaced by the next one.
      const usable = kept !== undefined && deps.listenProblem(kept) === undefined;
      const others = [...taken, ...Object.values(addresses), ...(kept === undefined ? [] : [kept])];
      addresses[port] = usable ? kept : deps.allocate(object.name, port, others);
    }
    const problem = Object.values(addresses)
      .map(deps.listenProblem)
      .find(p => p !== undefined);
    await report(object, {
      ready: problem === undefined,
      reason: problem === undefined ? 'Listening' : 'PortTaken',
      message: problem ?? 'the router answers for it',
      observedGeneration: object.generation,
      addresses,
    });
    return;
  };

  const report = async (object: Stored<'manifest'>, status: ManifestStatus): Promise<void> => {
    await store.modify('manifest', object.name, () => ({ status }));
  };

  return async (name, signal) => {
    const object = store.get('manifest', name);
    if (object === undefined) return;
    const ctx: Ctx = { signal, log: deps.log.child({ manifest: name }) };
    const { spec } = object;
    if (spec.kind === 'Deployment') return deployment(object, spec, ctx);
    if (spec.kind === 'Service') return service(object, spec);
    if (object.deletedAt !== undefined) return void (await store.remove('manifest', name));
    await report(object, {
      ready: true,
      reason: 'Stored',
      message: 'stored',
      observedGeneration: object.generation,
    });
    return;
  };
}

export function workloadStatus(seen: WorkloadSeen, generation: number): ManifestStatus {
  return {
    ready: seen.ready,
    reason: seen.reason,
    message: seen.message,
    observedGeneration: generation,
    ports: seen.ports,
    restarts: seen.restarts,
    ...(!seen.ready && seen.log.length > 0 && { log: seen.log.slice(-20) }),
  };
}

/** Store names of the Deployments and Services that must be looked at again when `manifest` changed. */
export function dependents(store: Store, manifest: Manifest): readonly string[] {
  const namespace = namespaceOf(manifest);
  const deployments = store.list('manifest').filter(m => m.spec.kind === 'Deployment');
  switch (manifest.kind) {
    // Every workload knows every Service's address: by name everywhere, by variable in its own namespace.
    case 'Service':
      return deployments.map(m => m.name);
    case 'ConfigMap':
    case 'Secret':
      return deployments.filter(m => namespaceOf(m.spec) === namespace).map(m => m.name);
    case 'Deployment':
    case 'Namespace':
      return [];
  }
}

export const deploymentManifest = (
  store: Store,
  namespace: string,
  name: string,
): Stored<'manifest'> | undefined => {
  const found = store.get('manifest', manifestName('Deployment', namespace, name));
  return found?.deletedAt === undefined ? found : undefined;
};
