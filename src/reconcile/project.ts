/** A project: only the tree of its branches, whatever name that has. */
import { allBranchesOf, deleteBranchesOf, ensureRoot } from '../rules/branches.ts';
import { finishTakeOver } from '../rules/take-over.ts';
import { expire } from '../rules/trash.ts';
import type { Store } from '../store/contract.ts';
import { type Placement, place, placementTopic } from './placement.ts';
import type { Result } from './scheduler.ts';
import { topicOf } from './wake.ts';

export function projectReconciler({
  store,
  now,
  placement,
}: {
  readonly store: Store;
  readonly now: () => Date;
  readonly placement?: Placement | undefined;
}): (name: string) => Promise<Result> {
  return async name => {
    await finishTakeOver(store, name);
    const project = store.get('project', name);
    if (project === undefined) return;
    if (project.deletedAt === undefined) {
      await ensureRoot(store, name);
      // Nobody looks at its branches before.
      if (placement !== undefined && !(await place(store, name, placement)))
        return { until: [placementTopic] };
      const left = await expire(store, project, now());
      return left === undefined ? undefined : { again: left };
    }
    // It goes when the last of its branches has gone.
    await deleteBranchesOf(store, name);
    // Of what no node was ever told nothing can be left anywhere.
    if (placement !== undefined && project.spec.node === undefined) await forgetBranches(store, name);
    if (allBranchesOf(store, name).length > 0) return { until: [topicOf.branches(name)] };
    await store.remove('project', name);
    return;
  };
}

// --- internal -----------------------------------------------------------------------------------

const forgetBranches = (store: Store, project: string) =>
  Promise.all(allBranchesOf(store, project).map(branch => store.remove('branch', branch.name)));
