/** Percentiles and tables of what was measured. */

export type Summary = {
  readonly runs: number;
  readonly p50: number;
  readonly p95: number;
  readonly min: number;
  readonly max: number;
};

/** Nearest-rank percentiles. */
export function summarise(times: readonly number[]): Summary {
  const sorted = times.toSorted((a, b) => a - b);
  const rank = (p: number) => sorted[Math.max(0, Math.ceil(p * sorted.length) - 1)] ?? Number.NaN;
  return { runs: sorted.length, p50: rank(0.5), p95: rank(0.95), min: rank(0), max: rank(1) };
}

export type Row = {
  readonly what: string;
  /** Default: milliseconds. */
  readonly unit?: 'ms' | 'MB' | '×';
  readonly summary: Summary;
  readonly goal?: { readonly p50?: number; readonly p95?: number };
};

export function printRows(rows: readonly Row[]): void {
  const cell = (unit: string) => (n: number) => `${n.toFixed(n < 10 ? 2 : 0)} ${unit}`.padStart(8);
  console.log(
    `${''.padEnd(58)}${['runs', 'p50', 'p95', 'min', 'max'].map(h => h.padStart(8)).join(' ')}   goal`,
  );
  for (const { what, summary: s, goal, unit = 'ms' } of rows) {
    const met = (goal?.p50 ?? Infinity) >= s.p50 && (goal?.p95 ?? Infinity) >= s.p95;
    const goals = Object.entries(goal ?? {})
      .map(([name, most]) => `${name} ≤ ${most} ${unit}`)
      .join(', ');
    const verdict = goal === undefined ? '' : `${goals}: ${met ? 'reached' : 'NOT reached'}`;
    console.log(
      `${what.padEnd(58)}${String(s.runs).padStart(8)} ${[s.p50, s.p95, s.min, s.max].map(cell(unit)).join(' ')}   ${verdict}`,
    );
  }
}
