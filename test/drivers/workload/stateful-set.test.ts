/** StatefulSets whose pods are not all to be of the newest version, or begin at another number, on real processes. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { WorkloadSpec } from '../../../src/drivers/contract.ts';
import type { Workload } from '../../../src/model/kubernetes.ts';
import { ctx, shell, specOf, testRuntime, untilReady, untilSeen } from '../../support/workload.ts';

/** Each pod says its version, its name and its number. */
function setOf(version: string, spec: Partial<Workload['spec']>): WorkloadSpec {
  const index = { fieldRef: { fieldPath: "metadata.labels['apps.kubernetes.io/pod-index']" } };
  const base = specOf({
    ...shell(`echo ${version} $HOSTNAME $INDEX; exec sleep 600`),
    env: [{ name: 'INDEX', valueFrom: index }],
  });
  const workload = {
    ...base.workload,
    kind: 'StatefulSet' as const,
    spec: { ...base.workload.spec, ...spec },
  };
  return { ...base, workload };
}

const said = (log: readonly string[]) => log.map(line => line.replace(/^\[.*\] /, '')).sort();

describe('a StatefulSet', { concurrency: true }, () => {
  it('numbers its pods from where its ordinals begin', async () => {
    await using r = await testRuntime();
    await r.driver.ensure('web', setOf('v1', { replicas: 2, ordinals: { start: 3 } }), ctx());
    const { log } = await untilSeen(r.driver, 'web', 'both have spoken', s => s.ready && s.log.length === 2);
    assert.deepEqual(said(log), ['v1 web-3 3', 'v1 web-4 4']);
  });

  const kept = [
    ['below its partition', { rollingUpdate: { partition: 1 } }, ['v1 web-0 0', 'v2 web-1 1'], 1],
    ['that are replaced by hand', { type: 'OnDelete' }, ['v1 web-0 0', 'v1 web-1 1'], 2],
  ] as const;
  for (const [which, updateStrategy, expected, older] of kept)
    it(`is ready with older pods ${which}, and says how many they are`, async () => {
      await using r = await testRuntime();
      const spec = (version: string) =>
        setOf(version, { replicas: 2, podManagementPolicy: 'Parallel', updateStrategy });
      await r.driver.ensure('web', spec('v1'), ctx());
      await untilReady(r.driver, 'web');
      const message = `ready; ${older} of 2 pods stay of the version before, as it says`;
      await r.driver.ensure('web', spec('v2'), ctx());
      const { log } = await untilSeen(
        r.driver,
        'web',
        'it is ready',
        s => s.ready && s.message === message && s.log.length === 2,
      );
      assert.deepEqual(said(log), expected);
      await r.driver.ensure('web', { ...spec('v2'), restart: '1' }, ctx());
      const again = await untilSeen(
        r.driver,
        'web',
        'all are new',
        s => s.ready && s.message === 'ready' && s.log.length === 2,
      );
      assert.deepEqual(said(again.log), ['v2 web-0 0', 'v2 web-1 1']);
    });
});

it('a pod counts when it has been ready for minReadySeconds', async () => {
  await using r = await testRuntime();
  const base = specOf(shell('exec sleep 600'));
  const spec = { ...base.workload.spec, minReadySeconds: 1 };
  await r.driver.ensure('web', { ...base, workload: { ...base.workload, spec } }, ctx());
  const young = await untilSeen(r.driver, 'web', 'its pod is ready', s => s.serving);
  assert.deepEqual([young.ready, young.message], [false, 'ready, but not yet for minReadySeconds']);
  await untilReady(r.driver, 'web');
});

it('a rollout without progress for too long says so, with the reason, and goes on', async () => {
  await using r = await testRuntime();
  // Never ready, be it for a moment, which would be progress.
  const readinessProbe = { exec: { command: ['false'] } };
  const base = specOf({ ...shell('test -e ready && exec sleep 600; echo no; exit 3'), readinessProbe });
  const spec = { ...base.workload.spec, progressDeadlineSeconds: 1 };
  await r.driver.ensure('web', { ...base, workload: { ...base.workload, spec } }, ctx());
  const seen = await untilSeen(
    r.driver,
    'web',
    'it is late, and pauses',
    s => s.reason === 'ProgressDeadlineExceeded' && s.message.includes('exit code 3'),
  );
  assert.match(seen.message, /^no progress for 1 s: container "main" ended: exit code 3/);
  assert.equal(seen.ready, false);
});
