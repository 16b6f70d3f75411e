import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { until } from '../../src/lib/wait.ts';
import type { BranchState } from '../../src/model/branch.ts';
import { type ActionCall, branchActions } from '../../src/reconcile/branch-action.ts';
import { branchesOf, createBranch, deleteBranch, findBranch } from '../../src/rules/branches.ts';
import { memoryStore } from '../../src/store/memory.ts';
import { applied, defaultProject } from '../support/documents.ts';

/** The actions on project `default`; what the branch reconciler would do is done by the test. */
async function testActions() {
  const store = memoryStore();
  const main = await defaultProject(store);
  for (const sandbox of ['pr-1', 'pr-2']) await applied(store, sandbox);
  const actions = branchActions({ store, gateway: () => ({ host: '127.0.0.1', port: 7432 }) });
  const abort = new AbortController();
  const call = (inputs: ActionCall['inputs'] = {}, more: Partial<ActionCall> = {}): ActionCall => ({
    sandbox: 'pr-1',
    resource: { name: 'db', first: true },
    inputs,
    signal: abort.signal,
    ...more,
  });
  const appear = (name: string) =>
    until(() => findBranch(store, 'default', name), { what: `branch ${name}`, deadlineMs: 5_000 });
  const become = async (name: string, state: BranchState, message = '') => {
    const status = { state, reason: 'R', message, conditions: [], observedGeneration: 1 };
    await store.modify('branch', (await appear(name)).name, () => ({ status }));
  };
  return {
    store,
    main,
    abort,
    call,
    appear,
    become,
    create: actions['branch/create'],
    delete: actions['branch/delete'],
    find: (name: string) => findBranch(store, 'default', name),
    names: () => branchesOf(store, 'default').map(b => b.spec.name),
    [Symbol.asyncDispose]: () => store.close(),
  };
}

const asOwner = 'sandbox/pr-1';

