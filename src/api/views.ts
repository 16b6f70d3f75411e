/** From stored objects to what clients may see; by kind. */

import { type BranchStatus, SLEEP_AFTER_SECONDS } from '../model/branch.ts';
import type { ImportSpec } from '../model/import.ts';
import type { Manifest, Secret } from '../model/kubernetes.ts';
import { namespaceOf } from '../model/manifest-name.ts';
import { resourceStatuses } from '../model/resource-status.ts';
import { limitOf } from '../model/room.ts';
import { sourceText } from '../model/source-address.ts';
import { speechOfPorts } from '../model/speaks.ts';
import type {
  BranchView,
  ImageView,
  ManifestView,
  PlannedManifestView,
  PluginView,
  ProjectView,
  SandboxView,
  TrashView,
} from '../model/view.ts';
import type { ManifestStatus } from '../model/workload-status.ts';
import { allBranchesOf, branchesOf } from '../rules/branches.ts';
import type { ImageEntry } from '../rules/images.ts';
import { isCurrent } from '../rules/inputs.ts';
import type { PlannedManifest } from '../rules/manifests.ts';
import { isResetPending } from '../rules/reset.ts';
import { nameOfEntry, projectOfEntry, type TrashEntry } from '../rules/trash.ts';
import type { Store, Stored } from '../store/contract.ts';
import type { BranchesAtHand } from './context.ts';

export const projectView = (store: Store, { name, spec, createdAt }: Stored<'project'>): ProjectView => ({
  name,
  database: spec.database,
  role: spec.role,
  branchLimitBytes: spec.branchLimitBytes ?? null,
  maxBranches: spec.maxBranches ?? null,
  sleepAfterSeconds: spec.sleepAfterSeconds ?? SLEEP_AFTER_SECONDS,
  rolePasswords: spec.rolePasswords ?? 'ended',
  ...(spec.settings && { settings: spec.settings }),
  ...(spec.postgres && { postgres: spec.postgres }),
  branches: branchesOf(store, name).length,
  createdAt,
  ...importView(store, name, spec.import),
  ...(spec.trashed !== undefined && { trashed: spec.trashed }),
});

/** What is seen of an older one says nothing of the newest. */
function importView(
  store: Store,
  project: string,
  spec: ImportSpec | undefined,
): Pick<ProjectView, 'import'> {
  if (spec === undefined) return {};
  const { source, count, at, cancelled: _, ...options } = spec;
  const root = allBranchesOf(store, project).find(b => b.spec.parent === undefined);
  const seen = root?.status?.import;
  const status = seen?.count === count ? seen : { count, state: 'waiting' as const };
  return { import: { ...status, source: sourceText(source), options, at } };
}

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
    state: stateOf(spec, isResetPending({ spec, status }) ? 'creating' : status?.state, deletedAt),
    reason: status?.reason ?? 'InProgress',
    message: status?.message ?? 'being created',
    ...(status?.hint !== undefined && { hint: status.hint }),
    ...(status?.restarts !== undefined && { restarts: status.restarts }),
    ...(status?.emptied !== undefined && { emptied: status.emptied }),
    ...(status?.passwordless !== undefined && { passwordless: status.passwordless }),
    ...(status?.import !== undefined && { import: status.import }),
    conditions: status?.conditions ?? [],
    createdAt,
    limitBytes: spec.limitBytes ?? null,
    sleepAfterSeconds: spec.sleepAfterSeconds ?? null,
    silentAfterSeconds: spec.silentAfterSeconds ?? null,
    port: spec.port ?? null,
    ...(spec.settings && { settings: spec.settings }),
    ...sinceOf(status),
    protected: spec.protected ?? false,
    scheduledDeleteTime: spec.scheduledDeleteTime ?? null,
    ...momentView(spec),
    ...(spec.trashed !== undefined && { trashed: spec.trashed }),
  };
}

function momentView({ moment, reset }: Stored<'branch'>['spec']): Pick<BranchView, 'moment'> {
  const newest = reset === undefined ? moment : reset.moment;
  return newest === undefined ? {} : { moment: newest };
}

/** When its server came to run, or to sleep. */
function sinceOf(status: BranchStatus | null): Pick<BranchView, 'since'> {
  const since = status?.conditions.find(c => c.type === 'ServerReady')?.lastTransitionTime;
  return since === undefined ? {} : { since };
}

/** What is asked for comes before what was last seen. */
function stateOf(
  { trashed }: Stored<'branch'>['spec'],
  seen: BranchView['state'] | undefined,
  deletedAt: string | undefined,
): BranchView['state'] {
  if (deletedAt !== undefined) return 'deleting';
  if (trashed !== undefined) return 'trashed';
  return seen === 'trashed' || seen === undefined ? 'creating' : seen;
}

