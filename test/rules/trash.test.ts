import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { storeBaseline } from '../../src/baseline/store-baseline.ts';
import type { Deployment } from '../../src/model/kubernetes.ts';
import {
  allBranchesOf,
  branchesOf,
  createBranch,
  createProject,
  deleteBranch,
  deleteProject,
  findBranch,
  listedProjects,
} from '../../src/rules/branches.ts';
import { finishTakeOver } from '../../src/rules/take-over.ts';
import {
  emptyEntry,
  emptyTrash,
  expire,
  findInTrash,
  giveUpOldest,
  nameOfEntry,
  restore,
  trashBranch,
  trashEntries,
  trashProject,
} from '../../src/rules/trash.ts';
import type { Store } from '../../src/store/contract.ts';
import { applied, configMap, deploy, deployment, fork } from '../support/documents.ts';
import { it, testStore } from '../support/stores.ts';

const spec = { database: 'shop', role: 'shop' };
const day = 86_400_000;
const start = Date.parse('2026-01-01T00:00:00Z');
const at = (ms: number) => new Date(start + ms);

/** Projects `p` and `q`. */
async function trashStore() {
  const store = testStore();
  await createProject(store, 'p', spec);
  await createProject(store, 'q', spec);
  const find = (name: string, project = 'p') => findBranch(store, project, name)!;
  return {
    store,
    find,
    grow: (name: string, parent = 'main', project = 'p') => createBranch(store, { project, name, parent }),
    /** Deletes a branch of `p`, `ms` after the start. */
    drop: (name: string, ms = 0) => trashBranch(store, find(name), day, at(ms)),
    /** What the trash holds, and what is to go for good. */
    held: () => trashEntries(store).map(nameOfEntry),
    going: () =>
      store
        .list('branch')
        .filter(b => b.deletedAt !== undefined)
        .map(b => b.spec.name),
    [Symbol.asyncDispose]: () => store.close(),
  };
}

const live = (store: Store, project = 'p') => branchesOf(store, project).map(b => b.spec.name);
const projects = (store: Store) => listedProjects(store).map(p => p.name);

describe('a branch that a person deletes', () => {
  it('is found by nobody, its name is free, and it comes back as it was', async () => {
    await using t = await trashStore();
    const fix = await t.grow('fix');
    await t.drop('fix');
    assert.deepEqual(live(t.store), ['main']);
    assert.equal(findBranch(t.store, 'p', fix.name), undefined, 'not by its id either');
    assert.deepEqual(t.held(), ['fix']);
    assert.deepEqual(t.store.get('branch', fix.name)?.spec.trashed, {
      at: '2026-01-01T00:00:00.000Z',
      until: '2026-01-02T00:00:00.000Z',
    });
    const again = await t.grow('fix');
    assert.notEqual(again.name, fix.name);
    await assert.rejects(restore(t.store, findInTrash(t.store, 'fix')), {
      code: 'trash/name-taken',
      hint: `restore it under another name: "offshoot trash restore ${fix.name} --as NAME"`,
    });
    await assert.rejects(restore(t.store, findInTrash(t.store, 'fix'), 'no good'), {
      code: 'branch/bad-name',
    });
    const back = await restore(t.store, findInTrash(t.store, 'fix'), 'fix-old');
    assert.equal(back.name, fix.name);
    assert.deepEqual(t.find('fix-old').spec, { ...fix.spec, name: 'fix-old' });
    const { tries, ...address } = t.find('fix-old').secret;
    assert.deepEqual(address, fix.secret, 'its address stays as it was');
    assert.equal(tries, 1, 'its server may still be ending');
    assert.deepEqual(t.held(), []);
  });

  it('must not have children that live; those in the trash come back after it', async () => {
    await using t = await trashStore();
    await t.grow('parent');
    await t.grow('child', 'parent');
    await assert.rejects(t.drop('parent'), { code: 'branch/has-children', message: /has children: child$/ });
    await t.drop('child');
    await assert.rejects(deleteBranch(t.store, t.find('parent')), {
      code: 'branch/has-children',
      message: 'branch "parent" has children: child (in the trash)',
      hint: 'empty the trash of them first: "offshoot trash empty child"',
    });
    await t.drop('parent', 1);
    assert.deepEqual(t.held(), ['child', 'parent']);
    await assert.rejects(restore(t.store, findInTrash(t.store, 'child')), {
      code: 'trash/parent-trashed',
      message: 'branch "child" grows from what is in the trash itself: branch parent',
    });
    await assert.rejects(t.grow('other', 'parent'), { code: 'branch/parent-missing' });
    await restore(t.store, findInTrash(t.store, 'parent'));
    await restore(t.store, findInTrash(t.store, 'child'));
    assert.deepEqual(live(t.store), ['main', 'parent', 'child']);
  });

  it('takes its children along when asked to', async () => {
    await using t = await trashStore();
    const parent = await t.grow('parent');
    await t.grow('child', 'parent');
    await t.grow('grandchild', 'child');
    await t.drop('grandchild');
    const now = new Date('2026-01-01T00:00:00Z');
    await trashBranch(t.store, parent, 86_400_000, now, { recursive: true });
    assert.deepEqual(live(t.store), ['main']);
    assert.deepEqual(t.held().toSorted(), ['child', 'grandchild', 'parent']);
  });

  it('is refused where a delete is', async () => {
    await using t = await trashStore();
    await applied(t.store, 's');
    const parts = { project: 'p', name: 'owned', parent: 'main', owner: 'sandbox/s' };
    await createBranch(t.store, parts);
    await assert.rejects(t.drop('owned'), { code: 'branch/owned' });
    await assert.rejects(t.drop('main'), { code: 'branch/is-root' });
  });

  it('of several with its name is named by its id', async () => {
    await using t = await trashStore();
    const first = await t.grow('fix');
    await t.drop('fix');
    const second = await t.grow('fix');
    await t.drop('fix', 1);
    assert.throws(() => findInTrash(t.store, 'fix'), {
      code: 'trash/ambiguous',
      message: `the trash holds several things named "fix": ${first.name}, ${second.name}`,
    });
    assert.equal(findInTrash(t.store, second.name).name, second.name);
    assert.throws(() => findInTrash(t.store, 'nix'), { code: 'api/not-found' });
  });
});

