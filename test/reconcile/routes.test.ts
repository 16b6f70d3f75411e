import assert from 'node:assert/strict';
import { describe } from 'node:test';
import type { Manifest } from '../../src/model/kubernetes.ts';
import type { SandboxSpec, SandboxStatus } from '../../src/model/sandbox.ts';
import type { ManifestStatus } from '../../src/model/workload-status.ts';
import { computeRoutes } from '../../src/reconcile/routes.ts';
import { applied, deploy, deployment, fork, forkOf, service } from '../support/documents.ts';
import { it, testStore } from '../support/stores.ts';

const at = (port: number) => ({ host: '127.0.0.1', port });
const running = { ready: true, reason: 'Running', message: 'runs', observedGeneration: 1 };

/** Deployment `users` that answers at port 1 and Service `users` for it, port 80, at 127.77.0.1. */
async function testRoutes() {
  const store = testStore();
  const put = async (manifest: Manifest, status: ManifestStatus) => {
    const name = await deploy(store, manifest);
    await store.modify('manifest', name, () => ({ status }));
    return name;
  };
  await put(deployment('users'), { ...running, ports: { 3000: [at(1)] } });
  await put(service('users', { port: 80, targetPort: 'http' }), {
    ...running,
    addresses: { 80: { host: '127.77.0.1', port: 80 } },
  });
  return {
    store,
    put,
    /** A sandbox that forks `users`; its routing key. */
    async sandbox(name: string, spec: Omit<SandboxSpec, 'cluster'> = { forks: [fork('users')] }) {
      return (await applied(store, name, spec)).secret.routingKey;
    },
    /** What the reconciler says of that fork. */
    async fork(sandbox: string, change: Partial<SandboxStatus['forks'][number]>) {
      const one = { name: 'users', forkOf: forkOf('users'), ...running, restarts: 0, ports: {}, ...change };
      const { observedGeneration: _, ...seen } = one;
      const status: SandboxStatus = {
        ...running,
        failed: false,
        conditions: [],
        forks: [seen],
        endpoints: [],
      };
      await store.modify('sandbox', sandbox, () => ({ status }));
    },
    table: () => computeRoutes({ manifests: store.list('manifest'), sandboxes: store.list('sandbox') }, 7),
    [Symbol.asyncDispose]: () => store.close(),
  };
}

describe('destinations', () => {
  it('are the container ports of Deployments and the ports of Services', async () => {
    await using r = await testRoutes();
    const table = r.table();
    const target = {
      label: 'Deployment demo/users',
      baseline: { ready: true, addresses: [at(1)] },
      forks: {},
    };
    assert.equal(table.version, 7);
    assert.deepEqual(table.destinations, { 'deploy:demo/users:3000': target, 'svc:demo/users:80': target });
    assert.deepEqual(table.listeners, [{ host: '127.77.0.1', port: 80, destination: 'svc:demo/users:80' }]);
  });

  it('follow target ports by number and by name', async () => {
    await using r = await testRoutes();
    await r.put(
      service(
        'users',
        { name: 'a', port: 80, targetPort: 'http' },
        { name: 'b', port: 3000 },
        {
          name: 'c',
          port: 81,
          targetPort: 3000,
        },
      ),
      running,
    );
    const { destinations, listeners } = r.table();
    for (const port of [80, 3000, 81])
      assert.deepEqual(destinations[`svc:demo/users:${port}`]?.baseline, { ready: true, addresses: [at(1)] });
    assert.deepEqual(listeners, [], 'they have no address yet');
  });

  it('say which port nobody has', async () => {
    await using r = await testRoutes();
    await r.put(
      service('users', { port: 80, targetPort: 4000 }, { name: 'b', port: 81, targetPort: 'grpc' }),
      running,
    );
    const { destinations } = r.table();
    assert.deepEqual(destinations['svc:demo/users:80']?.baseline, {
      ready: false,
      reason: 'NoPort',
      message: 'Deployment demo/users has no container port 4000',
    });
    assert.deepEqual(destinations['svc:demo/users:81'], {
      label: 'Service demo/users',
      baseline: {
        ready: false,
        reason: 'NoPort',
        message: 'no container that Service demo/users selects has a port named "grpc"',
      },
      forks: {},
    });
  });

  it('without a workload say so; one of another namespace is none', async () => {
    await using r = await testRoutes();
    const users = service('users', { port: 80 });
    await r.put(
      { ...users, metadata: { ...users.metadata, namespace: 'other' } },
      {
        ...running,
        addresses: { 80: { host: '127.77.0.2', port: 80 } },
      },
    );
    const { destinations, listeners } = r.table();
    const found = destinations['svc:other/users:80']!.baseline;
    assert.equal(found.ready === false && found.reason, 'NoWorkload');
    assert.equal(listeners.length, 2, 'it still answers, and says why it cannot');
  });

  it('whose baseline is not ready say why', async () => {
    await using r = await testRoutes();
    await r.put(deployment('users'), {
      ...running,
      ready: false,
      reason: 'CrashLoopBackOff',
      message: 'it ended',
    });
    assert.deepEqual(r.table().destinations['svc:demo/users:80']?.baseline, {
      ready: false,
      reason: 'CrashLoopBackOff',
      message: 'it ended',
    });
    await deploy(r.store, deployment('orders'));
    assert.deepEqual(r.table().destinations['deploy:demo/orders:3000']?.baseline, {
      ready: false,
      reason: 'Pending',
      message: 'not started yet',
    });
  });
});

