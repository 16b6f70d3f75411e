/** The time to live of a branch: like a person's delete at the end, and refused by the same. */
import { OffshootError } from '../model/errors.ts';
import { isTrashed, trashed } from '../model/trash.ts';
import { ttlMs } from '../model/ttl.ts';
import type { Store, Stored } from '../store/contract.ts';
import { checkUnprotected, childrenOf } from './branches.ts';
import { holding } from './locks.ts';
import { branchHasChildren } from './offspring.ts';

/**
 * When a branch that lives for `ttl` from now on is to go.
 * @param ttl as sandboxes have it: `2h`, `3d`
 * @throws OffshootError branch/bad-ttl
 */
export function timeAfter(ttl: string, now: Date): string {
  const ms = ttlMs(ttl);
  if (ms === undefined || ms === 0)
    throw new OffshootError('branch/bad-ttl', { ttl, why: 'it is not a whole number and one of m, h, d, w' });
  return new Date(Math.min(now.getTime() + ms, LAST)).toISOString();
}

/**
 * Another end of its time, counted from now on.
 * @param ttl undefined: none
 * @throws OffshootError branch/bad-ttl
 */
export async function ttlBranch(
  store: Store,
  branch: Stored<'branch'>,
  ttl: string | undefined,
  now: Date,
): Promise<void> {
  const { parent, owner } = branch.spec;
  const why =
    parent === undefined
      ? 'it is the root of its project'
      : owner === undefined
        ? undefined
        : `it goes with ${owner.replace('/', ' ')}, which has a ttl of its own`;
  if (ttl !== undefined && why !== undefined) throw new OffshootError('branch/bad-ttl', { ttl, why });
  const end = ttl === undefined ? undefined : timeAfter(ttl, now);
  await holding(store, { alone: [`branch/${branch.name}`] }, () =>
    store.modify('branch', branch.name, ({ spec: { scheduledDeleteTime: _, ...rest } }) => ({
      spec: { ...rest, ...(end !== undefined && { scheduledDeleteTime: end }) },
    })),
  );
}

/** Why a branch whose time is over stays; undefined when nothing is in the way. */
export function expiryProblem(store: Store, branch: Stored<'branch'>): OffshootError | undefined {
  try {
    checkUnprotected(branch);
  } catch (error) {
    if (error instanceof OffshootError) return error;
    throw error;
  }
  const children = childrenOf(store, branch.name).filter(c => c.deletedAt === undefined && !isTrashed(c));
  return children.length === 0 ? undefined : branchHasChildren(store, branch, children);
}

/**
 * Into the trash with a branch whose time is over, if it is so still. @param keepMs 0: for good
 * @returns whether it went
 */
export async function expireBranch(store: Store, id: string, keepMs: number, now: Date): Promise<boolean> {
  return holding(store, { alone: [`branch/${id}`] }, async () => {
    const branch = store.get('branch', id);
    if (branch === undefined || branch.deletedAt !== undefined || isTrashed(branch)) return false;
    const { scheduledDeleteTime: at, name, project } = branch.spec;
    if (at === undefined || Date.parse(at) > now.getTime()) return false;
    if (expiryProblem(store, branch) !== undefined) return false;
    const keep = keepMs > 0 && branch.spec.owner === undefined;
    const mark = keep
      ? { spec: { ...branch.spec, trashed: trashed(now, keepMs) } }
      : { deleted: true as const };
    // Whoever gave it more time meanwhile has changed what this is based on.
    await store.modify('branch', id, b => (b.spec.scheduledDeleteTime === at ? mark : undefined));
    const message = `the time of branch ${name} of project ${project} is over`;
    await store.record({ kind: 'branch', name: id, severity: 'info', reason: 'Expired', message });
    return true;
  });
}

// --- internal -----------------------------------------------------------------------------------

/** The last millisecond that a Date can say. */
const LAST = 8_640_000_000_000_000;
