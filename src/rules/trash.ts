/**
 * The trash. A branch in it is a branch with a mark, found by nobody and without a server; a project in it is a project
 * under a name that nobody can ask for. What something grows from stays, whatever its time: children go first.
 */
import type { Baseline } from '../baseline/contract.ts';
import { randomName } from '../lib/random.ts';
import type { ProjectSpec } from '../model/branch.ts';
import { OffshootError } from '../model/errors.ts';
import { isTrashed, trashed, trashedProjectKey } from '../model/trash.ts';
import type { Store, Stored } from '../store/contract.ts';
import { TRASH } from '../store/indexes.ts';
import { anotherTry } from './another-try.ts';
import {
  checkBranchName,
  checkDeletable,
  checkProjectDeletable,
  checkProjectName,
  checkUnprotected,
  childrenOf,
  deleteBranchesOf,
  deleteOffspring,
  findBranch,
  requireProject,
} from './branches.ts';
import { holding } from './locks.ts';
import { branchHasChildren } from './offspring.ts';
import { beginTakeOver, finishTakeOver, takenOverBy } from './take-over.ts';

export type TrashEntry = Stored<'branch'> | Stored<'project'>;

/** What can be had back, oldest first. The root of a project in the trash is part of that. */
export function trashEntries(store: Store): readonly TrashEntry[] {
  const branches = store.by('branch/trash', TRASH).filter(b => b.spec.parent !== undefined);
  const projects = store.by('project/trash', TRASH).filter(p => takenOverBy(store, p.name) === undefined);
  const entries: readonly TrashEntry[] = [...branches, ...projects];
  return entries
    .filter(e => e.deletedAt === undefined)
    .toSorted((a, b) => (a.spec.trashed!.at < b.spec.trashed!.at ? -1 : 1));
}

export const nameOfEntry = (entry: TrashEntry): string =>
  entry.kind === 'branch'
    ? (entry as Stored<'branch'>).spec.name
    : (entry as Stored<'project'>).spec.trashed!.name;

/** Name of the project that a branch in the trash belongs to, also when that is in the trash as well. */
export const projectOfEntry = (store: Store, { spec }: Stored<'branch'>): string =>
  store.get('project', spec.project)?.spec.trashed?.name ?? spec.project;

/** By id, or by the name that it had. @throws OffshootError api/not-found, trash/ambiguous */
export function findInTrash(store: Store, nameOrId: string): TrashEntry {
  const entries = trashEntries(store);
  const found = entries.filter(e => e.name === nameOrId || nameOfEntry(e) === nameOrId);
  const exact = found.find(e => e.name === nameOrId);
  if (exact !== undefined) return exact;
  if (found.length > 1) {
    const ids = found.map(e => e.name).join(', ');
    throw new OffshootError('trash/ambiguous', { name: nameOrId, ids });
  }
  if (found.length === 1) return found[0]!;
  throw new OffshootError('api/not-found', {
    kind: 'trash entry',
    name: nameOrId,
    hint: 'see "offshoot trash list"',
  });
}

// --- into the trash -------------------------------------------------------------------------------

/**
 * What a person's delete does: the branch can be had back for `keepMs`. One that belongs to a sandbox is not kept: it is
 * made anew with its sandbox.
 * @param recursive what grows from it goes there before it
 * @throws OffshootError branch/has-children, branch/is-root, branch/owned, branch/protected
 */
export async function trashBranch(
  store: Store,
  branch: Stored<'branch'>,
  keepMs: number,
  now: Date,
  { recursive = false } = {},
): Promise<void> {
  checkDeletable(branch, {});
  if (recursive)
    await deleteOffspring(store, branch, async child => {
      if (!isTrashed(child)) await trashBranch(store, child, keepMs, now);
    });
  await holding(store, { alone: [`branch/${branch.name}`] }, async () => {
    // Those in the trash themselves, or on their way out, do not need its server.
    const growing = childrenOf(store, branch.name).filter(c => c.deletedAt === undefined && !isTrashed(c));
    if (growing.length > 0) throw branchHasChildren(store, branch, growing);
    checkUnprotected(store.get('branch', branch.name) ?? branch);
    const mark = trashed(now, keepMs);
    await store.modify('branch', branch.name, b =>
      b.deletedAt !== undefined || isTrashed(b) ? undefined : { spec: { ...b.spec, trashed: mark } },
    );
  });
  const message = `branch ${branch.spec.name} of project ${branch.spec.project} was put into the trash`;
  await store.record({ kind: 'branch', name: branch.name, severity: 'info', reason: 'Trashed', message });
}

