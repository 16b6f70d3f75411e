import assert from 'node:assert/strict';
import { describe } from 'node:test';
import type { BranchState } from '../../src/model/branch.ts';
import { type ActionCall, type ActionEnd, branchActions } from '../../src/reconcile/branch-action.ts';
import { branchesOf, createBranch, deleteBranch, findBranch } from '../../src/rules/branches.ts';
import { applied, defaultProject } from '../support/documents.ts';
import { itEverywhere as it, testStore } from '../support/stores.ts';

/** The actions on project `default`; what the branch reconciler would do is done by the test. */
async function testActions() {
  const store = testStore();
  const main = await defaultProject(store);
  for (const sandbox of ['pr-1', 'pr-2']) await applied(store, sandbox);
  const trash = { keepMs: 86_400_000, now: () => new Date() };
  const actions = branchActions({ store, gateway: () => ({ host: '127.0.0.1', port: 7432 }), trash });
  const call = (inputs: ActionCall['inputs'] = {}, more: Partial<ActionCall> = {}): ActionCall => ({
    sandbox: 'pr-1',
    resource: { name: 'db', first: true },
    inputs,
    ...more,
  });
  const find = (name: string) => findBranch(store, 'default', name);
  const become = async (name: string, state: BranchState, message = '') => {
    const status = { state, reason: 'R', message, conditions: [], observedGeneration: 1 };
    await store.modify('branch', find(name)!.name, () => ({ status }));
  };
  return {
    store,
    main,
    call,
    find,
    become,
    create: actions['branch/create'],
    delete: actions['branch/delete'],
    names: () => branchesOf(store, 'default').map(b => b.spec.name),
    /** A branch as sandbox `pr-1` makes it. */
    own: () => createBranch(store, { project: 'default', name: 'sb-pr-1', parent: 'main', owner: asOwner }),
    [Symbol.asyncDispose]: () => store.close(),
  };
}

const asOwner = 'sandbox/pr-1';

const outputsOf = (end: ActionEnd): Readonly<Record<string, string>> => {
  assert.ok('outputs' in end, 'it waits still');
  return end.outputs;
};

