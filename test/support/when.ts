/** Waiting for what a store's object becomes; woken by changes, no polling. */
import type { Kind, Store, Stored } from '../../src/store/contract.ts';

/**
 * Calls `probe` now and after every change of the object until it returns something other than undefined.
 * @param probe gets undefined when the object does not exist; what it throws is thrown
 * @throws the signal's reason
 */
export function whenObject<K extends Kind, T>(
  store: Store,
  kind: K,
  name: string,
  probe: (object: Stored<K> | undefined) => T | undefined,
  signal: AbortSignal,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const finish = (act: () => void) => {
      stopListening();
      signal.removeEventListener('abort', onAbort);
      act();
    };
    const look = () => {
      try {
        const found = probe(store.get(kind, name));
        if (found !== undefined) finish(() => resolve(found));
      } catch (error) {
        finish(() => reject(error));
      }
    };
    const onAbort = () => finish(() => reject(signal.reason));
    const stopListening = store.onObject(kind, name, look);
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    else look();
  });
}