/**
 * The end of the sandbox that a branch belongs to, for one that is kept then: into the trash; while something grows from
 * it, under a name that is in nobody's way until it can go there by itself.
 */
export async function retireBranch(
  store: Store,
  branch: Stored<'branch'>,
  keepMs: number,
  now: Date,
): Promise<void> {
  const { name: id } = branch;
  await holding(store, { alone: [`branch/${id}`] }, async () => {
    const growing = childrenOf(store, id).some(c => c.deletedAt === undefined && !isTrashed(c));
    await store.modify('branch', id, b => {
      if (b.deletedAt !== undefined || isTrashed(b)) return undefined;
      const { owner: _, afterOwner: __, ...spec } = b.spec;
      const end = growing
        ? { name: `${spec.name}-${id}`, scheduledDeleteTime: now.toISOString() }
        : { trashed: trashed(now, keepMs) };
      return { spec: { ...spec, ...end } };
    });
  });
  const message = `branch ${branch.spec.name} of project ${branch.spec.project} goes into the trash after ${branch.spec.owner?.replace('/', ' ')}`;
  await store.record({ kind: 'branch', name: id, severity: 'info', reason: 'Trashed', message });
}

/**
 * The same for a project with its root and what the trash holds of its branches. Its name is free afterwards.
 * @returns the id of the entry
 * @throws OffshootError project/not-empty, project/in-use, api/not-found
 */
export async function trashProject(
  store: Store,
  baseline: Baseline,
  name: string,
  keepMs: number,
  now: Date,
): Promise<string> {
  await finishTakeOver(store, name);
  const id = trashedProjectKey(name, randomName(6));
  await holding(store, { alone: [`project/${name}`, `project/${id}`] }, async () => {
    const { spec } = requireProject(store, name);
    checkProjectDeletable(store, baseline, name);
    await beginTakeOver(store, id, name, {
      ...kept(spec),
      trashed: { name, ...trashed(now, keepMs) },
    });
  });
  await finishTakeOver(store, id);
  const message = `project ${name} was put into the trash`;
  await store.record({ kind: 'project', name, severity: 'info', reason: 'Trashed', message });
  return id;
}

// --- and out of it --------------------------------------------------------------------------------

/**
 * @param as another name, when the old one is taken
 * @returns the object that is there again
 * @throws OffshootError trash/name-taken, trash/parent-trashed, branch/bad-name, api/not-found
 */
export async function restore(store: Store, entry: TrashEntry, as = nameOfEntry(entry)): Promise<TrashEntry> {
  const back =
    entry.kind === 'branch'
      ? await restoreBranch(store, entry as Stored<'branch'>, as)
      : await restoreProject(store, entry as Stored<'project'>, as);
  const message = `${entry.kind} ${as} came back from the trash`;
  await store.record({ kind: back.kind, name: back.name, severity: 'info', reason: 'Restored', message });
  return back;
}

/** Marks what it holds for deletion. @throws OffshootError branch/has-children */
export async function emptyEntry(store: Store, entry: TrashEntry): Promise<void> {
  if (entry.kind === 'project') return removeProject(store, entry as Stored<'project'>);
  const branch = entry as Stored<'branch'>;
  await holding(store, { alone: [`branch/${branch.name}`] }, async () => {
    const children = childrenOf(store, branch.name).filter(c => c.deletedAt === undefined);
    if (children.length > 0) throw branchHasChildren(store, branch, children);
    await store.modify('branch', branch.name, b => (isSameEntry(b, branch) ? { deleted: true } : undefined));
  });
}

/** All of it, children before what they grow from. @returns how many entries there were */
export async function emptyTrash(store: Store): Promise<number> {
  const entries = trashEntries(store);
  const depth = (e: TrashEntry): number => (e.kind === 'branch' ? depthOf(store, e as Stored<'branch'>) : -1);
  for (const entry of entries.toSorted((a, b) => depth(b) - depth(a))) await emptyEntry(store, entry);
  return entries.length;
}

/**
 * Marks an entry whose time is over for deletion.
 * @returns milliseconds until another look; undefined when it is not in the trash, or waits for its last child
 */
export async function expire(store: Store, entry: TrashEntry, now: Date): Promise<number | undefined> {
  const { trashed: mark } = entry.spec;
  if (mark === undefined || entry.deletedAt !== undefined) return undefined;
  const isRoot = entry.kind === 'branch' && (entry as Stored<'branch'>).spec.parent === undefined;
  if (isRoot || takenOverBy(store, entry.name) !== undefined) return undefined;
  const left = Date.parse(mark.until) - now.getTime();
  if (left > 0) return left;
  if (entry.kind === 'branch' && childrenOf(store, entry.name).length > 0) return undefined;
  await emptyEntry(store, entry);
  return undefined;
}

