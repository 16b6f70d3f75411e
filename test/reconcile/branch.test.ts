import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { storeBaseline } from '../../src/baseline/store-baseline.ts';
import { silentLog } from '../../src/lib/log.ts';
import { until } from '../../src/lib/wait.ts';
import { errorTable, OffshootError } from '../../src/model/errors.ts';
import { type BranchReconciler, branchReconciler } from '../../src/reconcile/branch.ts';
import {
  branchSecret,
  createBranch,
  deleteBranch,
  deleteProject,
  deletionProblem,
  limitBranch,
  restartBranch,
} from '../../src/rules/branches.ts';
import { findInTrash, restore, trashBranch } from '../../src/rules/trash.ts';
import { defaultProject, testClock } from '../support/documents.ts';
import { memoryWorld } from '../support/memory-drivers.ts';
import { verifierOpens } from '../support/scram.ts';
import { it, itEverywhere, testStore } from '../support/stores.ts';

const noStart = new OffshootError('postgres/start-failed', {
  id: 'x',
  why: 'its port is taken',
  logFile: 'l',
});

/** Project `default` with its root, and a reconciler; looks happen when the test asks for them. */
async function testBranches() {
  const world = memoryWorld();
  const clock = testClock();
  const store = testStore({ now: clock.now });
  const main = await defaultProject(store);
  const wanted: string[] = [];
  /** Those of which what failed before was to be forgotten. */
  const forgiven: string[] = [];
  const told: string[] = [];
  const reconcilers: BranchReconciler[] = [];
  const newReconciler = (branches = world.branches) => {
    const made = branchReconciler({
      store,
      branches,
      add(id, wish) {
        wanted.push(id);
        if (wish?.intent) forgiven.push(id);
      },
      tell: (topic, most) => void told.push(most === undefined ? topic : `${topic} ${most}`),
      routed: async () => {},
      now: clock.now,
      log: silentLog,
    });
    reconcilers.push(made);
    return made;
  };
  const reconciler = newReconciler();
  const abort = new AbortController();
  const grow = (name: string, parent = 'main') => createBranch(store, { project: 'default', name, parent });
  return {
    ...world,
    clock,
    store,
    main,
    abort,
    wanted,
    forgiven,
    told,
    newReconciler,
    grow,
    look: (id: string, by = reconciler, signal: AbortSignal = abort.signal) => by.reconcile(id, signal),
    /** The error with which a look failed. */
    async failure(id: string): Promise<OffshootError> {
      const result = await reconciler.reconcile(id, abort.signal);
      assert.ok(result?.failed instanceof OffshootError);
      return result.failed;
    },
    awake: (id: string, signal: AbortSignal = abort.signal) => reconciler.awake(id, signal),
    endpoint: (id: string) => ({ socket: world.running.get(id)?.socket }),
    /** What the server has as the password of the project's role. */
    verifier: (id: string) => world.disk.get(id)!.cluster!.roles.get('app') ?? '',
    status: (id: string) => store.get('branch', id)!.status!,
    /** A child of main that is ready. */
    async readyChild(name = 'child') {
      await reconciler.reconcile(main.name, abort.signal);
      const child = await grow(name);
      await reconciler.reconcile(child.name, abort.signal);
      return child;
    },
    async [Symbol.asyncDispose]() {
      for (const { close } of reconcilers) close();
      await store.close();
    },
  };
}

const conditions = (status: { conditions: readonly { type: string; status: string }[] }) =>
  status.conditions.map(c => `${c.type}=${c.status}`).join(' ');

