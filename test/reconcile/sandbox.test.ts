/** All that can become of one sandbox, looked at by hand. Longer than most: it is one small world with many ends. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { storeBaseline } from '../../src/baseline/store-baseline.ts';
import { silentLog } from '../../src/lib/log.ts';
import { OffshootError } from '../../src/model/errors.ts';
import { resourceStatuses } from '../../src/model/resource-status.ts';
import type { Fork, SandboxSpec } from '../../src/model/sandbox.ts';
import { branchActions } from '../../src/reconcile/branch-action.ts';
import { forkRunner } from '../../src/reconcile/forks.ts';
import { resourceRunner } from '../../src/reconcile/resource.ts';
import { sandboxReconciler } from '../../src/reconcile/sandbox.ts';
import { forkId } from '../../src/reconcile/workload-spec.ts';
import { createBranch } from '../../src/rules/branches.ts';
import { deleteSandbox, type SandboxDeletion } from '../../src/rules/sandboxes.ts';
import {
  applied,
  configMap,
  defaultProject,
  deploy,
  deployment,
  fork,
  forkOf,
  input,
  install,
  service,
  step,
  tablePlugin,
  testClock,
} from '../support/documents.ts';
import { memoryWorld } from '../support/memory-drivers.ts';
import { it, testStore } from '../support/stores.ts';

const failed = new OffshootError('step/failed', { step: 'make', how: 'exit code 1' });
const timeout = new OffshootError('step/timeout', { step: 'make' });

/** Deployments `users` and `orders`, a Service `users`, plugin `table`, and a reconciler for sandbox `sb`. */
async function testSandbox({ routers }: Pick<Parameters<typeof sandboxReconciler>[0], 'routers'> = {}) {
  const world = memoryWorld();
  const clock = testClock();
  const store = testStore({ now: clock.now });
  await deploy(
    store,
    deployment('users'),
    deployment('orders'),
    service('users', { port: 80, targetPort: 3000 }),
  );
  await install(store, 'table', tablePlugin);
  const trash = { keepMs: 86_400_000, now: clock.now };
  const resources = resourceRunner({
    store,
    steps: world.steps,
    actions: branchActions({ store, gateway: () => ({ host: '127.0.0.1', port: 1 }), trash }),
    scriptEnv: () => ({}),
    keep: [],
    stepMs: 60_000,
    now: clock.now,
  });
  const reconcile = sandboxReconciler({
    store,
    baseline: storeBaseline(store),
    forks: forkRunner({ store, baseline: storeBaseline(store), workloads: world.workloads }),
    resources,
    migrations: { ensure: () => Promise.reject(new Error('none was asked for')) },
    site: () => ({ domain: 'localhost', scheme: 'http', port: 7480 }),
    routed: async () => {},
    ...(routers && { routers }),
    trash,
    now: clock.now,
    log: silentLog,
  });
  const abort = new AbortController();
  const sandbox = () => store.get('sandbox', 'sb');
  const status = () => sandbox()!.status!;
  return {
    ...world,
    clock,
    store,
    abort,
    sandbox,
    status,
    apply: (spec: Omit<SandboxSpec, 'cluster'> = {}) => applied(store, 'sb', spec),
    look: (signal: AbortSignal = abort.signal) => reconcile('sb', signal),
    /** A look that is to fail; throws why. */
    async failing() {
      const result = await reconcile('sb', abort.signal);
      if (result?.failed !== undefined) throw result.failed;
    },
    delete: (how: Partial<SandboxDeletion> = {}) => deleteSandbox(store, 'sb', { force: false, ...how }),
    resources: () => resourceStatuses(sandbox()!.spec, sandbox()!.secret.resources),
    conditions: () => status().conditions.map(c => `${c.type}=${c.status}/${c.reason}`),
    /** The value of an environment variable of a fork's first container. */
    env: (name: string, variable: string) =>
      world.workloadsOf
        .get(forkId('sb', forkOf(name)))
        ?.spec.workload.spec.template.spec.containers[0]?.env?.find(e => e.name === variable)?.value,
    [Symbol.asyncDispose]: () => store.close(),
  };
}

