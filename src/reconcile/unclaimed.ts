/** What a node holds and no branch in the store asks for: somebody's data, or what a crash left. */
import type { BranchNode, BranchSeen, Ctx } from '../drivers/contract.ts';
import type { Store } from '../store/contract.ts';

export type Unclaimed = {
  readonly id: string;
  /** Absent when it cannot be looked at: then it may hold data just as well. */
  readonly seen?: BranchSeen;
  /** Nothing is complete of it, or it was only kept for branches to come. */
  readonly halfMade: boolean;
};

/** What is just being made is claimed already. */
export async function unclaimed(store: Store, branches: BranchNode, ctx: Ctx): Promise<readonly Unclaimed[]> {
  const found: Unclaimed[] = [];
  for (const id of await branches.list(ctx)) {
    if (store.get('branch', id) !== undefined) continue;
    try {
      const seen = await branches.observe(id, ctx);
      found.push({ id, ...(seen && { seen }), halfMade: isHalfMade(seen) });
    } catch {
      ctx.signal.throwIfAborted();
      found.push({ id, halfMade: false });
    }
  }
  return found;
}

// --- internal -----------------------------------------------------------------------------------

const isHalfMade = (seen: BranchSeen | undefined): boolean =>
  seen?.record === undefined || seen.record.stock !== undefined;