describe('branch/create', () => {
  it('makes a branch that the sandbox owns, waits for it, and says how to reach it', async () => {
    await using a = await testActions();
    const waits = await a.create(a.call());
    const made = a.find('sb-pr-1')!;
    assert.deepEqual(waits, { until: [`branch/${made.name}`] });
    assert.deepEqual([made.spec.parent, made.spec.owner], [a.main.name, asOwner]);
    await a.become('sb-pr-1', 'creating');
    assert.deepEqual(await a.create(a.call()), waits);
    await a.become('sb-pr-1', 'ready');
    const { password } = made.secret;
    assert.deepEqual(outputsOf(await a.create(a.call())), {
      'connection-string': `postgresql://app.${made.name}:${password}@127.0.0.1:7432/app`,
      'branch-name': 'sb-pr-1',
      'branch-id': made.name,
      host: '127.0.0.1',
      port: '7432',
      user: `app.${made.name}`,
      password,
      database: 'app',
    });
    assert.deepEqual(a.names(), ['main', 'sb-pr-1'], 'however often it is called, it makes one');
  });

  it('takes names from its inputs, an empty one as none, and tells several resources apart', async () => {
    await using a = await testActions();
    await createBranch(a.store, { project: 'default', name: 'staging', parent: 'main' });
    await a.create(a.call({ 'parent-branch': 'staging', 'branch-name': 'mine', project: 'default' }));
    await a.create(a.call({ 'parent-branch': '', 'branch-name': '', project: '' }));
    await a.create(a.call({}, { resource: { name: 'second', first: false } }));
    assert.deepEqual(a.names(), ['main', 'staging', 'mine', 'sb-pr-1', 'sb-pr-1-second']);
    assert.equal(a.find('mine')?.spec.parent, a.find('staging')?.name);
    assert.equal(a.find('sb-pr-1')?.spec.parent, a.main.name);
  });

  it('takes up a branch that it made before a crash', async () => {
    await using a = await testActions();
    const before = await a.own();
    await a.become('sb-pr-1', 'ready');
    assert.equal(outputsOf(await a.create(a.call()))['branch-id'], before.name);
  });

  it('waits for an old one of its own that is just going', async () => {
    await using a = await testActions();
    const old = await a.own();
    await deleteBranch(a.store, old, { asOwner });
    assert.deepEqual(await a.create(a.call()), { until: [`branch/${old.name}`] });
    await a.store.remove('branch', old.name);
    await a.create(a.call());
    await a.become('sb-pr-1', 'ready');
    assert.notEqual(outputsOf(await a.create(a.call()))['branch-id'], old.name);
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

  it('says why a branch failed', async () => {
    await using a = await testActions();
    await a.create(a.call());
    await a.become('sb-pr-1', 'failed', 'the disk is full');
    await assert.rejects(a.create(a.call()), {
      code: 'branch/failed',
      message: 'branch "sb-pr-1" could not be made ready: the disk is full',
    });
  });
});

describe('branch/delete', () => {
  it('deletes the branch of the sandbox and waits until it is gone; absent is success', async () => {
    await using a = await testActions();
    assert.deepEqual(await a.delete(a.call()), { outputs: {} });
    const mine = await a.own();
    assert.deepEqual(await a.delete(a.call()), { until: [`branch/${mine.name}`] });
    assert.notEqual(a.find('sb-pr-1')?.deletedAt, undefined);
    await a.store.remove('branch', mine.name);
    assert.deepEqual(await a.delete(a.call()), { outputs: {} });
    assert.deepEqual(a.names(), ['main']);
  });

  it('says what keeps the branch from going', async () => {
    await using a = await testActions();
    const mine = await a.own();
    await a.delete(a.call());
    await a.become('sb-pr-1', 'deleting', 'the disk is busy');
    const waits = await a.delete(a.call());
    assert.ok('until' in waits);
    assert.deepEqual(waits.until, [`branch/${mine.name}`]);
    assert.equal(waits.why?.code, 'branch/delete-failed');
    assert.equal(waits.why?.message, 'branch "sb-pr-1" could not be removed: the disk is busy');
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

  it('does not take a branch from what grows of it, and waits for that', async () => {
    await using a = await testActions();
    const mine = await a.own();
    const child = await createBranch(a.store, { project: 'default', name: 'child', parent: 'sb-pr-1' });
    const waits = await a.delete(a.call());
    assert.ok('until' in waits);
    assert.deepEqual(waits.until, [`children/${mine.name}`, `branch/${mine.name}`]);
    assert.equal(waits.why?.code, 'branch/has-children');
    assert.equal(a.find('sb-pr-1')?.deletedAt, undefined);
    await a.store.remove('branch', child.name);
    assert.deepEqual(await a.delete(a.call()), { until: [`branch/${mine.name}`] });
  });

  it('puts one that is kept afterwards into the trash, or out of the way of others while something grows from it', async () => {
    await using a = await testActions();
    await assert.rejects(a.create(a.call({ afterwards: 'burn' })), { code: 'branch/bad-afterwards' });
    for (const child of [undefined, 'child']) {
      await a.create(a.call({ afterwards: 'trash' }));
      const mine = a.find('sb-pr-1')!;
      const status = {
        state: 'ready',
        reason: 'R',
        message: '',
        conditions: [],
        observedGeneration: 1,
      } as const;
      await a.store.modify('branch', mine.name, () => ({ status: { ...status, made: true } }));
      if (child) await createBranch(a.store, { project: 'default', name: child, parent: 'sb-pr-1' });
      assert.deepEqual(await a.delete(a.call()), { outputs: {} });
      const { spec, deletedAt } = a.store.get('branch', mine.name)!;
      assert.deepEqual([spec.owner, spec.afterOwner, deletedAt], [undefined, undefined, undefined]);
      assert.equal(spec.trashed !== undefined, child === undefined);
      assert.equal(spec.scheduledDeleteTime !== undefined, child !== undefined);
      assert.equal(a.find('sb-pr-1'), undefined, 'its name is free');
    }
    // Nothing was ever in it.
    await a.create(a.call({ afterwards: 'trash' }));
    const { name } = a.find('sb-pr-1')!;
    await a.delete(a.call());
    assert.ok(a.store.get('branch', name)?.deletedAt);
  });
});
