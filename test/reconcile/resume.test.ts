import assert from 'node:assert/strict';
import { silentLog } from '../../src/lib/log.ts';
import { resume } from '../../src/reconcile/resume.ts';
import { applied, defaultProject, deploy, deployment, fork, forkOf } from '../support/documents.ts';
import { memoryWorld } from '../support/memory-drivers.ts';
import { it, testStore } from '../support/stores.ts';

const status = { ready: true, reason: 'Running', message: 'runs', observedGeneration: 1 };
const ctx = { signal: AbortSignal.timeout(60_000), log: silentLog };

it('what does not run any more is not called ready after a start', async () => {
  const world = memoryWorld();
  const store = testStore();
  const main = await defaultProject(store);
  const branch = {
    state: 'ready',
    reason: 'Ready',
    message: 'accepts connections',
    conditions: [],
    observedGeneration: 1,
  } as const;
  await store.modify('branch', main.name, () => ({ status: branch }));
  const users = await deploy(store, deployment('users'));
  await store.modify('manifest', users, () => ({ status: { ...status, ports: { 3000: [] } } }));
  await applied(store, 'pr', { forks: [fork('users')] });
  const one = { ...status, name: 'users', forkOf: forkOf('users'), restarts: 0, ports: {} };
  await store.modify('sandbox', 'pr', () => ({
    status: { ...status, failed: false, conditions: [], forks: [one], endpoints: [] },
  }));

  await resume({ ...world, store }, ctx);

  const sandbox = store.get('sandbox', 'pr')!.status!;
  assert.deepEqual([sandbox.ready, sandbox.reason], [false, 'Resuming']);
  assert.deepEqual([sandbox.forks[0]!.ready, sandbox.forks[0]!.reason], [false, 'Resuming']);
  assert.deepEqual(
    [store.get('manifest', users)!.status!.ready, store.get('branch', main.name)!.status!.state],
    [false, 'creating'],
  );

  const version = store.version();
  await resume({ ...world, store }, ctx);
  assert.equal(store.get('sandbox', 'pr')!.version <= version, true, 'a second look changes nothing');
  await store.close();
});
