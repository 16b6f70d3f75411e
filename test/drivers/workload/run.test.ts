/** What runs to its end: Jobs and bare Pods, on real processes. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { WorkloadSpec } from '../../../src/drivers/contract.ts';
import { nextRunSteps, type RunPod, runOf } from '../../../src/drivers/workload/run.ts';
import type { Workload } from '../../../src/model/kubernetes.ts';
import { said } from '../../support/said.ts';
import { tempDir } from '../../support/temp.ts';
import {
  ctx,
  killedAt,
  openTestRuntime,
  podSpecOf,
  shell,
  testRuntime,
  untilSeen,
} from '../../support/workload.ts';

function jobOf(script: string, spec: Partial<Workload['spec']> = {}, restartPolicy = 'Never'): WorkloadSpec {
  const containers = [
    { name: 'main', ...shell(script) },
  ] as Workload['spec']['template']['spec']['containers'];
  const base = podSpecOf({ restartPolicy, containers });
  const workload = { ...base.workload, kind: 'Job' as const, spec: { ...base.workload.spec, ...spec } };
  return { ...base, workload };
}

const lines = async (file: string) =>
  (await readFile(file, 'utf8').catch(() => '')).split('\n').filter(Boolean);

const ended = (driver: Parameters<typeof untilSeen>[0], id = 'job') =>
  untilSeen(driver, id, 'it has ended', seen => seen.ended !== undefined);

describe('a Job of nobody knows how many pods (a queue of work)', () => {
  const plan = runOf(jobOf('true', { parallelism: 2 }).workload, 'Never')!;
  const pod = (index: number, end?: RunPod['end']): RunPod => ({
    ...{ index, end, restarts: 0 },
    problem: { reason: 'Running', message: 'ready' },
  });
  const steps = (...pods: RunPod[]) => nextRunSteps(pods, plan, 0, 0);

  it('has so many at once, and starts one anew that has failed', () => {
    assert.deepEqual(steps().start, [0, 1]);
    assert.deepEqual(steps(pod(0), pod(1, 'failed')).start, [2]);
  });

  it('starts no more when one has ended well, and lets the others end', () => {
    const going = steps(pod(0, 'succeeded'), pod(1));
    assert.deepEqual([going.start, going.ended], [[], undefined]);
    assert.deepEqual(steps(pod(0, 'succeeded'), pod(1, 'failed')).ended?.how, 'succeeded');
    assert.deepEqual(steps(pod(0, 'succeeded'), pod(1, 'succeeded')).ended?.how, 'succeeded');
  });
});

describe('a Job', { concurrency: true }, () => {
  it('runs once to its end, and not again when it is asked for again', async () => {
    await using r = await testRuntime();
    const out = join(r.home, 'out');
    const spec = jobOf(`echo done; echo ran >>${out}`);
    await r.driver.ensure('job', spec, ctx());
    const seen = await ended(r.driver);
    assert.deepEqual([seen.ended, seen.ready, seen.reason], ['succeeded', true, 'Completed']);
    await r.driver.ensure('job', { ...spec, wish: 'again' }, ctx());
    assert.equal((await r.driver.observe('job', ctx()))!.ended, 'succeeded');
    assert.deepEqual(await said(r.driver, 'job', 5), ['done']);
    assert.deepEqual(await lines(out), ['ran']);
    await r.driver.ensure('job', jobOf(`echo other >>${out}`), ctx());
    await untilSeen(
      r.driver,
      'job',
      'the changed one has run',
      s => s.ended !== undefined && s.specHash !== seen.specHash,
    );
    assert.deepEqual(await lines(out), ['ran', 'other']);
  });

  it('is tried as often as backoffLimit allows, by new pods or by the same one', async () => {
    for (const restartPolicy of ['Never', 'OnFailure']) {
      await using r = await testRuntime();
      const out = join(r.home, 'out');
      await r.driver.ensure(
        'job',
        jobOf(`echo $HOSTNAME >>${out}; echo broken; exit 3`, { backoffLimit: 1 }, restartPolicy),
        ctx(),
      );
      const seen = await ended(r.driver);
      assert.deepEqual([seen.ended, seen.ready, seen.reason], ['failed', false, 'BackoffLimitExceeded']);
      assert.match(seen.message, /^container "main" ended: exit code 3/);
      assert.deepEqual(await lines(out), restartPolicy === 'Never' ? ['web-0', 'web-1'] : ['web-0', 'web-0']);
      assert.ok((await said(r.driver, 'job', 9)).some(line => line.endsWith('broken')));
    }
  });

  it('takes a failure for what its policy says, by the exit code', async () => {
    await using r = await testRuntime();
    const out = join(r.home, 'out');
    const rule = (action: string, ...values: number[]) => ({
      action,
      onExitCodes: { operator: 'In', values },
    });
    const podFailurePolicy = { rules: [rule('FailJob', 42), rule('Ignore', 7)] };
    // Twice what does not count, once what does, then what cannot be mended.
    const script = `echo x >>${out}; case $(wc -l <${out}) in 1|2) exit 7;; 3) exit 1;; *) exit 42;; esac`;
    await r.driver.ensure('job', jobOf(script, { backoffLimit: 1, podFailurePolicy }), ctx());
    const seen = await ended(r.driver);
    assert.deepEqual([seen.ended, seen.reason], ['failed', 'PodFailurePolicy']);
    assert.match(seen.message, /^container "main" ended: exit code 42/);
    assert.equal((await lines(out)).length, 4);
  });

  it('is ended when it takes too long, with all that it has started', async () => {
    await using r = await testRuntime();
    await r.driver.ensure('job', jobOf('sleep 600', { activeDeadlineSeconds: 1 }), ctx());
    const seen = await ended(r.driver);
    assert.deepEqual([seen.ended, seen.reason], ['failed', 'DeadlineExceeded']);
    assert.equal(seen.message, 'it did not end within 1 s');
    await untilSeen(r.driver, 'job', 'nothing runs', () => r.processes.list('workload/job').length === 0);
  });

  it('runs as many pods as there are completions, each with its index', async () => {
    await using r = await testRuntime();
    const out = join(r.home, 'out');
    const script = `echo $JOB_COMPLETION_INDEX >>${out}; test $JOB_COMPLETION_INDEX != 1 -o -e ${out}.1 || { touch ${out}.1; exit 1; }`;
    await r.driver.ensure(
      'job',
      jobOf(script, { completions: 3, parallelism: 2, completionMode: 'Indexed' }),
      ctx(),
    );
    const seen = await ended(r.driver);
    assert.deepEqual([seen.ended, seen.message], ['succeeded', 'all 3 have run to their ends']);
    assert.deepEqual((await lines(out)).sort(), ['0', '1', '1', '2']);
  });

  it('is not begun again by the next daemon, when the one before is killed: not while it runs, and not when it has ended', async () => {
    for (const reason of ['Running', 'Completed']) {
      await using dir = await tempDir();
      const out = join(dir.path, 'out');
      const spec = jobOf(`echo begun >>${out}; sleep 1; echo ended >>${out}`);
      await killedAt(dir.path, spec, reason);
      const driver = await openTestRuntime(dir.path);
      try {
        await ended(driver, 'web');
        await driver.ensure('web', spec, ctx());
        assert.equal((await ended(driver, 'web')).ended, 'succeeded');
        assert.deepEqual(await lines(out), ['begun', 'ended'], reason);
      } finally {
        await driver.close();
      }
    }
  });
});

it('a bare Pod that is not started again ends as its containers do', async () => {
  await using r = await testRuntime();
  const podOf = (script: string) => {
    const spec = jobOf(script);
    return { ...spec, workload: { ...spec.workload, kind: 'Pod' as const } };
  };
  await r.driver.ensure('good', podOf('true'), ctx());
  await r.driver.ensure('bad', podOf('exit 4'), ctx());
  assert.equal((await ended(r.driver, 'good')).ended, 'succeeded');
  const bad = await ended(r.driver, 'bad');
  assert.deepEqual([bad.ended, bad.message], ['failed', 'container "main" ended: exit code 4']);
});

it('a bare Pod has its own name, without a number', async () => {
  await using r = await testRuntime();
  const { workload, ...rest } = jobOf('echo $HOSTNAME');
  await r.driver.ensure('pod', { ...rest, workload: { ...workload, kind: 'Pod' } }, ctx());
  await ended(r.driver, 'pod');
  assert.deepEqual(await said(r.driver, 'pod', 5), ['web']);
});
