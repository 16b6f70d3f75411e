import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { storeBaseline } from '../../src/baseline/store-baseline.ts';
import type { BranchStatus } from '../../src/model/branch.ts';
import type { Manifest } from '../../src/model/kubernetes.ts';
import type { RouteChange } from '../../src/model/route.ts';
import type { SandboxSpec, SandboxStatus } from '../../src/model/sandbox.ts';
import type { ManifestStatus } from '../../src/model/workload-status.ts';
import { createBook } from '../../src/proxy/book.ts';
import { followRoutes, listenerOf } from '../../src/reconcile/routes.ts';
import { rotatePassword } from '../../src/rules/branches.ts';
import { applied, defaultProject, deploy, deployment, fork, forkOf, service } from '../support/documents.ts';
import { it, testStore } from '../support/stores.ts';

const at = (port: number) => ({ host: '127.0.0.1', port });
const running = { ready: true, reason: 'Running', message: 'runs', observedGeneration: 1 };

/** Deployment `users` that answers at port 1 and Service `users` for it, port 80, at 127.77.0.1. */
async function testRoutes() {
  const store = testStore();
  const book = createBook();
  const published: (readonly RouteChange[])[] = [];
  const publish = (changes: readonly RouteChange[]) => {
    published.push(changes);
    book.apply(changes);
  };
  const routes = followRoutes(store, storeBaseline(store), publish, { host: '127.0.0.1', encrypted: true });
  /** The book, brought up to date. */
  const now = () => {
    routes.flush();
    return book;
  };
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
    now,
    published,
    baseline: (destination: string) => now().destination(destination)?.baseline(),
    forkOf: (destination: string, routingKey: string) => now().destination(destination)?.fork(routingKey),
    listeners: () => [...now().names('listener')].map(name => [name, book.get('listener', name)?.serves]),
    preview: (label: string) => now().get('preview', label),
    async [Symbol.asyncDispose]() {
      routes.stop();
      await store.close();
    },
  };
}

