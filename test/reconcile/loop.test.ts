/** The reconcilers together, as the daemon runs them, on drivers in memory. Longer than most: all meet here. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { storeBaseline } from '../../src/baseline/store-baseline.ts';
import { until } from '../../src/lib/wait.ts';
import { OffshootError } from '../../src/model/errors.ts';
import { nowhere } from '../../src/model/folder.ts';
import {
  branchSecret,
  createBranch,
  deleteBranch,
  deleteProject,
  findBranch,
  restartBranch,
} from '../../src/rules/branches.ts';
import { deleteSandbox } from '../../src/rules/sandboxes.ts';
import { beginTakeOver } from '../../src/rules/take-over.ts';
import { trashBranch, trashProject } from '../../src/rules/trash.ts';
import type { Kind, Stored } from '../../src/store/contract.ts';
import {
  applied,
  branchPlugin,
  configMap,
  defaultProject,
  deploy,
  deployment,
  fork,
  install,
  service,
  step,
  tablePlugin,
} from '../support/documents.ts';
import { type LoopOptions, loopOn } from '../support/loop.ts';
import { memoryWorld } from '../support/memory-drivers.ts';
import { it, testStore } from '../support/stores.ts';
import { whenObject } from '../support/when.ts';

/**
 * A loop that runs, in a world with project `default` and plugins `table` and `branch`.
 * @param baseMs of the back-off
 */
async function testLoop(baseMs = 1, options: LoopOptions = {}) {
  const world = memoryWorld();
  const store = testStore();
  const main = await defaultProject(store);
  await install(store, 'table', tablePlugin);
  await install(store, 'branch', branchPlugin);
  const problems = new Map<number, string>();
  const loop = loopOn(store, world, { problems, baseMs, ...options });
  await loop.start();
  const signal = AbortSignal.timeout(60_000);
  const when = <K extends Kind, T>(
    kind: K,
    name: string,
    probe: (o: Stored<K> | undefined) => T | undefined,
  ) => whenObject(store, kind, name, probe, signal);
  return {
    ...world,
    world,
    store,
    main,
    loop,
    problems,
    when,
    gone: (kind: Kind, name: string) => when(kind, name, o => (o === undefined ? true : undefined)),
    sandboxReady: (name: string) => when('sandbox', name, o => (o?.status?.ready ? o : undefined)),
    sandboxSays: (name: string, reason: string) =>
      when('sandbox', name, o => (o?.status?.reason === reason ? o.status : undefined)),
    manifestSays: (name: string, reason: string) =>
      when('manifest', name, o => (o?.status?.reason === reason ? o.status : undefined)),
    signal,
    grow: (name: string) => createBranch(store, { project: 'default', name, parent: 'main' }),
    branchSays: (id: string, reason: string) =>
      when('branch', id, o => (o?.status?.reason === reason ? o.status : undefined)),
    /** Counts from now on how often a driver is called for `id`. */
    count: (call: string, id: string) => world.trouble.count(`${call} ${id}`),
    branchReady: (id: string) => when('branch', id, o => (o?.status?.state === 'ready' ? o : undefined)),
    eventually: (what: string, probe: () => boolean) =>
      until(() => (probe() ? true : undefined), { what, deadlineMs: 60_000 }),
    /** The environment value of a workload's first container. */
    env: (id: string, name: string) =>
      world.workloadsOf
        .get(id)
        ?.spec.workload.spec.template.spec.containers[0]?.env?.find(e => e.name === name)?.value,
    async [Symbol.asyncDispose]() {
      await loop.close();
      await store.close();
    },
  };
}

const usersFork = 'sb-sb.demo.users';
const usersBase = 'base.demo.users';
const usesColour = { envFrom: [{ configMapRef: { name: 'colours' } }] };

