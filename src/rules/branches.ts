/** Intents about projects and branches: the rules that hold whoever asks (API or built-in plugin action). */
import type { Baseline } from '../baseline/contract.ts';
import { randomName, randomSecret } from '../lib/random.ts';
import { scramVerifier } from '../lib/scram.ts';
import {
  adminRole,
  type BranchAddress,
  type BranchLike,
  type BranchSecret,
  branchIdOf,
  type ProjectSecret,
  type ProjectSpec,
  type RolePasswords,
} from '../model/branch.ts';
import { bytesText } from '../model/bytes.ts';
import { OffshootError } from '../model/errors.ts';
import { branchNameFor, branchNameProblem, labelNameProblem } from '../model/names.ts';
import { leastLimitBytes } from '../model/room.ts';
import { isTrashed } from '../model/trash.ts';
import type { Store, Stored } from '../store/contract.ts';
import { anotherTry } from './another-try.ts';
import { holding } from './locks.ts';
import { branchHasChildren, offspringOf, ownersOf } from './offspring.ts';
import { hasWork } from './sleep.ts';
import { finishTakeOver, takenOverBy } from './take-over.ts';
import { checkUnused } from './uses.ts';

/** Makes a project and its root branch, `main`. @throws OffshootError project/exists, branch/bad-name */
export async function createProject(
  store: Store,
  name: string,
  spec: Pick<
    ProjectSpec,
    | 'database'
    | 'role'
    | 'branchLimitBytes'
    | 'maxBranches'
    | 'sleepAfterSeconds'
    | 'rolePasswords'
    | 'settings'
    | 'postgres'
    | 'import'
  >,
  secret: ProjectSecret | null = null,
): Promise<Stored<'project'>> {
  checkProject(name, spec);
  const project = await holding(store, { alone: [`project/${name}`] }, async () => {
    if (store.get('project', name) !== undefined)
      throw new OffshootError('project/exists', { project: name });
    return store.create('project', name, { spec, status: null, secret });
  });
  await ensureRoot(store, name);
  return project;
}

/** @throws OffshootError branch/bad-name */
export function checkProject(name: string, spec: ProjectSpec): void {
  checkProjectName(name);
  const { database, role, branchLimitBytes } = spec;
  requireLimit(branchLimitBytes);
  for (const [what, text] of Object.entries({ database, role })) {
    if (!isPlainName(text)) {
      const why = `use a plain lowercase SQL name that is none of ${[...takenNames].join(', ')} and does not begin with "pg_"`;
      throw new OffshootError('branch/bad-name', { name: text, what, why });
    }
  }
}

/** Whether a database or a role of a project may be called so. */
export const isPlainName = (text: string): boolean =>
  /^[a-z_][a-z0-9_]{0,62}$/.test(text) && !takenNames.has(text) && !text.startsWith('pg_');

/** Makes the root branch of a project that has none: of a new one, or where its making was interrupted. */
export async function ensureRoot(store: Store, project: string): Promise<void> {
  const keys = { alone: [`branch-name/${project}/main`], shared: [`project/${project}`] };
  await holding(store, keys, async () => {
    const there = store.get('project', project);
    const staying = there !== undefined && isListed(store, there) && there.spec.takesOver === undefined;
    if (staying && findBranch(store, project, 'main') === undefined)
      await newBranch(store, { project, name: 'main' }, await branchSecret());
  });
}

/**
 * Marks the project and all its branches for deletion, also those in the trash.
 * @throws OffshootError project/not-empty, project/in-use, api/not-found
 */
export async function deleteProject(store: Store, baseline: Baseline, name: string): Promise<void> {
  await finishTakeOver(store, name);
  await holding(store, { alone: [`project/${name}`] }, async () => {
    requireProject(store, name);
    checkProjectDeletable(store, baseline, name);
    // The project first: from then on nothing grows in it, and the loop marks what is not marked yet.
    await store.modify('project', name, () => ({ deleted: true }));
    await deleteBranchesOf(store, name);
  });
}

/** @throws OffshootError project/not-empty, project/in-use */
export function checkProjectDeletable(store: Store, baseline: Baseline, name: string): void {
  const others = branchesOf(store, name)
    .filter(b => b.spec.parent !== undefined)
    .map(b => b.spec.name);
  if (others.length > 0)
    throw new OffshootError('project/not-empty', { project: name, branches: others.join(', ') });
  for (const branch of branchesOf(store, name)) checkUnprotected(branch);
  checkUnused(store, baseline, name, allBranchesOf(store, name));
}