const users = forkId('sb', forkOf('users'));
const orders = forkId('sb', forkOf('orders'));
const db = { name: 'db', plugin: 'table' };
const addressOf = (name: string) => ({
  fork: { forkOf: forkOf(name), expression: 'http://{{.Service.Host}}:{{.Service.Port}}' },
});

describe('a sandbox', () => {
  it('is not ready as long as its key reaches the baseline, and says why; once it was, it goes on while sidecars are away', async () => {
    let problem: { reason: string; message: string } | undefined = {
      reason: 'NoSidecar',
      message: 'no sidecar',
    };
    const asked: boolean[] = [];
    const routers = {
      problem(_: object, isNew: boolean) {
        asked.push(isNew);
        return problem;
      },
    };
    await using s = await testSandbox({ routers });
    await s.apply({ forks: [fork('users')] });
    await s.look();
    assert.deepEqual(
      [s.status().ready, s.status().reason, s.status().message],
      [false, 'NoSidecar', 'no sidecar'],
    );
    assert.ok(s.conditions().includes('ForksReady=True/ForksRunning'), s.conditions().join());
    assert.ok(s.conditions().includes('SidecarsReady=False/NoSidecar'));
    problem = undefined;
    await s.look();
    assert.equal(s.status().ready, true);
    await s.look();
    assert.deepEqual([asked.at(-2), asked.at(-1)], [true, false]);
  });

  it('gets its resources, then its forks with the outputs, then its endpoints', async () => {
    await using s = await testSandbox();
    await s.apply({
      resources: [db],
      forks: [fork('users', { TABLE: { resource: { name: 'db', outputKey: 'make.id' } }, MODE: 'test' })],
      endpoints: [{ name: 'api', host: 'users.demo.svc', port: 80 }],
    });
    await s.look();
    assert.deepEqual([...s.things], ['table']);
    assert.equal(s.env('users', 'TABLE'), 'table');
    assert.equal(s.env('users', 'MODE'), 'test');
    assert.equal(s.env('users', 'SIGNADOT_SANDBOX_ROUTING_KEY'), s.sandbox()?.secret.routingKey);
    assert.equal(s.workloadsOf.get(users)?.spec.owner, 'sandbox/sb');
    assert.deepEqual(s.conditions(), [
      'ResourcesReady=True/ResourcesCreated',
      'ForksReady=True/ForksRunning',
      'EndpointsReady=True/RoutesPublished',
      'Routed=True/ByKey',
    ]);
    const { ready, failed, reason, observedGeneration, forks, endpoints } = s.status();
    assert.deepEqual(
      [ready, failed, reason, observedGeneration],
      [true, false, 'AllDesiredWorkloadsReady', 1],
    );
    assert.deepEqual(s.resources(), [
      {
        name: 'db',
        plugin: 'table@0.0.0',
        ready: true,
        failed: false,
        workflow: 'create',
        steps: [{ name: 'make', state: 'succeeded', ms: 0 }],
      },
    ]);
    assert.deepEqual(
      forks.map(f => [f.name, f.ready, Object.keys(f.ports)]),
      [['users', true, ['3000']]],
    );
    assert.deepEqual(endpoints, [
      {
        name: 'api',
        url: 'http://api--sb.preview.localhost:7480',
        target: 'http://users.demo.svc:80',
        routeType: 'host',
        protocol: 'http',
      },
    ]);
  });

  it('that was written without us gets what its resources need, or is told what is wrong', async () => {
    await using s = await testSandbox();
    const written = (plugin: string) => ({ cluster: 'local', resources: [{ name: 'db', plugin }] });
    const secret = { routingKey: 'bcdfghjklmnpq', resources: {} };
    await s.store.create('sandbox', 'sb', { spec: written('none'), status: null, secret });
    await assert.rejects(s.failing(), { code: 'sandbox/plugin-missing' });
    await s.store.modify('sandbox', 'sb', () => ({ spec: written('table') }));
    await s.look();
    assert.deepEqual([...s.things], ['table']);
    assert.equal(s.status().ready, true);
    await s.delete();
    await s.look();
    assert.deepEqual([[...s.things], s.sandbox()], [[], undefined]);
  });

  it('with nothing in it is ready', async () => {
    await using s = await testSandbox();
    await s.apply();
    assert.equal(await s.look(), undefined);
    assert.equal(s.status().ready, true);
    assert.deepEqual(
      s.conditions().map(c => c.split('/')[1]),
      ['NoResources', 'NoForks', 'RoutesPublished'],
    );
  });

  it('is looked at again without any change', async () => {
    await using s = await testSandbox();
    await s.apply({ resources: [db], forks: [fork('users')] });
    await s.look();
    const version = s.store.version();
    await s.look();
    assert.equal(s.store.version(), version);
    assert.equal(s.workloadsOf.get(users)?.starts, 1);
  });

  it('does not start forks before the resources are there', async () => {
    await using s = await testSandbox();
    await s.apply({ resources: [db], forks: [fork('users')] });
    const making = s.trouble.hang('steps.run');
    const looking = s.look();
    await making.reached;
    assert.equal(s.workloadsOf.size, 0);
    making.release();
    await looking;
    assert.equal(s.workloadsOf.size, 1);
  });

  it('that is stopped meanwhile keeps no sign of failure', async () => {
    await using s = await testSandbox();
    await s.apply({ resources: [db], forks: [fork('users')] });
    const making = s.trouble.hang('workloads.ensure');
    const looking = s.look();
    await making.reached;
    s.abort.abort(new Error('the daemon stops'));
    await assert.rejects(looking, { message: 'the daemon stops' });
    assert.deepEqual(s.conditions(), ['ResourcesReady=True/ResourcesCreated']);
    assert.deepEqual([s.status().failed, s.status().reason], [false, 'InProgress']);
  });

  it('that is not there needs no look', async () => {
    await using s = await testSandbox();
    assert.equal(await s.look(), undefined);
  });
});

