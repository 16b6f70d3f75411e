/** Branches that nobody uses sleep, and wake for whoever wants them. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { until } from '../../src/lib/wait.ts';
import { OffshootError } from '../../src/model/errors.ts';
import { createUses } from '../../src/proxy/uses.ts';
import {
  createBranch,
  deleteBranch,
  limitProject,
  restartBranch,
  rotatePassword,
} from '../../src/rules/branches.ts';
import { resetBranch } from '../../src/rules/reset.ts';
import { callBranch, sleepBranchAfter, untilAsleep } from '../../src/rules/sleep.ts';
import type { Stored } from '../../src/store/contract.ts';
import { TestClock } from '../support/clock.ts';
import { defaultProject } from '../support/documents.ts';
import { loopOn } from '../support/loop.ts';
import { memoryWorld } from '../support/memory-drivers.ts';
import { verifierOpens } from '../support/scram.ts';
import { it, itEverywhere, testStore } from '../support/stores.ts';
import { whenObject } from '../support/when.ts';

const MINUTE = 60_000;

/** Project `default` with its root, and a loop whose time without use only the test turns. */
async function drowsy() {
  const world = memoryWorld();
  const store = testStore();
  const main = await defaultProject(store);
  const clock = new TestClock();
  const uses = createUses();
  const signal = AbortSignal.timeout(60_000);
  /** What happens while proxies are told. */
  let telling: () => Promise<unknown> = async () => true;
  const newLoop = (branches = world.branches) =>
    loopOn(store, world, { branches, clock, uses, routed: () => telling() });
  let loop = newLoop();
  await loop.start();
  const when = <T>({ name }: Stored<'branch'>, probe: (b: Stored<'branch'> | undefined) => T | undefined) =>
    whenObject(store, 'branch', name, probe, signal);
  const is = (branch: Stored<'branch'>, state: string) =>
    when(branch, b => (b?.status?.state === state ? b : undefined));
  await is(main, 'ready');
  return {
    ...{ world, store, main, clock, uses, signal, when, is },
    routed(does: typeof telling) {
      telling = does;
    },
    login: (id: string, quiet?: boolean) => loop.awake(id, signal, quiet),
    look: ({ name }: Stored<'branch'>) => loop.look('branch', name),
    runs: ({ name }: Stored<'branch'>) => world.running.has(name),
    async grown(name: string, parent = 'main') {
      const branch = await createBranch(store, { project: 'default', name, parent });
      return await is(branch, 'ready');
    },
    async sleep(branch: Stored<'branch'>, force = false) {
      await callBranch(store, branch.name, { wanted: 'asleep', ...(force && { force }) });
      return await untilAsleep(store, branch.name, signal);
    },
    /** The daemon ends, and another one begins. */
    async again() {
      await loop.close();
      loop = newLoop(world.reopen());
      await loop.start();
    },
    events: async ({ name }: Stored<'branch'>) =>
      (await store.events({ kind: 'branch', name, limit: 100 })).map(e => e.reason),
    async [Symbol.asyncDispose]() {
      await loop.close();
      await store.close();
    },
  };
}

