import assert from 'node:assert/strict';
import { storeBaseline } from '../../src/baseline/store-baseline.ts';
import { silentLog } from '../../src/lib/log.ts';
import { collect } from '../../src/reconcile/collect.ts';
import { baselineId, forkId, workloadSpec } from '../../src/reconcile/workload-spec.ts';
import { applied, defaultProject, deploy, deployment, fork, forkOf } from '../support/documents.ts';
import { memoryWorld } from '../support/memory-drivers.ts';
import { it, testStore } from '../support/stores.ts';

/** A world in which Deployment `users`, a sandbox `sb` with a fork of it and branch main are intended, and are there. */
async function testWorld() {
  const world = memoryWorld();
  const store = testStore();
  const main = await defaultProject(store);
  const abort = new AbortController();
  const ctx = { signal: abort.signal, log: silentLog };
  await deploy(store, deployment('users'));
  await applied(store, 'sb', { forks: [fork('users')] });
  const volume = (id: string) =>
    world.volumes.ensure(
      id,
      {
        record: { id, project: 'default', branch: id, createdAt: '2030-01-01T00:00:00Z' },
        prepare: dir => world.servers.initialise(dir, ctx),
      },
      ctx,
    );
  const run = (id: string, owner: string) =>
    world.workloads.ensure(
      id,
      workloadSpec(storeBaseline(store), owner, deployment('users'), { ports: [], wish: '', images: [] }),
      ctx,
    );
  const server = async (id: string) =>
    world.servers.ensure(id, { dataDir: (await volume(id)).dataDir, name: id }, ctx);
  await server(main.name);
  await run(baselineId(forkOf('users')), 'baseline');
  await run(forkId('sb', forkOf('users')), 'sandbox/sb');
  world.stepsRunning.add('sb.db.create.make');
  return {
    ...world,
    store,
    main,
    abort,
    volume,
    server,
    run,
    collect: () => collect({ store, ...world }, ctx),
    [Symbol.asyncDispose]: () => store.close(),
  };
}

it('leaves what is intended alone, also what is only half made or about to go', async () => {
  await using w = await testWorld();
  w.disk.get(w.main.name)!.complete = false;
  await w.store.modify('branch', w.main.name, () => ({ deleted: true }));
  await w.store.modify('sandbox', 'sb', () => ({ deleted: true }));
  await w.store.modify('manifest', 'Deployment/demo/users', () => ({ deleted: true }));
  assert.deepEqual(await w.collect(), { removed: [], orphans: [] });
  assert.deepEqual([w.disk.size, w.running.size, w.workloadsOf.size, w.stepsRunning.size], [1, 1, 2, 1]);
});

it('removes what nothing in the store asks for', async () => {
  await using w = await testWorld();
  await w.server('br-lost');
  w.disk.get('br-lost')!.complete = false;
  await w.run(baselineId(forkOf('gone')), 'baseline');
  await w.run(forkId('sb2', forkOf('users')), 'sandbox/sb2');
  w.stepsRunning.add('s.db.create.make');
  const { removed, orphans } = await w.collect();
  assert.deepEqual(removed, [
    'half-made branch br-lost',
    'workload base.demo.gone',
    'workload sb-sb2.demo.users',
    'step s.db.create.make',
  ]);
  assert.deepEqual(orphans, []);
  assert.deepEqual([...w.disk.keys()], [w.main.name]);
  assert.deepEqual([...w.running.keys()], [w.main.name]);
  assert.deepEqual([...w.workloadsOf.keys()], ['base.demo.users', 'sb-sb.demo.users']);
  assert.deepEqual([...w.stepsRunning], ['sb.db.create.make']);
});

it('only reports a complete volume of no branch: data is never removed on a guess', async () => {
  await using w = await testWorld();
  await w.server('br-lost');
  assert.deepEqual(await w.collect(), { removed: ['server br-lost'], orphans: ['br-lost'] });
  assert.equal(w.disk.get('br-lost')?.complete, true);
  assert.deepEqual(await w.collect(), { removed: [], orphans: ['br-lost'] });
});

it('goes on with the rest when one thing cannot be removed', async () => {
  await using w = await testWorld();
  await w.server('br-lost');
  w.disk.get('br-lost')!.complete = false;
  await w.run(forkId('gone', forkOf('users')), 'sandbox/gone');
  w.trouble.fail('volumes.remove', new Error('it is in use'));
  assert.deepEqual((await w.collect()).removed, ['workload sb-gone.demo.users']);
  w.trouble.mend('volumes.remove');
  assert.deepEqual((await w.collect()).removed, ['half-made branch br-lost']);
});

it('stops when it is told to', async () => {
  await using w = await testWorld();
  await w.server('br-lost');
  await w.run(forkId('gone', forkOf('users')), 'sandbox/gone');
  const removing = w.trouble.hang('servers.stop');
  const collecting = w.collect();
  await removing.reached;
  w.abort.abort(new Error('the daemon stops'));
  await assert.rejects(collecting, { message: 'the daemon stops' });
  assert.ok(w.workloadsOf.has('sb-gone.demo.users'));
});

it('removes what a node kept for branches to come, of which a new node knows nothing', async () => {
  await using w = await testWorld();
  await w.volume('base-1');
  w.disk.get('base-1')!.record = { ...w.disk.get('base-1')!.record, stock: 'base' };
  assert.deepEqual(await w.collect(), { removed: ['half-made branch base-1'], orphans: [] });
  assert.equal(w.disk.has('base-1'), false);
});