describe('resources', () => {
  it('that failed for good are said to have, with what the step printed', async () => {
    await using s = await testSandbox();
    await s.apply({ resources: [db], forks: [fork('users')] });
    s.trouble.fail(
      'steps.run sb.db.create.make',
      new OffshootError('step/failed', failed.params, { output: 'a\nb' }),
    );
    assert.equal(await s.look(), undefined);
    const { ready, failed: isFailed, reason, message } = s.status();
    const [resource] = s.resources();
    assert.deepEqual([ready, isFailed, reason], [false, true, 'ResourceFailed']);
    assert.equal(
      message,
      'resource "db" of sandbox "sb" failed in step "make": the script of step "make" ended with exit code 1',
    );
    assert.deepEqual(
      [resource?.failed, resource?.message, resource?.output],
      [true, failed.message, ['a', 'b']],
    );
    assert.deepEqual(
      s.conditions().map(c => c.split('/')[0]),
      ['ResourcesReady=False', 'ForksReady=Unknown', 'EndpointsReady=Unknown'],
    );
    assert.equal(s.workloadsOf.size, 0);
  });

  it('that may come yet are asked for again', async () => {
    await using s = await testSandbox();
    await s.apply({ resources: [db] });
    s.trouble.fail('steps.run sb.db.create.make', timeout);
    await assert.rejects(s.failing(), { code: 'sandbox/resource-retrying' });
    assert.deepEqual([s.status().failed, s.status().reason], [false, 'ResourceRetrying']);
    s.trouble.mend('steps.run sb.db.create.make');
    await s.look();
    assert.equal(s.status().ready, true);
  });

  it('are all waited for before one of them is said to have failed', async () => {
    await using s = await testSandbox();
    await s.apply({ resources: [db, { name: 'two', plugin: 'table' }] });
    s.trouble.fail('steps.run sb.db.create.make', failed);
    const other = s.trouble.hang('steps.run sb.two.create.make');
    const looking = s.look();
    await other.reached;
    other.release();
    await looking;
    assert.deepEqual(
      s.resources().map(r => [r.name, r.ready, r.failed]),
      [
        ['db', false, true],
        ['two', true, false],
      ],
    );
  });

  it('whose undoing fails say so, and are tried again', async () => {
    await using s = await testSandbox();
    await s.apply({ resources: [db] });
    s.trouble.fail('steps.run', failed);
    await assert.rejects(s.failing(), { code: 'sandbox/undo-failed' });
    assert.deepEqual([s.status().reason, s.status().failed], ['SandboxUndoFailed', false]);
    s.trouble.mend('steps.run');
    await s.look();
    assert.deepEqual([s.status().reason, s.status().failed], ['ResourceFailed', true]);
  });
});

