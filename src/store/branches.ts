/** Intents about projects and branches: the rules that hold whoever asks (API or built-in plugin action). */
import { randomName, randomSecret } from '../lib/random.ts';
import { adminRole, type BranchAddress, type ProjectSpec } from '../model/branch.ts';
import { OffshootError } from '../model/errors.ts';
import { labelNameProblem } from '../model/names.ts';
import type { Store, Stored } from './contract.ts';
import { whenObject } from './wait.ts';

/** Makes a project and its root branch, `main`. @throws OffshootError project/exists, branch/bad-name */
export function createProject(store: Store, name: string, spec: ProjectSpec): Stored<'project'> {
  const problem = labelNameProblem(name);
  if (problem !== undefined)
    throw new OffshootError('branch/bad-name', { name, what: 'project', why: problem });
  for (const [what, text] of Object.entries(spec)) {
    if (!/^[a-z_][a-z0-9_]{0,62}$/.test(text) || takenNames.has(text) || text.startsWith('pg_')) {
      const why = `use a plain lowercase SQL name that is none of ${[...takenNames].join(', ')} and does not begin with "pg_"`;
      throw new OffshootError('branch/bad-name', { name: text, what, why });
    }
  }
  return store.transaction(() => {
    if (store.get('project', name) !== undefined)
      throw new OffshootError('project/exists', { project: name });
    const project = store.create('project', name, { spec, status: null, secret: null });
    newBranch(store, { project: name, name: 'main' });
    return project;
  });
}

/** Marks the project and `main` for deletion. @throws OffshootError project/not-empty, api/not-found */
export function deleteProject(store: Store, name: string): void {
  store.transaction(() => {
    requireProject(store, name);
    const branches = branchesOf(store, name);
    const others = branches.filter(b => b.spec.parent !== undefined).map(b => b.spec.name);
    if (others.length > 0)
      throw new OffshootError('project/not-empty', { project: name, branches: others.join(', ') });
    for (const branch of branches) store.modify('branch', branch.name, () => ({ deleted: true }));
    store.modify('project', name, () => ({ deleted: true }));
  });
}

export type NewBranch = {
  readonly project: string;
  readonly name: string;
  /** Name of the parent branch. */
  readonly parent: string;
  readonly owner?: string;
};

/** @throws OffshootError branch/bad-name, branch/exists, branch/parent-missing, api/not-found */
export function createBranch(store: Store, wish: NewBranch): Stored<'branch'> {
  const problem = labelNameProblem(wish.name);
  if (problem !== undefined) throw new OffshootError('branch/bad-name', { name: wish.name, why: problem });
  return store.transaction(() => {
    requireProject(store, wish.project);
    const taken = findBranch(store, wish.project, wish.name);
    if (taken !== undefined) {
      throw new OffshootError('branch/exists', {
        name: wish.name,
        project: wish.project,
        owner: taken.spec.owner,
      });
    }
    const parent = findBranch(store, wish.project, wish.parent);
    if (parent === undefined || parent.deletedAt !== undefined) {
      throw new OffshootError('branch/parent-missing', { parent: wish.parent, project: wish.project });
    }
    return newBranch(store, {
      project: wish.project,
      name: wish.name,
      parent: parent.name,
      ...(wish.owner !== undefined && { owner: wish.owner }),
    });
  });
}

/**
 * Marks a branch for deletion.
 * @param asOwner who asks; a branch that belongs to somebody else is refused, unless `force`
 * @throws OffshootError branch/has-children, branch/is-root, branch/owned
 */
export function deleteBranch(
  store: Store,
  branch: Stored<'branch'>,
  { asOwner, force = false }: { asOwner?: string; force?: boolean } = {},
): void {
  store.transaction(() => {
    const { spec } = branch;
    if (spec.parent === undefined)
      throw new OffshootError('branch/is-root', { name: spec.name, project: spec.project });
    if (spec.owner !== undefined && spec.owner !== asOwner && !force) {
      throw new OffshootError('branch/owned', { name: spec.name, owner: spec.owner.replace('/', ' ') });
    }
    const children = store.list('branch').filter(b => b.spec.parent === branch.name);
    if (children.length > 0) {
      const names = children.map(b => b.spec.name).join(', ');
      throw new OffshootError('branch/has-children', { name: spec.name, children: names });
    }
    store.modify('branch', branch.name, () => ({ deleted: true }));
  });
}

export const branchesOf = (store: Store, project: string): readonly Stored<'branch'>[] =>
  store.list('branch').filter(b => b.spec.project === project);

/** By name, or by id. */
export const findBranch = (store: Store, project: string, nameOrId: string): Stored<'branch'> | undefined => {
  const branches = branchesOf(store, project);
  return branches.find(b => b.spec.name === nameOrId) ?? branches.find(b => b.name === nameOrId);
};

/** Resolves when a branch is really gone. @throws OffshootError branch/delete-failed, while its removal goes on being tried */
export const branchGone = (store: Store, id: string, signal: AbortSignal): Promise<true> =>
  whenObject(
    store,
    'branch',
    id,
    branch => {
      if (branch === undefined) return true;
      const { state, reason, message } = branch.status ?? {};
      if (state !== 'deleting' || reason === 'InProgress') return undefined;
      throw new OffshootError('branch/delete-failed', { name: branch.spec.name, why: message });
    },
    signal,
  );

export function requireProject(store: Store, name: string): Stored<'project'> {
  const project = store.get('project', name);
  if (project === undefined || project.deletedAt !== undefined) {
    throw new OffshootError('api/not-found', { kind: 'project', name });
  }
  return project;
}

/** The project that is meant when none is named: `default`, or the only one there is. */
export function defaultProject(store: Store): string {
  const projects = store.list('project').filter(p => p.deletedAt === undefined);
  const named = projects.find(p => p.name === 'default') ?? (projects.length === 1 ? projects[0] : undefined);
  return named?.name ?? 'default';
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

// --- internal -----------------------------------------------------------------------------------

/** Every cluster has databases and a role of these names, or SQL means something else by them (CREATE ROLE). */
const takenNames = new Set([adminRole, 'postgres', 'template0', 'template1', 'public', 'none']);

function newBranch(store: Store, spec: Stored<'branch'>['spec']): Stored<'branch'> {
  return store.create('branch', `br${randomName(12)}`, {
    spec,
    status: null,
    secret: { password: randomSecret(32) },
  });
}