describe('a branch that nobody uses', () => {
  itEverywhere('sleeps after a while without a server, and wakes with the next login', async () => {
    await using d = await drowsy();
    const before = d.world.running.get(d.main.name)!;
    await d.clock.turn(5 * MINUTE);
    const asleep = await d.is(d.main, 'asleep');
    assert.equal(d.runs(d.main), false);
    assert.equal(asleep.status?.open, undefined);
    assert.deepEqual(
      asleep.status?.conditions.map(c => `${c.type}=${c.status} ${c.reason}`),
      ['VolumeReady=True VolumeReady', 'ServerReady=False Asleep', 'AccessReady=Unknown Waiting'],
    );
    const endpoint = await d.login(d.main.name);
    const server = d.world.running.get(d.main.name)!;
    assert.deepEqual(endpoint, { socket: server.socket });
    assert.notEqual(server.pid, before.pid);
    assert.deepEqual((await d.is(d.main, 'ready')).status?.open?.endpoint, endpoint);
    const said = (await d.events(d.main)).filter(reason => reason === 'Asleep' || reason === 'Ready');
    assert.deepEqual(said.toSorted(), ['Asleep', 'Ready', 'Ready']);
    // Its time begins anew.
    await d.clock.turn(5 * MINUTE);
    await d.is(d.main, 'asleep');
  });

  it('does so when it says, or its project does; and never, if they say that', async () => {
    await using d = await drowsy();
    const [own, never, other] = [await d.grown('own'), await d.grown('never'), await d.grown('other')];
    await sleepBranchAfter(d.store, own.name, 30);
    await sleepBranchAfter(d.store, never.name, 0);
    await limitProject(d.store, 'default', { sleepAfterSeconds: 60 });
    await d.when(other, b => b?.status?.observedGeneration === b?.generation || undefined);
    await d.clock.turn(30_000);
    await d.is(own, 'asleep');
    assert.ok(d.runs(other));
    await d.clock.turn(30_000);
    await d.is(other, 'asleep');
    await d.is(d.main, 'asleep');
    await d.clock.turn(600 * MINUTE);
    assert.ok(d.runs(never));
    await assert.rejects(sleepBranchAfter(d.store, own.name, -1), { code: 'branch/bad-sleep' });
  });

  it('is awake as long as a client is there, and its time begins when the last one leaves', async () => {
    await using d = await drowsy();
    const leave = [d.uses.begin(d.main.name), d.uses.begin(d.main.name)];
    await d.clock.turn(20 * MINUTE);
    leave[0]!();
    await d.clock.turn(20 * MINUTE);
    assert.ok(d.runs(d.main));
    leave[1]!();
    await d.clock.turn(5 * MINUTE - 1);
    assert.ok(d.runs(d.main));
    assert.equal(d.store.get('branch', d.main.name)?.status?.state, 'ready');
    await d.clock.turn(1);
    await d.is(d.main, 'asleep');
  });

  it('is awake also for those who came another way, and is asked again only when as much time has passed', async () => {
    await using d = await drowsy();
    d.world.running.get(d.main.name)!.users = 1;
    const open = d.store.get('branch', d.main.name)!.status!.open;
    const withdrawn = d.when(d.main, b => (b?.status?.open === undefined ? true : undefined));
    await d.clock.turn(5 * MINUTE);
    await withdrawn;
    await d.when(d.main, b => (b?.status?.open === undefined ? undefined : true));
    assert.deepEqual(d.store.get('branch', d.main.name)?.status?.open, open);
    delete d.world.running.get(d.main.name)!.users;
    await d.clock.turn(5 * MINUTE - 1);
    assert.ok(d.runs(d.main));
    await d.clock.turn(1);
    await d.is(d.main, 'asleep');
  });
});

