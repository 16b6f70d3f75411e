/** Several nodes of branches and one that decides, on one store: who holds what, and that nobody else touches it. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { storeBaseline } from '../../src/baseline/store-baseline.ts';
import { Listeners } from '../../src/lib/listeners.ts';
import { silentLog } from '../../src/lib/log.ts';
import { until } from '../../src/lib/wait.ts';
import type { BranchNodeState } from '../../src/model/branch-node.ts';
import { giverUp } from '../../src/reconcile/give-up.ts';
import type { Loop } from '../../src/reconcile/loop.ts';
import { chooseNode, type Placement } from '../../src/reconcile/placement.ts';
import { watchSilentNodes } from '../../src/reconcile/silent-nodes.ts';
import {
  createBranch,
  createProject,
  deleteProject,
  findBranch,
  rotatePassword,
} from '../../src/rules/branches.ts';
import { callBranch, untilAsleep } from '../../src/rules/sleep.ts';
import { findInTrash, restore, trashBranch, trashProject } from '../../src/rules/trash.ts';

import type { Store } from '../../src/store/contract.ts';
import { loopOn } from '../support/loop.ts';
import { memoryWorld } from '../support/memory-drivers.ts';
import { itEverywhere as it, testStore } from '../support/stores.ts';

const GIB = 2 ** 30;

const stateOf = (name: string, freeGib = 100): BranchNodeState => ({
  name,
  door: { node: name, host: '10.0.0.1', port: 7495 },
  version: '1.2.3',
  volumes: { driver: 'memory', copyOnWrite: true, why: 'it is a test' },
  room: { totalBytes: 200 * GIB, freeBytes: freeGib * GIB, reserveBytes: GIB },
});

/** Nodes `one` and `two` with a loop each, and a third loop that decides. */
async function cluster(store: Store, names: readonly string[] = ['one', 'two']) {
  const closing = new AsyncDisposableStack();
  const changed = new Listeners<void>();
  const alive = new Map<string, BranchNodeState>();
  const placement: Placement = { alive: () => [...alive.values()], onChange: changed.add };
  const worlds = new Map<string, ReturnType<typeof memoryWorld>>();
  const loops = new Map<string, Loop>();
  const appear = async (name: string, state = stateOf(name)) => {
    const world = worlds.get(name) ?? memoryWorld();
    worlds.set(name, world);
    await loops.get(name)?.close(); // the pod before
    const loop = loopOn(store, world, { door: state.door, programs: undefined, branches: world.reopen() });
    loops.set(name, loop);
    closing.defer(() => loop.close());
    await loop.start();
    alive.set(name, state);
    changed.tell();
  };
  const deciding = memoryWorld();
  const loop = loopOn(store, deciding, { branches: undefined, placement });
  closing.defer(() => loop.close());
  await loop.start();
  for (const name of names) await appear(name);
  const ready = (project: string, branch: string) =>
    until(
      () => {
        const found = findBranch(store, project, branch);
        return found?.status?.state === 'ready' ? found : undefined;
      },
      { what: `${branch} of ${project} is ready`, deadlineMs: 20_000 },
    );
  const holders = (id: string) => [...worlds].filter(([, { disk }]) => disk.has(id)).map(([name]) => name);
  return {
    ...{ worlds, loops, loop, appear, ready, holders, alive },
    [Symbol.asyncDispose]: () => closing.disposeAsync(),
  };
}

const make = (store: Store, name: string) => createProject(store, name, { database: 'app', role: 'app' });

