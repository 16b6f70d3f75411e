/** From what is seen of a branch to what its status says; pure. */
import type { BranchPhase, BranchSeen } from '../drivers/contract.ts';
import type { BranchState, BranchStatus } from '../model/branch.ts';
import { bytesText } from '../model/bytes.ts';
import { type Condition, NODE_HEARD, reasonOf, setCondition } from '../model/conditions.ts';
import type { OffshootError } from '../model/errors.ts';
import { EXPIRES } from './branch-expiry.ts';

/** The conditions of a branch, in the order in which its parts are made. */
export function conditionsOf(
  { volume, server, access, room }: BranchSeen,
  before: readonly Condition[],
  now: Date,
  expires?: Omit<Condition, 'lastTransitionTime'>,
): readonly Condition[] {
  const phases: [string, BranchPhase][] = [
    ['VolumeReady', volume],
    ['ServerReady', server],
    ['AccessReady', access],
  ];
  if (room?.near) phases.push(['SpaceLow', spaceLow(room)]);
  if (expires !== undefined) phases.push([EXPIRES, expires]);
  return phases.reduce<readonly Condition[]>(
    (conditions, [type, phase]) => setCondition(conditions, { type, ...phase }, now.toISOString()),
    before.filter(
      ({ type }) =>
        type !== NODE_HEARD && (type !== 'SpaceLow' || room?.near) && (type !== EXPIRES || expires),
    ),
  );
}

/** A condition only while it is so: that room is not low is nothing to say. */
const spaceLow = ({ bytes, limitBytes = 0 }: NonNullable<BranchSeen['room']>): BranchPhase => ({
  status: 'True',
  reason: 'NearsLimit',
  message: `it takes ${bytesText(bytes)} of the ${bytesText(limitBytes)} that it may`,
});

/** @param error why it is not ready; its sentence says more than a condition's */
export function statusOf(
  state: BranchState,
  conditions: readonly Condition[],
  observedGeneration: number,
  {
    error,
    seen,
    tries = 0,
    made = seen?.record !== undefined,
    resets = 0,
    called = 0,
    staysAwake,
    imported = seen?.import,
    open,
  }: {
    readonly error?: OffshootError;
    readonly seen?: BranchSeen;
    readonly tries?: number;
    /** Default: as it is seen. */
    readonly made?: boolean;
    readonly resets?: number;
    readonly called?: number;
    readonly staysAwake?: string | undefined;
    /** Default: as it is seen. */
    readonly imported?: BranchStatus['import'];
    readonly open?: NonNullable<BranchStatus['open']>;
  } = {},
): BranchStatus {
  const stopped = conditions.find(c => c.status === 'False' && c.type !== EXPIRES);
  const { reason, message } = settled[state] ?? {};
  return {
    state,
    reason: reason ?? stopped?.reason ?? (error === undefined ? 'InProgress' : reasonOf(error.code)),
    message: error?.message ?? message ?? stopped?.message ?? `${state} …`,
    ...(error?.hint !== undefined && { hint: error.hint }),
    ...(seen !== undefined && seen.exits.count > 0 && { restarts: seen.exits.count }),
    ...(seen?.record?.emptied !== undefined && { emptied: seen.record.emptied }),
    ...(seen?.passwordless && { passwordless: seen.passwordless }),
    ...(made && { made }),
    ...(tries > 0 && { tries }),
    ...(resets > 0 && { resets }),
    ...(called > 0 && { called }),
    ...(staysAwake !== undefined && { staysAwake }),
    ...(imported !== undefined && { import: imported }),
    ...(open !== undefined && { open }),
    conditions,
    observedGeneration,
  };
}

// --- internal -----------------------------------------------------------------------------------

/** What is to be said of a branch that is as it was asked to be. */
const settled: Partial<Record<BranchState, { readonly reason: string; readonly message: string }>> = {
  ready: { reason: 'Ready', message: 'accepts connections' },
  asleep: { reason: 'Asleep', message: 'sleeps until somebody connects' },
  trashed: { reason: 'Trashed', message: 'its server is stopped; it can be restored' },
};