/** Marks all branches of a project that is to go. */
export async function deleteBranchesOf(store: Store, project: string): Promise<void> {
  const staying = allBranchesOf(store, project).filter(b => b.deletedAt === undefined);
  await Promise.all(staying.map(b => store.modify('branch', b.name, () => ({ deleted: true }))));
}

export type NewBranch = {
  readonly project: string;
  readonly name: string;
  /** Name of the parent branch. */
  readonly parent: string;
  readonly owner?: string;
  readonly afterOwner?: 'trash';
  readonly limitBytes?: number;
  readonly sleepAfterSeconds?: number;
  /** RFC 3339: it begins as what its parent held then. */
  readonly moment?: string;
  /** RFC 3339, see rules/expiry.ts. */
  readonly scheduledDeleteTime?: string;
};

/** Branches that are prepared, see BranchNode in drivers/contract.ts. */
export type BranchStock = {
  reserve(parent: string, like: BranchLike): Promise<string | undefined>;
  giveBack(id: string): void;
};

/**
 * @param stock absent: each branch is made when it is asked for
 * @throws OffshootError branch/bad-name, branch/exists, branch/parent-missing, api/not-found, sandbox/deleting,
 * project/full
 */
export async function createBranch(
  store: Store,
  wish: NewBranch,
  stock?: BranchStock,
): Promise<Stored<'branch'>> {
  const { project, name, owner, afterOwner, limitBytes, sleepAfterSeconds, scheduledDeleteTime, moment } =
    wish;
  checkBranchName(name);
  requireLimit(limitBytes);
  const { name: parent } = parentFor(store, wish);
  const shared = [`project/${project}`, `branch/${parent}`, ...(owner === undefined ? [] : [owner])];
  const alone = [`branch-name/${project}/${name}`];
  // Two at once must not both be the last one.
  if (requireProject(store, project).spec.maxBranches !== undefined) alone.push(`branch-count/${project}`);
  return holding(store, { alone, shared }, async () => {
    checkNotFull(store, project);
    if (parentFor(store, wish).name !== parent)
      throw new OffshootError('api/conflict', { kind: 'branch', name: wish.parent });
    const spec = {
      project,
      name,
      parent,
      ...(owner !== undefined && { owner }),
      ...(afterOwner !== undefined && { afterOwner }),
      ...(limitBytes !== undefined && { limitBytes }),
      ...(sleepAfterSeconds !== undefined && { sleepAfterSeconds }),
      ...(scheduledDeleteTime !== undefined && { scheduledDeleteTime }),
      ...(moment !== undefined && { moment }),
    };
    // Nobody begins to change the parent meanwhile: that takes its lock alone.
    // What is prepared holds what the parent holds now.
    const usable = moment === undefined ? stock : undefined;
    const [id, secret] = await Promise.all([usable && reserved(store, parent, usable), branchSecret()]);
    try {
      return await newBranch(store, spec, secret, id);
    } catch (error) {
      if (id !== undefined) stock?.giveBack(id);
      throw error;
    }
  });
}

/** That a branch has this id says that it was prepared, and held all of its parent when it was asked for. */
async function reserved(store: Store, id: string, stock: BranchStock): Promise<string | undefined> {
  const parent = store.get('branch', id);
  if (parent?.status?.state !== 'ready' || hasWork(store, parent)) return undefined;
  const { role, database, rolePasswords, settings } = requireProject(store, parent.spec.project).spec;
  const { project } = parent.spec;
  const like = { project, role, database, ...(rolePasswords && { rolePasswords }) };
  return stock.reserve(id, { ...like, ...(settings && { settings }) });
}

/**
 * Another name; id, and therefore address, and password stay. Its server tells the new one from its next start on.
 * @throws OffshootError branch/bad-name, branch/exists, branch/rename-refused, api/not-found
 */
