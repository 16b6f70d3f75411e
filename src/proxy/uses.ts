/** Which branches have clients: from the moment that one has named its branch until it has left. */
import { Listeners } from '../lib/listeners.ts';

export type Uses = {
  /** @returns to be called when it has left; a second time does nothing */
  begin(branch: string): () => void;
  has(branch: string): boolean;
  all(): Iterable<string>;
  /** Calls `listener` when the first client of a branch comes, and when its last one has left. @returns the way to stop that */
  onChange(listener: (branch: string) => void): () => void;
};

export function createUses(): Uses {
  const counts = new Map<string, number>();
  const listeners = new Listeners<string>();
  const add = (branch: string, more: 1 | -1): void => {
    const count = (counts.get(branch) ?? 0) + more;
    if (count === 0) counts.delete(branch);
    else counts.set(branch, count);
    if (count === 0 || (count === 1 && more === 1)) listeners.tell(branch);
  };
  return {
    begin(branch) {
      add(branch, 1);
      let present = true;
      return () => {
        if (present) add(branch, -1);
        present = false;
      };
    },
    has: branch => counts.has(branch),
    all: () => counts.keys(),
    onChange: listeners.add,
  };
}
