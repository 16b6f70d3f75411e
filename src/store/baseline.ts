/** Questions about the baseline. */
import type { Store } from './contract.ts';

/** Names of the sandboxes that fork a workload. */
export const usersOfWorkload = (store: Store, namespace: string, name: string): readonly string[] =>
  store
    .list('sandbox')
    .filter(s => (s.spec.forks ?? []).some(f => f.forkOf.namespace === namespace && f.forkOf.name === name))
    .map(s => s.name);