describe('emptying', () => {
  it('takes children before what they grow from, and never a parent without them', async () => {
    await using t = await trashStore();
    await t.grow('a');
    await t.grow('b', 'a');
    await t.grow('c', 'b');
    for (const [i, name] of ['c', 'b', 'a'].entries()) await t.drop(name, i);
    await assert.rejects(emptyEntry(t.store, findInTrash(t.store, 'b')), {
      code: 'branch/has-children',
      message: /c \(in the trash\)$/,
    });
    assert.deepEqual(t.going(), []);
    assert.equal(await emptyTrash(t.store), 3);
    assert.deepEqual(t.going(), ['a', 'b', 'c']);
    assert.deepEqual(t.held(), []);
  });

  it('does nothing to what was restored meanwhile', async () => {
    await using t = await trashStore();
    await t.grow('fix');
    await t.drop('fix');
    const entry = findInTrash(t.store, 'fix');
    await restore(t.store, entry);
    await emptyEntry(t.store, entry);
    await t.drop('fix', 5);
    await emptyEntry(t.store, entry);
    assert.deepEqual(t.going(), []);
    assert.deepEqual(t.held(), ['fix']);
    await assert.rejects(
      async () => {
        await emptyTrash(t.store);
        await restore(t.store, entry);
      },
      { code: 'api/not-found' },
    );
  });

  it('comes by itself when the time is over, for a parent after its last child', async () => {
    await using t = await trashStore();
    const parent = await t.grow('parent');
    const child = await t.grow('child', 'parent');
    await t.drop('child', 100);
    await t.drop('parent', 200);
    const [oldest, youngest] = trashEntries(t.store);
    assert.equal(await expire(t.store, oldest!, at(40)), day + 60);
    assert.equal(await expire(t.store, youngest!, at(day + 300)), undefined, 'its child is still there');
    assert.deepEqual(t.going(), []);
    await expire(t.store, oldest!, at(day + 300));
    assert.deepEqual(t.going(), ['child']);
    await t.store.remove('branch', child.name);
    await expire(t.store, youngest!, at(day + 300));
    assert.deepEqual(t.going(), ['parent']);
    assert.equal(await expire(t.store, t.store.get('branch', parent.name)!, at(day + 300)), undefined);
  });

  it('gives up for its space what was put there first and nothing grows from', async () => {
    await using t = await trashStore();
    await t.grow('parent');
    await t.grow('child', 'parent');
    await t.drop('child', 2);
    await t.drop('parent', 3);
    await t.grow('young');
    await t.drop('young', 4);
    await trashProject(t.store, storeBaseline(t.store), 'q', day, at(1));
    const given: (string | undefined)[] = [];
    for (let i = 0; i < 4; i++) {
      given.push(await giveUpOldest(t.store));
      // As the loop does it, which takes a while: nothing is given twice meanwhile.
      if (i === 1)
        await t.store.remove('branch', t.store.list('branch').find(b => b.spec.name === 'child')!.name);
    }
    assert.deepEqual(given, ['project q', 'branch child', 'branch parent', 'branch young']);
    assert.equal(await giveUpOldest(t.store), undefined);
    const events = await t.store.events({ limit: 100 });
    assert.deepEqual(
      events.filter(e => e.reason === 'GivenUp').map(e => e.severity),
      Array(4).fill('warning'),
    );
  });
});

