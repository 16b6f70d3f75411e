/** Resets in the loop, on drivers in memory: what a branch holds then, what stays, and who sees what of it. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { OffshootError } from '../../src/model/errors.ts';
import { createBranch } from '../../src/rules/branches.ts';
import { resetBranch } from '../../src/rules/reset.ts';
import type { Stored } from '../../src/store/contract.ts';
import { defaultProject } from '../support/documents.ts';
import { loopOn } from '../support/loop.ts';
import { memoryWorld } from '../support/memory-drivers.ts';
import { verifierOpens } from '../support/scram.ts';
import { it, itEverywhere, testStore } from '../support/stores.ts';
import { whenObject } from '../support/when.ts';

async function resets() {
  const world = memoryWorld();
  const store = testStore();
  const main = await defaultProject(store);
  let loop = loopOn(store, world);
  await loop.start();
  const signal = AbortSignal.timeout(60_000);
  const when = <T>({ name }: Stored<'branch'>, probe: (b: Stored<'branch'> | undefined) => T | undefined) =>
    whenObject(store, 'branch', name, probe, signal);
  const ready = (branch: Stored<'branch'>, resets = 0) =>
    when(branch, b => (b?.status?.state === 'ready' && (b.status.resets ?? 0) === resets ? b : undefined));
  const words = ({ name }: Stored<'branch'>) => world.disk.get(name)!.cluster!.words;
  const ask = (name: string, parent = 'main') => createBranch(store, { project: 'default', name, parent });
  await ready(main);
  return {
    ...{ world, store, main, signal, when, ready, words, ask },
    reset: (branch: Stored<'branch'>, to?: string) =>
      resetBranch(store, branch, { force: true, ...(to !== undefined && { to }) }, new Date()),
    /** A ready branch that holds its name as a word. */
    async grown(name: string, parent = 'main') {
      const branch = await ask(name, parent);
      await ready(branch);
      words(branch).add(name);
      return branch;
    },
    /** The daemon dies and comes back; the world stays. */
    async revive() {
      await loop.close();
      loop = loopOn(store, world, { branches: world.reopen() });
      await loop.start();
    },
    awake: (branch: Stored<'branch'>) => loop.awake(branch.name, signal),
    async [Symbol.asyncDispose]() {
      await loop.close();
      await store.close();
    },
  };
}

describe('a branch that is reset', () => {
  itEverywhere('holds what its parent holds now, and stays what it is otherwise', async () => {
    await using r = await resets();
    const fix = await r.grown('fix');
    r.words(r.main).add('later');
    const { socket } = r.world.running.get(fix.name)!;
    await r.reset(fix);
    const done = await r.ready(fix, 1);
    assert.deepEqual([...r.words(fix)], ['later']);
    assert.notEqual(r.world.running.get(fix.name)!.socket, socket, 'sessions ended with the old server');
    assert.equal(done.secret.password, fix.secret.password);
    const verifier = r.world.disk.get(fix.name)!.cluster!.roles.get('app')!;
    assert.ok(verifierOpens(verifier, fix.secret.password));
    assert.deepEqual(await r.awake(fix), { socket: r.world.running.get(fix.name)!.socket });
    const events = await r.store.events({ kind: 'branch', name: fix.name, limit: 100 });
    assert.ok(
      events.some(
        e => e.reason === 'Reset' && e.message === 'branch fix has begun anew from what main holds',
      ),
    );
    assert.deepEqual([...r.world.disk.keys()].sort(), [r.main.name, fix.name].sort());
  });

  it('begins with any ancestor, and its child keeps what it has', async () => {
    await using r = await resets();
    const a = await r.grown('a');
    const b = await r.grown('b', 'a');
    const c = await r.grown('c', 'b');
    await r.reset(b, 'main');
    const done = await r.ready(b, 1);
    assert.deepEqual([...r.words(b)], []);
    assert.equal(done.spec.parent, a.name);
    assert.deepEqual([...r.words(c)], ['a', 'b', 'c']);
  });

  it('goes on where it was when the daemon dies in the middle, and keeps what it held until then', async () => {
    await using r = await resets();
    const fix = await r.grown('fix');
    const copying = r.world.trouble.hang(`volumes.ensure ${fix.name}`);
    await r.reset(fix);
    await copying.reached;
    assert.deepEqual([...r.words(fix)], ['fix']);
    const [revived] = await Promise.all([r.revive(), copying.reached]);
    assert.equal(revived, undefined);
    copying.release();
    await r.ready(fix, 1);
    assert.deepEqual([...r.words(fix)], []);
  });

  it('says why it is not done, and is when that is mended', async () => {
    await using r = await resets();
    const fix = await r.grown('fix');
    r.world.trouble.fail(
      `volumes.ensure ${fix.name}`,
      new OffshootError('volume/no-space', { id: fix.name }),
    );
    await r.reset(fix);
    const failed = await r.when(fix, b => (b?.status?.state === 'failed' ? b.status : undefined));
    assert.equal(failed.reason, 'VolumeNoSpace');
    await assert.rejects(r.awake(fix), { code: 'gateway/branch-not-ready' });
    assert.deepEqual([...r.words(fix)], ['fix']);
    r.world.trouble.mend(`volumes.ensure ${fix.name}`);
    await r.ready(fix, 1);
  });

  it('has a volume again, when that was lost', async () => {
    await using r = await resets();
    const fix = await r.grown('fix');
    r.world.disk.delete(fix.name);
    r.world.crash(fix.name);
    await r.when(fix, b => b?.status?.reason === 'BranchVolumeLost' || undefined);
    await r.reset(fix);
    await r.ready(fix, 1);
    assert.deepEqual([...r.words(fix)], []);
  });

  it('shows a child what was there when the child was asked for', async () => {
    await using r = await resets();
    const fix = await r.grown('fix');
    const hanging = r.world.trouble.hang('volumes.ensure');
    const before = await r.ask('before', 'fix');
    await hanging.reached;
    await r.reset(fix);
    const after = await r.ask('after', 'fix');
    await r.when(after, b => b?.status?.message.startsWith('waits until fix') || undefined);
    hanging.release();
    await Promise.all([r.ready(before), r.ready(fix, 1), r.ready(after)]);
    assert.deepEqual([...r.words(before)], ['fix']);
    assert.deepEqual([...r.words(after)], []);
  });

  it('does not wait for a child when it cannot run itself', async () => {
    await using r = await resets();
    const fix = await r.grown('fix');
    r.world.disk.get(fix.name)!.cluster!.broken = true;
    r.world.crash(fix.name);
    await r.when(fix, b => b?.status?.state === 'failed' || undefined);
    const child = await r.ask('child', 'fix');
    await r.reset(fix);
    await r.ready(fix, 1);
    await r.ready(child);
  });

  it('is reset after its parent when that was asked for first, and before it otherwise', async () => {
    await using r = await resets();
    const a = await r.grown('a');
    const b = await r.grown('b', 'a');
    const copying = r.world.trouble.hang(`volumes.ensure ${a.name}`);
    await r.reset(a);
    await copying.reached;
    // It is asked for when a is known to begin anew.
    await resetBranch(r.store, b, {}, new Date(Date.now() + 60_000));
    await r.when(b, found => found?.status?.message.startsWith('waits until a') || undefined);
    copying.release();
    await Promise.all([r.ready(a, 1), r.ready(b, 1)]);
    assert.deepEqual([...r.words(b)], []);
  });
});