describe('a change in the store', () => {
  it('reaches the reconciler of its object, up to its end', async () => {
    await using l = await testLoop();
    await l.branchReady(l.main.name);
    const name = await deploy(l.store, deployment('users'));
    await l.manifestSays(name, 'Running');
    await applied(l.store, 'sb', { resources: [{ name: 'db', plugin: 'table' }], forks: [fork('users')] });
    await l.sandboxReady('sb');
    assert.deepEqual([...l.workloadsOf.keys()], [usersBase, usersFork]);
    assert.deepEqual([...l.things], ['table']);

    await deleteSandbox(l.store, 'sb', { force: false });
    await l.gone('sandbox', 'sb');
    await l.store.modify('manifest', name, () => ({ deleted: true }));
    await l.gone('manifest', name);
    await deleteProject(l.store, storeBaseline(l.store), 'default');
    await l.gone('project', 'default');
    assert.deepEqual(
      [l.workloadsOf.size, l.things.size, l.disk.size, l.running.size, l.store.list('branch').length],
      [0, 0, 0, 0, 0],
    );
  });

  it('of a ConfigMap restarts what refers to it, in the baseline and in forks, and nothing else', async () => {
    await using l = await testLoop();
    await deploy(
      l.store,
      configMap('colours', { COLOUR: 'red' }),
      deployment('users', usesColour),
      deployment('orders'),
    );
    await l.eventually('orders runs', () => l.workloadsOf.has('base.demo.orders'));
    await l.manifestSays('Deployment/demo/users', 'Running');
    await applied(l.store, 'sb', { forks: [fork('users'), fork('orders')] });
    await l.sandboxReady('sb');
    await deploy(l.store, configMap('colours', { COLOUR: 'blue' }));
    const colour = (id: string) => l.workloadsOf.get(id)?.spec.refs.configMaps['demo/colours']?.COLOUR;
    await l.eventually('both know', () => colour(usersBase) === 'blue' && colour(usersFork) === 'blue');
    const starts = ['base.demo.orders', 'sb-sb.demo.orders'].map(id => l.workloadsOf.get(id)?.starts);
    assert.deepEqual(starts, [1, 1]);
  });

  it('that gives a Service an address is in the network of all workloads, and so is its end', async () => {
    await using l = await testLoop();
    await deploy(l.store, deployment('users'), deployment('orders'));
    await applied(l.store, 'sb', { forks: [fork('users')] });
    await l.sandboxReady('sb');
    const port = (id: string) => l.workloadsOf.get(id)?.spec.network.env.ORDERS_SERVICE_PORT;
    const all = [usersBase, 'base.demo.orders', usersFork];
    const name = await deploy(l.store, service('orders', { port: 80 }));
    await l.eventually('all know it', () => all.every(id => port(id) === '80'));
    await l.store.modify('manifest', name, () => ({ deleted: true }));
    await l.eventually('all forget it', () =>
      all.every(id => l.workloadsOf.has(id) && port(id) === undefined),
    );
  });

  it('of an address reaches forks also when it comes late', async () => {
    await using l = await testLoop();
    await deploy(l.store, deployment('users'));
    await applied(l.store, 'sb', { forks: [fork('users')] });
    await l.sandboxReady('sb');
    // As many as are looked at at once, so that the Service must wait.
    const busy = Array.from({ length: 16 }, (_, i) => deployment(`busy${i}`));
    const hanging = busy.map(d => l.trouble.hang(`workloads.ensure base.demo.${d.metadata.name}`));
    await deploy(l.store, ...busy);
    await Promise.all(hanging.map(h => h.reached));
    await deploy(l.store, service('orders', { port: 80 }));
    for (let i = 0; i < 10; i++) await new Promise(setImmediate);
    const port = () => l.workloadsOf.get(usersFork)?.spec.network.env.ORDERS_SERVICE_PORT;
    assert.equal(port(), undefined);
    for (const h of hanging) h.release();
    await l.eventually('the fork knows it', () => port() === '80');
  });

  it('of a Deployment changes its forks', async () => {
    await using l = await testLoop();
    await deploy(l.store, deployment('users'));
    await applied(l.store, 'sb', { forks: [fork('users')] });
    await l.sandboxReady('sb');
    await deploy(l.store, deployment('users', { env: [{ name: 'NEW', value: 'yes' }] }));
    await l.eventually('the fork has it', () => l.env(usersFork, 'NEW') === 'yes');
  });

  it('that brings the baseline mends a fork that missed it', async () => {
    await using l = await testLoop();
    await deploy(l.store, deployment('users'));
    const sandbox = await applied(l.store, 'sb', { forks: [fork('users')] });
    await l.sandboxReady('sb');
    await l.store.remove('manifest', 'Deployment/demo/users');
    l.loop.look('sandbox', sandbox.name);
    assert.equal((await l.sandboxSays('sb', 'SandboxBaselineMissing')).failed, true);
    await deploy(l.store, deployment('users'));
    await l.sandboxReady('sb');
  });

  it('of an image mends what could not run', async () => {
    await using l = await testLoop();
    l.unknownImages.add('users:1');
    await deploy(l.store, deployment('users'));
    await applied(l.store, 'sb', { forks: [fork('users')] });
    await l.manifestSays('Deployment/demo/users', 'ImageUnknown');
    assert.equal((await l.sandboxSays('sb', 'ImageUnknown')).failed, true);
    l.unknownImages.clear();
    await l.store.create('folder', nowhere, {
      spec: { images: { users: { dir: '/', command: ['true'] } } },
      status: null,
      secret: null,
    });
    await l.manifestSays('Deployment/demo/users', 'Running');
    await l.sandboxReady('sb');
  });

  it('of a branch password sets the new one', async () => {
    await using l = await testLoop();
    await l.branchReady(l.main.name);
    const secret = await branchSecret('another');
    await l.store.modify('branch', l.main.name, () => ({ secret }));
    const { roles } = l.disk.get(l.main.name)!.cluster!;
    await l.eventually('it is set', () => roles.get('app') === secret.verifier);
  });

  it('that is only what we saw ourselves wakes nobody', async () => {
    await using l = await testLoop();
    await deploy(l.store, deployment('users'));
    await applied(l.store, 'sb', { forks: [fork('users')] });
    await l.sandboxReady('sb');
    await l.branchReady(l.main.name);
    await l.manifestSays('Deployment/demo/users', 'Running');
    // The last things that it tells are on their way.
    const settled = async () => {
      const before = l.store.version();
      for (let i = 0; i < 50; i++) await new Promise(setImmediate);
      return l.store.version() === before ? true : undefined;
    };
    await until(settled, { what: 'nothing more is written', deadlineMs: 60_000 });
  });
});