describe('a project that a person deletes', () => {
  it('goes with its root and what the trash holds of it; its name is free; all comes back', async () => {
    await using t = await trashStore();
    await t.grow('fix');
    await t.drop('fix');
    const ids = allBranchesOf(t.store, 'p').map(b => b.name);
    const id = await trashProject(t.store, storeBaseline(t.store), 'p', day, at(1));
    assert.match(id, /^p~[a-z0-9]{6}$/);
    assert.deepEqual(projects(t.store), ['q']);
    assert.deepEqual(t.held(), ['fix', 'p']);
    await assert.rejects(restore(t.store, findInTrash(t.store, 'fix')), {
      code: 'trash/parent-trashed',
      message: /itself: project p$/,
    });
    const other = { database: 'other', role: 'other' };
    await createProject(t.store, 'p', other);
    await assert.rejects(restore(t.store, findInTrash(t.store, id)), { code: 'trash/name-taken' });
    await assert.rejects(restore(t.store, findInTrash(t.store, id), 'A'), { code: 'branch/bad-name' });
    await restore(t.store, findInTrash(t.store, id), 'p-old');
    assert.deepEqual(t.store.get('project', 'p-old')?.spec, spec);
    assert.deepEqual(t.store.get('project', 'p')?.spec, other);
    assert.deepEqual(
      allBranchesOf(t.store, 'p-old').map(b => b.name),
      ids,
    );
    assert.deepEqual(live(t.store, 'p-old'), ['main']);
    await restore(t.store, findInTrash(t.store, 'fix'));
    assert.deepEqual(live(t.store, 'p-old'), ['main', 'fix']);
    assert.deepEqual(t.held(), []);
  });

  it('must not have other branches, nor be used by a workload or a sandbox', async () => {
    await using t = await trashStore();
    await t.grow('fix');
    const refused = async (code: string, message: RegExp) => {
      await assert.rejects(trashProject(t.store, storeBaseline(t.store), 'p', day, at(0)), { code, message });
      await assert.rejects(deleteProject(t.store, storeBaseline(t.store), 'p'), { code, message });
    };
    await refused('project/not-empty', /still has branches: fix$/);
    await t.drop('fix');
    const url = `postgresql://shop.${t.find('main').name}:secret@127.0.0.1:7432/shop`;
    await deploy(t.store, configMap('addresses', { db: url }));
    await deploy(t.store, deployment('users', { envFrom: [{ configMapRef: { name: 'addresses' } }] }));
    await deploy(t.store, deployment('orders', { env: [{ name: 'DATABASE_URL', value: url }] }));
    await deploy(t.store, deployment('innocent'));
    const env = [{ name: 'DATABASE_URL', value: url }];
    await applied(t.store, 's', { forks: [{ ...fork('innocent'), customizations: { env } }] });
    await refused('project/in-use', /^project "p" is used by demo\/users, demo\/orders, sandbox s$/);
    for (const { name, spec } of t.store.by('manifest/kind', 'Deployment'))
      if ((spec as Deployment).metadata.name !== 'innocent')
        await t.store.modify('manifest', name, () => ({ deleted: true }));
    await refused('project/in-use', /is used by sandbox s$/);
    await t.store.modify('sandbox', 's', () => ({ deleted: true }));
    await deleteProject(t.store, storeBaseline(t.store), 'p');
    assert.deepEqual(t.going(), ['main', 'fix'], 'what the trash holds of it goes, too');
  });

  it('is emptied and expires with all its branches', async () => {
    await using t = await trashStore();
    await t.grow('fix');
    await t.drop('fix');
    const id = await trashProject(t.store, storeBaseline(t.store), 'p', day, at(0));
    const main = allBranchesOf(t.store, id).find(b => b.spec.parent === undefined)!;
    assert.equal(await expire(t.store, main, at(2 * day)), undefined, 'its root is a part of it');
    assert.equal(await expire(t.store, findInTrash(t.store, id), at(0)), day);
    assert.deepEqual(t.going(), []);
    await expire(t.store, findInTrash(t.store, id), at(day));
    assert.deepEqual(t.going(), ['main', 'fix']);
    assert.ok(t.store.get('project', id)?.deletedAt);
    assert.deepEqual(t.held(), []);
  });
});