describe('forks', () => {
  it('come and go with the document', async () => {
    await using s = await testSandbox();
    await s.apply({ forks: [fork('users')] });
    await s.look();
    await s.apply({ forks: [fork('users'), fork('orders')] });
    await s.look();
    assert.deepEqual([...s.workloadsOf.keys()], [users, orders]);
    assert.equal(s.workloadsOf.get(users)?.starts, 1, 'the other one runs on');
    await s.apply({ forks: [fork('orders', { A: 'b' })] });
    await s.look();
    assert.deepEqual([...s.workloadsOf.keys()], [orders]);
    assert.equal(s.workloadsOf.get(orders)?.starts, 2);
    assert.deepEqual(
      s.status().forks.map(f => f.name),
      ['orders'],
    );
    assert.equal(s.status().observedGeneration, 3);
  });

  it('of other sandboxes are left alone, also when one name begins with the other', async () => {
    await using s = await testSandbox();
    await s.apply({ forks: [fork('users')] });
    await s.look();
    const other = forkId('sb-2', forkOf('users'));
    s.workloadsOf.set(other, s.workloadsOf.get(users)!);
    await s.apply();
    await s.look();
    assert.deepEqual([...s.workloadsOf.keys()], [other]);
  });

  it('that name another fork are started after it, in whatever order they stand', async () => {
    await using s = await testSandbox();
    await s.apply({ forks: [fork('orders', { USERS: addressOf('users') }), fork('users')] });
    await s.look();
    const address = s.workloadsOf.get(users)!.seen.ports[3000]![0]!;
    assert.equal(s.env('orders', 'USERS'), `http://${address.host}:${address.port}`);
    assert.deepEqual([...s.workloadsOf.keys()], [users, orders]);
    assert.deepEqual(
      s.status().forks.map(f => f.name),
      ['orders', 'users'],
      'status keeps the order of the document',
    );
  });

  it('that name each other are refused', async () => {
    await using s = await testSandbox();
    await s.apply({
      forks: [fork('orders', { A: addressOf('users') }), fork('users', { A: addressOf('orders') })],
    });
    await assert.rejects(s.failing(), {
      code: 'sandbox/fork-cycle',
      params: { sandbox: 'sb', forks: 'orders, users' },
    });
    assert.deepEqual([s.status().reason, s.status().failed], ['SandboxForkCycle', true]);
    assert.equal(s.workloadsOf.size, 0);
  });

  it('whose baseline is missing later wait for it', async () => {
    await using s = await testSandbox();
    await s.apply({ forks: [fork('users')] });
    await s.store.remove('manifest', 'Deployment/demo/users');
    await assert.rejects(s.failing(), { code: 'sandbox/baseline-missing' });
    assert.deepEqual([s.status().reason, s.status().failed], ['SandboxBaselineMissing', true]);
    await deploy(s.store, deployment('users'));
    await s.look();
    assert.deepEqual([s.status().ready, s.status().failed], [true, false]);
  });

  it('follow their baseline', async () => {
    await using s = await testSandbox();
    await s.apply({ forks: [fork('users')] });
    await s.look();
    await deploy(s.store, deployment('users', { env: [{ name: 'NEW', value: 'yes' }] }));
    await s.look();
    assert.equal(s.env('users', 'NEW'), 'yes');
  });

  it('see what their variables refer to, and nothing else', async () => {
    await using s = await testSandbox();
    await deploy(s.store, configMap('settings', { colour: 'red' }), configMap('other', { colour: 'blue' }));
    const settings: Fork = fork('users', { COLOUR: { configMap: { name: 'settings', key: 'colour' } } });
    await s.apply({ forks: [settings] });
    await s.look();
    assert.deepEqual(s.workloadsOf.get(users)?.spec.refs, {
      configMaps: { 'demo/settings': { colour: 'red' } },
      secrets: {},
      binary: { configMaps: {}, secrets: {} },
    });
  });

  it('that do not run yet are waited for, and say what they wait for', async () => {
    await using s = await testSandbox();
    s.startAs({ ready: false, reason: 'Starting', message: 'its probe has not answered' });
    await s.apply({ forks: [fork('users')] });
    assert.equal(await s.look(), undefined);
    assert.deepEqual(
      [s.status().ready, s.status().failed, s.status().reason, s.status().message],
      [false, false, 'Starting', 'fork of demo/users: its probe has not answered'],
    );
    assert.deepEqual(s.conditions().slice(1), [
      'ForksReady=False/Starting',
      'EndpointsReady=Unknown/Waiting',
    ]);
    const { lastTransitionTime } = s.status().conditions[1]!;
    s.clock.forward(1_000);
    s.become(users, { reason: 'ProbeFailing', log: ['last', 'words'] });
    await s.look();
    assert.deepEqual(s.status().forks[0]?.log, ['last', 'words']);
    assert.equal(s.status().conditions[1]?.lastTransitionTime, lastTransitionTime);
    s.become(users, { ready: true });
    await s.look();
    assert.equal(s.status().ready, true);
    assert.equal(s.status().forks[0]?.log, undefined);
    assert.equal(s.status().conditions[1]?.lastTransitionTime, s.clock.now().toISOString());
  });

  const hopeless: readonly (readonly [reason: string, restarts: number, failed: boolean])[] = [
    ['Starting', 0, false],
    ['CrashLoopBackOff', 2, false],
    ['CrashLoopBackOff', 3, true],
    ['OOMKilled', 2, false],
    ['OOMKilled', 3, true],
    ['Init:CrashLoopBackOff', 3, true],
    ['ProbeFailing', 5, false],
    ['ProgressDeadlineExceeded', 0, true],
    ['ImageUnknown', 0, true],
    ['CommandNotFound', 0, true],
    ['ConfigError', 0, true],
  ];
  for (const [reason, restarts, failed] of hopeless) {
    it(`in ${reason} after ${restarts} restarts ${failed ? 'have' : 'have not'} failed`, async () => {
      await using s = await testSandbox();
      await s.apply({ forks: [fork('users')] });
      await s.look();
      s.become(users, { ready: false, reason, restarts });
      await s.look();
      assert.deepEqual([s.status().ready, s.status().failed], [false, failed]);
    });
  }
});

