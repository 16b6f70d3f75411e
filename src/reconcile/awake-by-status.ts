/** Logins to branches that another process looks after: what it has seen of them comes as their status. */
import type { BranchEndpoint } from '../model/branch.ts';
import { OffshootError } from '../model/errors.ts';
import type { NodeDoor } from '../model/route.ts';
import { isTrashed } from '../model/trash.ts';
import { isResetPending } from '../rules/reset.ts';
import type { Store, Stored } from '../store/contract.ts';
import { createWaitingRoom } from './waiting-room.ts';

export type AwakeByStatus = {
  /**
   * Where the branch's server listens; waits for one that is still starting.
   * @throws OffshootError gateway/branch-unknown, gateway/branch-not-ready
   */
  awake(id: string, signal: AbortSignal): Promise<BranchEndpoint>;
  close(): void;
};

/** @param doorOf where a node is that is alive; who wants a branch that is being made is led there, and waits there */
export function awakeByStatus(
  store: Store,
  doorOf: (node: string) => NodeDoor | undefined = () => undefined,
): AwakeByStatus {
  const logins = createWaitingRoom<BranchEndpoint>();
  const close = store.onChange(change => {
    if (change.type === 'gone' && change.kind === 'branch') logins.refuse(change.name, unknown(change.name));
    if (change.type !== 'put' || change.object.kind !== 'branch' || logins.size(change.object.name) === 0)
      return;
    const { name } = change.object;
    try {
      const endpoint = endpointOf(store.get('branch', name), name);
      if (endpoint !== undefined) logins.admit(name, endpoint);
    } catch (error) {
      logins.refuse(name, error as OffshootError);
    }
  });
  /** Its node has the last word: it knows that a server takes sessions before anybody can read it in a status. */
  function inTheMaking({ name, spec, status, secret }: Stored<'branch'>): BranchEndpoint | undefined {
    if ((status?.state ?? 'creating') !== 'creating' || (secret.rotation ?? 0) > 0) return undefined;
    const { node } = store.get('project', spec.project)?.spec ?? {};
    const door = isResetPending({ spec, status }) || node === undefined ? undefined : doorOf(node);
    return door && { ...door, branch: name };
  }

  return {
    close,
    async awake(id, signal) {
      const branch = store.get('branch', id);
      return endpointOf(branch, id) ?? inTheMaking(branch!) ?? logins.wait(id, signal);
    },
  };
}

export const unknown = (id: string) => new OffshootError('gateway/branch-unknown', { branch: id });
export const notReady = (id: string, why: string) =>
  new OffshootError('gateway/branch-not-ready', { branch: id, why });

// --- internal -----------------------------------------------------------------------------------

/** @returns undefined while it is being made. @throws OffshootError gateway/branch-unknown, gateway/branch-not-ready */
function endpointOf(branch: Stored<'branch'> | undefined, id: string): BranchEndpoint | undefined {
  if (branch === undefined || branch.deletedAt !== undefined || isTrashed(branch)) throw unknown(id);
  const { status, secret } = branch;
  if (status?.state === 'failed') throw notReady(id, status.reason);
  // After a rotation the old password must not open the door any more.
  if (isResetPending(branch)) return undefined;
  const isThere = status?.state === 'ready' || status?.state === 'asleep';
  if (!isThere || status.open?.rotation !== (secret.rotation ?? 0)) return undefined;
  return status.open.endpoint;
}