describe('destinations', () => {
  it('are the container ports of Deployments and the ports of Services', async () => {
    await using r = await testRoutes();
    for (const key of ['deploy:demo/users:3000', 'svc:demo/users:80']) {
      assert.equal(r.now().destination(key)?.label, 'Deployment demo/users');
      assert.deepEqual(r.baseline(key), { ready: true, addresses: [at(1)] });
    }
    assert.equal(r.baseline('svc:demo/users:81'), undefined);
    assert.deepEqual(r.listeners(), [['127.77.0.1:80', 'svc:demo/users:80']]);
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
    for (const port of [80, 3000, 81])
      assert.deepEqual(r.baseline(`svc:demo/users:${port}`), { ready: true, addresses: [at(1)] });
    assert.deepEqual(r.listeners(), [], 'they have no address yet');
  });

  it('are told apart where a port is there for TCP and UDP, and pods with networks of their own answer at any', async () => {
    await using r = await testRoutes();
    await r.put(deployment('users'), { ...running, ports: { 3000: [at(1)] }, ips: ['10.208.0.9'] });
    const ports = [
      { name: 'dns', port: 53, protocol: 'UDP' },
      { name: 'dns-tcp', port: 53 },
    ];
    await r.put(service('users', ...ports), {
      ...running,
      addresses: { 53: { host: '127.77.0.1', port: 53 } },
    });
    assert.deepEqual(r.baseline('svc:demo/users:53/udp'), {
      ...{ ready: true, addresses: [{ host: '10.208.0.9', port: 53 }] },
    });
    assert.deepEqual(r.listeners(), [['127.77.0.1:53', 'svc:demo/users:53']]);
    assert.deepEqual(r.now().get('datagrams', '127.77.0.1:53'), {
      ...{ host: '127.77.0.1', port: 53, serves: 'svc:demo/users:53/udp' },
    });
    assert.equal(r.now().get('service', 'svc:demo/users:53/udp')?.speaks, 'udp');
    assert.equal(r.now().get('service', 'svc:demo/users:53')?.speaks, 'tcp', 'by its name');
  });

  it('say which port nobody has', async () => {
    await using r = await testRoutes();
    await r.put(
      service('users', { port: 80, targetPort: 4000 }, { name: 'b', port: 81, targetPort: 'grpc' }),
      running,
    );
    assert.deepEqual(r.baseline('svc:demo/users:80'), {
      ready: false,
      reason: 'NoPort',
      message: 'Deployment demo/users has no container port 4000',
    });
    assert.equal(r.now().destination('svc:demo/users:81')?.label, 'Service demo/users');
    assert.deepEqual(r.baseline('svc:demo/users:81'), {
      ready: false,
      reason: 'NoPort',
      message: 'no container that Service demo/users selects has a port named "grpc"',
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
    const found = r.baseline('svc:other/users:80')!;
    assert.equal(found.ready === false && found.reason, 'NoWorkload');
    assert.equal(r.listeners().length, 2, 'it still answers, and says why it cannot');
  });

  it('whose baseline is not ready say why', async () => {
    await using r = await testRoutes();
    await r.put(deployment('users'), {
      ...running,
      ready: false,
      reason: 'CrashLoopBackOff',
      message: 'it ended',
    });
    assert.deepEqual(r.baseline('svc:demo/users:80'), {
      ready: false,
      reason: 'CrashLoopBackOff',
      message: 'it ended',
    });
    await deploy(r.store, deployment('orders'));
    assert.deepEqual(r.baseline('deploy:demo/orders:3000'), {
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
    for (const key of ['svc:demo/users:80', 'deploy:demo/users:3000']) {
      assert.deepEqual(r.forkOf(key, one), { ready: true, addresses: [at(11)], sandbox: 'one' });
      assert.deepEqual(r.forkOf(key, two), { ready: true, addresses: [at(12)], sandbox: 'two' });
    }
  });

  it('that is known never leads to the baseline: it says what is missing', async () => {
    await using r = await testRoutes();
    const key = await r.sandbox('one');
    const found = () => r.forkOf('svc:demo/users:80', key);
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
    assert.equal(r.forkOf('deploy:demo/orders:3000', key), undefined);
    assert.ok(r.forkOf('deploy:demo/users:3000', key));
    await r.store.remove('sandbox', 'one');
    assert.equal(r.forkOf('deploy:demo/users:3000', key), undefined);
  });

  it('stays known when the baseline does not run', async () => {
    await using r = await testRoutes();
    const key = await r.sandbox('one');
    await r.fork('one', { ports: { 3000: [at(11)] } });
    await r.put(deployment('users'), { ...running, ready: false });
    assert.equal(r.forkOf('svc:demo/users:80', key)?.ready, true);
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
    const previews = ['group--one', 'old--one', 'fork--one'].map(label => [label, r.preview(label)]);
    assert.deepEqual([...r.now().names('preview')].length, 3);
    assert.deepEqual(Object.fromEntries(previews), {
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
    assert.ok(r.baseline(r.preview('api--one')!.destination));
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
    assert.deepEqual(r.baseline('svc:demo/users:80'), { ready: true, addresses: [at(1), at(2)] });
    await r.put(deployment('users'), { ...running, ready: false, ports: { 3000: [at(1)] } });
    assert.deepEqual(r.baseline('svc:demo/users:80'), {
      ready: true,
      addresses: [at(2)],
    });
  });

  it('may each be forked: the key never leads to a baseline', async () => {
    await using r = await testRoutes();
    await r.put(canary(), { ...running, ports: { 3000: [at(2)] } });
    const key = await r.sandbox('pr', { forks: [fork('canary')] });
    assert.equal(r.forkOf('svc:demo/users:80', key)?.ready, false);
  });
});

describe('a change', () => {
  const names = (changes: readonly RouteChange[] | undefined) =>
    changes?.map(({ kind, name, value }) => `${value === undefined ? '-' : ''}${kind} ${name}`);

  it('costs what it changes: a status, one item', async () => {
    await using r = await testRoutes();
    const keys = [await r.sandbox('one'), await r.sandbox('two')];
    for (let i = 0; i < 10; i++) await r.put(service(`more-${i}`, { port: 80 }), running);
    r.now();
    r.published.length = 0;
    await r.fork('one', { ports: { 3000: [at(11)] } });
    r.now();
    assert.deepEqual(r.published.map(names), [[`fork demo/users/${keys[0]}`]]);
  });

  it('of a Deployment that is another one now looks at the Services beside it', async () => {
    await using r = await testRoutes();
    const users = deployment('users') as Extract<Manifest, { kind: 'Deployment' }>;
    const { template } = users.spec;
    const relabelled = { ...template, metadata: { ...template.metadata, labels: { app: 'other' } } };
    await deploy(r.store, {
      ...users,
      spec: { ...users.spec, selector: { matchLabels: { app: 'other' } }, template: relabelled },
    });
    const found = r.baseline('svc:demo/users:80')!;
    assert.equal(found.ready === false && found.reason, 'NoWorkload');
    await deploy(r.store, users);
    assert.equal(r.baseline('svc:demo/users:80')?.ready, true);
    await r.store.remove('manifest', 'Deployment/demo/users');
    assert.equal(r.baseline('svc:demo/users:80')?.ready, false);
  });

  it('is published at the end of the turn, many as one step, what is gone first', async () => {
    await using r = await testRoutes();
    const key = await r.sandbox('one', {
      forks: [fork('users')],
      endpoints: [{ name: 'api', host: 'users.demo.svc', port: 80 }],
    });
    r.now();
    r.published.length = 0;
    await Promise.all([
      r.store.remove('sandbox', 'one'),
      r.store.create('tombstone', key, { spec: { sandbox: 'one', forks: [] }, status: null, secret: null }),
    ]);
    await new Promise(setImmediate);
    await new Promise(setImmediate);
    assert.deepEqual(
      r.published.flatMap(changes => names(changes)),
      [`-fork demo/users/${key}`, '-preview api--one', `tombstone ${key}`],
    );
    assert.equal(r.now().tombstone(key), 'one');
  });

  it('of keys opens and closes previews', async () => {
    await using r = await testRoutes();
    const spec = { label: 'laptop', hash: 'ab12', preview: 'ofs_…' };
    await r.store.create('key', 'k1', { spec, status: null, secret: null });
    assert.deepEqual(r.now().get('key', 'ab12'), {});
    await r.store.remove('key', 'k1');
    assert.equal(r.now().get('key', 'ab12'), undefined);
  });
});

describe('a branch', () => {
  it('is open where its newest password is set, and its number of sessions is that of its intent', async () => {
    await using r = await testRoutes();
    const { name: id } = await defaultProject(r.store);
    const found = () => r.now().get('branch', id);
    assert.deepEqual(found(), { sessions: 0 });
    const endpoint = { socket: '/s/pg.sock' };
    const says = (state: BranchStatus['state'], rotation: number) =>
      r.store.modify('branch', id, () => ({
        status: {
          ...{ state, reason: 'x', message: 'x', conditions: [], observedGeneration: 1 },
          open: { endpoint, rotation },
        },
      }));
    await says('ready', 0);
    assert.deepEqual(found(), { sessions: 0, endpoint });
    await rotatePassword(r.store, id, { keepSessions: false });
    assert.deepEqual(found(), { sessions: 1 }, 'the old password opens nothing, and ends what it opened');
    await says('ready', 1);
    assert.deepEqual(found(), { sessions: 1, endpoint });
    await rotatePassword(r.store, id, { keepSessions: true });
    await says('ready', 2);
    assert.deepEqual(found(), { sessions: 1, endpoint });
    await says('creating', 2);
    assert.deepEqual(found(), { sessions: 1 });
    await says('ready', 2);
    const { spec } = r.store.get('branch', id)!;
    const trashed = { at: '2026-01-01T00:00:00Z', until: '2026-01-02T00:00:00Z' };
    await r.store.modify('branch', id, () => ({ spec: { ...spec, trashed } }));
    assert.equal(found(), undefined, 'nobody is led to what is in the trash');
    await r.store.modify('branch', id, () => ({ spec }));
    assert.deepEqual(found(), { sessions: 1, endpoint });
    await r.store.modify('branch', id, () => ({ deleted: true }));
    assert.equal(found(), undefined);
  });
});

it('a branch that has a port is listened for there, until it is in the trash', async () => {
  await using r = await testRoutes();
  const { name: id } = await defaultProject(r.store);
  const { spec } = r.store.get('branch', id)!;
  const found = () => r.now().get('listener', listenerOf(id));
  assert.equal(found(), undefined);
  await r.store.modify('branch', id, () => ({ spec: { ...spec, port: 5442 } }));
  const address = { host: '127.0.0.1', port: 5442 };
  assert.deepEqual(found(), { ...address, serves: 'postgres', branch: id, encrypted: true });
  const trashed = { at: '2026-01-01T00:00:00Z', until: '2026-01-02T00:00:00Z' };
  await r.store.modify('branch', id, () => ({ spec: { ...spec, port: 5442, trashed } }));
  assert.equal(found(), undefined);
});

it('a headless Service answers at the ports of its pods, too', async () => {
  await using r = await testRoutes();
  const peers = service('peers', { port: 80, targetPort: 3000 });
  await r.put(
    { ...peers, spec: { ...peers.spec, clusterIP: 'None', selector: { app: 'users' } } },
    { ...running, addresses: { 80: { host: '127.77.0.9', port: 80 } } },
  );
  assert.deepEqual(r.listeners(), [
    ['127.77.0.1:80', 'svc:demo/users:80'],
    ['127.77.0.9:80', 'svc:demo/peers:80'],
    ['127.77.0.9:3000', 'svc:demo/peers:80'],
  ]);
});

it('a Service that selects nothing leads where Endpoints or a slice of its say', async () => {
  await using r = await testRoutes();
  const key = 'svc:demo/legacy:80';
  const legacy = service('legacy', { port: 80 });
  const { selector: _, ...spec } = legacy.spec;
  await r.put({ ...legacy, spec }, running);
  assert.deepEqual(r.baseline(key), {
    ...{ ready: false, reason: 'NoEndpoints' },
    message: 'Service demo/legacy selects nothing, and no Endpoints say where it leads',
  });
  const endpoints = (port: number): Manifest => ({
    ...{ apiVersion: 'v1', kind: 'Endpoints', metadata: { name: 'legacy', namespace: 'demo' } },
    subsets: [{ addresses: [{ ip: '192.0.2.1' }], ports: [{ port }] }],
  });
  await r.put(endpoints(8080), running);
  assert.deepEqual(r.baseline(key), { ready: true, addresses: [{ host: '192.0.2.1', port: 8080 }] });
  await r.put(endpoints(8081), running);
  assert.deepEqual(r.baseline(key), { ready: true, addresses: [{ host: '192.0.2.1', port: 8081 }] });
  const labels = { 'kubernetes.io/service-name': 'legacy' };
  const name = await r.put(
    {
      ...{ apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice', addressType: 'IPv4' },
      metadata: { name: 'legacy-1', namespace: 'demo', labels },
      ...{ endpoints: [{ addresses: ['192.0.2.2'] }], ports: [{ port: 8082 }] },
    },
    running,
  );
  const both = [
    { host: '192.0.2.1', port: 8081 },
    { host: '192.0.2.2', port: 8082 },
  ];
  assert.deepEqual(r.baseline(key), { ready: true, addresses: both });
  await r.store.remove('manifest', name);
  assert.deepEqual(r.baseline(key), { ready: true, addresses: both.slice(0, 1) });
});
