import assert from 'node:assert/strict';
import { describe } from 'node:test';
import {
  createBranch,
  createProject,
  deleteBranch,
  findBranch,
  protectBranch,
} from '../../src/rules/branches.ts';
import { isResetPending, resetBefore, resetBranch, toSeeBefore } from '../../src/rules/reset.ts';
import { trashBranch } from '../../src/rules/trash.ts';
import { testClock } from '../support/documents.ts';
import { it, testStore } from '../support/stores.ts';

async function resetStore() {
  const clock = testClock();
  const store = testStore({ now: clock.now });
  await createProject(store, 'p', { database: 'app', role: 'app' });
  const find = (name: string) => findBranch(store, 'p', name)!;
  return {
    store,
    clock,
    find,
    grow: (name: string, parent = 'main') => createBranch(store, { project: 'p', name, parent }),
    reset: (name: string, to?: string, force?: boolean) =>
      resetBranch(
        store,
        find(name),
        { ...(to !== undefined && { to }), ...(force !== undefined && { force }) },
        clock.now(),
      ),
    [Symbol.asyncDispose]: () => store.close(),
  };
}

describe('a reset', () => {
  it('begins with the parent, or with any ancestor by name or id, and counts', async () => {
    await using t = await resetStore();
    await t.grow('a');
    await t.grow('b', 'a');
    const main = t.find('main');
    assert.deepEqual((await t.reset('b')).spec.reset, {
      count: 1,
      from: t.find('a').name,
      at: '2030-01-01T00:00:00.000Z',
    });
    assert.ok(isResetPending(t.find('b')));
    assert.equal((await t.reset('b', 'main')).spec.reset?.from, main.name);
    const { spec, secret } = await t.reset('b', main.name);
    assert.deepEqual([spec.reset?.count, spec.parent], [3, t.find('a').name]);
    assert.equal(secret.password, t.find('b').secret.password);
  });

  it('is refused for the root, to what is no ancestor, and for what is protected or gone', async () => {
    await using t = await resetStore();
    const a = await t.grow('a');
    await t.grow('b', 'a');
    await assert.rejects(t.reset('main'), { code: 'branch/reset-root' });
    await assert.rejects(t.reset('b', 'b'), {
      code: 'branch/not-ancestor',
      message: 'branch "b" does not grow from "b"',
      hint: 'it can be reset to a, main',
    });
    await protectBranch(t.store, t.find('b'), true);
    await assert.rejects(t.reset('b'), { code: 'branch/protected' });
    await protectBranch(t.store, t.find('b'), false);
    const b = t.find('b');
    await trashBranch(t.store, b, 1000, t.clock.now());
    await assert.rejects(resetBranch(t.store, b, {}, t.clock.now()), { code: 'api/not-found' });
    await t.reset('a'); // what is in the trash does not count
    assert.equal(t.store.get('branch', a.name)?.spec.reset?.count, 1);
  });

  it('is refused with children, unless told', async () => {
    await using t = await resetStore();
    await t.grow('a');
    await t.grow('b', 'a');
    await assert.rejects(t.reset('a'), {
      code: 'branch/has-children',
      hint: 'repeat with --force: they keep what they hold, and stay its children',
    });
    await t.reset('a', undefined, true);
    await deleteBranch(t.store, t.find('b'));
    await t.reset('a');
    assert.equal(t.find('a').spec.reset?.count, 2);
  });

  it('comes after the copies that were asked for before, and before those that were asked for later', async () => {
    await using t = await resetStore();
    await t.grow('a');
    await t.grow('before', 'a');
    await t.reset('a', undefined, true);
    t.clock.forward(2);
    await t.grow('after', 'a');
    const names = (name: string) => toSeeBefore(t.store, t.find(name)).map(b => b.spec.name);
    assert.deepEqual(names('a'), ['before']);
    assert.equal(resetBefore(t.store, t.find('before')), undefined);
    assert.equal(resetBefore(t.store, t.find('after'))?.spec.name, 'a');
    // A reset is a copy, too.
    await t.reset('before');
    assert.deepEqual(names('a'), []);
    assert.equal(resetBefore(t.store, t.find('before'))?.spec.name, 'a');
  });
});
