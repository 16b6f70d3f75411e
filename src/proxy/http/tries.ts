/** How often somebody may be wrong in a minute. */

export type Tries = {
  /** Milliseconds until another try is welcome; 0: now. */
  wait(who: string): number;
  failed(who: string): void;
};

/** @param each per client, `all` of all of them together */
export function countTries(each: number, all: number, now: () => number): Tries {
  let begun = now();
  let sum = 0;
  /** Not more entries than `all`, because nobody fails beyond that. */
  let failures = new Map<string, number>();
  const look = () => {
    if (now() - begun < MINUTE_MS) return;
    [begun, sum, failures] = [now(), 0, new Map()];
  };
  return {
    wait(who) {
      look();
      return sum < all && (failures.get(who) ?? 0) < each ? 0 : begun + MINUTE_MS - now();
    },
    failed(who) {
      look();
      sum++;
      failures.set(who, (failures.get(who) ?? 0) + 1);
    },
  };
}

// --- internal ---

const MINUTE_MS = 60_000;
