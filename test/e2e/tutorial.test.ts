/** The tutorial from beginning to end, with real parts, in both forms of the plugin. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { playTutorial, type Step } from '../../scripts/demo/tutorial.ts';
import { root, testDaemon } from '../support/daemon.ts';

for (const plugin of ['uses', 'script'] as const) {
  test(`the tutorial, plugin as ${plugin}`, async () => {
    await using daemon = await testDaemon({ start: false });
    const steps: Step[] = [];
    const { env } = daemon;
    const played = await playTutorial({
      root,
      env,
      plugin,
      signal: AbortSignal.timeout(100_000),
      onStep: s => steps.push(s),
    });
    await played.finish();
    assert.ok(steps.every(s => s.ok));
    assert.deepEqual(
      steps.filter(s => s.name.startsWith('branch list')).map(s => s.result),
      ['main', 'main, sb-xata-test', 'main'],
    );
  });
}
