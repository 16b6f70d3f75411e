/** Jobs and CronJobs of the baseline. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { storeBaseline } from '../../src/baseline/store-baseline.ts';
import { silentLog } from '../../src/lib/log.ts';
import type { Manifest } from '../../src/model/kubernetes.ts';
import { baselineReconciler } from '../../src/reconcile/baseline.ts';
import { applyManifests } from '../../src/rules/manifests.ts';
import { restartWorkload } from '../../src/rules/restart.ts';
import { configMap, cronJob, deploy, job, testClock } from '../support/documents.ts';
import { memoryWorld } from '../support/memory-drivers.ts';
import { it, testStore } from '../support/stores.ts';

const minute = 60_000;
const id = 'base~job.demo.migrate';
const failed = {
  ended: 'failed',
  ready: false,
  reason: 'BackoffLimitExceeded',
  message: 'it failed 7 times',
} as const;

async function testRuns() {
  const world = memoryWorld();
  const clock = testClock('2030-01-01T00:00:30.000Z');
  const store = testStore({ now: clock.now });
  const reconcile = baselineReconciler({
    ...{ store, baseline: storeBaseline(store), workloads: world.workloads, now: clock.now, log: silentLog },
    addresses: { choose: () => ({ host: '127.77.0.1', port: 1 }), fits: () => true },
    listening: () => 'open',
    routed: async () => {},
  });
  const look = (name: string) => reconcile(name, new AbortController().signal);
  return {
    ...world,
    clock,
    store,
    look,
    /** Deploys and looks. @returns what deploy says */
    async deploy(manifest: Manifest) {
      const [applied] = (await applyManifests(store, [manifest])).applied;
      await look(applied!.object.name);
      return applied!.outcome;
    },
    status(name: string) {
      const { ready, reason, message } = store.get('manifest', name)!.status!;
      return `${ready} ${reason}: ${message}`;
    },
    starts: () => world.workloadsOf.get(id)?.starts,
    /** Names of the CronJob's runs that the driver knows. */
    runs: () => [...world.workloadsOf.keys()].map(one => one.replace('base~cronjob.demo.', '')),
    [Symbol.asyncDispose]: () => store.close(),
  };
}

describe('a Job', () => {
  const name = 'Job/demo/migrate';

  it('is ready when it has completed, not while it runs', async () => {
    await using r = await testRuns();
    assert.equal(await r.deploy(job('migrate')), 'created');
    assert.equal(r.status(name), 'false Running: it runs');
    r.clock.forward(1500);
    r.become(id, { ended: 'succeeded' });
    await r.look(name);
    assert.equal(r.status(name), 'true Completed: completed in 1.5 s');
  });

  it('does not run again when it is applied unchanged, be nothing left of it', async () => {
    await using r = await testRuns();
    await r.deploy(job('migrate'));
    r.become(id, { ended: 'succeeded' });
    await r.look(name);
    r.workloadsOf.clear();
    assert.equal(await r.deploy(job('migrate')), 'unchanged');
    assert.equal(
      await r.deploy(job('migrate', {}, { ttlSecondsAfterFinished: 100, backoffLimit: 2 })),
      'configured',
    );
    assert.equal(r.workloadsOf.size, 0);
    assert.equal(r.status(name), 'true Completed: completed in 0.0 s');
  });

  it('is replaced when what it runs has changed, also while it runs', async () => {
    await using r = await testRuns();
    await r.deploy(job('migrate'));
    assert.equal(await r.deploy(job('migrate', { args: ['2'] })), 'replaced');
    assert.equal(r.workloadsOf.get(id)?.spec.workload.spec.template.spec.containers[0]?.args?.[0], '2');
    assert.equal(r.starts(), 1, 'the one before was removed');
    assert.equal(r.status(name), 'false Running: it runs');
  });

  it('runs once more when it is started anew on request', async () => {
    await using r = await testRuns();
    await r.deploy(job('migrate'));
    r.become(id, { ended: 'succeeded' });
    await r.look(name);
    await restartWorkload(r.store, name);
    await r.look(name);
    assert.equal(r.status(name), 'false Running: it runs');
    assert.equal(r.workloadsOf.get(id)?.spec.restart, '1');
  });

  it('is not disturbed by a change of what it was made from', async () => {
    await using r = await testRuns();
    await deploy(r.store, configMap('settings', { a: '1' }));
    await r.deploy(job('migrate', { envFrom: [{ configMapRef: { name: 'settings' } }] }));
    await deploy(r.store, configMap('settings', { a: '2' }));
    await r.look(name);
    assert.equal(r.starts(), 1);
  });

  it('that cannot begin does so when its cause is mended', async () => {
    await using r = await testRuns();
    r.unknownImages.add('migrate:1');
    await r.deploy(job('migrate'));
    assert.match(r.status(name), /^false ImageUnknown: /);
    r.unknownImages.clear();
    await r.look(name);
    assert.equal(r.status(name), 'false Running: it runs');
  });

  it('that has failed says why, and runs again when it is asked for again', async () => {
    await using r = await testRuns();
    await r.deploy(job('migrate', { command: ['echo', 'no', 'such', 'table'] }));
    r.become(id, failed);
    await r.look(name);
    assert.equal(r.status(name), 'false Failed: BackoffLimitExceeded: it failed 7 times');
    assert.deepEqual(r.store.get('manifest', name)?.status?.log, ['no such table']);
    await r.look(name);
    assert.equal(r.starts(), 1);
    assert.equal(await r.deploy(job('migrate', { command: ['echo', 'no', 'such', 'table'] })), 'replaced');
    assert.equal(r.status(name), 'false Running: it runs');
  });

  it('waits while it is suspended', async () => {
    await using r = await testRuns();
    await r.deploy(job('migrate', {}, { suspend: true }));
    assert.equal(r.workloadsOf.size, 0);
    assert.equal(r.status(name), 'true Suspended: it is suspended');
    await r.deploy(job('migrate', {}, { suspend: false }));
    assert.equal(r.starts(), 1);
    await r.deploy(job('migrate', {}, { suspend: true }));
    assert.equal(r.workloadsOf.size, 0);
  });

  it('goes with all that is left of it some time after its end', async () => {
    await using r = await testRuns();
    await r.deploy(job('migrate', {}, { ttlSecondsAfterFinished: 60 }));
    r.become(id, { ended: 'succeeded' });
    assert.deepEqual(await r.look(name), { again: minute });
    r.clock.forward(minute);
    await r.look(name);
    await r.look(name);
    assert.equal(r.store.get('manifest', name), undefined);
    assert.equal(r.workloadsOf.size, 0);
  });
});