describe('a routing key', () => {
  it('leads to the fork of its sandbox, at the Service and at the workload', async () => {
    await using r = await testRoutes();
    const [one, two] = [await r.sandbox('one'), await r.sandbox('two')];
    await r.fork('one', { ports: { 3000: [at(11)] } });
    await r.fork('two', { ports: { 3000: [at(12)] } });
    const { destinations } = r.table();
    for (const key of ['svc:demo/users:80', 'deploy:demo/users:3000'])
      assert.deepEqual(destinations[key]?.forks, {
        [one]: { ready: true, addresses: [at(11)], sandbox: 'one' },
        [two]: { ready: true, addresses: [at(12)], sandbox: 'two' },
      });
  });

  it('that is known never leads to the baseline: it says what is missing', async () => {
    await using r = await testRoutes();
    const key = await r.sandbox('one');
    const found = () => r.table().destinations['svc:demo/users:80']!.forks[key];
    const missing = (reason: string, message: string) => ({ ready: false, sandbox: 'one', reason, message });
    assert.deepEqual(found(), missing('Pending', 'not started yet'));
    await r.fork('one', { ready: false, reason: 'Starting', message: 'wait', ports: { 3000: [at(11)] } });
    assert.deepEqual(found(), missing('Starting', 'wait'));
    await r.fork('one', { ports: { 4000: [at(11)] } });
    assert.deepEqual(found(), missing('NoPort', 'the fork has no container port 3000'));
    await r.fork('one', { ports: { 3000: [at(11)] } });
    await r.store.modify('sandbox', 'one', () => ({ deleted: true }));
    assert.deepEqual(found(), missing('Deleting', 'sandbox "one" is being deleted'));
  });

  it('is known only where its sandbox forks, and only while that is there', async () => {
    await using r = await testRoutes();
    await r.put(deployment('orders'), { ...running, ports: { 3000: [at(2)] } });
    const key = await r.sandbox('one');
    assert.deepEqual(r.table().destinations['deploy:demo/orders:3000']?.forks, {});
    assert.ok(r.table().destinations['deploy:demo/users:3000']?.forks[key]);
    await r.store.remove('sandbox', 'one');
    assert.deepEqual(r.table().destinations['deploy:demo/users:3000']?.forks, {});
  });

  it('stays known when the baseline does not run', async () => {
    await using r = await testRoutes();
    const key = await r.sandbox('one');
    await r.fork('one', { ports: { 3000: [at(11)] } });
    await r.put(deployment('users'), { ...running, ready: false });
    assert.equal(r.table().destinations['svc:demo/users:80']?.forks[key]?.ready, true);
  });
});

describe('previews', () => {
  it('are the endpoints of all three spellings', async () => {
    await using r = await testRoutes();
    const routingKey = await r.sandbox('one', {
      forks: [{ ...fork('users'), endpoints: [{ name: 'fork', port: 3000, protocol: 'grpc' }] }],
      endpoints: [{ name: 'old', host: 'users.demo.svc', port: 80 }],
      defaultRouteGroup: { endpoints: [{ name: 'group', target: 'http://users.demo.deploy:3000' }] },
    });
    const preview = { sandbox: 'one', routingKey };
    assert.deepEqual(r.table().previews, {
      'group--one': {
        ...preview,
        endpoint: 'group',
        destination: 'deploy:demo/users:3000',
        protocol: 'http',
      },
      'old--one': { ...preview, endpoint: 'old', destination: 'svc:demo/users:80', protocol: 'http' },
      'fork--one': {
        ...preview,
        endpoint: 'fork',
        destination: 'deploy:demo/users:3000',
        protocol: 'grpc',
      },
    });
  });

  it('lead to a destination that is there', async () => {
    await using r = await testRoutes();
    await r.sandbox('one', { endpoints: [{ name: 'api', host: 'users.demo.svc', port: 80 }] });
    const { previews, destinations } = r.table();
    assert.ok(destinations[previews['api--one']!.destination]);
  });
});

describe('several Deployments behind one Service', () => {
  const canary = (): Manifest => {
    const users = deployment('users');
    return { ...users, metadata: { ...users.metadata, name: 'canary' } };
  };

  it('are its baseline together, as far as they are ready', async () => {
    await using r = await testRoutes();
    await r.put(canary(), { ...running, ports: { 3000: [at(2)] } });
    const { baseline } = r.table().destinations['svc:demo/users:80']!;
    assert.deepEqual(baseline, { ready: true, addresses: [at(1), at(2)] });
    await r.put(deployment('users'), { ...running, ready: false, ports: { 3000: [at(1)] } });
    assert.deepEqual(r.table().destinations['svc:demo/users:80']!.baseline, {
      ready: true,
      addresses: [at(2)],
    });
  });

  it('may each be forked: the key never leads to a baseline', async () => {
    await using r = await testRoutes();
    await r.put(canary(), { ...running, ports: { 3000: [at(2)] } });
    const key = await r.sandbox('pr', { forks: [fork('canary')] });
    assert.equal(r.table().destinations['svc:demo/users:80']!.forks[key]?.ready, false);
  });
});