describe('a root branch', () => {
  itEverywhere('gets a volume with a new cluster, a server, and a role with a database', async () => {
    await using b = await testBranches();
    await b.look(b.main.name);
    const volume = b.disk.get(b.main.name)!;
    assert.deepEqual(volume.record, {
      id: b.main.name,
      project: 'default',
      branch: 'main',
      createdAt: b.main.createdAt,
      role: 'app',
      database: 'app',
    });
    assert.equal(volume.complete, true);
    assert.ok(volume.cluster?.databases.has('app'));
    assert.ok(verifierOpens(b.verifier(b.main.name), b.main.secret.password));
    assert.ok(b.running.has(b.main.name));
    const status = b.status(b.main.name);
    assert.deepEqual([status.state, status.reason, status.observedGeneration], ['ready', 'Ready', 1]);
    assert.equal(conditions(status), 'VolumeReady=True ServerReady=True AccessReady=True');
  });

  itEverywhere('is looked at again without any change', async () => {
    await using b = await testBranches();
    await b.look(b.main.name);
    const { version } = b.store.get('branch', b.main.name)!;
    const { pid } = b.running.get(b.main.name)!;
    const granted = b.trouble.count(`servers.grant ${b.main.name}`);
    await b.look(b.main.name);
    assert.equal(b.store.get('branch', b.main.name)?.version, version);
    assert.equal(b.running.get(b.main.name)?.pid, pid);
    assert.equal(granted(), 0);
  });

  itEverywhere('goes with its project', async () => {
    await using b = await testBranches();
    await b.look(b.main.name);
    await deleteProject(b.store, storeBaseline(b.store), 'default');
    await b.look(b.main.name);
    assert.equal(b.store.get('branch', b.main.name), undefined);
    assert.equal(b.disk.size + b.running.size, 0);
    await b.look(b.main.name); // nothing is left to look at
  });

  itEverywhere('needs its project', async () => {
    await using b = await testBranches();
    await b.store.remove('project', 'default');
    await assert.rejects(b.look(b.main.name), { code: 'api/not-found' });
    assert.equal(b.disk.size, 0);
  });
});

describe('passwords', () => {
  itEverywhere('reach the node as a verifier only, and are changed when the intent is', async () => {
    await using b = await testBranches();
    const child = await b.readyChild();
    assert.ok(verifierOpens(b.verifier(child.name), child.secret.password));
    assert.ok(!verifierOpens(b.verifier(child.name), b.main.secret.password));

    const secret = await branchSecret('another');
    await b.store.modify('branch', child.name, () => ({ secret }));
    await b.look(child.name);
    assert.equal(b.verifier(child.name), secret.verifier);
  });

  itEverywhere('of older versions get their verifier once', async () => {
    await using b = await testBranches();
    await b.store.modify('branch', b.main.name, () => ({ secret: { password: 'old' } }));
    await b.look(b.main.name);
    const { secret } = b.store.get('branch', b.main.name)!;
    assert.deepEqual(secret, { password: 'old', verifier: b.verifier(b.main.name) });
    assert.ok(verifierOpens(secret.verifier!, 'old'));
    await b.look(b.main.name);
    assert.equal(b.verifier(b.main.name), secret.verifier);
  });
});

describe('a child', () => {
  it('is a copy of its parent that runs by itself', async () => {
    await using b = await testBranches();
    await b.look(b.main.name);
    b.disk.get(b.main.name)!.cluster!.databases.add('theirs');
    const child = await b.grow('child');
    await b.look(child.name);
    const volume = b.disk.get(child.name)!;
    assert.equal(volume.record.parent, b.main.name);
    assert.ok(volume.cluster!.databases.has('theirs'));
    volume.cluster!.databases.add('mine');
    assert.ok(!b.disk.get(b.main.name)!.cluster!.databases.has('mine'));
    assert.notEqual(b.running.get(child.name)?.socket, b.running.get(b.main.name)?.socket);
    assert.equal(b.status(child.name).state, 'ready');
  });

  it('says that it waits for a parent that does not run, and asks for that', async () => {
    await using b = await testBranches();
    const child = await b.grow('child');
    assert.deepEqual(await b.look(child.name), { until: [`branch/${b.main.name}`] });
    assert.deepEqual(b.wanted, [b.main.name]);
    const status = b.status(child.name);
    assert.deepEqual([status.state, status.reason], ['creating', 'BranchParentNotReady']);
    assert.equal(status.message, 'the server of its parent does not run');
    assert.equal(conditions(status), 'VolumeReady=False ServerReady=Unknown AccessReady=Unknown');
    assert.equal(b.disk.size, 0);
    await b.look(b.main.name);
    assert.ok(b.told.includes(`branch/${b.main.name}`));
    await b.look(child.name);
    assert.equal(b.status(child.name).state, 'ready');
    assert.equal(b.status(child.name).hint, undefined);
  });

  it('says that the server of its parent does not answer, and is copied when it does again', async () => {
    await using b = await testBranches();
    await b.look(b.main.name);
    const child = await b.grow('child');
    const call = `servers.live ${b.main.name}`;
    const hangs = { id: b.main.name, why: 'timeout expired' };
    b.trouble.fail(call, new OffshootError('postgres/not-running', hangs));
    await b.look(child.name);
    const { state, message } = b.status(child.name);
    assert.deepEqual(
      [state, message],
      ['failed', `the PostgreSQL server of branch "${b.main.name}" takes no sessions now: timeout expired`],
    );
    b.trouble.mend(call);
    await b.look(child.name);
    assert.equal(b.status(child.name).state, 'ready');
  });

  it('is copied beside others, but not beside too many: it waits for its turn and holds nothing', async () => {
    await using b = await testBranches();
    await b.look(b.main.name);
    const first = await Promise.all(Array.from({ length: 8 }, (_, i) => b.grow(`first-${i}`)));
    const last = await b.grow('last');
    const copying = first.map(({ name }) => b.trouble.hang(`volumes.ensure ${name}`));
    const looks = first.map(({ name }) => b.look(name));
    await Promise.all(copying.map(({ reached }) => reached));
    assert.deepEqual(await b.look(last.name), { until: [`copy/${b.main.name}`] });
    const { state, reason } = b.status(last.name);
    assert.deepEqual([state, reason], ['creating', 'WaitsForCopy']);
    const before = b.told.length;
    copying[0]!.release();
    await looks[0];
    const { name } = first[0]!;
    assert.deepEqual(b.told.slice(before), [`copy/${b.main.name} 1`, 'start 1', `branch/${name}`]);
    await b.look(last.name);
    assert.equal(b.status(last.name).state, 'ready');
    for (const one of copying) one.release();
    await Promise.all(looks);
  });

  it('says which unlogged tables it has without their rows, once', async () => {
    await using b = await testBranches();
    await b.look(b.main.name);
    b.disk.get(b.main.name)!.cluster!.busyTables.add('app: public.cache');
    const child = await b.grow('child');
    await b.look(child.name);
    b.crash(child.name);
    await b.look(child.name);
    const says =
      'on memory; without the rows of these unlogged tables, which were written to meanwhile: app: public.cache';
    assert.equal(b.status(child.name).conditions[0]?.message, says);
    assert.deepEqual(b.status(child.name).emptied, ['app: public.cache']);
    const events = await b.store.events({ name: child.name, limit: 9 });
    assert.deepEqual(
      events.filter(e => e.reason === 'UnloggedTablesEmptied').map(e => [e.severity, e.message]),
      [['warning', `branch child is ${says}`]],
    );
  });

  it('needs its parent only once', async () => {
    await using b = await testBranches();
    const child = await b.readyChild();
    b.crash(b.main.name);
    b.crash(child.name);
    await b.look(child.name);
    assert.equal(b.status(child.name).state, 'ready');
  });
});

