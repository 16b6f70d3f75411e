import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { storeBaseline } from '../../src/baseline/store-baseline.ts';
import { silentLog } from '../../src/lib/log.ts';
import { OffshootError } from '../../src/model/errors.ts';
import type { Address } from '../../src/model/route.ts';
import { baselineReconciler } from '../../src/reconcile/baseline.ts';
import { inputsOf } from '../../src/rules/inputs.ts';
import { configMap, deploy, deployment, service, testClock } from '../support/documents.ts';
import { memoryWorld } from '../support/memory-drivers.ts';
import { it, testStore } from '../support/stores.ts';

/** Addresses are 127.77.0.1 with the first free port from the Service's own on. */
async function testBaseline() {
  const world = memoryWorld();
  const clock = testClock();
  const store = testStore({ now: clock.now });
  const problems = new Map<number, string>();
  const closed = new Set<number>();
  const asked: string[] = [];
  const allocate = (_service: string, port: number, taken: (address: Address) => boolean): Address => {
    let free = port;
    while (taken({ host: '127.77.0.1', port: free })) free += 1;
    return { host: '127.77.0.1', port: free };
  };
  const reconcile = baselineReconciler({
    store,
    baseline: storeBaseline(store),
    workloads: world.workloads,
    addresses: { choose: allocate, fits: ({ host }) => host.startsWith('127.77.') },
    listening({ port }, transport) {
      asked.push(`${transport} ${port}`);
      const problem = problems.get(port);
      if (problem !== undefined) return { problem };
      return closed.has(port) ? 'opening' : 'open';
    },
    routed: async () => {},
    now: clock.now,
    log: silentLog,
  });
  return {
    ...world,
    store,
    problems,
    closed,
    asked,
    look: (name: string) => reconcile(name, new AbortController().signal),
    inputs: (name: string) =>
      inputsOf({ store, baseline: storeBaseline(store) }, store.get('manifest', name)!),
    status: (name: string) => store.get('manifest', name)?.status,
    remove: (name: string) => store.modify('manifest', name, () => ({ deleted: true })),
    [Symbol.asyncDispose]: () => store.close(),
  };
}