describe('a change in the world', () => {
  it('of a workload is seen in status, of the baseline as of forks', async () => {
    await using l = await testLoop();
    await deploy(l.store, deployment('users'));
    await applied(l.store, 'sb', { forks: [fork('users')] });
    await l.sandboxReady('sb');
    l.become(usersBase, { ready: false, reason: 'ProbeFailing' });
    l.become(usersFork, { ready: false, reason: 'CrashLoopBackOff' });
    await l.manifestSays('Deployment/demo/users', 'ProbeFailing');
    await l.sandboxSays('sb', 'CrashLoopBackOff');
    l.become(usersFork, { ready: true, reason: 'Running' });
    await l.sandboxReady('sb');
  });

  it('that ends a server starts it again', async () => {
    await using l = await testLoop();
    await l.branchReady(l.main.name);
    const before = await l.loop.awake(l.main.name, AbortSignal.timeout(60_000));
    l.crash(l.main.name);
    const again = await l.loop.awake(l.main.name, AbortSignal.timeout(60_000));
    assert.notDeepEqual(again, before);
    assert.ok(l.running.has(l.main.name));
  });

  it('that the router tells of an address is in the status of its Service', async () => {
    await using l = await testLoop();
    const name = await deploy(l.store, service('users', { port: 80 }));
    await l.manifestSays(name, 'Listening');
    l.problems.set(80, 'in use');
    l.loop.look('manifest', name);
    assert.equal((await l.manifestSays(name, 'PortTaken')).message, 'in use');
  });
});