describe('a step that fails', () => {
  const steps = [
    { call: 'volumes.ensure', seen: 'VolumeReady=False ServerReady=Unknown AccessReady=Unknown' },
    { call: 'servers.ensure', seen: 'VolumeReady=True ServerReady=False AccessReady=Unknown' },
    { call: 'servers.grant', seen: 'VolumeReady=True ServerReady=True AccessReady=False' },
  ];
  for (const { call, seen } of steps) {
    it(`${call}: says why, and is mended by the next look`, async () => {
      await using b = await testBranches();
      b.trouble.fail(call, noStart);
      assert.equal((await b.failure(b.main.name)).message, noStart.message);
      const status = b.status(b.main.name);
      assert.deepEqual(
        [status.state, status.reason, status.message, status.hint],
        ['failed', 'PostgresStartFailed', noStart.message, noStart.hint],
      );
      assert.equal(conditions(status), seen);
      await assert.rejects(b.awake(b.main.name), {
        code: 'gateway/branch-not-ready',
        params: { branch: b.main.name, why: 'PostgresStartFailed' },
      });
      b.trouble.mend(call);
      await b.look(b.main.name);
      assert.equal(b.status(b.main.name).state, 'ready');
      assert.ok(b.disk.get(b.main.name)?.cluster?.roles.has('app'));
    });
  }

  it('because it was stopped is no failure', async () => {
    await using b = await testBranches();
    const hanging = b.trouble.hang('servers.ensure');
    const stop = new AbortController();
    const looking = b.look(b.main.name, undefined, stop.signal);
    await hanging.reached;
    stop.abort(new Error('the daemon stops'));
    await assert.rejects(looking, { message: 'the daemon stops' });
    assert.equal(b.status(b.main.name).state, 'creating');
    assert.equal(
      conditions(b.status(b.main.name)),
      'VolumeReady=True ServerReady=Unknown AccessReady=Unknown',
    );
  });

  it('does not say of a branch that answers that it is only being made', async () => {
    await using b = await testBranches();
    await b.look(b.main.name);
    const states: (string | undefined)[] = [];
    b.store.onChange(c => states.push(c.type === 'put' ? b.status(b.main.name).state : c.type));
    await b.look(b.main.name, b.newReconciler(b.reopen()));
    assert.deepEqual(states, []);
  });
});

