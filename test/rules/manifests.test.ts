import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ManifestStatus } from '../../src/model/workload-status.ts';
import { applyManifests } from '../../src/rules/manifests.ts';
import { memoryStore } from '../../src/store/memory.ts';
import { deployment } from '../support/documents.ts';

const name = 'Deployment/demo/users';
const broken: ManifestStatus = {
  ready: false,
  reason: 'CrashLoopBackOff',
  message: 'it ended',
  observedGeneration: 1,
  restarts: 4,
  log: ['it broke'],
};

describe('deploying again', () => {
  it('tries what has failed once more, and nothing is said any more of the try before', async () => {
    const store = memoryStore();
    await applyManifests(store, [deployment('users')], {});
    await store.modify('manifest', name, () => ({ status: broken }));
    const [again] = (await applyManifests(store, [deployment('users')])).applied;
    assert.deepEqual([again?.outcome, again?.object.generation], ['unchanged', 1]);
    assert.deepEqual(again?.object.secret, { tries: 1 });
    const { log: _, ...rest } = broken;
    assert.deepEqual(again?.object.status, { ...rest, reason: 'InProgress', message: 'tried again' });
    const { version } = again!.object;
    assert.equal((await applyManifests(store, [deployment('users')])).applied[0]?.object.version, version);
  });

  it('leaves alone what is ready or on its way', async () => {
    const store = memoryStore();
    await applyManifests(store, [deployment('users')], {});
    for (const status of [
      { ...broken, ready: true, reason: 'Running' },
      { ...broken, reason: 'Starting' },
    ]) {
      await store.modify('manifest', name, () => ({ status }));
      const { version } = store.get('manifest', name)!;
      await applyManifests(store, [deployment('users')], {});
      assert.equal(store.get('manifest', name)?.version, version);
    }
  });
});
