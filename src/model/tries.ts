/** When something that was asked for before is asked for again. */

/** What the status says from then on: nothing that the try before has found. */
export const triedAgain = { reason: 'InProgress', message: 'tried again' } as const;

/** Whether a try has come to an end that asking again might change; what is on its way is not asked twice. */
export const hasFailed = ({
  ready,
  reason,
}: {
  readonly ready: boolean;
  /** CamelCase. */
  readonly reason: string;
}): boolean => !ready && !onItsWay.has(reason);

/**
 * Whether nobody should wait for a workload any longer, though it is still tried: it ends again and again, or has come
 * no further for as long as it says itself.
 */
export const isHopeless = ({
  ready,
  reason,
  restarts = 0,
}: {
  readonly ready: boolean;
  readonly reason: string;
  readonly restarts?: number;
}): boolean =>
  !ready &&
  (reason === 'ProgressDeadlineExceeded' ||
    (restarts >= 3 && /^(Init:)?(CrashLoopBackOff|OOMKilled|PostStartHookError)$/.test(reason)));

// --- internal -----------------------------------------------------------------------------------

const onItsWay = new Set([
  'InProgress',
  'Pending',
  'Starting',
  'SettingUp',
  'Building',
  'Migrating',
  'Running',
  'Resuming',
  'ResourcesPending',
  'SidecarsPending',
  'WaitingForFork',
  'Init:Running',
  'Deleting',
]);
