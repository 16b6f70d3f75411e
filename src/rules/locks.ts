/**
 * Two requests that each look and then write must not both see what was there before: whoever changes something
 * holds it alone, and shares what it refers to. This is for one process; across crashes and processes the loop's own
 * checks hold (a branch is never removed while something grows from it).
 */
import { KeyedLock } from '../lib/lock.ts';
import type { Store } from '../store/contract.ts';

type Keys = Parameters<KeyedLock['runAll']>[0];

/** Keys: `project/NAME`, `branch-name/PROJECT/NAME`, `branch/ID`, `sandbox/NAME`, `plugin/NAME`, `manifest/NAME`, … */
export function holding<T>(store: Store, keys: Keys, body: () => Promise<T>): Promise<T> {
  const lock = locks.get(store) ?? new KeyedLock();
  locks.set(store, lock);
  return lock.runAll(keys, body);
}

const locks = new WeakMap<Store, KeyedLock>();
