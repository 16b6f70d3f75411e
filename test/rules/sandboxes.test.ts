import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { storeBaseline } from '../../src/baseline/store-baseline.ts';
import type { ResourcePhase } from '../../src/model/resource-record.ts';
import type { SandboxSpec } from '../../src/model/sandbox.ts';
import { createBranch } from '../../src/rules/branches.ts';
import { usersOfWorkload } from '../../src/rules/manifests.ts';
import { applySandbox, baselineMissing, deleteSandbox } from '../../src/rules/sandboxes.ts';
import { trashBranch } from '../../src/rules/trash.ts';
import {
  defaultProject,
  deploy,
  deployment,
  fork,
  forkOf,
  install,
  service,
  step,
  tablePlugin,
} from '../support/documents.ts';
import { it, testStore } from '../support/stores.ts';

/** A store with Deployment `users` and its Service, port 80, in namespace `demo`, and plugin `table@1.0.0`. */
async function baselineStore() {
  const store = testStore();
  await deploy(store, deployment('users'), service('users', { port: 80, targetPort: 'http' }));
  await install(store, 'table@1.0.0', tablePlugin);
  const apply = (name: string, spec: Omit<SandboxSpec, 'cluster'> & { cluster?: string } = {}) =>
    applySandbox(store, storeBaseline(store), { name, spec: { cluster: 'local', ...spec } });
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
  return { store, apply, reach, pluginsOf, [Symbol.asyncDispose]: () => store.close() };
}

const condition = (type: string, status: 'True' | 'False') => ({
  type,
  status,
  reason: 'R',
  message: 'm',
  lastTransitionTime: '2030-01-01T00:00:00.000Z',
});

const forkStatus = {
  forkOf: { kind: 'Deployment', namespace: 'demo', name: 'users' },
  ready: false,
  reason: 'CrashLoopBackOff',
  message: 'it ended',
  restarts: 4,
  ports: {},
} as const;

const db = { name: 'db', plugin: 'table' };