describe('a server that ends', () => {
  it('is asked for and started again; nobody is sent to the old one', async () => {
    await using b = await testBranches();
    await b.look(b.main.name);
    const before = await b.awake(b.main.name);
    b.crash(b.main.name);
    assert.deepEqual(b.wanted, [b.main.name]);
    const waiting = b.awake(b.main.name);
    await b.look(b.main.name);
    const after = await waiting;
    assert.notDeepEqual(after, before);
    assert.deepEqual(after, b.endpoint(b.main.name));
    assert.equal(b.status(b.main.name).restarts, 1);
    assert.deepEqual(
      (await b.store.events({ name: b.main.name, limit: 9 })).map(e => e.reason),
      ['Ready', 'ServerEnded', 'Ready'],
    );
  });

  it('is not called ready while it is started again', async () => {
    await using b = await testBranches();
    await b.look(b.main.name);
    b.crash(b.main.name, 300);
    const starting = b.trouble.hang('servers.ensure');
    const looking = b.look(b.main.name);
    await starting.reached;
    const { state, reason, message } = b.status(b.main.name);
    assert.deepEqual(
      [state, reason, message],
      ['creating', 'ServerEnded', 'PostgreSQL ended by itself, after 0.3 s'],
    );
    starting.release();
    await looking;
    assert.equal(b.status(b.main.name).state, 'ready');
  });

  it('again and again is left alone for a while, and trusted only when it has lived for a while', async () => {
    await using b = await testBranches();
    const { name } = b.main;
    await b.look(name);
    b.crash(name);
    await b.look(name);
    b.crash(name, 300);
    const starts = b.trouble.count(`servers.ensure ${name}`);
    const error = await b.failure(name);
    assert.equal(error.code, 'postgres/ends');
    assert.equal(
      error.message,
      'the PostgreSQL server of branch "main" ends by itself: 2 times in a row, the last time after 0.3 s',
    );
    assert.equal(starts(), 0, 'the pause is the scheduler’s');
    const dead = b.status(name);
    assert.deepEqual([dead.state, dead.reason, dead.restarts], ['failed', 'ServerEnded', 2]);
    await assert.rejects(b.awake(name), { code: 'gateway/branch-not-ready' });

    const again = await b.look(name);
    assert.equal(starts(), 1);
    assert.ok(again?.again !== undefined && again.again > 0 && again.failed === undefined);
    const trial = b.status(name);
    assert.deepEqual([trial.state, trial.reason, trial.restarts], ['failed', 'ServerUnsteady', 2]);
    assert.equal(conditions(trial), 'VolumeReady=True ServerReady=False AccessReady=Unknown');
    await assert.rejects(b.awake(name), { code: 'gateway/branch-not-ready' });

    b.running.get(name)!.upMs = 10_000;
    await b.look(name);
    assert.equal(b.status(name).state, 'ready');
    assert.deepEqual(await b.awake(name), b.endpoint(name));
  });
});

describe('another start that was asked for', () => {
  it('ends the server that runs, once, and starts it again', async () => {
    await using b = await testBranches();
    await b.look(b.main.name);
    const { pid } = b.running.get(b.main.name)!;
    await restartBranch(b.store, b.main.name);
    const { state, message } = b.status(b.main.name);
    assert.deepEqual([state, message], ['creating', 'tried again']);
    await b.look(b.main.name);
    const next = b.running.get(b.main.name)!.pid;
    assert.notEqual(next, pid);
    assert.deepEqual([b.status(b.main.name).state, b.status(b.main.name).tries], ['ready', 1]);
    await b.look(b.main.name);
    assert.equal(b.running.get(b.main.name)?.pid, next);
    assert.equal((await b.awake(b.main.name)) && b.status(b.main.name).state, 'ready');
  });

  it('trusts a server again that had ended again and again, and says nothing of that', async () => {
    await using b = await testBranches();
    await b.look(b.main.name);
    for (let i = 0; i < 2; i++) {
      b.crash(b.main.name);
      await b.look(b.main.name);
    }
    assert.equal(b.status(b.main.name).state, 'failed');
    await restartBranch(b.store, b.main.name);
    assert.equal(conditions(b.status(b.main.name)), 'VolumeReady=True');
    await b.look(b.main.name);
    const { state, restarts } = b.status(b.main.name);
    assert.deepEqual([state, restarts], ['ready', undefined]);
  });

  it('is not answered with the failure of the start before', async () => {
    await using b = await testBranches();
    const starting = b.trouble.hang('servers.ensure');
    const looking = b.look(b.main.name);
    await starting.reached;
    await restartBranch(b.store, b.main.name);
    b.trouble.fail('servers.grant', noStart);
    starting.release();
    assert.equal((await looking)?.failed instanceof OffshootError, true);
    const said = b.store.get('branch', b.main.name)?.status;
    assert.ok(said?.state !== 'failed' && said?.hint === undefined);
    b.trouble.mend('servers.grant');
    await b.look(b.main.name);
    assert.equal(b.status(b.main.name).state, 'ready');
  });

  it('is none of a branch that is to go', async () => {
    await using b = await testBranches();
    const child = await b.readyChild();
    await deleteBranch(b.store, child);
    await assert.rejects(restartBranch(b.store, child.name), { code: 'api/not-found' });
    await assert.rejects(restartBranch(b.store, 'br0'), { code: 'api/not-found' });
  });
});

