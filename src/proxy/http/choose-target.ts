/** The rule of routing: (destination, routing keys) → who answers. Pure. */
import { OffshootError } from '../../model/errors.ts';
import type { Answerer, Destination } from '../book.ts';

export type ReadyTarget = Extract<Answerer, { ready: true }>;

/**
 * The first key that has a fork here decides, ready or not: falling back to the baseline would let a
 * sandbox write to the main database. So does the first that belonged to a sandbox that is gone. Other keys mean
 * nothing here.
 * @param tombstone the sandbox that a key belonged to
 * @throws OffshootError proxy/fork-not-ready, proxy/baseline-not-ready, proxy/sandbox-gone
 */
export function chooseTarget(
  destination: Destination,
  keys: readonly string[],
  tombstone: (routingKey: string) => string | undefined,
): ReadyTarget {
  const { label } = destination;
  for (const key of keys) {
    const fork = destination.fork(key);
    if (fork?.ready) return fork;
    if (fork !== undefined) {
      const { sandbox = key, reason, message } = fork;
      throw new OffshootError('proxy/fork-not-ready', { label, sandbox, reason, message });
    }
    const sandbox = tombstone(key);
    if (sandbox !== undefined) throw new OffshootError('proxy/sandbox-gone', { sandbox });
  }
  const baseline = destination.baseline();
  if (baseline.ready) return baseline;
  const { reason, message } = baseline;
  throw new OffshootError('proxy/baseline-not-ready', { label, reason, message });
}
