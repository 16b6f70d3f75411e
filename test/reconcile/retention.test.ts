/** Disks of StatefulSets of the baseline: they stay, unless their manifest lets them go. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { storeBaseline } from '../../src/baseline/store-baseline.ts';
import { silentLog } from '../../src/lib/log.ts';
import type { Workload } from '../../src/model/kubernetes.ts';
import { baselineReconciler } from '../../src/reconcile/baseline.ts';
import { deploy, statefulSet, testClock } from '../support/documents.ts';
import { memoryWorld } from '../support/memory-drivers.ts';
import { it, testStore } from '../support/stores.ts';

async function testSet() {
  const world = memoryWorld();
  const clock = testClock();
  const store = testStore({ now: clock.now });
  const reconcile = baselineReconciler({
    ...{ store, baseline: storeBaseline(store), workloads: world.workloads, now: clock.now, log: silentLog },
    addresses: { choose: () => ({ host: '127.77.0.1', port: 1 }), fits: () => true },
    listening: () => 'open',
    routed: async () => {},
  });
  const name = 'StatefulSet/demo/db';
  const look = () => reconcile(name, new AbortController().signal);
  return {
    ...world,
    store,
    look,
    async deploy(spec: Partial<Workload['spec']>) {
      await deploy(store, statefulSet('db', spec));
      await look();
    },
    async undeploy() {
      await store.modify('manifest', name, () => ({ deleted: true }));
      await look();
      assert.equal(store.get('manifest', name), undefined);
    },
    disks: () => [...world.disksOf.keys()],
    [Symbol.asyncDispose]: () => store.close(),
  };
}

const all = ['demo/data-db-0', 'demo/data-db-1', 'demo/data-db-2'];

describe('disks of a StatefulSet', () => {
  it('stay when there are fewer pods, and when it goes', async () => {
    await using s = await testSet();
    await s.deploy({ replicas: 3 });
    await s.deploy({ replicas: 1 });
    assert.deepEqual(s.disks(), all);
    await s.undeploy();
    assert.deepEqual(s.disks(), all);
  });

  it('go with pods that are too many when it says so, as soon as these are gone, and others stay', async () => {
    await using s = await testSet();
    const persistentVolumeClaimRetentionPolicy = { whenScaled: 'Delete' } as const;
    await s.deploy({ replicas: 3, persistentVolumeClaimRetentionPolicy });
    for (const other of ['demo/data-dbx-7', 'other/data-db-2', 'demo/uploads']) s.disksOf.set(other, 0);
    s.startAs({ ready: false, reason: 'Starting', message: 'wait' });
    await s.deploy({ replicas: 1, persistentVolumeClaimRetentionPolicy });
    assert.deepEqual(s.disks().slice(0, 3), all);
    s.become('base~statefulset.demo.db', { ready: true, reason: 'Running' });
    await s.look();
    const others = ['demo/data-dbx-7', 'other/data-db-2', 'demo/uploads'];
    assert.deepEqual(s.disks(), ['demo/data-db-0', ...others]);
    await s.undeploy();
    assert.deepEqual(s.disks(), ['demo/data-db-0', ...others]);
  });

  it('go with it when it says so, also those that no pod had any more', async () => {
    await using s = await testSet();
    await s.deploy({ replicas: 3, persistentVolumeClaimRetentionPolicy: { whenDeleted: 'Delete' } });
    await s.deploy({ replicas: 1, persistentVolumeClaimRetentionPolicy: { whenDeleted: 'Delete' } });
    assert.deepEqual(s.disks(), all);
    await s.undeploy();
    assert.deepEqual(s.disks(), []);
  });
});