describe('the data path', () => {
  /** A `routed` that is held back until `go`. */
  const held = () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    let asked = 0;
    const routed = () => {
      asked += 1;
      return promise;
    };
    return { routed, go: resolve, asked: () => asked };
  };

  it('knows what runs before anything is started', async () => {
    const world = memoryWorld();
    const store = testStore();
    await using stack = new AsyncDisposableStack();
    stack.defer(() => store.close());
    const main = await defaultProject(store);
    const data = held();
    const loop = loopOn(store, world, { resumed: data.routed });
    stack.defer(() => loop.close());
    const started = loop.start();
    await until(() => data.asked() > 0 || undefined, { what: 'it is told', deadlineMs: 60_000 });
    for (let i = 0; i < 20; i++) await new Promise(setImmediate);
    assert.equal(world.running.size, 0);
    data.go();
    await started;
    await loop.awake(main.name, AbortSignal.timeout(60_000));
  });

  it('leads nobody to a fork, or to a baseline, any more when it is stopped', async () => {
    const data = held();
    await using l = await testLoop(1, { routed: data.routed });
    await deploy(l.store, deployment('users'), deployment('orders'));
    await applied(l.store, 'sb', { forks: [fork('users')] });
    await l.sandboxReady('sb');
    await l.eventually('orders runs', () => l.workloadsOf.has('base.demo.orders'));
    await deleteSandbox(l.store, 'sb', { force: false });
    await l.store.modify('manifest', 'Deployment/demo/orders', () => ({ deleted: true }));
    await until(() => data.asked() >= 2 || undefined, { what: 'both wait', deadlineMs: 60_000 }).finally(() =>
      setTimeout(data.go, 1_000),
    );
    assert.ok(l.workloadsOf.has(usersFork));
    assert.ok(l.workloadsOf.has('base.demo.orders'));
    data.go();
    await l.gone('sandbox', 'sb');
    await l.gone('manifest', 'Deployment/demo/orders');
    assert.deepEqual([...l.workloadsOf.keys()], [usersBase]);
  });
});

describe('a tombstone', () => {
  it('comes with the end of a sandbox, and goes when its time has passed', async () => {
    let now = Date.parse('2030-01-01T00:00:00Z');
    await using l = await testLoop(1, { deletedKeysMs: 60_000, now: () => new Date(now) });
    now = Date.now();
    await deploy(l.store, deployment('users'));
    const { secret } = await applied(l.store, 'sb', { forks: [fork('users')] });
    await deleteSandbox(l.store, 'sb', { force: false });
    await l.gone('sandbox', 'sb');
    const tombstone = () => l.store.get('tombstone', secret.routingKey);
    assert.equal(tombstone()?.spec.sandbox, 'sb');
    assert.deepEqual(tombstone()?.spec.forks, [fork('users').forkOf]);
    l.loop.look('tombstone', secret.routingKey);
    for (let i = 0; i < 20; i++) await new Promise(setImmediate);
    assert.ok(tombstone());
    now += 61_000;
    l.loop.look('tombstone', secret.routingKey);
    await l.gone('tombstone', secret.routingKey);
  });

  it('goes at once where no time is asked for', async () => {
    await using l = await testLoop(1, { deletedKeysMs: 0 });
    const { secret } = await applied(l.store, 'sb', {});
    await deleteSandbox(l.store, 'sb', { force: false });
    await l.gone('sandbox', 'sb');
    await l.gone('tombstone', secret.routingKey);
  });
});