describe('a login', () => {
  it('that had looked up where the branch is before that was taken back keeps it awake', async () => {
    await using d = await drowsy();
    const told = Promise.withResolvers<void>();
    d.routed(async () => {
      assert.equal(d.store.get('branch', d.main.name)?.status?.open, undefined);
      d.uses.begin(d.main.name);
      told.resolve();
    });
    await d.clock.turn(5 * MINUTE);
    await told.promise;
    await d.when(d.main, b => (b?.status?.open === undefined ? undefined : true));
    assert.ok(d.runs(d.main));
  });

  it('is not cut by a proxy that cannot be told: the branch stays awake', async () => {
    await using d = await drowsy();
    const { pid } = d.world.running.get(d.main.name)!;
    let answers = false;
    d.routed(async () => answers);
    const withdrawn = d.when(d.main, b => (b?.status?.open === undefined ? true : undefined));
    await d.clock.turn(5 * MINUTE);
    await withdrawn;
    await d.when(d.main, b => (b?.status?.open === undefined ? undefined : true));
    assert.equal(d.world.running.get(d.main.name)?.pid, pid);
    // By hand it is tried again, until it answers.
    let asked = 0;
    d.routed(async () => {
      asked += 1;
      answers = asked > 1;
      return answers;
    });
    await d.sleep(d.main);
    assert.equal(asked, 2);
  });

  itEverywhere('that comes while the server ends waits, and gets the next one', async () => {
    await using d = await drowsy();
    const before = d.world.running.get(d.main.name)!;
    const stop = d.world.trouble.hang(`servers.stop ${d.main.name}`);
    await d.clock.turn(5 * MINUTE);
    await stop.reached;
    const login = d.login(d.main.name);
    await assert.rejects(d.login(d.main.name, true), { code: 'gateway/branch-not-ready' });
    stop.release();
    const endpoint = await login;
    assert.notDeepEqual(endpoint, { socket: before.socket });
    assert.deepEqual(endpoint, { socket: d.world.running.get(d.main.name)?.socket });
  });

  it('of many that come at once starts it once', async () => {
    await using d = await drowsy();
    await d.sleep(d.main);
    const starts = d.world.trouble.count(`servers.ensure ${d.main.name}`);
    const endpoints = await Promise.all(Array.from({ length: 16 }, () => d.login(d.main.name)));
    assert.equal(new Set(endpoints.map(e => JSON.stringify(e))).size, 1);
    assert.equal(starts(), 1);
  });

  it('to one that cannot start is told so, and nobody tries for each', async () => {
    await using d = await drowsy();
    await d.sleep(d.main);
    d.world.trouble.fail(
      'servers.ensure',
      new OffshootError('postgres/start-failed', { id: 'x', why: 'no', logFile: 'l' }),
    );
    const starts = d.world.trouble.count(`servers.ensure ${d.main.name}`);
    await assert.rejects(d.login(d.main.name), { code: 'gateway/branch-not-ready' });
    const failed = await d.is(d.main, 'failed');
    assert.equal(failed.status?.reason, 'PostgresStartFailed');
    const tries = starts();
    for (let i = 0; i < 50; i++)
      await assert.rejects(d.login(d.main.name), { code: 'gateway/branch-not-ready' });
    assert.ok(starts() - tries < 10, 'a pause is between two starts, whoever logs in');
    d.world.trouble.mend('servers.ensure');
    await d.is(d.main, 'ready');
  });

  it('hears when it has no room to wake', async () => {
    await using d = await drowsy();
    const child = await d.grown('child');
    await limitProject(d.store, 'default', { branchLimitBytes: 2 ** 27 });
    await d.sleep(child);
    d.world.taken.set(child.name, 2 ** 28);
    await assert.rejects(d.login(child.name), { code: 'gateway/branch-stopped' });
    assert.equal(d.runs(child), false);
  });

  it('out of curiosity wakes nobody', async () => {
    await using d = await drowsy();
    await d.sleep(d.main);
    await assert.rejects(d.login(d.main.name, true), { code: 'gateway/branch-not-ready' });
    assert.equal(d.store.get('branch', d.main.name)?.status?.state, 'asleep');
  });
});

describe('sleep and wake by hand', () => {
  itEverywhere('happen at once', async () => {
    await using d = await drowsy();
    const asleep = await d.sleep(d.main);
    assert.equal(asleep.status?.reason, 'Asleep');
    assert.equal(d.runs(d.main), false);
    await d.sleep(d.main); // as it is
    const called = await callBranch(d.store, d.main.name, { wanted: 'awake' });
    assert.equal(called.status?.state, 'creating');
    await d.is(d.main, 'ready');
    assert.ok(d.runs(d.main));
  });

  it('do not end sessions unless told to', async () => {
    await using d = await drowsy();
    const server = d.world.running.get(d.main.name)!;
    server.users = 2;
    await assert.rejects(d.sleep(d.main), {
      code: 'branch/stays-awake',
      message: /2 sessions are open/,
    });
    delete server.users;
    const leave = d.uses.begin(d.main.name);
    await assert.rejects(d.sleep(d.main), { code: 'branch/stays-awake', message: /sessions are open/ });
    assert.equal(d.world.running.get(d.main.name)?.pid, server.pid);
    await d.sleep(d.main, true);
    assert.equal(d.runs(d.main), false);
    leave();
    await d.clock.turn(10 * MINUTE);
    assert.equal(d.store.get('branch', d.main.name)?.status?.state, 'asleep');
  });

  it('say when nothing comes of it', async () => {
    await using d = await drowsy();
    const child = await d.grown('child');
    d.world.trouble.fail('servers.ensure', new Error('no'));
    d.world.crash(child.name);
    await d.is(child, 'failed');
    await assert.rejects(d.sleep(child), { code: 'branch/failed' });
    await deleteBranch(d.store, child);
    await assert.rejects(callBranch(d.store, child.name, { wanted: 'awake' }), { code: 'api/not-found' });
  });
});

