/** What could not be taken: each thing once, and not more than anybody reads. */
import type { LeftOut } from '../make.ts';

export type LeftOutList = {
  add(one: LeftOut): void;
  readonly all: readonly LeftOut[];
};

export function createLeftOut(): LeftOutList {
  const seen = new Set<string>();
  const kept: LeftOut[] = [];
  return {
    add(one) {
      const key = `${one.what}\n${one.why}`;
      if (seen.has(key)) return;
      seen.add(key);
      if (kept.length < MOST) kept.push(one);
    },
    get all() {
      const more = seen.size - kept.length;
      return more === 0 ? kept : [...kept, { what: `${more} more`, why: 'of the same kinds' }];
    },
  };
}

// --- internal -----------------------------------------------------------------------------------

const MOST = 500;