describe('sandboxes with branches', () => {
  const database = { resources: [{ name: 'db', plugin: 'branch' }] };
  const env = { DATABASE_URL: { resource: { name: 'db', outputKey: 'provision.connection-string' } } };

  it('get a branch of their own, and it goes with them', async () => {
    await using l = await testLoop();
    await deploy(l.store, deployment('users'));
    await applied(l.store, 'sb', { ...database, forks: [fork('users', env)] });
    await l.sandboxReady('sb');
    const branch = findBranch(l.store, 'default', 'sb-sb')!;
    assert.equal(
      l.env(usersFork, 'DATABASE_URL'),
      `postgresql://app.${branch.name}:${branch.secret.password}@127.0.0.1:7432/app`,
    );
    assert.equal(l.disk.get(branch.name)?.record.parent, l.main.name);
    await deleteSandbox(l.store, 'sb', { force: false });
    await l.gone('sandbox', 'sb');
    assert.deepEqual([...l.disk.keys()], [l.main.name]);
    assert.equal(findBranch(l.store, 'default', 'sb-sb'), undefined);
  });

  it('may be many at once', async () => {
    await using l = await testLoop();
    const names = Array.from({ length: 40 }, (_, i) => `s${i}`);
    for (const name of names) await applied(l.store, name, database);
    await Promise.all(names.map(l.sandboxReady));
    assert.equal(l.running.size, 41);
    for (const name of names) await deleteSandbox(l.store, name, { force: false });
    await Promise.all(names.map(name => l.gone('sandbox', name)));
    assert.deepEqual([...l.running.keys()], [l.main.name]);
  });

  it('wait with their end for what others grew from it, and say so; then they go at once', async () => {
    await using l = await testLoop(3_600_000);
    await l.branchReady(l.main.name);
    await applied(l.store, 'sb', database);
    await l.sandboxReady('sb');
    const child = await createBranch(l.store, { project: 'default', name: 'precious', parent: 'sb-sb' });
    await l.branchReady(child.name);
    // As by a version that did not ask for children.
    await l.store.modify('sandbox', 'sb', () => ({ deleted: true }));
    const { message } = await l.sandboxSays('sb', 'SandboxHasChildren');
    assert.match(message, /while branches grow from its own: precious/);
    assert.ok(l.running.has(child.name) && l.disk.get(child.name)?.complete);
    assert.deepEqual(await l.loop.awake(child.name, AbortSignal.timeout(60_000)), {
      socket: l.running.get(child.name)?.socket,
    });
    await deleteBranch(l.store, child);
    await l.gone('sandbox', 'sb');
    assert.deepEqual([...l.disk.keys()], [l.main.name]);
  });

  it('take along what grew from it, also from that, when asked to; also one that is stuck with its end', async () => {
    await using l = await testLoop(3_600_000);
    await l.branchReady(l.main.name);
    await applied(l.store, 'sb', database);
    await l.sandboxReady('sb');
    const grow = (name: string, parent: string) =>
      createBranch(l.store, { project: 'default', name, parent });
    await l.branchReady((await grow('child', 'sb-sb')).name);
    await l.branchReady((await grow('grandchild', 'child')).name);
    await l.store.modify('sandbox', 'sb', () => ({ deleted: true }));
    await l.sandboxSays('sb', 'SandboxHasChildren');
    await deleteSandbox(l.store, 'sb', { force: false, recursive: true });
    await l.gone('sandbox', 'sb');
    assert.deepEqual([...l.disk.keys()], [l.main.name]);
    assert.deepEqual(
      l.store.list('branch').map(b => b.spec.name),
      ['main'],
    );
  });

  it('never touch a branch of that name which is not theirs', async () => {
    await using l = await testLoop();
    const own = await createBranch(l.store, { project: 'default', name: 'sb-sb', parent: 'main' });
    await l.branchReady(own.name);
    await applied(l.store, 'sb', database);
    const status = await l.sandboxSays('sb', 'ResourceFailed');
    assert.match(status.message, /branch "sb-sb" already exists in project "default"/);
    await deleteSandbox(l.store, 'sb', { force: false });
    await l.gone('sandbox', 'sb');
    assert.equal(l.store.get('branch', own.name)?.deletedAt, undefined);
    assert.equal(l.disk.get(own.name)?.complete, true);
  });

  it('leave no branch behind when its making fails and they are deleted', async () => {
    await using l = await testLoop();
    await l.branchReady(l.main.name);
    const full = new OffshootError('volume/no-space', { id: 'x', where: '/', freeMib: 1, needMib: 2 });
    l.trouble.fail('volumes.ensure', full);
    await applied(l.store, 'sb', database);
    await l.sandboxSays('sb', 'ResourceRetrying');
    await deleteSandbox(l.store, 'sb', { force: false });
    await l.gone('sandbox', 'sb');
    assert.deepEqual([...l.disk.keys()], [l.main.name]);
  });
});

