/** What could not be taken: each thing once, and not more than anybody reads. */
import type { LeftOut } from '../make.ts';

export type LeftOutList = {
  add(one: LeftOut): void;
  readonly all: readonly LeftOut[];
};

export function createLeftOut(): LeftOutList {
  const seen = new Set<string>();
  const kept: LeftOut[] = [];
  let more = 0;
  return {
    add(one) {
      const key = `${one.what}\n${one.why}`;
      if (seen.has(key)) return;
      if (kept.length === MOST) {
        more++;
        return;
      }
      seen.add(key);
      kept.push(one);
    },
    get all() {
      const what = `${more} more statement${more === 1 ? '' : 's'}`;
      return more === 0
        ? kept
        : [...kept, { what, why: 'too many for this list; offshoot sql -f names each' }];
    },
  };
}

// --- internal -----------------------------------------------------------------------------------

const MOST = 500;