describe('a Deployment', () => {
  it('runs, says how it is, and stops when it is to go', async () => {
    await using b = await testBaseline();
    b.startAs({ ready: false, reason: 'Starting', message: 'wait' });
    const name = await deploy(b.store, deployment('users'));
    await b.look(name);
    b.become('base.demo.users', { log: ['one', 'two'], restarts: 1 });
    await b.look(name);
    assert.deepEqual(
      { ...b.status(name), ports: undefined },
      {
        ready: false,
        reason: 'Starting',
        message: 'wait',
        observedGeneration: 1,
        inputs: b.inputs(name),
        ports: undefined,
        restarts: 1,
        serving: false,
        log: ['one', 'two'],
      },
    );
    b.become('base.demo.users', { ready: true, reason: 'Running' });
    await b.look(name);
    assert.deepEqual([b.status(name)?.ready, b.status(name)?.log], [true, undefined]);
    assert.equal(b.workloadsOf.get('base.demo.users')?.spec.owner, 'baseline');
    await b.remove(name);
    await b.look(name);
    assert.equal(b.workloadsOf.size, 0);
    assert.equal(b.store.get('manifest', name), undefined);
    await b.look(name);
  });

  it('gets what its containers refer to', async () => {
    await using b = await testBaseline();
    const envFrom = [{ configMapRef: { name: 'one' } }, { secretRef: { name: 'three' } }];
    const env = [{ name: 'A', valueFrom: { secretKeyRef: { name: 'two', key: 'k' } } }];
    const metadata = { name: 'two', namespace: 'demo' };
    const name = await deploy(
      b.store,
      configMap('one', { a: '1' }),
      configMap('unused', { b: '2' }),
      { apiVersion: 'v1', kind: 'Secret', metadata, data: { k: 'v' } },
      deployment('users', { env, envFrom }),
    );
    await b.look(name);
    assert.deepEqual(b.workloadsOf.get('base.demo.users')?.spec.refs, {
      configMaps: { 'demo/one': { a: '1' } },
      secrets: { 'demo/two': { k: 'v' } },
      binary: { configMaps: {}, secrets: {} },
    });
  });

  it('gets what its volumes and init containers refer to, bytes that are no text apart', async () => {
    await using b = await testBaseline();
    const { spec, ...rest } = deployment('users');
    const pod = {
      ...spec.template.spec,
      initContainers: [{ name: 'i', image: 'i', envFrom: [{ configMapRef: { name: 'one' } }] }],
      volumes: [{ name: 'v', secret: { secretName: 'certs' } }],
    };
    const metadata = { name: 'certs', namespace: 'demo' };
    const name = await deploy(
      b.store,
      configMap('one', { a: '1' }),
      { apiVersion: 'v1', kind: 'Secret', metadata, data: { a: 'text' }, binaryData: { b: '/w==' } },
      { ...rest, spec: { ...spec, template: { ...spec.template, spec: pod } } },
    );
    await b.look(name);
    assert.deepEqual(b.workloadsOf.get('base.demo.users')?.spec.refs, {
      configMaps: { 'demo/one': { a: '1' } },
      secrets: { 'demo/certs': { a: 'text' } },
      binary: { configMaps: {}, secrets: { 'demo/certs': { b: '/w==' } } },
    });
  });

  it('learns of the services anew only when one of them has changed', async () => {
    await using b = await testBaseline();
    const names = [
      await deploy(b.store, deployment('users')),
      await deploy(b.store, deployment('orders')),
      await deploy(b.store, service('users', { port: 80 })),
    ];
    const hosts = async () => {
      for (const name of names) await b.look(name);
      return ['users', 'orders'].map(name => b.workloadsOf.get(`base.demo.${name}`)!.spec.network.hosts);
    };
    await hosts();
    const [users, orders] = await hosts();
    assert.equal(users, orders);
    assert.equal(users!.length, 1);
    await deploy(b.store, deployment('users', { image: 'users:2' }), configMap('settings', {}));
    assert.deepEqual(
      (await hosts()).map(now => now === users),
      [true, true],
    );
    names.push(await deploy(b.store, service('orders', { port: 81 })));
    await hosts();
    assert.deepEqual(
      (await hosts()).map(now => now.length),
      [2, 2],
    );
  });

  it('knows the services: by variable those of its namespace, by name all', async () => {
    await using b = await testBaseline();
    const other = service('far', { port: 90 });
    const names = [
      await deploy(b.store, service('users', { port: 80 })),
      await deploy(b.store, { ...other, metadata: { ...other.metadata, namespace: 'elsewhere' } }),
    ];
    await deploy(b.store, service('unknown', { port: 70 })); // has no address yet
    for (const name of names) await b.look(name);
    await b.look(await deploy(b.store, deployment('users')));
    const { env, hosts } = b.workloadsOf.get('base.demo.users')!.spec.network;
    assert.equal(env.USERS_SERVICE_HOST, '127.77.0.1');
    assert.equal(env.USERS_SERVICE_PORT, '80');
    assert.ok(!('FAR_SERVICE_HOST' in env) && !('UNKNOWN_SERVICE_HOST' in env));
    const quiet = deployment('quiet');
    const { template } = quiet.spec;
    const spec = { ...template.spec, enableServiceLinks: false };
    await b.look(
      await deploy(b.store, { ...quiet, spec: { ...quiet.spec, template: { ...template, spec } } }),
    );
    assert.deepEqual(b.workloadsOf.get('base.demo.quiet')!.spec.network.env, {});
    assert.deepEqual(
      hosts.map(h => h.names),
      [
        ['users.demo', 'users.demo.svc', 'users.demo.svc.cluster.local', 'users'],
        ['far.elsewhere', 'far.elsewhere.svc', 'far.elsewhere.svc.cluster.local'],
      ],
    );
  });
});