/** @param sizes of branches by id, as far as they are known */
export function trashView(
  store: Store,
  entry: TrashEntry,
  sizes: ReadonlyMap<string, { readonly bytes: number }>,
): TrashView {
  const { name: id, spec } = entry;
  const { at, until } = spec.trashed!;
  const branch = entry.kind === 'branch' ? (entry as Stored<'branch'>) : undefined;
  // A project is its root; other branches of it have an entry of their own.
  const held = branch?.name ?? allBranchesOf(store, id).find(b => b.spec.parent === undefined)?.name ?? '';
  const known = sizes.get(held)?.bytes;
  return {
    id,
    kind: entry.kind,
    name: nameOfEntry(entry),
    project: branch === undefined ? null : projectOfEntry(store, branch),
    at,
    until,
    ...(known !== undefined && { bytes: known }),
  };
}

/** @param space see BranchesAtHand */
export function sizedBranchView(
  store: Store,
  branch: Stored<'branch'>,
  { room, sizes }: Awaited<ReturnType<BranchesAtHand['space']>>,
): BranchView {
  const view = branchView(store, branch);
  const size = sizes.get(branch.name);
  if (size === undefined || room === undefined) return view;
  const { project, parent, limitBytes: own } = branch.spec;
  const ofProject = store.get('project', project)?.spec.branchLimitBytes;
  const limit = limitOf({ root: parent === undefined, own, project: ofProject }, room);
  return { ...view, size: { ...size, limitBytes: limit ?? null } };
}

export function sandboxView(object: Stored<'sandbox'>): SandboxView {
  const { name, status, secret, generation, createdAt, updatedAt, deletedAt } = object;
  const { images: _, migrate: __, ...spec } = object.spec;
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

export function imageView(store: Store, { folder, image, users }: ImageEntry): ImageView {
  const { dir, command, args } = store.get('folder', folder)!.spec.images[image]!;
  return { image, folder, dir, command, ...(args && { args }), users };
}

/** What deploying would do to one object; with the values of Secrets masked, so that only whether they differ can be seen. */
export function plannedView({ before, after, outcome }: PlannedManifest): PlannedManifestView {
  const names = {
    kind: after.kind,
    namespace: after.kind === 'Namespace' ? '' : namespaceOf(after),
    name: after.metadata.name,
  };
  if (outcome === 'unchanged') return { ...names, outcome };
  const old = before === undefined ? undefined : masked(before, after, 'before');
  return { ...names, outcome, ...(old && { before: old }), after: masked(after, before, 'after') };
}

export function manifestView(around: Around, object: Stored<'manifest'>): ManifestView {
  const { spec, secret, generation, deletedAt } = object;
  const status = isCurrent(around, object) ? object.status : outdatedStatus(object.status);
  return {
    kind: spec.kind,
    namespace: spec.kind === 'Namespace' ? '' : (spec.metadata.namespace ?? 'default'),
    name: spec.metadata.name,
    ready: status?.ready ?? false,
    reason: status?.reason ?? 'Pending',
    message: status?.message ?? 'not looked at yet',
    ...(status?.restarts !== undefined && { restarts: status.restarts }),
    ...(status?.addresses !== undefined && { addresses: status.addresses }),
    ...(spec.kind === 'Service' && { speaks: speechOfPorts(spec, status?.found) }),
    ...(status?.log !== undefined && { log: status.log }),
    generation,
    observedGeneration: status?.observedGeneration ?? 0,
    ...(secret?.from && { folder: secret.from.folder, file: secret.from.file }),
    ...(deletedAt !== undefined && { deletedAt }),
  };
}

// --- internal -----------------------------------------------------------------------------------

type Around = Parameters<typeof isCurrent>[0];

function masked(manifest: Manifest, other: Manifest | undefined, which: string): Manifest {
  if (manifest.kind !== 'Secret') return manifest;
  const mask = (field: 'data' | 'binaryData') => {
    const values = manifest[field] as Readonly<Record<string, string>> | undefined;
    if (values === undefined) return {};
    const others = (other as Secret | undefined)?.[field] as typeof values;
    return {
      [field]: Object.fromEntries(
        Object.entries(values).map(([key, value]) => {
          const differs = others?.[key] !== undefined && others[key] !== value;
          return [key, differs ? `*** (${which})` : '***'];
        }),
      ),
    };
  };
  return { ...manifest, ...mask('data'), ...mask('binaryData') };
}

/** It was seen when it was made from something else: nothing of that is said any more. */
const outdatedStatus = (status: ManifestStatus | null): ManifestStatus | null =>
  status && {
    ready: false,
    reason: 'InProgress',
    message: 'what it is made from has changed',
    observedGeneration: status.observedGeneration,
  };
