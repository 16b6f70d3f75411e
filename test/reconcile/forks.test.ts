import assert from 'node:assert/strict';
import { storeBaseline } from '../../src/baseline/store-baseline.ts';
import { silentLog } from '../../src/lib/log.ts';
import { forkEnvironment, forkRunner } from '../../src/reconcile/forks.ts';
import { forkId } from '../../src/reconcile/workload-spec.ts';
import {
  applied,
  configMap,
  deploy,
  deployment,
  fork,
  forkOf,
  install,
  service,
  tablePlugin,
} from '../support/documents.ts';
import { memoryWorld } from '../support/memory-drivers.ts';
import { it, testStore } from '../support/stores.ts';

const running = { ready: true, reason: 'Running', message: 'runs' };

/** Sandbox `sb` with forks of `users` and, named `mine`, of `orders`; its resource is there and `users` answers at port 1. */
async function testSandbox() {
  const store = testStore();
  const envFrom = [{ configMapRef: { name: 'colours' } }];
  await deploy(
    store,
    configMap('colours', { COLOUR: 'red' }),
    deployment('users', { envFrom }),
    deployment('orders'),
  );
  const name = await deploy(store, service('users', { port: 80 }));
  await store.modify('manifest', name, () => ({
    status: { ...running, observedGeneration: 1, addresses: { 80: { host: '127.77.0.1', port: 80 } } },
  }));
  await install(store, 'table', tablePlugin);
  const expression = '{{.Service.Host}}:{{.Service.Port}}';
  await applied(store, 'sb', {
    resources: [{ name: 'db', plugin: 'table' }],
    forks: [
      fork('users', {
        TABLE: { resource: { name: 'db', outputKey: 'make.id' } },
        PLACE: '$(USERS_SERVICE_HOST)',
      }),
      { ...fork('orders', { USERS: { fork: { forkOf: forkOf('users'), expression } } }), name: 'mine' },
    ],
  });
  await store.modify('sandbox', 'sb', ({ secret }) => ({
    secret: {
      ...secret,
      resources: {
        db: {
          ...secret.resources.db!,
          phase: 'created',
          create: { make: { state: 'succeeded', startedAt: '', outputs: { id: '$(table)' } } },
        },
      },
    },
    status: {
      ...running,
      failed: false,
      observedGeneration: 1,
      conditions: [],
      endpoints: [],
      forks: [
        {
          ...running,
          name: 'users',
          forkOf: forkOf('users'),
          restarts: 0,
          ports: { 3000: [{ host: '127.0.0.1', port: 1 }] },
        },
      ],
    },
  }));
  const sandbox = () => store.get('sandbox', 'sb')!;
  return {
    store,
    sandbox,
    environment: (workload?: string) =>
      forkEnvironment({ store, baseline: storeBaseline(store) }, sandbox(), workload),
    [Symbol.asyncDispose]: () => store.close(),
  };
}

it('is what the container declares, with every reference resolved', async () => {
  await using s = await testSandbox();
  const { routingKey } = s.sandbox().secret;
  assert.deepEqual(s.environment('users'), {
    COLOUR: 'red',
    OFFSHOOT_SANDBOX_NAME: 'sb',
    OFFSHOOT_ROUTING_KEY: routingKey,
    SIGNADOT_SANDBOX_NAME: 'sb',
    SIGNADOT_SANDBOX_ROUTING_KEY: routingKey,
    TABLE: '$(table)',
    PLACE: '127.77.0.1',
  });
});

it('is of the first fork unless one is named, by its own name or by that of its workload', async () => {
  await using s = await testSandbox();
  assert.deepEqual(s.environment(), s.environment('users'));
  assert.equal(s.environment('mine').USERS, '127.0.0.1:1');
  assert.deepEqual(s.environment('orders'), s.environment('mine'));
});

it('needs a fork, its baseline, and the address of a fork that it names', async () => {
  await using s = await testSandbox();
  assert.throws(() => s.environment('other'), {
    code: 'api/not-found',
    hint: 'its forks are: users, orders',
  });
  await s.store.modify('sandbox', 'sb', ({ status }) => ({ status: { ...status!, forks: [] } }));
  assert.throws(() => s.environment('mine'), { code: 'fork/reference-missing' });
  await s.store.remove('manifest', 'Deployment/demo/users');
  assert.throws(() => s.environment('users'), { code: 'sandbox/baseline-missing' });
});

it('waits for the address of a fork that it names, and says for which', async () => {
  const world = memoryWorld();
  const store = testStore();
  await deploy(store, deployment('users'), deployment('web'));
  const expression = '{{.Service.Host}}:{{.Service.Port}}';
  const named = fork('web', { USERS: { fork: { forkOf: forkOf('users'), expression } } });
  const sandbox = await applied(store, 'sb', { forks: [named, fork('users')] });
  const forks = forkRunner({ store, baseline: storeBaseline(store), workloads: world.workloads });
  const ctx = { signal: AbortSignal.timeout(60_000), log: silentLog };
  const reasons = async () => (await forks.ensure(sandbox, ctx)).map(f => f.reason);
  assert.deepEqual(await reasons(), ['Running', 'Running']);

  const id = forkId('sb', forkOf('users'));
  const { ports } = world.workloadsOf.get(id)!.seen;
  world.become(id, { ports: { 3000: [] }, ready: false, reason: 'ImageUnknown', message: 'no such image' });
  const [waiting] = await forks.ensure(sandbox, ctx);
  assert.deepEqual(
    [waiting!.reason, waiting!.message],
    ['WaitingForFork', 'waits for the fork of demo/users: no such image'],
  );
  world.become(id, { ports, ready: true, reason: 'Running', message: '' });
  assert.deepEqual(await reasons(), ['Running', 'Running']);
  await store.close();
});

it('has the volumes that its document asks for, and says what its disks began as', async () => {
  const world = memoryWorld();
  const store = testStore();
  await deploy(store, deployment('users'));
  const volumes = { disks: 'empty', hostPath: 'write' } as const;
  const sandbox = await applied(store, 'sb', { forks: [{ ...fork('users'), volumes }] });
  const forks = forkRunner({ store, baseline: storeBaseline(store), workloads: world.workloads });
  const ctx = { signal: AbortSignal.timeout(60_000), log: silentLog };
  const id = forkId('sb', forkOf('users'));
  await forks.ensure(sandbox, ctx);
  assert.deepEqual(world.workloadsOf.get(id)?.spec.forkVolumes, volumes);
  world.become(id, { disks: { data: 'empty' } });
  const [seen] = await forks.ensure(sandbox, ctx);
  assert.deepEqual(seen?.disks, { data: 'empty' });
  await store.close();
});
