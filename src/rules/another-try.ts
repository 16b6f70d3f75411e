/** Another start of what was asked for before, whoever asks for it and why. */
import type { BranchStatus } from '../model/branch.ts';
import { triedAgain } from '../model/tries.ts';
import type { ManifestStatus } from '../model/workload-status.ts';
import type { Stored } from '../store/contract.ts';

/** What to write so that a branch is ready only by another start, and nothing is said any more of the one before. */
export const anotherTry = ({ secret, status }: Stored<'branch'>) => ({
  secret: { ...secret, tries: (secret.tries ?? 0) + 1 },
  ...(status !== null && { status: asTriedAgain(status) }),
});

/** A manifest's status, with nothing of what the try before has said. */
export const manifestTriedAgain = ({ log: _, ...status }: ManifestStatus): ManifestStatus => ({
  ...status,
  ready: false,
  ...triedAgain,
});

// --- internal -----------------------------------------------------------------------------------

/** Nothing of what the try before has said. */
function asTriedAgain({ hint: _, open: __, ...status }: BranchStatus): BranchStatus {
  const conditions = status.conditions.filter(c => c.type === 'VolumeReady' && c.status === 'True');
  return { ...status, state: 'creating', ...triedAgain, conditions };
}