describe('awake', () => {
  it('says where a branch listens', async () => {
    await using b = await testBranches();
    await b.look(b.main.name);
    assert.deepEqual(await b.awake(b.main.name), b.endpoint(b.main.name));
    assert.deepEqual(b.wanted, []);
  });

  it('asks once for a look and waits for a branch that is on its way', async () => {
    await using b = await testBranches();
    const waiting = b.awake(b.main.name);
    await b.look(b.main.name);
    assert.deepEqual(await waiting, b.endpoint(b.main.name));
    assert.deepEqual(b.wanted, [b.main.name]);
  });

  it('does not open before the password is set', async () => {
    await using b = await testBranches();
    const admin = b.trouble.hang('servers.grant');
    const looking = b.look(b.main.name);
    await admin.reached;
    assert.ok(b.running.has(b.main.name));
    const stop = new AbortController();
    const waiting = b.awake(b.main.name, stop.signal);
    stop.abort(new Error('no patience'));
    await assert.rejects(waiting, { message: 'no patience' });
    admin.release();
    await looking;
  });

  it('knows no branch that is not there or is to go', async () => {
    await using b = await testBranches();
    await assert.rejects(b.awake('br0'), { code: 'gateway/branch-unknown' });
    const child = await b.readyChild();
    await deleteBranch(b.store, child);
    await assert.rejects(b.awake(child.name), { code: 'gateway/branch-unknown' });
  });
});

describe('the trash', () => {
  const day = 86_400_000;

  it('keeps a branch without a server, and lets nobody in', async () => {
    await using b = await testBranches();
    const child = await b.readyChild();
    await trashBranch(b.store, child, day, b.clock.now());
    assert.deepEqual(await b.look(child.name), { again: day });
    assert.ok(b.disk.has(child.name) && !b.running.has(child.name));
    const { state, reason } = b.status(child.name);
    assert.deepEqual([state, reason], ['trashed', 'Trashed']);
    await assert.rejects(b.awake(child.name), { code: 'gateway/branch-unknown' });
  });

  it('gives it back as it was', async () => {
    await using b = await testBranches();
    const child = await b.readyChild();
    b.disk.get(child.name)!.cluster!.databases.add('kept');
    await trashBranch(b.store, child, day, b.clock.now());
    await b.look(child.name);
    await restore(b.store, findInTrash(b.store, 'child'));
    await b.look(child.name);
    assert.equal(b.status(child.name).state, 'ready');
    assert.ok(b.running.has(child.name) && b.disk.get(child.name)!.cluster!.databases.has('kept'));
    await b.awake(child.name);
  });

  it('is not called ready when it comes back before its server has ended', async () => {
    await using b = await testBranches();
    const child = await b.readyChild();
    const { pid } = b.running.get(child.name)!;
    await trashBranch(b.store, child, day, b.clock.now());
    await restore(b.store, findInTrash(b.store, 'child'));
    assert.deepEqual([b.status(child.name).state, b.status(child.name).open], ['creating', undefined]);
    await b.look(child.name);
    assert.equal(b.status(child.name).state, 'ready');
    assert.notEqual(b.running.get(child.name)?.pid, pid, 'by a server of its own');
  });

  it('stands beside its data, as long as it is there', async () => {
    await using b = await testBranches();
    const child = await b.readyChild();
    await trashBranch(b.store, child, day, b.clock.now());
    await b.look(child.name);
    const { trashed } = b.store.get('branch', child.name)!.spec;
    assert.deepEqual(b.disk.get(child.name)?.record.trashed, trashed);
    await restore(b.store, findInTrash(b.store, 'child'));
    await b.look(child.name);
    assert.equal(b.disk.get(child.name)?.record.trashed, undefined);
  });

  it('ends with its time, children before what they grow from', async () => {
    await using b = await testBranches();
    const parent = await b.readyChild('parent');
    const child = await b.grow('child', 'parent');
    await b.look(child.name);
    await trashBranch(b.store, child, day, b.clock.now());
    await trashBranch(b.store, parent, day, b.clock.now());
    b.clock.forward(day);
    assert.deepEqual(await b.look(parent.name), { until: [`children/${parent.name}`] });
    assert.ok(b.disk.has(parent.name), 'something grows from it');
    for (const id of [child.name, child.name, parent.name, parent.name]) await b.look(id);
    assert.deepEqual([...b.disk.keys()], [b.main.name]);
    assert.equal(b.store.get('branch', parent.name), undefined);
  });

  it('takes one whose making is not complete, and makes it when it is wanted back', async () => {
    await using b = await testBranches();
    await b.look(b.main.name);
    const child = await b.grow('child');
    await trashBranch(b.store, child, day, b.clock.now());
    await b.look(child.name);
    assert.ok(!b.disk.has(child.name));
    await restore(b.store, findInTrash(b.store, 'child'));
    await b.look(child.name);
    assert.equal(b.status(child.name).state, 'ready');
  });
});

