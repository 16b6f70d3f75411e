/** The rule of routing: (destination, routing keys) → who answers. Pure. */
import { OffshootError } from '../../model/errors.ts';
import type { Destination, Target } from '../../model/route.ts';

export type ReadyTarget = Extract<Target, { ready: true }>;

/**
 * The first key that has a fork here decides, ready or not: falling back to the baseline would let a
 * sandbox write to the main database. Keys without a fork here mean nothing here.
 * @throws OffshootError proxy/fork-not-ready, proxy/baseline-not-ready
 */
export function chooseTarget(destination: Destination, keys: readonly string[]): ReadyTarget {
  const key = keys.find(key => Object.hasOwn(destination.forks, key));
  const target = key === undefined ? destination.baseline : destination.forks[key]!;
  if (target.ready && target.addresses.length > 0) return target;
  const { label } = destination;
  const why = target.ready ? { reason: 'NoAddress', message: 'it answers nowhere' } : target;
  if (key === undefined)
    throw new OffshootError('proxy/baseline-not-ready', { label, reason: why.reason, message: why.message });
  throw new OffshootError('proxy/fork-not-ready', {
    label,
    sandbox: target.sandbox ?? key,
    reason: why.reason,
    message: why.message,
  });
}
