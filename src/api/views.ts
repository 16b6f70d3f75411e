/** From stored objects to what clients may see; by kind. */
import { resourceStatuses } from '../model/resource-status.ts';
import type { BranchView, ManifestView, PluginView, ProjectView, SandboxView } from '../model/view.ts';
import { branchesOf } from '../rules/branches.ts';
import type { Store, Stored } from '../store/contract.ts';

export const projectView = (store: Store, { name, spec, createdAt }: Stored<'project'>): ProjectView => ({
  name,
  ...spec,
  branches: branchesOf(store, name).length,
  createdAt,
});

export function branchView(
  store: Store,
  { name: id, spec, status, createdAt, deletedAt }: Stored<'branch'>,
): BranchView {
  return {
    id,
    name: spec.name,
    project: spec.project,
    parent: spec.parent === undefined ? null : (store.get('branch', spec.parent)?.spec.name ?? spec.parent),
    owner: spec.owner ?? null,
    state: deletedAt !== undefined ? 'deleting' : (status?.state ?? 'creating'),
    reason: status?.reason ?? 'InProgress',
    message: status?.message ?? 'being created',
    ...(status?.hint !== undefined && { hint: status.hint }),
    ...(status?.restarts !== undefined && { restarts: status.restarts }),
    ...(status?.emptied !== undefined && { emptied: status.emptied }),
    conditions: status?.conditions ?? [],
    createdAt,
  };
}

export function sandboxView(object: Stored<'sandbox'>): SandboxView {
  const { name, spec, status, secret, generation, createdAt, updatedAt, deletedAt } = object;
  const { endpoints = [], ...rest } = status ?? {};
  return {
    name,
    spec,
    routingKey: secret.routingKey,
    endpoints,
    status: {
      ready: false,
      failed: false,
      reason: 'InProgress',
      message: 'being created',
      observedGeneration: 0,
      conditions: [],
      forks: [],
      ...rest,
      resources: resourceStatuses(spec, secret.resources),
      ...(deletedAt !== undefined && { ready: false }),
    },
    generation,
    createdAt,
    updatedAt,
    ...(deletedAt !== undefined && { deletedAt }),
  };
}

export function pluginView(store: Store, { name, spec, createdAt, updatedAt }: Stored<'plugin'>): PluginView {
  const resources = store.by('sandbox/plugin', name).flatMap(sandbox =>
    Object.entries(sandbox.secret.resources)
      .filter(([, record]) => record.plugin === name)
      .map(([resource]) => ({ name: resource, sandbox: sandbox.name })),
  );
  return { name, spec, status: { resources }, createdAt, updatedAt };
}

export function manifestView({ spec, status, generation, deletedAt }: Stored<'manifest'>): ManifestView {
  return {
    kind: spec.kind,
    namespace: spec.kind === 'Namespace' ? '' : (spec.metadata.namespace ?? 'default'),
    name: spec.metadata.name,
    ready: status?.ready ?? false,
    reason: status?.reason ?? 'Pending',
    message: status?.message ?? 'not looked at yet',
    ...(status?.restarts !== undefined && { restarts: status.restarts }),
    ...(status?.addresses !== undefined && { addresses: status.addresses }),
    ...(status?.log !== undefined && { log: status.log }),
    generation,
    observedGeneration: status?.observedGeneration ?? 0,
    ...(deletedAt !== undefined && { deletedAt }),
  };
}
