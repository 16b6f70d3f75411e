/**
 * The built-in plugin actions `branch/create` and `branch/delete`: no pod, no shell. They write a Branch
 * intent owned by the sandbox and wait for what the branch reconciler makes of it.
 */
import { type BranchAddress, connectionString } from '../model/branch.ts';
import { OffshootError } from '../model/errors.ts';
import { sandboxBranchName } from '../model/names.ts';
import type { BuiltinAction } from '../model/plugin.ts';
import {
  branchAddress,
  branchGone,
  createBranch,
  defaultProject,
  deleteBranch,
  findBranch,
} from '../rules/branches.ts';
import type { Store, Stored } from '../store/contract.ts';
import { whenObject } from '../store/wait.ts';

export type ActionCall = {
  readonly sandbox: string;
  /** `first`: of all resources of the sandbox that are branches. Its branch is `sb-<sandbox>`, the others' carry their name. */
  readonly resource: { readonly name: string; readonly first: boolean };
  /** Inputs that nobody gave are absent or empty. */
  readonly inputs: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
};

export type Action = (call: ActionCall) => Promise<Readonly<Record<string, string>>>;

export type ActionDeps = {
  readonly store: Store;
  /** Where clients reach the Postgres gateway. */
  readonly gateway: () => { readonly host: string; readonly port: number };
};

export function branchActions({ store, gateway }: ActionDeps): Readonly<Record<BuiltinAction, Action>> {
  const target = ({ sandbox, resource, inputs }: ActionCall) => ({
    project: inputs.project || defaultProject(store),
    name: inputs['branch-name'] || sandboxBranchName(sandbox, resource.first ? undefined : resource.name),
    owner: `sandbox/${sandbox}`,
  });

  return {
    async 'branch/create'(call) {
      const { project, name, owner } = target(call);
      const mine = await ownOrGone(store, findBranch(store, project, name), owner, call.signal);
      const branch =
        mine ??
        (await createBranch(store, { project, name, owner, parent: call.inputs['parent-branch'] || 'main' }));
      const ready = await whenObject(store, 'branch', branch.name, readyOrThrow(name), call.signal);
      return outputs(ready, branchAddress(store, ready, gateway()));
    },
    async 'branch/delete'(call) {
      const { project, name, owner } = target(call);
      const branch = findBranch(store, project, name);
      // A branch of that name that is not ours is why the create step failed: nothing of it was made here.
      if (branch?.spec.owner !== owner) return {};
      if (branch.deletedAt === undefined) await deleteBranch(store, branch, { asOwner: owner });
      await branchGone(store, branch.name, call.signal);
      return {};
    },
  };
}

// --- internal -----------------------------------------------------------------------------------

/** A branch of that name that we made before a crash is taken up again; one that is just going is waited for. */
async function ownOrGone(
  store: Store,
  branch: Stored<'branch'> | undefined,
  owner: string,
  signal: AbortSignal,
): Promise<Stored<'branch'> | undefined> {
  if (branch === undefined || branch.spec.owner !== owner) return undefined;
  if (branch.deletedAt === undefined) return branch;
  await branchGone(store, branch.name, signal);
  return undefined;
}

const readyOrThrow = (name: string) => (branch: Stored<'branch'> | undefined) => {
  if (branch === undefined) throw new OffshootError('api/not-found', { kind: 'branch', name });
  if (branch.status?.state === 'failed') {
    throw new OffshootError('branch/failed', {
      name: branch.spec.name,
      why: branch.status.message,
      hint: branch.status.hint,
    });
  }
  return branch.status?.state === 'ready' ? branch : undefined;
};

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
