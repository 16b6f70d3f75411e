/** What a scenario of `npm run soak` is. */

export type Scenario = {
  /** What must hold, in a sentence. */
  readonly about: string;
  /** Why it cannot run here, in words. */
  missing?(): Promise<string | undefined>;
  /** Milliseconds after which a run at full size is given up. */
  readonly deadlineMs: number;
  /**
   * Sets up a world of its own, and leaves nothing of it.
   * @param share of the full size: 1, or 0.1 as a test
   * @param seed of what it does by chance; the same seed does the same
   * @throws when it cannot go on; what was found wrong is a finding
   */
  run(share: number, signal: AbortSignal, seed: number): Promise<readonly Finding[]>;
};

export type Finding = {
  readonly what: string;
  /** In words, with units. */
  readonly wanted: string;
  readonly found: string;
  readonly ok: boolean;
  /** Depends on what else the machine does: tests leave it out. */
  readonly timed?: true;
};

/** @param unit of both; empty for a count */
export function atMost(what: string, value: number, most: number, unit = ''): Finding {
  const number = (n: number) => `${Math.round(n * 10) / 10} ${unit}`.trim();
  const finding = { what, wanted: `≤ ${number(most)}`, found: number(value), ok: value <= most };
  return unit === '' ? finding : { ...finding, timed: true };
}

export const exactly = (what: string, value: string | number, wanted: string | number): Finding => ({
  what,
  wanted: String(wanted),
  found: String(value),
  ok: value === wanted,
});

/** A value that is only told. */
export const told = (what: string, found: string): Finding => ({ what, wanted: '', found, ok: true });

export const none = (what: string, found: readonly string[]): Finding => ({
  ...{ what, wanted: '0', ok: found.length === 0 },
  found: [String(found.length), ...[...new Set(found)].slice(0, 5)].join('\n    '),
});

export const some = (what: string, count: number): Finding => ({
  ...{ what, wanted: '> 0', found: String(count), ok: count > 0 },
});