describe('deleting', () => {
  itEverywhere('ends sessions, then the server, then the volume, and the record last', async () => {
    await using b = await testBranches();
    const child = await b.readyChild();
    await deleteBranch(b.store, child);
    const server = b.trouble.hang(`servers.remove ${child.name}`);
    const looking = b.look(child.name);
    await server.reached;
    assert.ok(b.running.has(child.name) && b.disk.has(child.name));
    assert.equal(b.status(child.name).state, 'deleting');
    const volume = b.trouble.hang(`volumes.remove ${child.name}`);
    server.release();
    await volume.reached;
    assert.ok(!b.running.has(child.name) && b.disk.has(child.name));
    assert.ok(b.store.get('branch', child.name));
    volume.release();
    await looking;
    assert.ok(!b.disk.has(child.name));
    assert.equal(b.store.get('branch', child.name), undefined);
    assert.ok(b.disk.has(b.main.name) && b.running.has(b.main.name), 'its parent is untouched');
  });

  itEverywhere('whoever deletes without asking, as kubectl does, is told what grows from it', async () => {
    await using b = await testBranches();
    const parent = await b.readyChild('parent');
    await b.grow('child', 'parent');
    await b.store.modify('branch', parent.name, () => ({ deleted: true }));
    for (let i = 0; i < 2; i++) await b.look(parent.name);
    const { state, reason, message } = b.status(parent.name);
    assert.deepEqual([state, reason], ['deleting', 'BranchHasChildren']);
    const said = await b.store.events({ name: parent.name, limit: 9 });
    assert.deepEqual(
      said.filter(one => one.severity === 'warning').map(one => [one.reason, one.message]),
      [['BranchHasChildren', message]],
    );
    assert.match(message, /child/);
    assert.ok(b.disk.has(parent.name));
  });

  itEverywhere('says when it does not go on, keeps the record, and goes on later', async () => {
    await using b = await testBranches();
    const child = await b.readyChild();
    await deleteBranch(b.store, child);
    const busy = new OffshootError('volume/busy', { path: '/p', why: 'in use' });
    b.trouble.fail('volumes.remove', busy);
    await assert.rejects(b.look(child.name), error => error === busy);
    await assert.rejects(b.look(child.name), error => error === busy);
    assert.deepEqual(
      (await b.store.events({ name: child.name, limit: 9 })).map(e => [e.severity, e.reason, e.message]),
      [
        ['info', 'Ready', 'branch child of project default accepts connections'],
        ['warning', 'DeleteFailed', busy.message],
      ],
    );
    const { state, reason, message } = b.status(child.name);
    assert.deepEqual([state, reason, message], ['deleting', 'VolumeBusy', busy.message]);
    assert.equal(deletionProblem(b.store.get('branch', child.name)!)?.code, 'branch/delete-failed');
    b.trouble.mend('volumes.remove');
    await b.look(child.name);
    assert.equal(b.store.get('branch', child.name), undefined);
  });

  itEverywhere('that is stopped is no failure', async () => {
    await using b = await testBranches();
    const child = await b.readyChild();
    await deleteBranch(b.store, child);
    const hanging = b.trouble.hang('volumes.remove');
    const stop = new AbortController();
    const looking = b.look(child.name, undefined, stop.signal);
    await hanging.reached;
    stop.abort(new Error('the daemon stops'));
    await assert.rejects(looking, { message: 'the daemon stops' });
    assert.deepEqual(
      (await b.store.events({ name: child.name, limit: 9 })).map(e => e.reason),
      ['Ready'],
    );
  });

  itEverywhere('of one that failed does not repeat the old reason', async () => {
    await using b = await testBranches();
    await b.look(b.main.name);
    const child = await b.grow('child');
    b.trouble.fail('servers.ensure', new OffshootError('volume/busy', { path: '/p', why: 'in use' }));
    assert.equal((await b.failure(child.name)).code, 'volume/busy');
    await deleteBranch(b.store, child);
    const hanging = b.trouble.hang('servers.remove');
    const looking = b.look(child.name);
    await hanging.reached;
    const { state, reason, message, conditions } = b.status(child.name);
    assert.deepEqual([state, reason, message, conditions], ['deleting', 'InProgress', 'deleting …', []]);
    hanging.release();
    await looking;
  });

  for (const call of ['volumes.ensure', 'servers.ensure', 'servers.grant']) {
    it(`of one whose making was cut off at ${call} leaves nothing`, async () => {
      await using b = await testBranches();
      await b.look(b.main.name);
      const child = await b.grow('child');
      const hanging = b.trouble.hang(`${call} ${child.name}`);
      const interrupt = new AbortController();
      const looking = b.look(child.name, undefined, interrupt.signal);
      await hanging.reached;
      await deleteBranch(b.store, child);
      interrupt.abort(new Error('the intent changed'));
      await assert.rejects(looking);
      await b.look(child.name);
      assert.deepEqual([...b.disk.keys()], [b.main.name]);
      assert.deepEqual([...b.running.keys()], [b.main.name]);
      assert.equal(b.store.get('branch', child.name), undefined);
    });
  }
});