export async function renameBranch(
  store: Store,
  { name: id, spec: { project, name: before } }: Stored<'branch'>,
  name: string,
): Promise<Stored<'branch'>> {
  checkBranchName(name);
  const alone = [`branch/${id}`, `branch-name/${project}/${name}`, `branch-name/${project}/${before}`];
  return holding(store, { alone, shared: [`project/${project}`] }, async () => {
    const branch = store.get('branch', id);
    if (branch === undefined || branch.deletedAt !== undefined || isTrashed(branch))
      throw new OffshootError('api/not-found', { kind: 'branch', name: before });
    const { parent, owner } = branch.spec;
    if (parent === undefined || owner !== undefined) {
      const why = owner === undefined ? 'it is the root' : `${owner.replace('/', ' ')} finds it by that`;
      throw new OffshootError('branch/rename-refused', { name: before, why });
    }
    const taken = findBranch(store, project, name);
    if (taken !== undefined && taken.name !== id)
      throw new OffshootError('branch/exists', { name, project, owner: taken.spec.owner });
    return (await store.modify('branch', id, ({ spec }) => ({ spec: { ...spec, name } })))!;
  });
}

/**
 * Other limits for a project; undefined: none.
 * @throws OffshootError branch/bad-limit, api/not-found
 */
export async function limitProject(
  store: Store,
  name: string,
  {
    branchLimitBytes,
    maxBranches,
    sleepAfterSeconds,
  }: Pick<ProjectSpec, 'branchLimitBytes' | 'maxBranches' | 'sleepAfterSeconds'>,
): Promise<Stored<'project'>> {
  requireLimit(branchLimitBytes);
  return holding(store, { alone: [`project/${name}`] }, async () => {
    requireProject(store, name);
    const changed = await store.modify('project', name, ({ spec }) => {
      const { branchLimitBytes: _, maxBranches: __, sleepAfterSeconds: ___, ...rest } = spec;
      return {
        spec: {
          ...rest,
          ...(branchLimitBytes !== undefined && { branchLimitBytes }),
          ...(maxBranches !== undefined && { maxBranches }),
          ...(sleepAfterSeconds !== undefined && { sleepAfterSeconds }),
        },
      };
    });
    return changed!;
  });
}

/** What becomes of passwords of a team's own roles: in branches from now on, and at once where they are the branch's. */
export const passwordsOfRoles = (
  store: Store,
  name: string,
  passwords: RolePasswords,
): Promise<Stored<'project'>> =>
  holding(store, { alone: [`project/${name}`] }, async () => {
    requireProject(store, name);
    const changed = await store.modify('project', name, ({ spec: { rolePasswords: _, ...rest } }) => ({
      spec: { ...rest, ...(passwords !== 'ended' && { rolePasswords: passwords }) },
    }));
    return changed!;
  });

export type Deleter = {
  /** Who asks; a branch that belongs to somebody else is refused, unless `force`. */
  readonly asOwner?: string;
  readonly force?: boolean;
  /** What grows from it goes the same way before it; what belongs to a sandbox is refused still. */
  readonly recursive?: boolean;
};

/**
 * Marks a branch for deletion, at once and for good; see rules/trash.ts for the way that can be gone back.
 * @throws OffshootError branch/has-children, branch/is-root, branch/owned, branch/protected
 */
export async function deleteBranch(
  store: Store,
  branch: Stored<'branch'>,
  deleter: Deleter = {},
): Promise<void> {
  checkDeletable(branch, deleter);
  if (deleter.recursive)
    await deleteOffspring(store, branch, child => deleteBranch(store, child, asItself(child)));
  await holding(store, { alone: [`branch/${branch.name}`] }, async () => {
    // Those that are going are waited for by the loop.
    const children = childrenOf(store, branch.name).filter(c => c.deletedAt === undefined);
    if (children.length > 0) throw branchHasChildren(store, branch, children);
    checkUnprotected(store.get('branch', branch.name) ?? branch);
    await store.modify('branch', branch.name, () => ({ deleted: true }));
  });
}

/**
 * Deletes all that grows from a branch, far ones first, by `remove`.
 * @throws OffshootError branch/has-children when some of it belongs to a sandbox, other than the branch itself,
 * branch/protected
 */
export async function deleteOffspring(
  store: Store,
  branch: Stored<'branch'>,
  remove: (child: Stored<'branch'>) => Promise<void>,
): Promise<void> {
  const offspring = offspringOf(store, [branch.name]);
  const owned = offspring.filter(c => c.spec.owner !== undefined && c.spec.owner !== branch.spec.owner);
  if (ownersOf(store, owned).length > 0) throw branchHasChildren(store, branch, owned);
  for (const child of offspring) checkUnprotected(child);
  for (const child of offspring) await remove(child);
}

/** @throws OffshootError branch/protected */
export function checkUnprotected({ spec }: Stored<'branch'>): void {
  if (spec.protected) throw new OffshootError('branch/protected', { name: spec.name });
}