describe('time to live', () => {
  it('ends a sandbox, and asks for a look when it will', async () => {
    await using s = await testSandbox();
    await s.apply({ ttl: { duration: '1h' }, forks: [fork('users')] });
    assert.deepEqual(await s.look(), { again: 3_600_000 });
    assert.equal(s.status().scheduledDeleteTime, '2030-01-01T01:00:00.000Z');
    s.clock.forward(3_599_999);
    assert.deepEqual(await s.look(), { again: 1 });
    s.clock.forward(1);
    assert.deepEqual(await s.look(), { again: 0 });
    assert.ok(s.sandbox()?.deletedAt);
    assert.equal((await s.store.events({ limit: 1 }))[0]?.reason, 'Expired');
    await s.look();
    assert.equal(s.sandbox(), undefined);
    assert.equal(s.workloadsOf.size, 0);
  });

  it('ends one, too, that can never become ready', async () => {
    await using s = await testSandbox();
    await s.apply({ ttl: { duration: '1h' }, forks: [fork('users')] });
    await s.store.remove('manifest', 'Deployment/demo/users');
    const { again, failed: why } = (await s.look())!;
    assert.deepEqual([again, (why as OffshootError).code], [3_600_000, 'sandbox/baseline-missing']);
    assert.deepEqual([s.status().failed, s.status().reason], [true, 'SandboxBaselineMissing']);
  });

  it('does not put off a retry', async () => {
    await using s = await testSandbox();
    await s.apply({ ttl: { duration: '1h' }, resources: [db], forks: [fork('users')] });
    s.trouble.fail('steps.run sb.db.create.make', timeout);
    await assert.rejects(s.failing(), { code: 'sandbox/resource-retrying' });
    s.trouble.fail('workloads.ensure', new Error('the machine is tired'));
    s.trouble.mend('steps.run sb.db.create.make');
    await assert.rejects(s.failing(), { message: 'the machine is tired' });
  });
});

