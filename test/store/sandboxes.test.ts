import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ResourcePhase } from '../../src/model/resource-record.ts';
import type { SandboxSpec } from '../../src/model/sandbox.ts';
import { usersOfWorkload } from '../../src/store/baseline.ts';
import {
  applyPlugin,
  applySandbox,
  deletePlugin,
  deleteSandbox,
  findPlugin,
} from '../../src/store/sandboxes.ts';
import { openStore } from '../../src/store/sqlite.ts';
import {
  applied,
  deploy,
  deployment,
  fork,
  install,
  service,
  step,
  tablePlugin,
} from '../support/documents.ts';

/** A store with Deployment `users` and its Service, port 80, in namespace `demo`, and plugin `table@1.0.0`. */
function baselineStore() {
  const store = openStore(':memory:');
  deploy(store, deployment('users'), service('users', { port: 80, targetPort: 'http' }));
  install(store, 'table@1.0.0', tablePlugin);
  const apply = (name: string, spec: Omit<SandboxSpec, 'cluster'> & { cluster?: string } = {}) =>
    applySandbox(store, { name, spec: { cluster: 'local', ...spec } });
  /** What the reconciler writes when a resource has come that far. */
  const reach = (name: string, phases: Readonly<Record<string, ResourcePhase>>) =>
    store.modify('sandbox', name, ({ secret }) => ({
      secret: {
        ...secret,
        resources: Object.fromEntries(
          Object.entries(secret.resources).map(([resource, r]) => [
            resource,
            { ...r, phase: phases[resource] ?? r.phase },
          ]),
        ),
      },
    }));
  const pluginsOf = (name: string) =>
    Object.fromEntries(
      Object.entries(store.get('sandbox', name)!.secret.resources).map(([r, { plugin }]) => [r, plugin]),
    );
  return { store, apply, reach, pluginsOf, [Symbol.dispose]: () => store.close() };
}

const db = { name: 'db', plugin: 'table' };

describe('applying a sandbox', () => {
  it('creates it with a routing key of its own, then updates it, and knows when nothing changed', () => {
    using s = baselineStore();
    const created = s.apply('one', { resources: [db] });
    assert.equal(created.outcome, 'created');
    const { routingKey, resources } = created.object.secret;
    assert.match(routingKey, /^[a-z0-9]{13}$/);
    assert.deepEqual(resources, {
      db: { plugin: 'table@1.0.0', phase: 'creating', create: {}, delete: {}, attempts: 0 },
    });
    assert.notEqual(s.apply('two').object.secret.routingKey, routingKey);

    const updated = s.apply('one', { resources: [db], forks: [fork('users')] });
    assert.equal(updated.outcome, 'updated');
    assert.equal(updated.object.generation, 2);
    assert.equal(updated.object.secret.routingKey, routingKey);
    const again = s.apply('one', { resources: [db], forks: [fork('users')] });
    assert.deepEqual([again.outcome, again.object.version], ['unchanged', updated.object.version]);
    assert.deepEqual(usersOfWorkload(s.store, 'demo', 'users'), ['one']);
    assert.deepEqual(usersOfWorkload(s.store, 'other', 'users'), []);
  });

  it('is refused while the old one of that name is being deleted', () => {
    using s = baselineStore();
    s.apply('one');
    deleteSandbox(s.store, 'one', { force: false });
    assert.throws(() => s.apply('one'), { code: 'sandbox/deleting' });
  });

  it('never moves it to another cluster', () => {
    using s = baselineStore();
    s.apply('one');
    assert.throws(() => s.apply('one', { cluster: 'other' }), {
      code: 'sandbox/immutable',
      params: { name: 'one', path: 'spec.cluster' },
    });
  });

  it('changes its resources only while none of them is provisioned', () => {
    using s = baselineStore();
    s.apply('one', { resources: [db, { ...db, name: 'more' }] });
    const changed = { resources: [{ ...db, params: { size: '1' } }] };
    s.reach('one', { db: 'failed', more: 'created' });
    assert.throws(() => s.apply('one', changed), {
      code: 'sandbox/immutable',
      params: { name: 'one', path: 'spec.resources' },
    });
    s.reach('one', { db: 'failed', more: 'undoing' });
    assert.throws(() => s.apply('one', changed), { code: 'sandbox/immutable' });
    s.reach('one', { db: 'failed', more: 'failed' });
    assert.equal(s.apply('one', changed).outcome, 'updated');
    // The record of the failure stays: the reconciler sees by its generation that it may try again.
    assert.equal(s.store.get('sandbox', 'one')?.secret.resources.db?.phase, 'failed');
    assert.deepEqual(s.pluginsOf('one'), { db: 'table@1.0.0' });
  });

  it('keeps the version of the plugin that made a resource, and takes the latest for one that failed', () => {
    using s = baselineStore();
    s.apply('one', { resources: [db, { ...db, name: 'more' }] });
    s.reach('one', { db: 'created', more: 'failed' });
    install(s.store, 'table@1.1.0', { ...tablePlugin, create: [step('other', 'output key x')] });
    s.apply('one', {
      resources: [db, { ...db, name: 'more' }],
      forks: [
        fork('users', {
          ID: { resource: { name: 'db', outputKey: 'make.id' } },
          KEY: { resource: { name: 'more', outputKey: 'other.key' } },
        }),
      ],
    });
    const { resources } = s.store.get('sandbox', 'one')!.secret;
    assert.deepEqual([resources.db?.plugin, resources.db?.phase], ['table@1.0.0', 'created']);
    assert.deepEqual([resources.more?.plugin, resources.more?.phase], ['table@1.1.0', 'creating']);
  });

  it('tries one that has failed again, also with the same document; what is there stays', () => {
    using s = baselineStore();
    const wish = { resources: [db, { ...db, name: 'more' }] };
    s.apply('one', wish);
    s.reach('one', { db: 'failed', more: 'created' });
    const more = s.store.get('sandbox', 'one')?.secret.resources.more;
    const status = {
      ready: false,
      failed: true,
      reason: 'ResourceFailed',
      message: 'no',
      observedGeneration: 1,
      conditions: [],
      forks: [],
      endpoints: [],
    };
    s.store.modify('sandbox', 'one', () => ({ status }));
    const { object, outcome } = s.apply('one', wish);
    assert.equal(outcome, 'updated');
    assert.deepEqual([object.generation, object.secret.tries], [1, 1]);
    assert.deepEqual([object.status?.failed, object.status?.reason], [false, 'InProgress']);
    assert.equal(object.secret.resources.db?.phase, 'creating');
    assert.deepEqual(object.secret.resources.more, more);
    assert.equal(s.apply('one', wish).outcome, 'unchanged');
  });

  it('keeps nothing of a document that is refused', () => {
    using s = baselineStore();
    const version = s.store.version();
    assert.throws(() => s.apply('one', { forks: [fork('nope')] }), { code: 'sandbox/baseline-missing' });
    assert.equal(s.store.version(), version);
  });
});

