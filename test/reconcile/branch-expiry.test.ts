/** The end of a branch's time in the loop: what is said before, what keeps it, and where it goes. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { createBranch, deleteBranch, protectBranch } from '../../src/rules/branches.ts';
import { ttlBranch } from '../../src/rules/expiry.ts';
import type { Stored } from '../../src/store/contract.ts';
import { defaultProject, testClock } from '../support/documents.ts';
import { loopOn } from '../support/loop.ts';
import { memoryWorld } from '../support/memory-drivers.ts';
import { itEverywhere, testStore } from '../support/stores.ts';
import { whenObject } from '../support/when.ts';

async function expiring() {
  const world = memoryWorld();
  const clock = testClock();
  const store = testStore({ now: clock.now });
  const main = await defaultProject(store);
  const loop = loopOn(store, world, { now: clock.now });
  await loop.start();
  const signal = AbortSignal.timeout(60_000);
  const when = <T>({ name }: Stored<'branch'>, probe: (b: Stored<'branch'> | undefined) => T | undefined) =>
    whenObject(store, 'branch', name, probe, signal);
  const expiry = (b: Stored<'branch'> | undefined) => b?.status?.conditions.find(c => c.type === 'Expires');
  return {
    ...{ world, clock, store, main, when, expiry },
    async grown(name: string, parent = 'main') {
      const branch = await createBranch(store, { project: 'default', name, parent });
      await when(branch, b => b?.status?.state === 'ready' || undefined);
      return branch;
    },
    /** The clock goes on, and the branch is looked at, as its timer would have it. */
    after(ms: number, { name }: Stored<'branch'>) {
      clock.forward(ms);
      loop.look('branch', name);
    },
    events: async ({ name }: Stored<'branch'>) =>
      (await store.events({ kind: 'branch', name, limit: 100 })).map(e => e.reason),
    async [Symbol.asyncDispose]() {
      await loop.close();
      await store.close();
    },
  };
}

const minute = 60_000;

describe('a branch whose time comes to its end', () => {
  itEverywhere('says so ten minutes before, and goes into the trash', async () => {
    await using e = await expiring();
    const fix = await e.grown('fix');
    await ttlBranch(e.store, fix, '1h', e.clock.now());
    e.after(50 * minute, fix);
    const soon = await e.when(fix, b => e.expiry(b));
    assert.deepEqual([soon.status, soon.reason], ['True', 'ExpiresSoon']);
    assert.match(soon.message, /2030-01-01T01:00:00.000Z; "offshoot branch ttl fix 2h" gives it more/);
    e.after(1, fix);
    e.after(10 * minute, fix);
    await e.when(fix, b => b?.status?.state === 'trashed' || undefined);
    assert.equal(e.world.running.has(fix.name), false);
    assert.ok(e.world.disk.has(fix.name));
    const said = (await e.events(fix)).filter(reason => reason.startsWith('Expire'));
    assert.deepEqual(said.toSorted(), ['Expired', 'ExpiresSoon']);
  });

  itEverywhere('says nothing more when it gets more time', async () => {
    await using e = await expiring();
    const fix = await e.grown('fix');
    await ttlBranch(e.store, fix, '5m', e.clock.now());
    await e.when(fix, b => e.expiry(b));
    await ttlBranch(e.store, fix, '2h', e.clock.now());
    await e.when(fix, b => e.expiry(b) === undefined || undefined);
  });

  itEverywhere(
    'stays while something grows from it or it is protected, says why, and goes then',
    async () => {
      await using e = await expiring();
      const fix = await e.grown('fix');
      const child = await e.grown('child', 'fix');
      await ttlBranch(e.store, fix, '1h', e.clock.now());
      e.after(60 * minute, fix);
      const kept = await e.when(fix, b => e.expiry(b));
      assert.deepEqual([kept.status, kept.reason], ['False', 'BranchHasChildren']);
      assert.equal(kept.message, 'its time is over, but branch "fix" has children: child');
      assert.equal(e.store.get('branch', fix.name)?.status?.state, 'ready');
      assert.ok((await e.events(fix)).includes('ExpiryBlocked'));
      await protectBranch(e.store, fix, true);
      await deleteBranch(e.store, child);
      await e.when(fix, b => e.expiry(b)?.reason === 'BranchProtected' || undefined);
      await protectBranch(e.store, fix, false);
      await e.when(fix, b => b?.status?.state === 'trashed' || undefined);
    },
  );
});