describe('branches on several nodes', () => {
  it('who is asleep is found at its door, which wakes it, also when nobody decides', async () => {
    const store = testStore();
    await using c = await cluster(store, ['one']);
    await make(store, 'shop');
    const main = await c.ready('shop', 'main');
    await callBranch(store, main.name, { wanted: 'asleep' });
    const signal = AbortSignal.timeout(60_000);
    const asleep = await untilAsleep(store, main.name, signal);
    const { running } = c.worlds.get('one')!;
    assert.equal(running.has(main.name), false);
    const door = { ...stateOf('one').door, branch: main.name };
    assert.deepEqual(asleep.status?.open?.endpoint, door);
    assert.deepEqual(await c.loop.awake(main.name, signal), door);
    assert.equal(running.has(main.name), false, 'who only leads to the door wakes nobody');
    await rotatePassword(store, main.name, { keepSessions: false });
    assert.deepEqual(await c.loop.awake(main.name, signal), door);
    await c.loop.close();
    const endpoint = await c.loops.get('one')!.awake(main.name, signal);
    assert.deepEqual(endpoint, { socket: running.get(main.name)?.socket });
    await c.ready('shop', 'main');
  });

  it('a project and all that grows in it are on one node, which says by its door where', async () => {
    const store = testStore();
    await using c = await cluster(store);
    for (const project of ['shop', 'wiki']) {
      await make(store, project);
      await c.ready(project, 'main');
      await createBranch(store, { project, name: 'fix', parent: 'main' });
      const fix = await c.ready(project, 'fix');
      const { node } = store.get('project', project)!.spec;
      assert.deepEqual(c.holders(fix.name), [node]);
      assert.deepEqual(c.holders(fix.spec.parent!), [node]);
      assert.deepEqual(fix.status!.open!.endpoint, { ...stateOf(node!).door, branch: fix.name });
    }
    // Two equal nodes share two projects.
    const nodes = ['shop', 'wiki'].map(name => store.get('project', name)!.spec.node);
    assert.deepEqual(nodes.sort(), ['one', 'two']);
  });

  it('who wants a branch that is being made is led to its node, and waits there, even for one it has not heard of', async () => {
    const store = testStore();
    await using c = await cluster(store, ['one']);
    const signal = AbortSignal.timeout(60_000);
    await make(store, 'shop');
    await c.ready('shop', 'main');
    const node = c.loops.get('one')!;
    await node.close(); // nobody makes it
    const fix = await createBranch(store, { project: 'shop', name: 'fix', parent: 'main' });
    const led = { ...stateOf('one').door, branch: fix.name };
    assert.deepEqual(await c.loop.awake(fix.name, signal), led);
    c.alive.clear();
    const waiting = c.loop.awake(fix.name, signal);
    await c.appear('one');
    await c.ready('shop', 'fix');
    assert.deepEqual(await waiting, led); // as its status says
    // News of a branch may come to its node after a login that was sent there.
    const again = c.loops.get('one')!;
    const late = again.awake('br-late', signal);
    const { spec, secret } = store.get('branch', fix.name)!;
    await store.create('branch', 'br-late', { spec: { ...spec, name: 'late' }, secret, status: null });
    assert.deepEqual(await late, { socket: c.worlds.get('one')!.running.get('br-late')?.socket });
    const other = loopOn(store, memoryWorld(), {
      door: stateOf('two').door,
      programs: undefined,
      unheardMs: 1,
    });
    await assert.rejects(other.awake('br-none', signal), { code: 'gateway/branch-unknown' });
    await other.close();
  });

  it('a project waits for a node, says so, and has one as soon as there is', async () => {
    const store = testStore();
    await using c = await cluster(store, []);
    await make(store, 'shop');
    const waiting = await until(
      () => {
        const main = findBranch(store, 'shop', 'main');
        return main?.status?.reason === 'NoBranchNode' ? main : undefined;
      },
      { what: 'it says why it waits', deadlineMs: 20_000 },
    );
    assert.equal(waiting.status!.state, 'creating');
    await c.appear('one');
    await c.ready('shop', 'main');
  });

  it('a project that no node was told of goes without one', async () => {
    const store = testStore();
    await using c = await cluster(store, []);
    await make(store, 'shop');
    await deleteProject(store, storeBaseline(store), 'shop');
    await until(() => store.get('project', 'shop') === undefined || undefined, {
      ...{ what: 'it is gone', deadlineMs: 20_000 },
    });
    assert.deepEqual(store.list('branch'), []);
    assert.deepEqual([...c.worlds], []);
  });

  it('it stays on its node through the trash and back, wherever there is more room', async () => {
    const store = testStore();
    await using c = await cluster(store, ['one']);
    await make(store, 'shop');
    const main = await c.ready('shop', 'main');
    c.worlds.get('one')!.disk.get(main.name)!.cluster!.words.add('kept');
    await c.appear('two', stateOf('two', 150));
    await trashProject(store, storeBaseline(store), 'shop', 86_400_000, new Date());
    await until(() => store.get('branch', main.name)?.status?.state === 'trashed' || undefined, {
      ...{ what: 'it rests', deadlineMs: 20_000 },
    });
    await restore(store, findInTrash(store, 'shop'));
    const back = await c.ready('shop', 'main');
    assert.equal(back.name, main.name);
    assert.deepEqual(c.holders(main.name), ['one']);
    assert.ok(c.worlds.get('one')!.disk.get(main.name)!.cluster!.words.has('kept'));
    assert.equal(c.worlds.get('two')!.disk.size, 0);
  });

  it('a node that comes again takes up its own and nothing else', async () => {
    const store = testStore();
    await using c = await cluster(store);
    await make(store, 'shop');
    await make(store, 'wiki');
    const [shop, wiki] = [await c.ready('shop', 'main'), await c.ready('wiki', 'main')];
    const { node } = store.get('project', 'shop')!.spec;
    // Its pod was replaced: volumes are there, servers are not.
    c.worlds.get(node!)!.running.clear();
    await c.appear(node!);
    await until(() => c.worlds.get(node!)!.running.has(shop.name) || undefined, {
      ...{ what: 'its server runs again', deadlineMs: 20_000 },
    });
    await c.ready('shop', 'main');
    assert.ok(!c.worlds.get(node!)!.running.has(wiki.name));
  });

  it('a node that comes again with an empty disk says that the data are lost, and makes no others', async () => {
    const store = testStore();
    await using c = await cluster(store, ['one']);
    await make(store, 'shop');
    const main = await c.ready('shop', 'main');
    const { disk, running } = c.worlds.get('one')!;
    running.clear();
    const volume = disk.get(main.name)!;
    disk.clear();
    await c.appear('one');
    const isLost = () => store.get('branch', main.name)?.status?.reason === 'BranchVolumeLost' || undefined;
    await until(isLost, { what: 'it says so', deadlineMs: 20_000 });
    assert.equal(disk.size, 0);
    // The right disk is there again.
    disk.set(main.name, volume);
    await c.ready('shop', 'main');
    disk.clear();
    running.clear();
    await deleteProject(store, storeBaseline(store), 'shop');
    await until(() => store.get('project', 'shop') === undefined || undefined, {
      ...{ what: 'it can be deleted all the same', deadlineMs: 20_000 },
    });
  });

  it('where room is short, what the trash holds there is given up', async () => {
    const store = testStore();
    await using c = await cluster(store);
    const ids: Record<string, string> = {};
    for (const project of ['shop', 'wiki']) {
      await make(store, project);
      await c.ready(project, 'main');
      await createBranch(store, { project, name: 'old', parent: 'main' });
      const old = await c.ready(project, 'old');
      await trashBranch(store, old, 86_400_000, new Date());
      ids[store.get('project', project)!.spec.node!] = old.name;
    }
    giverUp(store, silentLog, 'two')();
    await until(() => store.get('branch', ids.two!) === undefined || undefined, {
      ...{ what: 'it is given up', deadlineMs: 20_000 },
    });
    assert.notEqual(store.get('branch', ids.one!)?.spec.trashed, undefined);
  });
});