/**
 * For when room is short: gives up what was put here first and nothing grows from.
 * @param takesRoom whether it is room of an entry that is short
 * @returns what it was, in words; undefined when there is nothing to give
 */
export async function giveUpOldest(
  store: Store,
  takesRoom: (entry: TrashEntry) => boolean = () => true,
): Promise<string | undefined> {
  const entry = trashEntries(store).find(
    e => takesRoom(e) && (e.kind === 'project' || childrenOf(store, e.name).length === 0),
  );
  if (entry === undefined) return undefined;
  await emptyEntry(store, entry);
  const what = `${entry.kind} ${nameOfEntry(entry)}`;
  const message = `${what} was removed from the trash, because its space is needed`;
  await store.record({ kind: entry.kind, name: entry.name, severity: 'warning', reason: 'GivenUp', message });
  return what;
}

// --- internal -------------------------------------------------------------------------------------

async function restoreBranch(store: Store, branch: Stored<'branch'>, as: string): Promise<Stored<'branch'>> {
  const { project, parent } = branch.spec;
  checkBranchName(as);
  const keys = {
    alone: [`branch-name/${project}/${as}`, `branch/${branch.name}`],
    shared: [`project/${project}`, `branch/${parent}`],
  };
  return holding(store, keys, async () => {
    const from = store.get('branch', parent!);
    if (from === undefined || from.deletedAt !== undefined || isTrashed(from)) {
      const root = from?.spec.parent === undefined;
      const what = root ? `project ${projectOfEntry(store, branch)}` : `branch ${from.spec.name}`;
      throw new OffshootError('trash/parent-trashed', { name: branch.spec.name, what });
    }
    if (findBranch(store, project, as) !== undefined) throw taken('branch', as, branch.name);
    const back = await store.modify('branch', branch.name, b => {
      if (b.deletedAt !== undefined) return undefined;
      const { trashed: _, scheduledDeleteTime: __, ...spec } = b.spec;
      // Its server may still be ending.
      return { spec: { ...spec, name: as }, ...anotherTry(b) };
    });
    if (back === undefined || back.deletedAt !== undefined) throw gone(branch.spec.name);
    return back;
  });
}

async function restoreProject(
  store: Store,
  project: Stored<'project'>,
  as: string,
): Promise<Stored<'project'>> {
  checkProjectName(as);
  await holding(store, { alone: [`project/${as}`, `project/${project.name}`] }, async () => {
    const now = store.get('project', project.name);
    if (now?.deletedAt !== undefined || now === undefined || takenOverBy(store, now.name) !== undefined)
      throw gone(as);
    if (store.get('project', as) !== undefined) throw taken('project', as, project.name);
    await beginTakeOver(store, as, project.name, kept(now.spec));
  });
  await finishTakeOver(store, as);
  return store.get('project', as)!;
}

/** With all its branches, which are all in the trash. */
async function removeProject(store: Store, entry: Stored<'project'>): Promise<void> {
  const { name } = entry;
  await holding(store, { alone: [`project/${name}`] }, async () => {
    const now = store.get('project', name);
    if (now === undefined || !isSameEntry(now, entry) || takenOverBy(store, name) !== undefined) return;
    await store.modify('project', name, () => ({ deleted: true }));
    await deleteBranchesOf(store, name);
  });
}

/** It may have been restored, and even been put here again, since it was looked at. */
const isSameEntry = (now: TrashEntry, before: TrashEntry): boolean =>
  now.spec.trashed !== undefined && now.spec.trashed.at === before.spec.trashed?.at;

/** What of a project goes into the trash with it, and comes back. */
const kept = ({ trashed: _, takesOver: __, ...spec }: ProjectSpec): ProjectSpec => spec;

const depthOf = (store: Store, { spec }: Stored<'branch'>): number => {
  const parent = spec.parent === undefined ? undefined : store.get('branch', spec.parent);
  return parent === undefined ? 0 : depthOf(store, parent) + 1;
};

const taken = (kind: 'branch' | 'project', name: string, id: string) =>
  new OffshootError('trash/name-taken', { kind, name, id });

const gone = (name: string) =>
  new OffshootError('api/not-found', { kind: 'trash entry', name, hint: 'see "offshoot trash list"' });