describe('references of a sandbox', () => {
  it('to plugins must be to installed ones', () => {
    using s = baselineStore();
    const resource = (plugin: string) => ({ resources: [{ name: 'db', plugin }] });
    assert.throws(() => s.apply('one', resource('tabel')), {
      code: 'sandbox/plugin-missing',
      params: { resource: 'db', plugin: 'tabel', similar: 'table' },
    });
    assert.throws(() => s.apply('one', resource('table@1.0.1')), {
      code: 'sandbox/plugin-missing',
      hint: /did you mean "table@1\.0\.0"/,
    });
    assert.throws(() => s.apply('one', resource('something-else')), {
      params: { resource: 'db', plugin: 'something-else', similar: undefined },
    });
  });

  it('to workloads must be to Deployments that are to stay', () => {
    using s = baselineStore();
    assert.throws(() => s.apply('one', { forks: [fork('user')] }), {
      code: 'sandbox/baseline-missing',
      message: 'spec.forks[0].forkOf: Deployment "user" does not exist in namespace "demo"',
      hint: /did you mean "users"/,
    });
    s.store.modify('manifest', 'Deployment/demo/users', () => ({ deleted: true }));
    assert.throws(() => s.apply('one', { forks: [fork('users')] }), { code: 'sandbox/baseline-missing' });
  });

  it('to outputs must be to those that the plugin has', () => {
    using s = baselineStore();
    const wish = (outputKey: string) => ({
      resources: [db],
      forks: [fork('users', { A: 'plain', ID: { resource: { name: 'db', outputKey } } })],
    });
    assert.throws(() => s.apply('one', wish('make.key')), {
      code: 'sandbox/output-unknown',
      params: {
        path: 'spec.forks[0].customizations.env[1].valueFrom.resource.outputKey',
        key: 'make.key',
        plugin: 'table@1.0.0',
        outputs: 'make.id',
      },
    });
    assert.equal(s.apply('one', wish('make.id')).outcome, 'created');
  });

  it('to ports must be to those that a Service or a container has, in all three spellings', () => {
    using s = baselineStore();
    const host = (host: string, port: number) => ({ endpoints: [{ name: 'e', host, port }] });
    const group = (target: string) => ({ defaultRouteGroup: { endpoints: [{ name: 'e', target }] } });
    const ofFork = (port: number) => ({ forks: [{ ...fork('users'), endpoints: [{ name: 'e', port }] }] });
    for (const wish of [
      host('users.demo.svc', 81),
      host('users.demo.deploy', 80),
      group('http://users.demo.svc:3000'),
      ofFork(80),
    ])
      assert.throws(() => s.apply('one', wish), { code: 'sandbox/port-missing' }, JSON.stringify(wish));
    for (const wish of [
      host('users.demo.svc', 80),
      host('users.demo.deploy', 3000),
      group('http://users.demo.svc'),
      ofFork(3000),
    ])
      assert.ok(s.apply('one', wish), JSON.stringify(wish));
    assert.throws(() => s.apply('one', host('user.demo.svc', 80)), {
      code: 'sandbox/baseline-missing',
      params: {
        path: 'spec.endpoints[0].host',
        what: 'Service',
        name: 'user',
        namespace: 'demo',
        similar: 'users',
      },
    });
    assert.throws(() => s.apply('one', group('http://users.demo.svc:81')), {
      message:
        'spec.defaultRouteGroup.endpoints[0].target: Service "users" in namespace "demo" has no port 81',
      hint: 'its ports are: 80',
    });
  });
});