describe('a CronJob', () => {
  const name = 'CronJob/demo/report';
  const first = String(Date.parse('2030-01-01T00:05:00.000Z') / minute);
  const second = String(Date.parse('2030-01-01T00:10:00.000Z') / minute);
  const run = (number: string) => `base~cronjob.demo.report-${number}`;

  it('runs at its times, and says how the last run ended', async () => {
    await using r = await testRuns();
    await r.deploy(cronJob('report', '*/5 * * * *'));
    assert.deepEqual(r.runs(), []);
    assert.equal(r.status(name), 'true Scheduled: next run at 2030-01-01T00:05:00.000Z');
    assert.deepEqual(await r.look(name), { again: 4.5 * minute });
    r.clock.forward(4.5 * minute);
    await r.look(name);
    await r.look(name);
    assert.deepEqual(r.runs(), [`report-${first}`]);
    const { metadata, kind } = r.workloadsOf.get(run(first))!.spec.workload;
    assert.deepEqual([kind, metadata.name], ['Job', `report-${first}`]);
    assert.match(r.status(name), /next run at 2030-01-01T00:10:00.000Z; 1 running$/);
    r.become(run(first), failed);
    await r.look(name);
    assert.match(
      r.status(name),
      /; the last one failed at 2030-01-01T00:05:00.000Z: BackoffLimitExceeded: it failed 7 times$/,
    );
  });

  it('makes up for the newest of the times that were missed, unless it is too late', async () => {
    await using r = await testRuns();
    await r.deploy(cronJob('report', '*/5 * * * *'));
    r.clock.forward(12 * minute);
    await r.look(name);
    assert.deepEqual(r.runs(), [`report-${second}`]);
    await r.deploy(cronJob('report', '*/5 * * * *', { startingDeadlineSeconds: 60 }));
    r.clock.forward(5 * minute);
    await r.look(name);
    assert.deepEqual(r.runs(), [`report-${second}`]);
  });

  const policies = [
    ['Allow', [first, second]],
    ['Forbid', [first]],
    ['Replace', [second]],
  ] as const;
  for (const [concurrencyPolicy, expected] of policies) {
    it(`${concurrencyPolicy}: what becomes of a run that is due while another one runs`, async () => {
      await using r = await testRuns();
      await r.deploy(cronJob('report', '*/5 * * * *', { concurrencyPolicy }));
      r.clock.forward(4.5 * minute);
      await r.look(name);
      r.clock.forward(5 * minute);
      await r.look(name);
      assert.deepEqual(
        r.runs(),
        expected.map(number => `report-${number}`),
      );
      if (concurrencyPolicy !== 'Forbid') return;
      r.become(run(first), { ended: 'succeeded' });
      await r.look(name);
      assert.deepEqual(r.runs(), [`report-${first}`, `report-${second}`], 'it waited');
    });
  }

  it('keeps as many ended runs as its limits say, and none when it goes', async () => {
    await using r = await testRuns();
    await r.deploy(
      cronJob('report', '*/5 * * * *', { successfulJobsHistoryLimit: 1, failedJobsHistoryLimit: 0 }),
    );
    r.clock.forward(4.5 * minute);
    for (const end of [{ ended: 'succeeded' }, failed, { ended: 'succeeded' }] as const) {
      await r.look(name);
      r.become(`base~cronjob.demo.${r.runs().at(-1)}`, end);
      r.clock.forward(5 * minute);
    }
    await r.look(name);
    const kept = [10, 15].map(m => Date.parse('2030-01-01T00:05:00.000Z') / minute + m);
    assert.deepEqual(
      r.runs(),
      kept.map(number => `report-${number}`),
    );
    await r.store.modify('manifest', name, () => ({ deleted: true }));
    await r.look(name);
    assert.deepEqual([r.runs(), r.store.get('manifest', name)], [[], undefined]);
  });

  it('does not make up for the time in which it was suspended', async () => {
    await using r = await testRuns();
    await r.deploy(cronJob('report', '*/5 * * * *', { suspend: true }));
    r.clock.forward(12 * minute);
    await r.look(name);
    assert.equal(r.status(name), 'true Suspended: it is suspended');
    await r.deploy(cronJob('report', '*/5 * * * *'));
    assert.deepEqual(r.runs(), []);
  });
});