describe('a branch that is asleep', () => {
  itEverywhere('is copied without a server', async () => {
    await using d = await drowsy();
    d.world.disk.get(d.main.name)!.cluster!.words.add('kept');
    await d.sleep(d.main);
    const child = await d.grown('child');
    assert.ok(d.world.disk.get(child.name)?.cluster?.words.has('kept'));
    assert.equal(d.runs(d.main), false);
    assert.equal(d.store.get('branch', d.main.name)?.status?.state, 'asleep');
  });

  it('is woken for a copy when its files are not whole without a server', async () => {
    await using d = await drowsy();
    await d.sleep(d.main);
    d.world.disk.get(d.main.name)!.cluster!.clean = false;
    await d.grown('child');
    assert.ok(d.runs(d.main));
  });

  it('does not end while it is copied', async () => {
    await using d = await drowsy();
    const copy = d.world.trouble.hang('volumes.ensure');
    const child = await createBranch(d.store, { project: 'default', name: 'child', parent: 'main' });
    await copy.reached;
    await assert.rejects(d.sleep(d.main), { code: 'branch/stays-awake', message: /it is being copied/ });
    copy.release();
    await d.is(child, 'ready');
    await d.sleep(d.main);
  });

  itEverywhere('sleeps on under the next daemon, which ends what a killed one has left running', async () => {
    await using d = await drowsy();
    const child = await d.grown('child');
    await d.sleep(child);
    const starts = d.world.trouble.count(`servers.ensure ${child.name}`);
    d.world.running.set(child.name, { pid: 1, socket: '/left', upMs: 0 });
    await d.again();
    await until(() => !d.runs(child) || undefined, { what: 'it ends', deadlineMs: 60_000 });
    await d.sleep(child);
    assert.equal(starts(), 0);
    assert.equal(d.store.get('branch', child.name)?.status?.state, 'asleep');
  });

  it('whose server ends as a crash does while it falls asleep is there again for the next', async () => {
    await using d = await drowsy();
    const stop = d.world.trouble.hang(`servers.stop ${d.main.name}`);
    await d.clock.turn(5 * MINUTE);
    await stop.reached;
    d.world.crash(d.main.name);
    stop.release();
    await d.login(d.main.name);
    await d.is(d.main, 'ready');
  });

  it('takes what is asked for meanwhile', async () => {
    await using d = await drowsy();
    const child = await d.grown('child');
    await d.sleep(child);
    await rotatePassword(d.store, child.name, { keepSessions: false });
    await d.login(child.name);
    const { secret } = d.store.get('branch', child.name)!;
    const role = () => d.world.disk.get(child.name)!.cluster!.roles.get('app') ?? '';
    assert.ok(verifierOpens(role(), secret.password));
    await d.sleep(child);
    d.world.disk.get(d.main.name)!.cluster!.words.add('new');
    await resetBranch(d.store, child, {}, new Date());
    await d.when(child, b => b?.status?.resets === 1 || undefined);
    assert.ok(d.world.disk.get(child.name)?.cluster?.words.has('new'));
    await d.is(child, 'ready');
    await d.sleep(child);
    await restartBranch(d.store, child.name);
    await d.is(child, 'ready');
    await d.sleep(child);
    await deleteBranch(d.store, child);
    await d.when(child, b => b === undefined || undefined);
    assert.equal(d.world.disk.has(child.name), false);
  });
});