describe('what cannot be made', () => {
  const noStart = new OffshootError('postgres/start-failed', { id: 'x', why: 'broken', logFile: 'l' });

  it('keeps neither a delete nor the recovery of others waiting', async () => {
    await using l = await testLoop();
    await l.branchReady(l.main.name);
    const [gone, dead] = await Promise.all(['gone', 'dead'].map(name => l.grow(name)));
    for (const { name } of [gone!, dead!]) await l.branchReady(name);
    l.trouble.hang('servers.ensure');
    l.trouble.allow(`servers.ensure ${dead!.name}`);
    // As many as are looked at at once, and one more.
    await Promise.all(Array.from({ length: 65 }, (_, i) => l.grow(`stuck${i}`)));
    const taken = () => l.loop.counts().branch;
    const full = () => taken()?.running === 64 && taken()?.queued === 1;
    await l.eventually('all places are taken', full);
    await deleteBranch(l.store, gone!);
    await l.gone('branch', gone!.name);
    const before = l.running.get(dead!.name)?.pid;
    l.crash(dead!.name);
    await l.eventually('it runs again', () => (l.running.get(dead!.name)?.pid ?? before) !== before);
    await l.eventually('only these are left', full);
  });

  it('is tried now and then, whoever asks for it; and whoever waits for it goes on at once when it is there', async () => {
    await using l = await testLoop(400);
    await l.branchReady(l.main.name);
    const tries = l.count('servers.ensure', l.main.name);
    l.trouble.fail(`servers.ensure ${l.main.name}`, noStart);
    l.crash(l.main.name);
    await l.branchSays(l.main.name, 'PostgresStartFailed');
    const children = await Promise.all(Array.from({ length: 20 }, (_, i) => l.grow(`child${i}`)));
    await Promise.all(children.map(({ name }) => l.branchSays(name, 'BranchParentNotReady')));
    const refused = { code: 'gateway/branch-not-ready' };
    for (let i = 0; i < 100; i++) await assert.rejects(l.loop.awake(l.main.name, l.signal), refused);
    const logins = children.map(({ name }) => l.loop.awake(name, l.signal));
    assert.equal(tries(), 1);
    const { looks = 0 } = l.loop.counts().branch ?? {};
    assert.ok(looks < 100, `${looks} looks`);

    l.trouble.mend(`servers.ensure ${l.main.name}`);
    await Promise.all(children.map(({ name }) => l.branchReady(name)));
    assert.equal((await Promise.all(logins)).length, 20);
    assert.equal(tries(), 2);
  });
});