/**
 * Nobody deletes or resets it, or the other way. What belongs to a sandbox cannot be protected: it goes with that.
 * @throws OffshootError branch/owned
 */
export async function protectBranch(store: Store, branch: Stored<'branch'>, wanted: boolean): Promise<void> {
  const { owner, name } = branch.spec;
  if (wanted && owner !== undefined) {
    const hint = `it goes with ${owner.replace('/', ' ')}; make a branch of it, and protect that`;
    throw new OffshootError('branch/owned', { name, owner: owner.replace('/', ' '), hint });
  }
  await holding(store, { alone: [`branch/${branch.name}`] }, () =>
    store.modify('branch', branch.name, ({ spec: { protected: _, ...rest } }) => ({
      spec: { ...rest, ...(wanted && { protected: true }) },
    })),
  );
}

/** @throws OffshootError branch/is-root, branch/owned, branch/protected */
export function checkDeletable(branch: Stored<'branch'>, { asOwner, force = false }: Deleter): void {
  const { spec } = branch;
  checkUnprotected(branch);
  if (spec.parent === undefined)
    throw new OffshootError('branch/is-root', { name: spec.name, project: spec.project });
  if (spec.owner !== undefined && spec.owner !== asOwner && !force)
    throw new OffshootError('branch/owned', { name: spec.name, owner: spec.owner.replace('/', ' ') });
}

/**
 * Asks for another start: of a server that runs, which ends first, and of one that could not be started, at once and
 * as if for the first time. @throws OffshootError api/not-found when it is being deleted
 */
export async function restartBranch(store: Store, id: string): Promise<Stored<'branch'>> {
  const found = await store.modify('branch', id, branch =>
    branch.deletedAt !== undefined ? undefined : anotherTry(branch),
  );
  if (found !== undefined && found.deletedAt === undefined) return found;
  throw new OffshootError('api/not-found', { kind: 'branch', name: found?.spec.name ?? id });
}

/**
 * Another limit for a branch.
 * @param limitBytes undefined: as its project says
 * @throws OffshootError branch/bad-limit
 */
export async function limitBranch(
  store: Store,
  branch: Stored<'branch'>,
  limitBytes: number | undefined,
): Promise<void> {
  requireLimit(limitBytes);
  await store.modify('branch', branch.name, ({ spec: { limitBytes: _, ...rest } }) => ({
    spec: { ...rest, ...(limitBytes !== undefined && { limitBytes }) },
  }));
}

/** The branches that grow from one, those in the trash and those that are being deleted included. */
export const childrenOf = (store: Store, id: string): readonly Stored<'branch'>[] =>
  store.by('branch/parent', id);

/** Those that are not in the trash. */
export const branchesOf = (store: Store, project: string): readonly Stored<'branch'>[] =>
  allBranchesOf(store, project).filter(b => !isTrashed(b));

export const allBranchesOf = (store: Store, project: string): readonly Stored<'branch'>[] =>
  store.by('branch/project', project);

/** By name, or by id. */
export const findBranch = (store: Store, project: string, nameOrId: string): Stored<'branch'> | undefined => {
  const branches = branchesOf(store, project);
  return branches.find(b => b.spec.name === nameOrId) ?? branches.find(b => b.name === nameOrId);
};

/** Why a branch that is to go is there still, if something is the matter; its removal goes on being tried. */
export function deletionProblem({ spec, status }: Stored<'branch'>): OffshootError | undefined {
  if (status?.state !== 'deleting' || status.reason === 'InProgress') return undefined;
  return new OffshootError('branch/delete-failed', { name: spec.name, why: status.message });
}

/** @throws OffshootError api/not-found */
export function requireProject(store: Store, name: string): Stored<'project'> {
  const project = store.get('project', name);
  if (project !== undefined && isListed(store, project)) return project;
  throw new OffshootError('api/not-found', { kind: 'project', name });
}

/** Changes the password. @param keepSessions those that are open go on; otherwise they are ended */
export async function rotatePassword(
  store: Store,
  id: string,
  { keepSessions }: { readonly keepSessions: boolean },
): Promise<void> {
  const fresh = await branchSecret();
  await store.modify('branch', id, ({ secret }) => {
    const rotation = (secret.rotation ?? 0) + 1;
    const sessions = keepSessions ? (secret.sessions ?? 0) : rotation;
    return { secret: { ...secret, ...fresh, rotation, sessions } };
  });
}