test('what a node last said of its branches is doubted while it is not heard of, and not any more when it is', async () => {
  const store = testStore();
  await using c = await cluster(store, ['one']);
  await make(store, 'shop');
  const main = await c.ready('shop', 'main');
  const told = new Listeners<void>();
  const watching = watchSilentNodes({
    ...{ store, now: () => new Date(), log: silentLog, patienceMs: 10, everyMs: 5 },
    placement: { alive: () => [...c.alive.values()], onChange: told.add },
  });
  const heard = () =>
    store.get('branch', main.name)!.status!.conditions.find(one => one.type === 'NodeHeard');
  const one = c.alive.get('one')!;
  try {
    c.alive.clear();
    const said = await until(heard, { what: 'it is said', deadlineMs: 60_000 });
    assert.deepEqual([said.status, said.reason], ['False', 'NodeSilent']);
    const [event] = await until(
      async () => {
        const all = await store.events({ name: 'shop', limit: 9 });
        const found = all.filter(({ reason }) => reason === 'NodeSilent');
        return found.length > 0 ? found : undefined;
      },
      { what: 'it is an event', deadlineMs: 60_000 },
    );
    assert.match(event!.message, /the branch node one has not been heard of/);
    assert.equal(store.get('branch', main.name)!.status!.state, 'ready', 'what it last said');
    c.alive.set('one', one);
    await until(() => heard() === undefined || undefined, { what: 'it is heard', deadlineMs: 60_000 });
  } finally {
    await watching.stop();
  }
});

describe('the choice of a node', () => {
  const none = () => 0;
  test('the one where each branch finds most room', () => {
    const nodes = [stateOf('a', 50), stateOf('b', 60)];
    assert.equal(chooseNode(nodes, none), 'b');
    assert.equal(
      chooseNode(nodes, node => (node === 'b' ? 1 : 0)),
      'a',
    );
  });

  test('not one whose room is low, unless all are', () => {
    const full = stateOf('a', 2);
    assert.equal(
      chooseNode([full, stateOf('b', 60)], node => (node === 'b' ? 1_000 : 0)),
      'b',
    );
    assert.equal(chooseNode([full], none), 'a');
    assert.equal(chooseNode([], none), undefined);
  });

  test('of equal ones always the same', () => {
    assert.equal(chooseNode([stateOf('b'), stateOf('a')], none), 'a');
  });
});
