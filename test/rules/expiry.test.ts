import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { createBranch, createProject, findBranch, protectBranch } from '../../src/rules/branches.ts';
import { expireBranch, expiryProblem, timeAfter, ttlBranch } from '../../src/rules/expiry.ts';
import { findInTrash, restore } from '../../src/rules/trash.ts';
import { applied, testClock } from '../support/documents.ts';
import { it, testStore } from '../support/stores.ts';

const day = 86_400_000;
const start = new Date('2030-01-01T00:00:00.000Z');

async function expiryStore() {
  const clock = testClock();
  const store = testStore({ now: clock.now });
  await createProject(store, 'p', { database: 'app', role: 'app' });
  const find = (name: string) => findBranch(store, 'p', name);
  return {
    store,
    clock,
    find,
    grow: (name: string, parent = 'main', ttl?: string) =>
      createBranch(store, {
        ...{ project: 'p', name, parent },
        ...(ttl !== undefined && { scheduledDeleteTime: timeAfter(ttl, clock.now()) }),
      }),
    ttl: (name: string, ttl: string | undefined) => ttlBranch(store, find(name)!, ttl, clock.now()),
    expire: (id: string, keepMs = day) => expireBranch(store, id, keepMs, clock.now()),
    [Symbol.asyncDispose]: () => store.close(),
  };
}

describe('the time to live of a branch', () => {
  it('is said as for sandboxes', () => {
    assert.equal(timeAfter('2h', start), '2030-01-01T02:00:00.000Z');
    assert.equal(timeAfter('3d', start), '2030-01-04T00:00:00.000Z');
    assert.equal(timeAfter('9999999999w', start), '+275760-09-13T00:00:00.000Z');
    for (const ttl of ['', '2', '2s', '1h30m', '-1h', '0h', '99999999999h'])
      assert.throws(() => timeAfter(ttl, start), { code: 'branch/bad-ttl' }, ttl);
    return Promise.resolve();
  });

  it('ends in the trash, not before it is over, and can be had back for good', async () => {
    await using t = await expiryStore();
    const { name } = await t.grow('fix', 'main', '2h');
    t.clock.forward(7_199_999);
    assert.equal(await t.expire(name), false);
    t.clock.forward(1);
    assert.equal(await t.expire(name), true);
    assert.equal(t.find('fix'), undefined);
    assert.equal(await t.expire(name), false);
    await restore(t.store, findInTrash(t.store, 'fix'));
    assert.equal(t.find('fix')?.spec.scheduledDeleteTime, undefined);
  });

  it('ends for good where there is no trash', async () => {
    await using t = await expiryStore();
    const { name } = await t.grow('fix', 'main', '2h');
    t.clock.forward(7_200_000);
    await t.expire(name, 0);
    assert.ok(t.store.get('branch', name)?.deletedAt);
  });

  it('is counted anew when somebody gives it more, and ends never when they take it away', async () => {
    await using t = await expiryStore();
    const { name } = await t.grow('fix', 'main', '1h');
    t.clock.forward(3_600_000);
    await t.ttl('fix', '1h');
    assert.equal(t.find('fix')?.spec.scheduledDeleteTime, '2030-01-01T02:00:00.000Z');
    assert.equal(await t.expire(name), false);
    await t.ttl('fix', undefined);
    t.clock.forward(100 * day);
    assert.equal(await t.expire(name), false);
  });

  it('does not end while it is protected, or something grows from it', async () => {
    await using t = await expiryStore();
    const { name } = await t.grow('fix', 'main', '1h');
    await t.grow('child', 'fix', '2h');
    t.clock.forward(3_600_000);
    assert.equal(expiryProblem(t.store, t.find('fix')!)?.code, 'branch/has-children');
    assert.equal(await t.expire(name), false);
    t.clock.forward(3_600_000);
    await t.expire(t.find('child')!.name);
    await protectBranch(t.store, t.find('fix')!, true);
    assert.equal(expiryProblem(t.store, t.find('fix')!)?.code, 'branch/protected');
    assert.equal(await t.expire(name), false);
    await protectBranch(t.store, t.find('fix')!, false);
    assert.equal(await t.expire(name), true);
  });

  it("is not for the root, nor for a sandbox's", async () => {
    await using t = await expiryStore();
    await applied(t.store, 's');
    await createBranch(t.store, { project: 'p', name: 'mine', parent: 'main', owner: 'sandbox/s' });
    for (const name of ['main', 'mine']) await assert.rejects(t.ttl(name, '1h'), { code: 'branch/bad-ttl' });
    await t.ttl('main', undefined);
  });
});