describe('a sandbox whose fork leads to main', () => {
  it('says so until an override replaces that', async () => {
    await using s = await testSandbox();
    const main = await defaultProject(s.store);
    const url = `postgresql://app.${main.name}:x@127.0.0.1:7432/app`;
    await deploy(s.store, deployment('users', { env: [{ name: 'DATABASE_URL', value: url }] }));
    const condition = () => s.status().conditions.find(c => c.type === 'DataIsolated');
    await s.apply({ forks: [fork('users')] });
    await s.look();
    assert.match(condition()?.message ?? '', /DATABASE_URL leads to main of project default/);
    assert.equal(s.status().ready, true);
    await s.apply({ forks: [fork('users', { DATABASE_URL: 'elsewhere' })] });
    await s.look();
    assert.equal(condition(), undefined);
  });
});

describe('time to live of a sandbox from whose branch others grow', () => {
  it('goes on until they are gone, and an event and a condition say so', async () => {
    await using s = await testSandbox();
    await defaultProject(s.store);
    await s.apply({ ttl: { duration: '1h' }, forks: [fork('users')] });
    const parts = { project: 'default', parent: 'main', owner: 'sandbox/sb' };
    const own = await createBranch(s.store, { ...parts, name: 'sb-sb' });
    const child = await createBranch(s.store, { project: 'default', name: 'precious', parent: 'sb-sb' });
    s.clock.forward(3_600_000);
    assert.deepEqual(await s.look(), { until: [`children/${own.name}`] });
    await s.look();
    assert.equal(s.sandbox()?.deletedAt, undefined);
    assert.equal(s.status().ready, true);
    const message = 'sandbox "sb" cannot go while branches grow from its own: precious';
    const expired = s.status().conditions.find(c => c.type === 'Expired');
    assert.deepEqual([expired?.status, expired?.message], ['False', message]);
    const events = await s.store.events({ kind: 'sandbox', name: 'sb', limit: 10 });
    const blocked = events.filter(e => e.reason === 'ExpiryBlocked');
    assert.deepEqual(
      blocked.map(e => e.message),
      [message],
      'told once',
    );
    await s.store.remove('branch', child.name);
    assert.deepEqual(await s.look(), { again: 0 });
    assert.ok(s.sandbox()?.deletedAt);
  });
});

