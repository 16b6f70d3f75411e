/** What grows from a branch, and what that means for those who want it gone: it would lose what it grows from. */
import { OffshootError } from '../model/errors.ts';
import { isTrashed } from '../model/trash.ts';
import type { Store, Stored } from '../store/contract.ts';

/** All that grows from some branches, far ones first, those in the trash included; not what is being deleted. */
export function offspringOf(store: Store, ids: readonly string[]): readonly Stored<'branch'>[] {
  const children = ids.flatMap(id => store.by('branch/parent', id));
  if (children.length === 0) return [];
  const names = children.map(c => c.name);
  return [...offspringOf(store, names), ...children.filter(c => c.deletedAt === undefined)];
}

/**
 * What grows from the branches of a sandbox and does not go with it, or with another that is going. Far ones first. Not
 * from those that are kept after it.
 */
export function offspringOfSandbox(store: Store, sandbox: string): readonly Stored<'branch'>[] {
  const owned = store
    .by('branch/owner', `sandbox/${sandbox}`)
    .flatMap(b => (b.spec.afterOwner ? [] : [b.name]));
  return offspringOf(store, owned).filter(({ spec: { owner } }) => {
    if (owner === undefined) return true;
    const other = store.get('sandbox', sandboxIn(owner));
    return owner !== `sandbox/${sandbox}` && (other === undefined || other.deletedAt === undefined);
  });
}

/** The sandboxes that own some of `branches`; nobody else deletes what is theirs. */
export function ownersOf(store: Store, branches: readonly Stored<'branch'>[]): readonly string[] {
  const owners = branches.flatMap(({ spec: { owner } }) => (owner === undefined ? [] : [sandboxIn(owner)]));
  return [...new Set(owners)].filter(name => store.get('sandbox', name) !== undefined);
}

/** @param branches what is in the way, at least one */
export function sandboxHasChildren(
  store: Store,
  sandbox: string,
  branches: readonly Stored<'branch'>[],
): OffshootError {
  const owners = ownersOf(store, branches);
  return new OffshootError('sandbox/has-children', {
    name: sandbox,
    children: branches.toReversed().map(described).join(', '),
    ...(owners.length > 0 && { hint: deleteFirst(owners) }),
  });
}

/**
 * @param children what is in the way, at least one
 * @param instead what to do about it; default: to delete them
 */
export function branchHasChildren(
  store: Store,
  { spec }: Stored<'branch'>,
  children: readonly Stored<'branch'>[],
  instead?: string,
): OffshootError {
  const owners = ownersOf(store, children);
  const inTrash = children.filter(isTrashed).map(c => c.spec.name);
  const hint =
    instead !== undefined
      ? instead
      : owners.length > 0
        ? deleteFirst(owners)
        : inTrash.length === children.length
          ? `empty the trash of them first: "offshoot trash empty ${inTrash.join(' ')}"`
          : undefined;
  return new OffshootError('branch/has-children', {
    name: spec.name,
    children: children.map(described).join(', '),
    ...(hint !== undefined && { hint }),
  });
}

// --- internal -----------------------------------------------------------------------------------

const sandboxIn = (owner: string): string => owner.slice('sandbox/'.length);

const deleteFirst = (owners: readonly string[]): string =>
  `delete ${owners.map(o => `sandbox ${o}`).join(' and ')} first`;

function described(branch: Stored<'branch'>): string {
  const { name, owner } = branch.spec;
  if (isTrashed(branch)) return `${name} (in the trash)`;
  return owner === undefined ? name : `${name} (of ${owner.replace('/', ' ')})`;
}
