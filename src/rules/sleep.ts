/**
 * Sleep and wake: what is asked for by hand, and when a branch may sleep at all. A call is heeded once; that a branch is
 * asleep is no intent, so who logs in wakes it, whoever put it to sleep.
 */
import { MOST_SLEEP_AFTER_SECONDS, type SleepCall } from '../model/branch.ts';
import { OffshootError } from '../model/errors.ts';
import { isTrashed } from '../model/trash.ts';
import type { Store, Stored } from '../store/contract.ts';
import { isResetPending } from './reset.ts';

/** @throws OffshootError api/not-found when it is being deleted */
export async function callBranch(
  store: Store,
  id: string,
  call: Omit<SleepCall, 'count'>,
): Promise<Stored<'branch'>> {
  const found = await store.modify('branch', id, ({ spec, status, deletedAt }) => {
    if (deletedAt !== undefined || spec.trashed !== undefined) return undefined;
    const called = { ...call, count: (spec.called?.count ?? 0) + 1 };
    // Who waits for it from now on waits for its server.
    const wakes = call.wanted === 'awake' && status?.state === 'asleep';
    return {
      spec: { ...spec, called },
      ...(wakes && { status: { ...status, state: 'creating', reason: 'Waking', message: 'wakes' } }),
    };
  });
  if (found !== undefined && found.deletedAt === undefined && !isTrashed(found)) return found;
  throw new OffshootError('api/not-found', { kind: 'branch', name: found?.spec.name ?? id });
}

/** The call that is not heeded yet. */
export const pendingCall = ({
  spec: { called },
  status,
}: Pick<Stored<'branch'>, 'spec' | 'status'>): SleepCall | undefined =>
  (called?.count ?? 0) > (status?.called ?? 0) ? called : undefined;

/** Something is to become of it for which its node has to work. */
export const hasWork = (store: Store, branch: Stored<'branch'>): boolean =>
  isResetPending(branch) || isFilled(store, branch);

/**
 * Waits until its newest call to sleep was heeded.
 * @throws OffshootError branch/stays-awake, branch/failed, api/not-found; api/timeout when the signal aborts
 */
export async function untilAsleep(store: Store, id: string, signal: AbortSignal): Promise<Stored<'branch'>> {
  for (;;) {
    const changed = Promise.withResolvers<void>();
    const stop = store.onObject('branch', id, changed.resolve);
    signal.addEventListener('abort', () => changed.resolve(), { once: true });
    try {
      const branch = store.get('branch', id);
      if (branch === undefined) throw new OffshootError('api/not-found', { kind: 'branch', name: id });
      const { spec, status } = branch;
      if (pendingCall(branch) === undefined) {
        if (status?.state === 'asleep') return branch;
        const { staysAwake: why = status?.message, state } = status ?? {};
        if (state === 'failed')
          throw new OffshootError('branch/failed', { name: spec.name, why, hint: status?.hint });
        throw new OffshootError('branch/stays-awake', { name: spec.name, why });
      }
      if (signal.aborted)
        throw new OffshootError('api/timeout', {
          ...{ after: 'half a minute', what: `branch ${spec.name} to fall asleep` },
          hint: `it goes on; see "offshoot branch get ${spec.name}"`,
        });
      await changed.promise;
    } finally {
      stop();
    }
  }
}

/** @throws OffshootError branch/bad-sleep */
export function checkSleepAfter(seconds: number | undefined): void {
  if (seconds !== undefined && !(seconds >= 0 && seconds <= MOST_SLEEP_AFTER_SECONDS))
    throw new OffshootError('branch/bad-sleep', { after: `${seconds} s` });
}

/** @param seconds undefined: as its project says. @throws OffshootError branch/bad-sleep */
export async function sleepBranchAfter(store: Store, id: string, seconds: number | undefined): Promise<void> {
  checkSleepAfter(seconds);
  await store.modify('branch', id, ({ spec: { sleepAfterSeconds: _, ...rest } }) => ({
    spec: { ...rest, ...(seconds !== undefined && { sleepAfterSeconds: seconds }) },
  }));
}

/**
 * @param seconds undefined: its sessions keep their servers. Those that are open do as they did when they began.
 * @throws OffshootError branch/bad-sleep
 */
export async function partSilent(store: Store, id: string, seconds: number | undefined): Promise<void> {
  checkSleepAfter(seconds);
  await store.modify('branch', id, ({ spec: { silentAfterSeconds: _, ...rest } }) => ({
    spec: { ...rest, ...(seconds && { silentAfterSeconds: seconds }) },
  }));
}

// --- internal -----------------------------------------------------------------------------------

/** Its data come from elsewhere just now. */
function isFilled(store: Store, { spec, status }: Stored<'branch'>): boolean {
  const wanted = spec.parent === undefined ? store.get('project', spec.project)?.spec.import : undefined;
  const { count, state = 'running' } = status?.import ?? {};
  return wanted !== undefined && (count !== wanted.count || state === 'running');
}