describe('deleting', () => {
  it('stops the forks, then undoes the resources, and the record goes last', async () => {
    await using s = await testSandbox();
    await s.apply({ resources: [db], forks: [fork('users')] });
    await s.look();
    await s.delete();
    const undoing = s.trouble.hang('steps.run sb.db.delete.unmake');
    const looking = s.look();
    await undoing.reached;
    assert.equal(s.workloadsOf.size, 0);
    assert.deepEqual(
      [s.status().ready, s.status().reason, s.status().message],
      [false, 'Deleting', 'its resources are being removed'],
    );
    undoing.release();
    await looking;
    assert.deepEqual([...s.things], []);
    assert.equal(s.sandbox(), undefined);
  });

  it('says what it is stuck at, and goes on later', async () => {
    await using s = await testSandbox();
    await s.apply({ resources: [db] });
    await s.look();
    await s.delete();
    s.trouble.fail('steps.run sb.db.delete.unmake', failed);
    await assert.rejects(s.look(), { code: 'sandbox/undo-failed' });
    assert.deepEqual([s.status().reason, s.status().failed], ['SandboxUndoFailed', false]);
    assert.match(s.status().message, /undoing resource "db" of sandbox "sb" failed in step "unmake"/);
    s.trouble.mend('steps.run sb.db.delete.unmake');
    await s.look();
    assert.equal(s.sandbox(), undefined);
  });

  it('by force does not ask the plugin', async () => {
    await using s = await testSandbox();
    await s.apply({ resources: [db], forks: [fork('users')] });
    await s.look();
    s.trouble.fail('steps.run sb.db.delete.unmake', failed);
    await s.delete({ force: true });
    await s.look();
    assert.equal(s.sandbox(), undefined);
    assert.equal(s.workloadsOf.size, 0);
    assert.deepEqual([...s.things], ['table']);
  });

  it('that is stopped is no failure', async () => {
    await using s = await testSandbox();
    await s.apply({ resources: [db] });
    await s.look();
    await s.delete();
    const undoing = s.trouble.hang('steps.run sb.db.delete.unmake');
    const looking = s.look();
    await undoing.reached;
    s.abort.abort(new Error('the daemon stops'));
    await assert.rejects(looking, { message: 'the daemon stops' });
    assert.equal(s.status().reason, 'Deleting');
  });

  it('of one that was never ready, or failed, is quiet', async () => {
    await using s = await testSandbox();
    await s.apply({ resources: [db] });
    await s.delete();
    await s.look();
    assert.equal(s.sandbox(), undefined);
    assert.deepEqual(s.stepsDone, []);

    await s.apply({ resources: [db] });
    s.trouble.fail('steps.run sb.db.create.make', failed);
    await s.look();
    await s.delete();
    await s.look();
    assert.equal(s.sandbox(), undefined);
  });

  for (const force of [false, true]) {
    it(`${force ? 'by force ' : ''}never takes what grows from a branch of the sandbox`, async () => {
      await using s = await testSandbox();
      await defaultProject(s.store);
      await install(s.store, 'forgetful', {
        create: [step('make', 'output id x')],
        delete: [step('unmake', 'remove x', [input('id', 'make')])],
      });
      await s.apply({ resources: [{ name: 'db', plugin: 'forgetful' }] });
      await s.look();
      const grow = (name: string, parent: string, owner?: string) =>
        createBranch(s.store, { project: 'default', name, parent, ...(owner !== undefined && { owner }) });
      const own = await grow('sb-sb', 'main', 'sandbox/sb');
      const child = await grow('precious', 'sb-sb');
      // As what was deleted by a version that did not ask for children.
      await s.store.modify('sandbox', 'sb', ({ secret }) => ({
        deleted: true,
        secret: { ...secret, force },
      }));
      const topics = [`children/${own.name}`, `branch/${own.name}`];
      assert.deepEqual((await s.look())?.until, topics);
      assert.equal(s.status().reason, 'SandboxHasChildren');
      assert.match(s.status().message, /while branches grow from its own: precious/);
      assert.equal(s.store.get('branch', child.name)?.deletedAt, undefined);
      assert.equal(s.store.get('branch', own.name)?.deletedAt, undefined);

      await s.store.remove('branch', child.name);
      assert.deepEqual((await s.look())?.until, [`branch/${own.name}`]);
      assert.notEqual(s.store.get('branch', own.name)?.deletedAt, undefined);
      await s.store.remove('branch', own.name); // the branch reconciler's part
      await s.look();
      assert.equal(s.sandbox(), undefined);
      assert.deepEqual(
        s.store.list('branch').map(b => b.spec.name),
        ['main'],
      );
    });
  }
});