describe('room', () => {
  const MIB = 2 ** 20;

  it('that a branch has no more of stops it, with a word to those who log in; more of it brings it back', async () => {
    await using b = await testBranches();
    const child = await b.readyChild();
    await limitBranch(b.store, child, 100 * MIB);
    await b.look(child.name);
    assert.equal(b.limits.get(child.name), 164 * MIB, 'and some for its end');
    b.taken.set(child.name, 90 * MIB);
    await until(() => (b.wanted.includes(child.name) ? true : undefined), {
      what: 'it is looked at because it comes near',
      deadlineMs: 60_000,
    });
    await b.look(child.name);
    assert.match(conditions(b.status(child.name)), /SpaceLow=True$/);
    assert.equal(b.status(child.name).state, 'ready');

    b.taken.set(child.name, 101 * MIB);
    await until(() => (b.running.has(child.name) ? undefined : true), {
      what: 'it is stopped',
      deadlineMs: 60_000,
    });
    const result = await b.look(child.name);
    assert.deepEqual(result, { until: [`room/${child.name}`] });
    const { state, reason, message, hint } = b.status(child.name);
    assert.deepEqual([state, reason], ['failed', 'BranchOverLimit']);
    assert.equal(message, 'branch "child" was stopped: it takes 101 MiB, and its limit is 100 MiB');
    assert.match(hint!, /offshoot branch limit child SIZE/);
    await assert.rejects(b.awake(child.name), {
      code: 'gateway/branch-stopped',
      message: `branch "${child.name}" is stopped because it has reached its limit of 100 MiB`,
    });
    assert.equal(errorTable['gateway/branch-stopped'].sqlstate, '53100');
    const events = await b.store.events({ kind: 'branch', name: child.name, limit: 10 });
    assert.equal(events.filter(e => e.reason === 'BranchOverLimit').length, 1);
    await b.look(child.name); // says it once

    await limitBranch(b.store, b.store.get('branch', child.name)!, 1024 * MIB);
    await b.look(child.name);
    assert.equal(conditions(b.status(child.name)), 'VolumeReady=True ServerReady=True AccessReady=True');
    assert.deepEqual(await b.awake(child.name), b.endpoint(child.name));
    const again = await b.store.events({ kind: 'branch', name: child.name, limit: 10 });
    assert.equal(again.filter(e => e.reason === 'BranchOverLimit').length, 1);
  });

  it('that is low for all stops the one that grows, and not the others', async () => {
    await using b = await testBranches();
    Object.assign(b.room, { totalBytes: 2048 * MIB, freeBytes: 150 * MIB, reserveBytes: 16 * MIB });
    const [greedy, modest] = [await b.readyChild('greedy'), await b.readyChild('modest')];
    b.room.freeBytes = 100 * MIB;
    b.taken.set(greedy.name, 50 * MIB);
    b.taken.set(modest.name, 3 * MIB);
    b.taken.set(b.main.name, 500 * MIB);
    await until(() => (b.running.has(greedy.name) ? undefined : true), {
      what: 'it is stopped',
      deadlineMs: 60_000,
    });
    assert.deepEqual(await b.look(greedy.name), { until: [`room/${greedy.name}`] });
    assert.equal(
      b.status(greedy.name).message,
      'branch "greedy" is stopped: only 84 MiB are left on the disk for branches',
    );
    await assert.rejects(b.awake(greedy.name), {
      code: 'gateway/branch-stopped',
      message: `branch "${greedy.name}" is stopped because the disk is nearly full`,
    });
    assert.ok(b.running.has(modest.name) && b.running.has(b.main.name));

    b.room.freeBytes = 1000 * MIB;
    await until(() => (b.told.includes(`room/${greedy.name} 1`) ? true : undefined), {
      what: 'it may run again',
      deadlineMs: 60_000,
    });
    await b.look(greedy.name);
    assert.equal(b.status(greedy.name).state, 'ready');
  });

  it('that was missing when servers ended and starts failed brings them back at once when it is there', async () => {
    await using b = await testBranches();
    const [dying, lame] = [await b.readyChild('dying'), await b.readyChild('lame')];
    Object.assign(b.room, { totalBytes: 2048 * MIB, freeBytes: 10 * MIB, reserveBytes: 16 * MIB });
    const newborn = await b.grow('newborn');
    const noRoom = { id: newborn.name, where: '/memory', freeMib: 10, needMib: 16 };
    b.trouble.fail(`volumes.ensure ${newborn.name}`, new OffshootError('volume/no-space', noRoom));
    assert.equal((await b.failure(newborn.name)).code, 'volume/no-space');
    for (const id of [b.main.name, b.main.name, dying.name, dying.name, lame.name]) b.crash(id);
    assert.equal((await b.failure(b.main.name)).code, 'postgres/ends');
    assert.equal((await b.failure(dying.name)).code, 'postgres/ends');
    assert.deepEqual(await b.look(lame.name), { until: [`room/${lame.name}`] });
    assert.deepEqual(b.forgiven, []);

    b.trouble.mend(`volumes.ensure ${newborn.name}`);
    b.room.freeBytes = 1500 * MIB;
    const all = [b.main, dying, lame, newborn].map(({ name }) => name);
    await until(() => (all.every(id => b.forgiven.includes(id)) ? true : undefined), {
      what: 'all may be tried again',
      deadlineMs: 60_000,
    });
    for (const id of all) {
      assert.equal(await b.look(id), undefined, 'nothing is held against it');
      assert.equal(b.status(id).state, 'ready');
      assert.equal(b.status(id).restarts, undefined);
    }
    b.crash(b.main.name);
    b.crash(b.main.name);
    assert.equal((await b.failure(b.main.name)).code, 'postgres/ends', 'what ends for itself counts still');
    assert.deepEqual(b.forgiven.length, all.length);
  });

  it('is limited by the project where a branch has no limit of its own, but for the root', async () => {
    await using b = await testBranches();
    await b.store.modify('project', 'default', ({ spec }) => ({
      spec: { ...spec, branchLimitBytes: 200 * MIB },
    }));
    const child = await b.readyChild();
    assert.equal(b.limits.get(child.name), 264 * MIB);
    assert.equal(b.limits.has(b.main.name), false);
  });
});

it('a new reconciler takes up what an old one left', async () => {
  await using b = await testBranches();
  const child = await b.readyChild();
  const { pid } = b.running.get(child.name)!;
  const half = await b.grow('half');
  const hanging = b.trouble.hang(`volumes.ensure ${half.name}`);
  const lost = new AbortController();
  const looking = b.look(half.name, b.newReconciler(), lost.signal);
  await hanging.reached;
  b.trouble.mend(`volumes.ensure ${half.name}`);

  const anew = b.newReconciler(b.reopen());
  for (const id of [b.main.name, child.name, half.name]) await b.look(id, anew);
  assert.equal(b.running.get(child.name)?.pid, pid, 'what runs is adopted');
  assert.equal(b.disk.get(half.name)?.complete, true);
  assert.deepEqual(await anew.awake(half.name, b.abort.signal), b.endpoint(half.name));
  lost.abort();
  await assert.rejects(looking);
});