describe('a crash', () => {
  /** The same store, whose writes fail from the `n`th on, as when the process is gone. */
  function dyingAfter(store: Store, writes: number): Store {
    let left = writes;
    const count = (verb: 'create' | 'modify' | 'remove') =>
      (async (...parts: never[]) => {
        if (left-- <= 0) throw new Error('gone');
        return await (store[verb] as (...parts: never[]) => unknown)(...parts);
      }) as never;
    return { ...bound(store), create: count('create'), modify: count('modify'), remove: count('remove') };
  }

  /** After a restart. */
  const resume = async (store: Store) => {
    for (const { name } of store.list('project')) await finishTakeOver(store, name);
  };

  for (let writes = 0; writes < 6; writes++) {
    it(`after ${writes} writes of a delete or of a restore leaves the whole project at one place`, async () => {
      await using t = await trashStore();
      await t.grow('fix');
      await t.drop('fix');
      const ids = allBranchesOf(t.store, 'p').map(b => b.name);
      const whole = (name: string) =>
        assert.deepEqual(
          allBranchesOf(t.store, name).map(b => b.name),
          ids,
        );

      const deleted = await trashProject(
        dyingAfter(t.store, writes),
        storeBaseline(t.store),
        'p',
        day,
        at(0),
      ).catch(() => undefined);
      await resume(t.store);
      const [id] = t.store.list('project').flatMap(p => (p.spec.trashed === undefined ? [] : [p.name]));
      if (writes === 0) {
        assert.deepEqual([id, deleted], [undefined, undefined]);
        return whole('p');
      }
      whole(id!);
      assert.deepEqual(projects(t.store), ['q']);

      await restore(dyingAfter(t.store, writes), findInTrash(t.store, id!), 'back').catch(() => {});
      await resume(t.store);
      whole('back');
      assert.deepEqual(projects(t.store), ['q', 'back']);
      assert.deepEqual(live(t.store, 'back'), ['main']);
    });
  }

  it('in the middle of a delete or restore keeps everybody else from the project', async () => {
    await using t = await trashStore();
    const main = t.find('main');
    await trashProject(dyingAfter(t.store, 1), storeBaseline(t.store), 'p', day, at(0)).catch(() => {});
    assert.deepEqual(projects(t.store), ['q']);
    await assert.rejects(t.grow('late'), { code: 'api/not-found' });
    await assert.rejects(createProject(t.store, 'p', spec), { code: 'project/exists' });
    assert.equal(findBranch(t.store, 'p', 'main')?.name, main.name);
    await resume(t.store);
    const [entry] = trashEntries(t.store);
    await restore(dyingAfter(t.store, 1), entry!, 'back').catch(() => {});
    assert.deepEqual(t.held(), [], 'what is on its way back cannot be emptied');
    await emptyEntry(t.store, entry!);
    await expire(t.store, entry!, at(2 * day));
    assert.deepEqual(t.going(), []);
    await resume(t.store);
    assert.equal(findBranch(t.store, 'back', 'main')?.name, main.name);
  });
});

// --- internal ------------------------------------------------------------------------------------

/** Methods of a class as properties. */
function bound(store: Store): Store {
  const methods: Record<string, unknown> = {};
  for (let at: object = store; at !== Object.prototype; at = Object.getPrototypeOf(at))
    for (const name of Object.getOwnPropertyNames(at)) {
      const value = (store as unknown as Record<string, unknown>)[name];
      if (name !== 'constructor' && typeof value === 'function') methods[name] ??= value.bind(store);
    }
  return methods as unknown as Store;
}