/** A branch's way in, as its intent holds it. */
export async function branchSecret(
  password = randomSecret(32),
): Promise<BranchSecret & { readonly verifier: string }> {
  return { password, verifier: await scramVerifier(password) };
}

/** Whether it is there for people: it stays, is not in the trash, and not on its way there or back. */
export const isListed = (store: Store, project: Stored<'project'>): boolean =>
  project.deletedAt === undefined && !isTrashed(project) && takenOverBy(store, project.name) === undefined;

export const listedProjects = (store: Store): readonly Stored<'project'>[] =>
  store.list('project').filter(p => isListed(store, p));

/** The project that is meant when none is named: `default`, or the only one there is. */
export function defaultProject(store: Store): string {
  const usual = store.get('project', 'default');
  if (usual !== undefined && isListed(store, usual)) return usual.name;
  const projects = listedProjects(store);
  return projects.length === 1 ? projects[0]!.name : 'default';
}

/** How a client gets in through the gateway at `gateway`. */
export function branchAddress(
  store: Store,
  branch: Stored<'branch'>,
  gateway: { readonly host: string; readonly port: number },
): BranchAddress {
  const { role, database } = requireProject(store, branch.spec.project).spec;
  return { ...gateway, user: `${role}.${branch.name}`, password: branch.secret.password, database };
}

/** @throws OffshootError branch/bad-name */
export function checkProjectName(name: string): void {
  const problem = labelNameProblem(name);
  if (problem !== undefined)
    throw new OffshootError('branch/bad-name', {
      name,
      what: 'project',
      why: problem,
      similar: similarTo(name),
    });
}

/** @throws OffshootError branch/bad-name */
export function checkBranchName(name: string): void {
  const problem = branchNameProblem(name);
  if (problem !== undefined)
    throw new OffshootError('branch/bad-name', { name, why: problem, similar: similarTo(name) });
}

// --- internal -----------------------------------------------------------------------------------

const similarTo = (name: string): string | undefined => (name === '' ? undefined : branchNameFor(name));

function requireLimit(bytes: number | undefined): void {
  if (bytes !== undefined && bytes < leastLimitBytes) {
    const why = `at least ${bytesText(leastLimitBytes)} are needed to start and to recover`;
    throw new OffshootError('branch/bad-limit', { limit: bytesText(bytes), why });
  }
}

/** Every cluster has databases and a role of these names, or SQL means something else by them (CREATE ROLE). */
const takenNames = new Set([adminRole, 'postgres', 'template0', 'template1', 'public', 'none']);

function checkNotFull(store: Store, project: string): void {
  const most = requireProject(store, project).spec.maxBranches;
  if (most === undefined) return;
  const count = branchesOf(store, project).filter(
    b => b.deletedAt === undefined && b.spec.parent !== undefined,
  ).length;
  if (count >= most) throw new OffshootError('project/full', { project, count, most });
}

/** What a new branch would grow from, if it may. */
function parentFor(store: Store, { project, name, parent, owner }: NewBranch): Stored<'branch'> {
  requireProject(store, project);
  if (owner !== undefined) requireOwner(store, owner);
  const taken = findBranch(store, project, name);
  if (taken !== undefined)
    throw new OffshootError('branch/exists', { name, project, owner: taken.spec.owner });
  const found = findBranch(store, project, parent);
  if (found === undefined || found.deletedAt !== undefined)
    throw new OffshootError('branch/parent-missing', { parent, project });
  // It goes with its owner.
  if (found.spec.owner !== undefined && found.spec.owner !== owner) refuseDeleting(store, found.spec.owner);
  return found;
}

/** @param owner `sandbox/NAME` */
function requireOwner(store: Store, owner: string): void {
  const name = owner.slice('sandbox/'.length);
  if (store.get('sandbox', name) === undefined)
    throw new OffshootError('api/not-found', { kind: 'sandbox', name });
  refuseDeleting(store, owner);
}

function refuseDeleting(store: Store, owner: string): void {
  const name = owner.slice('sandbox/'.length);
  if (store.get('sandbox', name)?.deletedAt !== undefined)
    throw new OffshootError('sandbox/deleting', { name });
}

const asItself = ({ spec: { owner } }: Stored<'branch'>): Deleter =>
  owner === undefined ? {} : { asOwner: owner };

const newBranch = async (
  store: Store,
  spec: Stored<'branch'>['spec'],
  secret: BranchSecret,
  id = branchIdOf(randomName(12)),
): Promise<Stored<'branch'>> => store.create('branch', id, { spec, status: null, secret });