describe('asking again for what failed', () => {
  const broken = { ready: false, reason: 'CrashLoopBackOff', restarts: 4 };

  it('starts it at once: a workload by a deploy, a fork by it and by an apply', async () => {
    await using l = await testLoop(3_600_000);
    await deploy(l.store, deployment('users'));
    await applied(l.store, 'sb', { forks: [fork('users')] });
    await l.sandboxReady('sb');
    for (const id of [usersBase, usersFork]) l.become(id, broken);
    await l.manifestSays('Deployment/demo/users', 'CrashLoopBackOff');
    assert.equal((await l.sandboxSays('sb', 'CrashLoopBackOff')).failed, true);
    await deploy(l.store, deployment('users'));
    await l.manifestSays('Deployment/demo/users', 'Running');
    await l.sandboxReady('sb');
    l.become(usersFork, broken);
    await l.sandboxSays('sb', 'CrashLoopBackOff');
    await applied(l.store, 'sb', { forks: [fork('users')] });
    await l.sandboxReady('sb');
    assert.equal(l.workloadsOf.get(usersFork)?.starts, 3);
    assert.equal(l.workloadsOf.get(usersBase)?.starts, 2);
  });

  it('starts a server at once, and whoever waits for it goes on', async () => {
    await using l = await testLoop(3_600_000);
    await l.branchReady(l.main.name);
    const noStart = new OffshootError('postgres/start-failed', { id: 'x', why: 'broken', logFile: 'l' });
    l.trouble.fail(`servers.ensure ${l.main.name}`, noStart);
    l.crash(l.main.name);
    await l.branchSays(l.main.name, 'PostgresStartFailed');
    const child = await l.grow('child');
    await l.branchSays(child.name, 'BranchParentNotReady');
    const login = l.loop.awake(child.name, l.signal);
    l.trouble.mend(`servers.ensure ${l.main.name}`);
    await restartBranch(l.store, l.main.name);
    await l.branchReady(l.main.name);
    await l.branchReady(child.name);
    await login;
  });

  it('does not wait for the end of a pause', async () => {
    await using l = await testLoop(3_600_000);
    l.trouble.fail('steps.run', new OffshootError('step/timeout', { step: 'make' }));
    const wish = { resources: [{ name: 'db', plugin: 'table' }] };
    await applied(l.store, 'sb', wish);
    await l.sandboxSays('sb', 'SandboxUndoFailed');
    l.trouble.mend('steps.run');
    await applied(l.store, 'sb', wish);
    await l.sandboxReady('sb');
  });
});

describe('deleting', () => {
  it('does not wait for a create that takes long', async () => {
    await using l = await testLoop();
    const making = l.trouble.hang('steps.run sb.db.create.make');
    await applied(l.store, 'sb', { resources: [{ name: 'db', plugin: 'table' }] });
    await making.reached;
    await deleteSandbox(l.store, 'sb', { force: false });
    await l.gone('sandbox', 'sb');
    assert.equal(l.stepsRunning.size, 0);
  });

  it('by force gives up on an undoing that hangs', async () => {
    await using l = await testLoop();
    await applied(l.store, 'sb', { resources: [{ name: 'db', plugin: 'table' }] });
    await l.sandboxReady('sb');
    const undoing = l.trouble.hang('steps.run sb.db.delete.unmake');
    await deleteSandbox(l.store, 'sb', { force: false });
    await undoing.reached;
    await deleteSandbox(l.store, 'sb', { force: true });
    await l.gone('sandbox', 'sb');
  });
});

describe('the trash', () => {
  it('stops a project under its old name, and the loop goes on with what a crash has left half done', async () => {
    await using l = await testLoop();
    await l.branchReady(l.main.name);
    const child = await l.grow('child');
    await l.branchReady(child.name);
    await trashBranch(l.store, child, 50, new Date());
    const id = await trashProject(l.store, storeBaseline(l.store), 'default', 86_400_000, new Date());
    await l.branchSays(l.main.name, 'Trashed');
    await l.gone('branch', child.name);
    assert.deepEqual([[...l.disk.keys()], l.running.size], [[l.main.name], 0]);

    // As if whoever restored it had died after the first write.
    const { database, role } = l.store.get('project', id)!.spec;
    await beginTakeOver(l.store, 'again', id, { database, role });
    const main = await l.branchReady(l.main.name);
    assert.equal(main.spec.project, 'again');
    assert.deepEqual(
      l.store.list('project').map(p => p.name),
      ['again'],
    );
    assert.equal(l.store.list('branch').length, 1);

    await trashProject(l.store, storeBaseline(l.store), 'again', 50, new Date());
    await l.gone('branch', l.main.name);
    await l.eventually('the project has gone', () => l.store.list('project').length === 0);
    assert.equal(l.disk.size, 0);
  });
});