describe('a Service', () => {
  it('gets an address for each port and keeps it', async () => {
    await using b = await testBaseline();
    const name = await deploy(b.store, service('users', { name: 'a', port: 80 }, { name: 'b', port: 81 }));
    await b.look(name);
    const addresses = { 80: { host: '127.77.0.1', port: 80 }, 81: { host: '127.77.0.1', port: 81 } };
    assert.deepEqual(b.status(name)?.addresses, addresses);
    await deploy(b.store, service('users', { name: 'b', port: 81 }, { name: 'c', port: 82 }));
    await b.look(name);
    assert.deepEqual(b.status(name)?.addresses, { 81: addresses[81], 82: { host: '127.77.0.1', port: 82 } });
  });

  it('has one address for a port of both TCP and UDP, and is ready when both are open', async () => {
    await using b = await testBaseline();
    b.closed.add(53);
    const ports = [
      { name: 'dns', port: 53, protocol: 'UDP' },
      { name: 'dns-tcp', port: 53 },
    ];
    const name = await deploy(b.store, service('dns', ...ports));
    await b.look(name);
    assert.deepEqual(b.status(name)?.addresses, { 53: { host: '127.77.0.1', port: 53 } });
    assert.deepEqual(b.asked.splice(0), ['udp 53', 'tcp 53']);
    assert.equal(b.status(name)?.ready, false);
    b.closed.clear();
    await b.look(name);
    assert.equal(b.status(name)?.ready, true);
  });

  it('may be another name: of a Service at once, of something outside by its address now', async () => {
    await using b = await testBaseline();
    const external = (name: string, externalName: string) => {
      const { spec, ...rest } = service(name);
      return { ...rest, spec: { ...spec, selector: {}, type: 'ExternalName', externalName } };
    };
    const inside = await deploy(b.store, external('inside', 'users.demo.svc.cluster.local.'));
    await b.look(inside);
    assert.deepEqual(
      [b.status(inside)?.ready, b.status(inside)?.message],
      [true, 'another name for users.demo.svc.cluster.local'],
    );
    const outside = await deploy(b.store, external('outside', 'localhost'));
    const result = await b.look(outside);
    assert.deepEqual([b.status(outside)?.external, result?.again], ['127.0.0.1', 60_000]);
    const nowhere = await deploy(b.store, external('nowhere', 'nowhere.invalid'));
    await b.look(nowhere);
    assert.equal(b.status(nowhere)?.external, undefined);
    assert.match(b.status(nowhere)!.message, /which this machine cannot find/);
    await b.look(await deploy(b.store, service('users', { port: 80 })));
    await b.look(await deploy(b.store, deployment('app')));
    const { hosts } = b.workloadsOf.get('base.demo.app')!.spec.network;
    assert.deepEqual(
      hosts.map(({ ip, names }) => `${names.at(-1)} ${ip}`),
      ['inside 127.77.0.1', 'outside 127.0.0.1', 'users 127.77.0.1'],
    );
  });

  it('never gets an address that another one has, nor one of its own ports', async () => {
    await using b = await testBaseline();
    const first = await deploy(b.store, service('users', { port: 80 }));
    await b.look(first);
    const second = await deploy(b.store, service('orders', { name: 'a', port: 80 }, { name: 'b', port: 81 }));
    await b.look(second);
    assert.deepEqual(
      Object.values(b.status(second)?.addresses ?? {}).map(a => a.port),
      [81, 82],
    );
  });

  it('is ready when the router answers for it, not before', async () => {
    await using b = await testBaseline();
    b.closed.add(80);
    const name = await deploy(b.store, service('users', { port: 80 }));
    await b.look(name);
    assert.deepEqual([b.status(name)?.ready, b.status(name)?.reason], [false, 'Opening']);
    assert.deepEqual(b.status(name)?.addresses, { 80: { host: '127.77.0.1', port: 80 } });
    b.closed.clear();
    await b.look(name);
    assert.deepEqual([b.status(name)?.ready, b.status(name)?.reason], [true, 'Listening']);
  });

  it('says when the router cannot open its address', async () => {
    await using b = await testBaseline();
    const name = await deploy(b.store, service('users', { port: 80 }));
    b.problems.set(80, 'listen EADDRINUSE');
    await b.look(name);
    assert.deepEqual(
      [b.status(name)?.ready, b.status(name)?.reason, b.status(name)?.message],
      [false, 'PortTaken', 'listen EADDRINUSE'],
    );
    b.problems.clear();
    await b.look(name);
    assert.deepEqual([b.status(name)?.ready, b.status(name)?.reason], [true, 'Listening']);
    await b.remove(name);
    await b.look(name);
    assert.equal(b.store.get('manifest', name), undefined);
  });

  it('moves on when somebody else holds its address', async () => {
    await using b = await testBaseline();
    const name = await deploy(b.store, service('users', { port: 80 }));
    await b.look(name);
    const first = b.status(name)!.addresses![80]!;
    b.problems.set(first.port, 'listen EADDRINUSE');
    await b.look(name);
    assert.notDeepEqual(b.status(name)!.addresses![80], first);
    assert.equal(b.status(name)!.ready, true);
  });

  it('says what the runtime could not do', async () => {
    await using b = await testBaseline();
    const name = await deploy(b.store, deployment('users'));
    b.trouble.fail('workloads.ensure', new OffshootError('volume/busy', { path: '/p', why: 'in use' }));
    await assert.rejects(b.look(name));
    const { ready, reason, message } = b.status(name)!;
    assert.deepEqual([ready, reason], [false, 'VolumeBusy']);
    assert.match(message, /in use/);
  });
});

describe('what only waits to be referred to', () => {
  it('is ready at once and goes at once', async () => {
    await using b = await testBaseline();
    const name = await deploy(b.store, configMap('one', {}));
    await b.look(name);
    assert.deepEqual([b.status(name)?.ready, b.status(name)?.reason], [true, 'Stored']);
    await b.remove(name);
    await b.look(name);
    assert.equal(b.store.get('manifest', name), undefined);
  });
});