describe('applying a sandbox', () => {
  it('creates it with a routing key of its own, then updates it, and knows when nothing changed', async () => {
    await using s = await baselineStore();
    const created = await s.apply('one', { resources: [db] });
    assert.equal(created.outcome, 'created');
    const { routingKey, resources } = created.object.secret;
    assert.match(routingKey, /^[a-z0-9]{13}$/);
    assert.deepEqual(resources, {
      db: { plugin: 'table@1.0.0', phase: 'creating', create: {}, delete: {} },
    });
    assert.notEqual((await s.apply('two')).object.secret.routingKey, routingKey);

    const updated = await s.apply('one', { resources: [db], forks: [fork('users')] });
    assert.equal(updated.outcome, 'updated');
    assert.equal(updated.object.generation, 2);
    assert.equal(updated.object.secret.routingKey, routingKey);
    const again = await s.apply('one', { resources: [db], forks: [fork('users')] });
    assert.deepEqual([again.outcome, again.object.version], ['unchanged', updated.object.version]);
    assert.deepEqual(usersOfWorkload(s.store, forkOf('users')), ['one']);
    assert.deepEqual(usersOfWorkload(s.store, { ...forkOf('users'), namespace: 'other' }), []);
  });

  it('is refused while the old one of that name is being deleted', async () => {
    await using s = await baselineStore();
    await s.apply('one');
    await deleteSandbox(s.store, 'one', { force: false });
    await assert.rejects(s.apply('one'), { code: 'sandbox/deleting' });
  });

  it('never moves it to another cluster', async () => {
    await using s = await baselineStore();
    await s.apply('one');
    await assert.rejects(s.apply('one', { cluster: 'other' }), {
      code: 'sandbox/immutable',
      params: { name: 'one', path: 'spec.cluster' },
    });
  });

  it('changes its resources only while none of them is provisioned', async () => {
    await using s = await baselineStore();
    await s.apply('one', { resources: [db, { ...db, name: 'more' }] });
    const changed = { resources: [{ ...db, params: { size: '1' } }] };
    await s.reach('one', { db: 'failed', more: 'created' });
    await assert.rejects(s.apply('one', changed), {
      code: 'sandbox/immutable',
      params: { name: 'one', path: 'spec.resources' },
    });
    await s.reach('one', { db: 'failed', more: 'undoing' });
    await assert.rejects(s.apply('one', changed), { code: 'sandbox/immutable' });
    await s.reach('one', { db: 'failed', more: 'failed' });
    assert.equal((await s.apply('one', changed)).outcome, 'updated');
    // The record of the failure stays: the reconciler sees by its generation that it may try again.
    assert.equal(s.store.get('sandbox', 'one')?.secret.resources.db?.phase, 'failed');
    assert.deepEqual(s.pluginsOf('one'), { db: 'table@1.0.0' });
  });

  it('keeps the version of the plugin that made a resource, and takes the latest for one that failed', async () => {
    await using s = await baselineStore();
    await s.apply('one', { resources: [db, { ...db, name: 'more' }] });
    await s.reach('one', { db: 'created', more: 'failed' });
    await install(s.store, 'table@1.1.0', { ...tablePlugin, create: [step('other', 'output key x')] });
    await s.apply('one', {
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

  it('tries one that has failed again, also with the same document; what is there stays', async () => {
    await using s = await baselineStore();
    const wish = { resources: [db, { ...db, name: 'more' }] };
    await s.apply('one', wish);
    await s.reach('one', { db: 'failed', more: 'created' });
    const more = s.store.get('sandbox', 'one')?.secret.resources.more;
    const status = {
      ready: false,
      failed: true,
      reason: 'ResourceFailed',
      message: 'no',
      observedGeneration: 1,
      conditions: [condition('ResourcesReady', 'True'), condition('ForksReady', 'False')],
      forks: [
        { ...forkStatus, name: 'users', ready: true, reason: 'Running', message: 'ready' },
        { ...forkStatus, name: 'orders', log: ['it broke'] },
      ],
      endpoints: [],
    };
    await s.store.modify('sandbox', 'one', () => ({ status }));
    const { object, outcome } = await s.apply('one', wish);
    assert.equal(outcome, 'updated');
    assert.deepEqual([object.generation, object.secret.tries], [1, 1]);
    assert.deepEqual([object.status?.failed, object.status?.reason], [false, 'InProgress']);
    assert.deepEqual(object.status?.conditions, [condition('ResourcesReady', 'True')]);
    const again = {
      ...forkStatus,
      name: 'orders',
      reason: 'InProgress',
      message: 'tried again',
      restarts: 0,
    };
    assert.deepEqual(object.status?.forks, [status.forks[0], again]);
    assert.equal(object.secret.resources.db?.phase, 'creating');
    assert.deepEqual(object.secret.resources.more, more);
    assert.equal((await s.apply('one', wish)).outcome, 'unchanged');
  });

  for (const [reason, tries] of [
    ['ResourceRetrying', 1],
    ['CrashLoopBackOff', 1],
    ['Starting', undefined],
    ['ResourcesPending', undefined],
  ] as const) {
    it(`${tries === undefined ? 'leaves one alone' : 'tries one again'} that is not ready for ${reason}`, async () => {
      await using s = await baselineStore();
      await s.apply('one');
      const status = { ready: false, failed: false, reason, message: '', observedGeneration: 1 };
      await s.store.modify('sandbox', 'one', () => ({
        status: { ...status, conditions: [], forks: [], endpoints: [] },
      }));
      assert.equal((await s.apply('one')).object.secret.tries, tries);
    });
  }

  it('keeps nothing of a document that is refused', async () => {
    await using s = await baselineStore();
    const version = s.store.version();
    await assert.rejects(s.apply('one', { forks: [fork('nope')] }), { code: 'sandbox/baseline-missing' });
    assert.equal(s.store.version(), version);
  });
});

describe('references of a sandbox', () => {
  it('to plugins must be to installed ones', async () => {
    await using s = await baselineStore();
    const resource = (plugin: string) => ({ resources: [{ name: 'db', plugin }] });
    await assert.rejects(s.apply('one', resource('tabel')), {
      code: 'sandbox/plugin-missing',
      params: { resource: 'db', plugin: 'tabel', similar: 'table' },
    });
    await assert.rejects(s.apply('one', resource('table@1.0.1')), {
      code: 'sandbox/plugin-missing',
      hint: /did you mean "table@1\.0\.0"/,
    });
    await assert.rejects(s.apply('one', resource('something-else')), {
      params: { resource: 'db', plugin: 'something-else', similar: undefined },
    });
  });

  it('to workloads must be to Deployments that are to stay', async () => {
    await using s = await baselineStore();
    await assert.rejects(s.apply('one', { forks: [fork('user')] }), {
      code: 'sandbox/baseline-missing',
      message: 'spec.forks[0].forkOf: Deployment "user" does not exist in namespace "demo"',
      hint: /did you mean "users"/,
    });
    await s.store.modify('manifest', 'Deployment/demo/users', () => ({ deleted: true }));
    await assert.rejects(s.apply('one', { forks: [fork('users')] }), { code: 'sandbox/baseline-missing' });
  });

  it('to workloads of a namespace that is not read say that', async () => {
    await using s = await baselineStore();
    const whyUnknown = (namespace: string) => `namespace "${namespace}" is not read`;
    const baseline = { ...storeBaseline(s.store), whyUnknown };
    const { code, message } = baselineMissing(baseline, fork('nope').forkOf, 'spec.forks[0].forkOf');
    assert.deepEqual(
      [code, message],
      [
        'sandbox/baseline-unread',
        'spec.forks[0].forkOf: Deployment "nope" cannot be forked: namespace "demo" is not read',
      ],
    );
  });

  it('to outputs must be to those that the plugin has', async () => {
    await using s = await baselineStore();
    const wish = (outputKey: string) => ({
      resources: [db],
      forks: [fork('users', { A: 'plain', ID: { resource: { name: 'db', outputKey } } })],
    });
    await assert.rejects(s.apply('one', wish('make.key')), {
      code: 'sandbox/output-unknown',
      params: {
        path: 'spec.forks[0].customizations.env[1].valueFrom.resource.outputKey',
        key: 'make.key',
        plugin: 'table@1.0.0',
        outputs: 'make.id',
      },
    });
    assert.equal((await s.apply('one', wish('make.id'))).outcome, 'created');
  });

  it('to ports must be to those that a Service or a container has, in all three spellings', async () => {
    await using s = await baselineStore();
    const host = (host: string, port: number) => ({ endpoints: [{ name: 'e', host, port }] });
    const group = (target: string) => ({ defaultRouteGroup: { endpoints: [{ name: 'e', target }] } });
    const ofFork = (port: number) => ({ forks: [{ ...fork('users'), endpoints: [{ name: 'e', port }] }] });
    for (const wish of [
      host('users.demo.svc', 81),
      host('users.demo.deploy', 80),
      group('http://users.demo.svc:3000'),
      ofFork(80),
    ])
      await assert.rejects(s.apply('one', wish), { code: 'sandbox/port-missing' }, JSON.stringify(wish));
    for (const wish of [
      host('users.demo.svc', 80),
      host('users.demo.deploy', 3000),
      group('http://users.demo.svc'),
      ofFork(3000),
    ])
      assert.ok(await s.apply('one', wish), JSON.stringify(wish));
    // Of ports that nobody declares, those count that a Service sends to; where there is none, a fork may have any.
    const silent = deployment('silent', { ports: [] });
    await deploy(s.store, silent);
    const ofSilent = (port: number) => ({ forks: [{ ...fork('silent'), endpoints: [{ name: 'e', port }] }] });
    assert.ok(await s.apply('two', ofSilent(8080)));
    await assert.rejects(s.apply('three', host('silent.demo.deploy', 8080)), {
      code: 'sandbox/port-missing',
    });
    await deploy(s.store, service('silent', { port: 80, targetPort: 8080 }));
    assert.ok(await s.apply('three', host('silent.demo.deploy', 8080)));
    await assert.rejects(s.apply('four', ofSilent(9090)), { code: 'sandbox/port-missing' });
    await assert.rejects(s.apply('one', host('user.demo.svc', 80)), {
      code: 'sandbox/baseline-missing',
      params: {
        path: 'spec.endpoints[0].host',
        what: 'Service',
        name: 'user',
        namespace: 'demo',
        similar: 'users',
      },
    });
    await assert.rejects(s.apply('one', group('http://users.demo.svc:81')), {
      message:
        'spec.defaultRouteGroup.endpoints[0].target: Service "users" in namespace "demo" has no port 81',
      hint: 'its ports are: 80',
    });
  });
});

describe('deleting a sandbox', () => {
  it('marks it; again is harmless, and force may come later', async () => {
    await using s = await baselineStore();
    await s.apply('one');
    const marked = (await deleteSandbox(s.store, 'one', { force: false }))!;
    assert.ok(marked.deletedAt);
    assert.equal(marked.secret.force, undefined);
    assert.deepEqual(await deleteSandbox(s.store, 'one', { force: false }), marked);
    const forced = (await deleteSandbox(s.store, 'one', { force: true }))!;
    assert.equal(forced.secret.force, true);
    assert.equal(forced.deletedAt, marked.deletedAt);
    assert.equal((await deleteSandbox(s.store, 'one', { force: false }))?.secret.force, true);
    assert.equal(await deleteSandbox(s.store, 'never', { force: true }), undefined);
  });

  /** Sandbox `one` with branch `sb-one`, from which `fix` grows, and from that `finer`. */
  async function growing() {
    const s = await baselineStore();
    await defaultProject(s.store);
    await s.apply('one');
    const grow = (name: string, parent: string, owner?: string) =>
      createBranch(s.store, { project: 'default', name, parent, ...(owner !== undefined && { owner }) });
    await grow('sb-one', 'main', 'sandbox/one');
    await grow('own', 'sb-one', 'sandbox/one');
    const fix = await grow('fix', 'sb-one');
    await grow('finer', 'fix');
    return { ...s, fix, grow, going: () => s.store.get('sandbox', 'one')?.deletedAt !== undefined };
  }

  for (const force of [false, true]) {
    it(`is refused ${force ? 'by force, too, ' : ''}while branches of others grow from its own, unless they go too`, async () => {
      await using s = await growing();
      await assert.rejects(deleteSandbox(s.store, 'one', { force }), {
        code: 'sandbox/has-children',
        message: 'sandbox "one" cannot go while branches grow from its own: fix, finer',
        hint: 'delete them first, or repeat with --recursive, which deletes them too, for good',
      });
      assert.equal(s.going(), false);
      const marked = await deleteSandbox(s.store, 'one', { force, recursive: true });
      assert.deepEqual([marked?.secret.force, marked?.secret.recursive], [force || undefined, true]);
    });
  }

  it('is refused while another sandbox lives on a branch that grows from its own', async () => {
    await using s = await growing();
    await s.apply('two');
    await s.grow('sb-two', 'finer', 'sandbox/two');
    for (const recursive of [false, true]) {
      await assert.rejects(deleteSandbox(s.store, 'one', { force: true, recursive }), {
        message:
          'sandbox "one" cannot go while branches grow from its own: fix, finer, sb-two (of sandbox two)',
        hint: 'delete sandbox two first',
      });
    }
    assert.equal(s.going(), false);
    await deleteSandbox(s.store, 'two', { force: false });
    await assert.rejects(deleteSandbox(s.store, 'one', { force: false }), { message: /: fix, finer$/ });
  });

  it('names those that only the trash holds', async () => {
    await using s = await growing();
    await trashBranch(s.store, s.fix, 1000, new Date(), { recursive: true });
    await assert.rejects(deleteSandbox(s.store, 'one', { force: false }), {
      message: /: fix \(in the trash\), finer \(in the trash\)$/,
    });
  });

  it('never marks a sandbox from whose branch another grows at the same moment', async () => {
    await using s = await baselineStore();
    await defaultProject(s.store);
    await s.apply('one');
    const parts = { project: 'default', parent: 'main', owner: 'sandbox/one' };
    await createBranch(s.store, { ...parts, name: 'sb-one' });
    const [grown, marked] = await Promise.allSettled([
      createBranch(s.store, { project: 'default', name: 'late', parent: 'sb-one' }),
      deleteSandbox(s.store, 'one', { force: false }),
    ]);
    assert.notEqual(grown.status, marked.status, 'one of them is refused');
  });
});
