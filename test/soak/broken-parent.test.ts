/** A tenth of the scenario. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { brokenParent } from '../../scripts/soak/broken-parent.ts';

test(brokenParent.about, async () => {
  const findings = await brokenParent.run(0.1, AbortSignal.timeout(100_000));
  assert.deepEqual(
    findings.filter(f => !f.ok && !f.timed),
    [],
  );
});