describe('branch/create', () => {
  it('makes a branch that the sandbox owns, waits for it, and says how to reach it', async () => {
    await using a = await testActions();
    const creating = a.create(a.call());
    const made = await a.appear('sb-pr-1');
    assert.deepEqual([made.spec.parent, made.spec.owner], [a.main.name, asOwner]);
    await a.become('sb-pr-1', 'creating');
    await a.become('sb-pr-1', 'ready');
    const { password } = made.secret;
    assert.deepEqual(await creating, {
      'connection-string': `postgresql://app.${made.name}:${password}@127.0.0.1:7432/app`,
      'branch-name': 'sb-pr-1',
      'branch-id': made.name,
      host: '127.0.0.1',
      port: '7432',
      user: `app.${made.name}`,
      password,
      database: 'app',
    });
  });

  it('takes names from its inputs, an empty one as none, and tells several resources apart', async () => {
    await using a = await testActions();
    await createBranch(a.store, { project: 'default', name: 'staging', parent: 'main' });
    const wishes = [
      a.call({ 'parent-branch': 'staging', 'branch-name': 'mine', project: 'default' }),
      a.call({ 'parent-branch': '', 'branch-name': '', project: '' }),
      a.call({}, { resource: { name: 'second', first: false } }),
    ];
    const creating = wishes.map(wish => a.create(wish));
    for (const name of ['mine', 'sb-pr-1', 'sb-pr-1-second']) await a.become(name, 'ready');
    await Promise.all(creating);
    assert.equal(a.find('mine')?.spec.parent, a.find('staging')?.name);
    assert.equal(a.find('sb-pr-1')?.spec.parent, a.main.name);
  });

  it('takes up a branch that it made before a crash', async () => {
    await using a = await testActions();
    const before = await createBranch(a.store, {
      project: 'default',
      name: 'sb-pr-1',
      parent: 'main',
      owner: asOwner,
    });
    const creating = a.create(a.call());
    await a.become('sb-pr-1', 'ready');
    assert.equal((await creating)['branch-id'], before.name);
  });

  it('waits for an old one of its own that is just going', async () => {
    await using a = await testActions();
    const old = await createBranch(a.store, {
      project: 'default',
      name: 'sb-pr-1',
      parent: 'main',
      owner: asOwner,
    });
    await deleteBranch(a.store, old, { asOwner });
    const creating = a.create(a.call());
    await new Promise(setImmediate);
    await a.store.remove('branch', old.name);
    await a.become('sb-pr-1', 'ready');
    assert.notEqual((await creating)['branch-id'], old.name);
  });

  it('never takes a branch of somebody else', async () => {
    await using a = await testActions();
    await createBranch(a.store, { project: 'default', name: 'sb-pr-1', parent: 'main' });
    await assert.rejects(a.create(a.call()), { code: 'branch/exists' });
    await assert.rejects(a.create(a.call({ 'branch-name': 'main' })), { code: 'branch/exists' });
    await assert.rejects(a.create(a.call({ 'branch-name': 'x', 'parent-branch': 'no' })), {
      code: 'branch/parent-missing',
    });
  });

  it('says why a branch failed, and that it has gone', async () => {
    await using a = await testActions();
    const failing = a.create(a.call());
    await a.become('sb-pr-1', 'failed', 'the disk is full');
    await assert.rejects(failing, {
      code: 'branch/failed',
      message: 'branch "sb-pr-1" could not be made ready: the disk is full',
    });
    await a.become('sb-pr-1', 'creating');
    const lost = a.create(a.call());
    await new Promise(setImmediate);
    await a.store.remove('branch', a.find('sb-pr-1')!.name);
    await assert.rejects(lost, { code: 'api/not-found' });
  });

  it('stops waiting when it is told to; the branch stays, for its owner to take up or delete', async () => {
    await using a = await testActions();
    const creating = a.create(a.call());
    await a.appear('sb-pr-1');
    const stop = new Error('stop');
    a.abort.abort(stop);
    await assert.rejects(creating, error => error === stop);
    assert.equal(a.find('sb-pr-1')?.spec.owner, asOwner);
  });
});

describe('branch/delete', () => {
  it('deletes the branch of the sandbox and waits until it is gone; absent is success', async () => {
    await using a = await testActions();
    assert.deepEqual(await a.delete(a.call()), {});
    const mine = await createBranch(a.store, {
      project: 'default',
      name: 'sb-pr-1',
      parent: 'main',
      owner: asOwner,
    });
    let gone = false;
    const deleting = a.delete(a.call()).then(() => {
      gone = true;
    });
    await until(() => a.find('sb-pr-1')?.deletedAt, { what: 'its delete', deadlineMs: 5_000 });
    assert.equal(gone, false);
    await a.store.remove('branch', mine.name);
    await deleting;
    assert.deepEqual(a.names(), ['main']);
  });

  it('leaves alone what is not of the sandbox, whoever it belongs to', async () => {
    await using a = await testActions();
    await createBranch(a.store, { project: 'default', name: 'sb-pr-1', parent: 'main' });
    await createBranch(a.store, {
      project: 'default',
      name: 'theirs',
      parent: 'main',
      owner: 'sandbox/pr-2',
    });
    for (const name of ['sb-pr-1', 'theirs', 'main']) await a.delete(a.call({ 'branch-name': name }));
    assert.deepEqual(
      branchesOf(a.store, 'default').filter(b => b.deletedAt !== undefined),
      [],
    );
  });

  it('does not take a branch from what grows of it', async () => {
    await using a = await testActions();
    await createBranch(a.store, { project: 'default', name: 'sb-pr-1', parent: 'main', owner: asOwner });
    await createBranch(a.store, { project: 'default', name: 'child', parent: 'sb-pr-1' });
    await assert.rejects(a.delete(a.call()), { code: 'branch/has-children' });
    assert.equal(a.find('sb-pr-1')?.deletedAt, undefined);
  });
});
