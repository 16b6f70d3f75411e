/**
 * The built-in plugin actions `branch/create` and `branch/delete`: no pod, no shell. They write a Branch
 * intent owned by the sandbox and say what they wait for: what the branch reconciler makes of it.
 */
import type { StepDone } from '../drivers/contract.ts';
import { type BranchAddress, connectionString } from '../model/branch.ts';
import { OffshootError } from '../model/errors.ts';
import { sandboxBranchName } from '../model/names.ts';
import type { BuiltinAction } from '../model/plugin.ts';
import {
  type BranchStock,
  branchAddress,
  createBranch,
  defaultProject,
  deleteBranch,
  deletionProblem,
  findBranch,
} from '../rules/branches.ts';
import { retireBranch } from '../rules/trash.ts';
import type { Store, Stored } from '../store/contract.ts';
import type { Waits } from './steps.ts';
import { topicOf } from './wake.ts';

export type ActionCall = {
  readonly sandbox: string;
  /** `first`: of all resources of the sandbox that are branches. Its branch is `sb-<sandbox>`, the others' carry their name. */
  readonly resource: { readonly name: string; readonly first: boolean };
  /** Inputs that nobody gave are absent or empty. */
  readonly inputs: Readonly<Record<string, string>>;
};

/** May be called again until it gives outputs. */
export type Action = (call: ActionCall) => Promise<ActionEnd>;

export type ActionEnd = StepDone | Waits;

export type ActionDeps = {
  readonly store: Store;
  /** Where clients reach the Postgres gateway. */
  readonly gateway: () => { readonly host: string; readonly port: number };
  readonly trash: TrashOptions;
  /** Absent: branches are elsewhere. */
  readonly stock?: BranchStock | undefined;
};

export type TrashOptions = {
  /** Milliseconds; 0: there is none. */
  readonly keepMs: number;
  readonly now: () => Date;
};

export function branchActions({
  store,
  gateway,
  trash,
  stock,
}: ActionDeps): Readonly<Record<BuiltinAction, Action>> {
  const target = ({ sandbox, resource, inputs }: ActionCall) => ({
    project: inputs.project || defaultProject(store),
    name: inputs['branch-name'] || sandboxBranchName(sandbox, resource.first ? undefined : resource.name),
    owner: `sandbox/${sandbox}`,
  });

  return {
    async 'branch/create'(call) {
      const { project, name, owner } = target(call);
      const found = findBranch(store, project, name);
      // One that we made before is taken up again; one that is just going is waited for.
      const mine = found?.spec.owner === owner ? found : undefined;
      if (mine?.deletedAt !== undefined) return untilGone(mine);
      const parent = call.inputs['parent-branch'] || 'main';
      const after = afterwards(call.inputs.afterwards);
      const branch = mine ?? (await createBranch(store, { project, name, owner, parent, ...after }, stock));
      if (branch.status?.state === 'failed') {
        const { message: why, hint } = branch.status;
        throw new OffshootError('branch/failed', { name, why, hint });
      }
      const isThere = branch.status?.state === 'ready' || branch.status?.state === 'asleep';
      if (!isThere) return { until: [topicOf.branch(branch.name)] };
      return { outputs: outputs(branch, branchAddress(store, branch, gateway())) };
    },

    async 'branch/delete'(call) {
      const { project, name, owner } = target(call);
      const branch = findBranch(store, project, name);
      // A branch of that name that is not ours is why the create step failed: nothing of it was made here.
      if (branch?.spec.owner !== owner) return { outputs: {} };
      return (await deleteOwned(store, branch, trash)) ?? { outputs: {} };
    },
  };
}

/**
 * Marks a branch for deletion on behalf of its owner, once there are no children that would lose what they grow from. One
 * that is kept after its owner is nobody's from then on.
 * @returns what has to happen until it is gone; undefined when it is
 */
export async function deleteOwned(
  store: Store,
  branch: Stored<'branch'>,
  { keepMs, now }: TrashOptions,
): Promise<Waits | undefined> {
  const { name, spec } = branch;
  const isKept = spec.afterOwner === 'trash' && keepMs > 0 && branch.status?.made === true;
  if (isKept && branch.deletedAt === undefined) {
    await retireBranch(store, branch, keepMs, now());
    return undefined;
  }
  try {
    if (branch.deletedAt === undefined) await deleteBranch(store, branch, { asOwner: spec.owner! });
  } catch (error) {
    if (!(error instanceof OffshootError) || error.code !== 'branch/has-children') throw error;
    return { until: [topicOf.children(name), topicOf.branch(name)], why: error };
  }
  const left = store.get('branch', name);
  return left && untilGone(left);
}

// --- internal -----------------------------------------------------------------------------------

/** @throws OffshootError branch/bad-afterwards */
function afterwards(text = ''): { readonly afterOwner?: 'trash' } {
  if (text === '' || text === 'delete') return {};
  if (text === 'trash') return { afterOwner: text };
  throw new OffshootError('branch/bad-afterwards', { text });
}

function untilGone(branch: Stored<'branch'>): Waits {
  const why = deletionProblem(branch);
  return { until: [topicOf.branch(branch.name)], ...(why && { why }) };
}

const outputs = (branch: Stored<'branch'>, address: BranchAddress): Readonly<Record<string, string>> => ({
  'connection-string': connectionString(address),
  'branch-name': branch.spec.name,
  'branch-id': branch.name,
  host: address.host,
  port: String(address.port),
  user: address.user,
  password: address.password,
  database: address.database,
});
