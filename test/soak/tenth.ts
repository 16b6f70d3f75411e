/** A tenth of a scenario as a test: `tenth(kill)`. What depends on what else the machine does is left out. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Scenario } from '../../scripts/soak/scenario.ts';

export function tenth({ about, run, missing }: Scenario): void {
  test(about, async t => {
    const why = await missing?.();
    if (why !== undefined) return t.skip(why);
    const seed = Math.floor(Math.random() * 2 ** 31);
    const findings = await run(0.1, AbortSignal.timeout(6 * 60_000), seed);
    const broken = findings.filter(f => !f.ok && !f.timed);
    assert.deepEqual(broken, [], `with seed ${seed}`);
  });
}
