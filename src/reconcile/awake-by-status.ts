/** Logins to branches that another process looks after: what it has seen of them comes as their status. */
import type { BranchEndpoint } from '../model/branch.ts';
import { OffshootError } from '../model/errors.ts';
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

export function awakeByStatus(store: Store): AwakeByStatus {
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
  return {
    close,
    async awake(id, signal) {
      return endpointOf(store.get('branch', id), id) ?? logins.wait(id, signal);
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
  if (status?.state !== 'ready' || status.open?.rotation !== (secret.rotation ?? 0)) return undefined;
  return status.open.endpoint;
}
