/** Chance that can be repeated: mulberry32, one number of state. */
export type Chance = {
  /** From 0 up to, not including, `n`. */
  below(n: number): number;
  pick<T>(items: readonly T[]): T;
  /** True in `percent` of 100 cases. */
  often(percent: number): boolean;
};

export function chance(seed: number): Chance {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    below: n => Math.floor(next() * n),
    pick: items => items[Math.floor(next() * items.length)]!,
    often: percent => next() * 100 < percent,
  };
}