describe('a loop that starts', () => {
  it('takes up what was begun, finishes what was to go, and removes what nobody asks for', async () => {
    const world = memoryWorld();
    const store = testStore();
    await using stack = new AsyncDisposableStack();
    stack.defer(() => store.close());
    const main = await defaultProject(store);
    await install(store, 'slow', {
      create: [
        step('make', 'make table\noutput id table'),
        step('fill', 'output id x', tablePlugin.delete![0]!.inputs),
      ],
      delete: tablePlugin.delete!,
    });
    await deploy(store, deployment('users'));
    const first = loopOn(store, world);
    await first.start();
    const filling = world.trouble.hang('steps.run sb.db.create.fill');
    await applied(store, 'sb', { resources: [{ name: 'db', plugin: 'slow' }], forks: [fork('users')] });
    await applied(store, 'old', { forks: [fork('users')] });
    await filling.reached;
    const signal = AbortSignal.timeout(60_000);
    await first.awake(main.name, signal);
    await whenObject(store, 'manifest', 'Deployment/demo/users', o => o?.status?.ready || undefined, signal);
    await first.close();
    await deleteSandbox(store, 'old', { force: false });
    world.trouble.mend('steps.run sb.db.create.fill');
    const lost = 'sb-lost.demo.users';
    world.workloadsOf.set(lost, world.workloadsOf.get(usersBase)!);
    const { pid } = world.running.get(main.name)!;

    const second = loopOn(store, world);
    stack.defer(() => second.close());
    await second.start();
    assert.deepEqual(second.leftovers().removed, [`workload ${lost}`]);
    await whenObject(store, 'sandbox', 'sb', o => o?.status?.ready || undefined, signal);
    await whenObject(store, 'sandbox', 'old', o => (o === undefined ? true : undefined), signal);
    assert.deepEqual(world.stepsDone, ['sb.db.create.make', 'sb.db.create.fill']);
    assert.deepEqual([...world.workloadsOf.keys()], [usersBase, usersFork]);
    await second.awake(main.name, signal);
    assert.equal(world.running.get(main.name)?.pid, pid);
    assert.equal(world.workloadsOf.get(usersBase)?.starts, 1);
  });

  it('does not fail because of what it cannot collect', async () => {
    const world = memoryWorld();
    const store = testStore();
    world.trouble.fail('servers.list', new Error('no'));
    const loop = loopOn(store, world);
    await loop.start();
    assert.deepEqual(loop.leftovers(), { removed: [], orphans: [] });
    await loop.close();
    await store.close();
  });
});

it('a loop that is closed does nothing more, and nothing that it left undone is said to have failed', async () => {
  const l = await testLoop();
  const making = l.trouble.hang('steps.run');
  await applied(l.store, 'sb', { resources: [{ name: 'db', plugin: 'table' }] });
  await making.reached;
  await l.loop.close();
  const sandbox = l.store.get('sandbox', 'sb')!;
  assert.deepEqual(
    [sandbox.secret.resources.db?.phase, sandbox.secret.resources.db?.create.make?.state],
    ['creating', 'running'],
  );
  assert.notEqual(sandbox.status?.failed, true);
  const version = l.store.version();
  await deploy(l.store, deployment('users'));
  for (let i = 0; i < 10; i++) await new Promise(setImmediate);
  assert.equal(l.store.version(), version + 1);
  await l.store.close();
});