describe('deleting a sandbox', () => {
  it('marks it; again is harmless, and force may come later', () => {
    using s = baselineStore();
    s.apply('one');
    const marked = deleteSandbox(s.store, 'one', { force: false })!;
    assert.ok(marked.deletedAt);
    assert.equal(marked.secret.force, undefined);
    assert.deepEqual(deleteSandbox(s.store, 'one', { force: false }), marked);
    const forced = deleteSandbox(s.store, 'one', { force: true })!;
    assert.equal(forced.secret.force, true);
    assert.equal(forced.deletedAt, marked.deletedAt);
    assert.equal(deleteSandbox(s.store, 'one', { force: false })?.secret.force, true);
    assert.equal(deleteSandbox(s.store, 'never', { force: true }), undefined);
  });
});

describe('plugins', () => {
  const other = { ...tablePlugin, description: 'another' };

  it('have versions that never change', () => {
    using s = baselineStore();
    assert.deepEqual(applyPlugin(s.store, { name: 'table@v1', spec: tablePlugin }), {
      name: 'table@1.0.0',
      outcome: 'unchanged',
    });
    assert.throws(() => applyPlugin(s.store, { name: 'table@1.0.0', spec: other }), {
      code: 'plugin/exists',
      hint: 'publish a new version, e.g. name: table@1.1.0',
    });
    assert.equal(applyPlugin(s.store, { name: 'table@1.1.0', spec: other }).outcome, 'created');
  });

  it('without a version are a working copy, which may change while nobody uses it', () => {
    using s = baselineStore();
    assert.equal(install(s.store, 'draft', tablePlugin), 'draft@0.0.0');
    install(s.store, 'draft', other);
    assert.deepEqual(s.store.get('plugin', 'draft@0.0.0')?.spec, other);
    applied(s.store, 'one', { resources: [{ name: 'db', plugin: 'draft' }] });
    assert.equal(applyPlugin(s.store, { name: 'draft', spec: other }).outcome, 'unchanged');
    assert.throws(() => install(s.store, 'draft', tablePlugin), { code: 'plugin/exists' });
    s.store.remove('sandbox', 'one');
    install(s.store, 'draft', tablePlugin);
  });

  it('are found by version, and the highest without one', () => {
    using s = baselineStore();
    for (const version of ['1.9.0', '1.10.0', '2.0.0-rc.1'])
      install(s.store, `table@${version}`, tablePlugin);
    install(s.store, 'table-x@9.0.0', tablePlugin);
    const found = (reference: string) => findPlugin(s.store, reference)?.name;
    assert.equal(found('table'), 'table@2.0.0-rc.1');
    assert.equal(found('table@latest'), 'table@2.0.0-rc.1');
    assert.equal(found('table@v1.9'), 'table@1.9.0');
    assert.equal(found('table@3.0.0'), undefined);
    assert.equal(found('tab'), undefined);
    install(s.store, 'table@2.0.0', tablePlugin);
    assert.equal(found('table'), 'table@2.0.0');
  });

  it('stay while a sandbox holds something that they made', () => {
    using s = baselineStore();
    s.apply('one', { resources: [db] });
    s.apply('two', { resources: [db] });
    assert.throws(() => deletePlugin(s.store, 'table'), {
      code: 'plugin/in-use',
      params: { plugin: 'table@1.0.0', sandboxes: 'one, two' },
    });
    for (const name of ['one', 'two']) s.store.remove('sandbox', name);
    assert.equal(deletePlugin(s.store, 'table'), 'table@1.0.0');
    assert.throws(() => deletePlugin(s.store, 'table'), { code: 'api/not-found' });
  });
});
