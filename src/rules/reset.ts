/**
 * A branch begins anew from what an ancestor holds, and stays what it is otherwise: id, address, password, limits, owner,
 * place in the tree. Everybody sees of it what it held when they asked: who asked for a copy of it before waits for
 * nothing, and is waited for; who asks afterwards waits.
 */
import type { BranchReset, BranchStatus } from '../model/branch.ts';
import { OffshootError } from '../model/errors.ts';
import { isTrashed } from '../model/trash.ts';
import type { Store, Stored } from '../store/contract.ts';
import { checkUnprotected, childrenOf } from './branches.ts';
import { holding } from './locks.ts';
import { branchHasChildren } from './offspring.ts';

export type ResetWish = {
  /** Name or id of an ancestor; absent: the parent. */
  readonly to?: string;
  /** To what that held then, RFC 3339, by its history; absent: to what it holds now. */
  readonly moment?: string;
  /** To what the branch itself held at the moment. */
  readonly itself?: boolean;
  /** Also when it has children. They keep what they hold, and stay its children. */
  readonly force?: boolean;
};

/**
 * @throws OffshootError branch/reset-root, branch/not-ancestor, branch/has-children, branch/protected, api/not-found
 */
export async function resetBranch(
  store: Store,
  { name: id }: Stored<'branch'>,
  { to, force = false, moment, itself = false }: ResetWish,
  now: Date,
): Promise<Stored<'branch'>> {
  return holding(store, { alone: [`branch/${id}`] }, async () => {
    const branch = store.get('branch', id);
    if (branch === undefined || branch.deletedAt !== undefined || isTrashed(branch))
      throw new OffshootError('api/not-found', { kind: 'branch', name: branch?.spec.name ?? id });
    checkUnprotected(branch);
    const from = itself ? branch : ancestorOf(store, branch, to);
    const children = childrenOf(store, id).filter(c => c.deletedAt === undefined && !isTrashed(c));
    if (children.length > 0 && !force)
      throw branchHasChildren(
        store,
        branch,
        children,
        'repeat with --force: they keep what they hold, and stay its children',
      );
    // A child of this very instant was asked for before.
    const newest = Math.max(0, ...children.map(c => Date.parse(c.createdAt)));
    const at = new Date(Math.max(now.getTime(), newest + 1)).toISOString();
    const changed = await store.modify('branch', id, ({ spec, status }) => ({
      spec: {
        ...spec,
        reset: {
          count: (spec.reset?.count ?? 0) + 1,
          from: from.name,
          at,
          ...(moment !== undefined && { moment }),
        },
      },
      ...(status !== null && { status: asResetting(status, from, moment) }),
    }));
    return changed!;
  });
}

/** A reset was asked for that is not done. */
export const isResetPending = ({ spec, status }: Pick<Stored<'branch'>, 'spec' | 'status'>): boolean =>
  (spec.reset?.count ?? 0) > (status?.resets ?? 0);

/**
 * What it waits for to be copied: from where, and since when. Undefined: nothing. With a `moment` that is what is kept of
 * that branch, which no reset of it changes.
 */
export function copyWanted(
  branch: Stored<'branch'>,
): Pick<BranchReset, 'from' | 'at' | 'moment'> | undefined {
  const { spec, status, createdAt } = branch;
  if (branch.deletedAt !== undefined || isTrashed(branch)) return undefined;
  const made = status?.made || status?.conditions.some(c => c.type === 'VolumeReady' && c.status === 'True');
  if (isResetPending(branch)) return spec.reset;
  return made || spec.parent === undefined
    ? undefined
    : { from: spec.parent, at: createdAt, ...(spec.moment !== undefined && { moment: spec.moment }) };
}

/** Those that are to see what a branch held before its reset, and have no copy of it yet. */
export function toSeeBefore(store: Store, { name: id, spec }: Stored<'branch'>): readonly Stored<'branch'>[] {
  const { reset } = spec;
  if (reset === undefined) return [];
  return store.by('branch/project', spec.project).filter(other => {
    const copy = other.name === id || other.status?.state === 'failed' ? undefined : copyWanted(other);
    return (
      copy?.from === id &&
      copy.moment === undefined &&
      isBefore({ ...copy, id: other.name }, { ...reset, id })
    );
  });
}

/** The branch that it is to be copied from, while that is to begin anew first. */
export function resetBefore(store: Store, branch: Stored<'branch'>): Stored<'branch'> | undefined {
  const copy = copyWanted(branch);
  if (copy?.moment !== undefined) return undefined;
  const source = copy && store.get('branch', copy.from);
  const { reset } = source?.spec ?? {};
  if (source === undefined || reset === undefined || copyWanted(source) === undefined) return undefined;
  if (!isResetPending(source)) return undefined;
  return isBefore({ ...copy!, id: branch.name }, { ...reset, id: source.name }) ? undefined : source;
}

/**
 * @param to name or id of an ancestor; undefined: the parent
 * @throws OffshootError branch/reset-root, branch/not-ancestor
 */
export function ancestorOf(store: Store, branch: Stored<'branch'>, to: string | undefined): Stored<'branch'> {
  const { name, project } = branch.spec;
  const ancestors = ancestorsOf(store, branch);
  const [parent] = ancestors;
  if (parent === undefined) throw new OffshootError('branch/reset-root', { name, project });
  if (to === undefined) return parent;
  const found = ancestors.find(a => a.spec.name === to) ?? ancestors.find(a => a.name === to);
  if (found !== undefined) return found;
  const known = ancestors.map(a => a.spec.name).join(', ');
  throw new OffshootError('branch/not-ancestor', { name, to, ancestors: known });
}

// --- internal ------------------------------------------------------------------------------------

type Asked = { readonly at: string; readonly id: string };

const isBefore = (a: Asked, b: Asked): boolean => (a.at === b.at ? a.id < b.id : a.at < b.at);

/** The ancestors of a branch, its parent first. */
function ancestorsOf(store: Store, { spec }: Stored<'branch'>): readonly Stored<'branch'>[] {
  const parent = spec.parent === undefined ? undefined : store.get('branch', spec.parent);
  return parent === undefined ? [] : [parent, ...ancestorsOf(store, parent)];
}

/** Nothing is said any more of what it held. */
function asResetting(
  { hint: _, open: __, emptied: ___, ...status }: BranchStatus,
  from: Stored<'branch'>,
  moment: string | undefined,
): BranchStatus {
  const message = `begins anew from what ${from.spec.name} ${moment === undefined ? 'holds' : `held at ${moment}`}`;
  const parts = ['VolumeReady', 'ServerReady', 'AccessReady'];
  const conditions = status.conditions.filter(c => !parts.includes(c.type));
  return { ...status, state: 'creating', reason: 'Resetting', message, conditions };
}
