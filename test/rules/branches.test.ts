import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { storeBaseline } from '../../src/baseline/store-baseline.ts';
import { connectionString } from '../../src/model/branch.ts';
import {
  branchAddress,
  branchesOf,
  createBranch,
  createProject,
  defaultProject,
  deleteBranch,
  deleteProject,
  findBranch,
  limitBranch,
  limitProject,
  protectBranch,
  renameBranch,
  requireProject,
} from '../../src/rules/branches.ts';
import { deleteSandbox } from '../../src/rules/sandboxes.ts';
import { trashBranch } from '../../src/rules/trash.ts';
import type { Store } from '../../src/store/contract.ts';
import { applied } from '../support/documents.ts';
import { it, testStore } from '../support/stores.ts';

const spec = { database: 'app', role: 'app' };

/** A store with project `p`. */
async function projectStore() {
  const store = testStore();
  await createProject(store, 'p', spec);
  await applied(store, 's');
  const grow = (name: string, parent = 'main', owner?: string) =>
    createBranch(store, { project: 'p', name, parent, ...(owner !== undefined && { owner }) });
  return { store, grow, [Symbol.asyncDispose]: () => store.close() };
}

const names = (store: Store, project = 'p') => branchesOf(store, project).map(b => b.spec.name);

describe('projects', () => {
  it('begin with a root branch, main, that has an id and a password of its own', async () => {
    await using p = await projectStore();
    await createProject(p.store, 'q', spec);
    const [main, other] = p.store.list('branch');
    assert.deepEqual(main?.spec, { project: 'p', name: 'main' });
    assert.match(main.name, /^br[a-z][a-z0-9]{11}$/);
    assert.match(main.secret.password, /^[A-Za-z0-9]{32}$/);
    assert.notEqual(main.name, other?.name);
    assert.notEqual(main.secret.password, other?.secret.password);
  });

  it('have a name that is free and one DNS label', async () => {
    await using p = await projectStore();
    await assert.rejects(createProject(p.store, 'p', spec), { code: 'project/exists' });
    for (const name of ['', 'P', '1p', 'p-', 'p.q', 'a'.repeat(64)])
      await assert.rejects(createProject(p.store, name, spec), { code: 'branch/bad-name' }, name);
    assert.deepEqual(
      p.store.list('project').map(x => x.name),
      ['p'],
    );
  });

  it('refuse databases and roles that PostgreSQL has or could not make, and those that need quoting', async () => {
    await using p = await projectStore();
    for (const bad of [
      '',
      'App',
      '1app',
      'a-b',
      'a"b',
      'offshoot',
      'pg_app',
      'postgres',
      'template1',
      'public',
      'none',
    ]) {
      await assert.rejects(
        createProject(p.store, 'q', { ...spec, role: bad }),
        { code: 'branch/bad-name' },
        bad,
      );
      await assert.rejects(
        createProject(p.store, 'q', { ...spec, database: bad }),
        { code: 'branch/bad-name' },
        bad,
      );
    }
  });

  it('go with their root, but not while there is another branch', async () => {
    await using p = await projectStore();
    const child = await p.grow('a');
    await assert.rejects(deleteProject(p.store, storeBaseline(p.store), 'p'), {
      code: 'project/not-empty',
      params: { project: 'p', branches: 'a' },
    });
    assert.equal(p.store.get('project', 'p')?.deletedAt, undefined);
    await deleteBranch(p.store, child);
    await assert.rejects(
      deleteProject(p.store, storeBaseline(p.store), 'p'),
      { code: 'project/not-empty' },
      'it is still there',
    );
    await p.store.remove('branch', child.name);
    await deleteProject(p.store, storeBaseline(p.store), 'p');
    assert.ok(p.store.get('project', 'p')?.deletedAt);
    assert.ok(branchesOf(p.store, 'p').every(b => b.deletedAt !== undefined));
    await assert.rejects(deleteProject(p.store, storeBaseline(p.store), 'p'), { code: 'api/not-found' });
  });

  it('that are to go are not there any more for anyone who asks', async () => {
    await using p = await projectStore();
    await deleteProject(p.store, storeBaseline(p.store), 'p');
    assert.throws(() => requireProject(p.store, 'p'), { code: 'api/not-found' });
    await assert.rejects(p.grow('a'), { code: 'api/not-found' });
    assert.throws(() => requireProject(p.store, 'never'), { code: 'api/not-found' });
  });

  it('need no name when there is one only, or one called default', async () => {
    await using p = await projectStore();
    assert.equal(await defaultProject(p.store), 'p');
    await createProject(p.store, 'q', spec);
    assert.equal(await defaultProject(p.store), 'default');
    await deleteProject(p.store, storeBaseline(p.store), 'p');
    assert.equal(await defaultProject(p.store), 'q');
    await createProject(p.store, 'default', spec);
    assert.equal(await defaultProject(p.store), 'default');
  });
});

describe('branches', () => {
  it('grow from a parent, named or by id, and are found by name or id', async () => {
    await using p = await projectStore();
    const a = await p.grow('a');
    const b = await p.grow('b', a.name, 'sandbox/s');
    assert.deepEqual(b.spec, { project: 'p', name: 'b', parent: a.name, owner: 'sandbox/s' });
    assert.equal(a.spec.parent, findBranch(p.store, 'p', 'main')?.name);
    assert.deepEqual(findBranch(p.store, 'p', 'b'), b);
    assert.deepEqual(findBranch(p.store, 'p', b.name), b);
    assert.equal(findBranch(p.store, 'q', 'b'), undefined);
    assert.notEqual(a.secret.password, b.secret.password);
  });

  it('have names as git has them, free in their project only', async () => {
    await using p = await projectStore();
    await createProject(p.store, 'q', spec);
    await p.grow('a', 'main', 'sandbox/s');
    await assert.rejects(p.grow('a'), {
      code: 'branch/exists',
      message: 'branch "a" already exists in project "p" and belongs to sandbox/s',
    });
    await assert.rejects(p.grow('main'), { code: 'branch/exists' });
    await createBranch(p.store, { project: 'q', name: 'a', parent: 'main' });
    for (const name of ['', 'a b', '-a', 'a..b', 'a'.repeat(256)])
      await assert.rejects(p.grow(name), { code: 'branch/bad-name' }, name);
    await p.grow('A');
    await p.grow('a'.repeat(255));
    assert.deepEqual(names(p.store, 'q'), ['main', 'a']);
  });

  it('need a parent that is there and is to stay', async () => {
    await using p = await projectStore();
    await assert.rejects(p.grow('a', 'nope'), { code: 'branch/parent-missing' });
    await deleteBranch(p.store, await p.grow('going'));
    await assert.rejects(p.grow('a', 'going'), { code: 'branch/parent-missing' });
    await assert.rejects(createBranch(p.store, { project: 'nope', name: 'a', parent: 'main' }), {
      code: 'api/not-found',
    });
    assert.deepEqual(names(p.store), ['main', 'going']);
  });

  it('stay while something grows from them', async () => {
    await using p = await projectStore();
    const a = await p.grow('a');
    const b = await p.grow('b', 'a');
    await assert.rejects(deleteBranch(p.store, a, { force: true }), {
      code: 'branch/has-children',
      message: 'branch "a" has children: b',
    });
    await deleteBranch(p.store, b);
    await deleteBranch(p.store, a);
    assert.ok(p.store.get('branch', a.name)?.deletedAt, 'the loop waits for the end of b');
  });

  it('take along what grows from them when asked to, but nothing that belongs to a sandbox', async () => {
    await using p = await projectStore();
    const a = await p.grow('a');
    const b = await p.grow('b', 'a');
    const c = await p.grow('c', 'b');
    await applied(p.store, 's');
    const owned = { project: 'p', name: 'sb-s', parent: 'c', owner: 'sandbox/s' };
    const d = await createBranch(p.store, owned);
    await assert.rejects(deleteBranch(p.store, a, { recursive: true, force: true }), {
      code: 'branch/has-children',
      message: 'branch "a" has children: sb-s (of sandbox s)',
      hint: 'delete sandbox s first',
    });
    assert.equal(p.store.get('branch', c.name)?.deletedAt, undefined, 'nothing has begun');
    await deleteBranch(p.store, d, { force: true });
    await deleteBranch(p.store, a, { recursive: true });
    for (const { name } of [a, b, c]) assert.ok(p.store.get('branch', name)?.deletedAt);
  });

  it('take no children any more when they go with their sandbox', async () => {
    await using p = await projectStore();
    await applied(p.store, 's');
    await createBranch(p.store, { project: 'p', name: 'sb-s', parent: 'main', owner: 'sandbox/s' });
    await deleteSandbox(p.store, 's', { force: false });
    await assert.rejects(p.grow('late', 'sb-s'), { code: 'sandbox/deleting' });
  });

  it('that are the root go with their project only', async () => {
    await using p = await projectStore();
    const main = findBranch(p.store, 'p', 'main')!;
    await assert.rejects(deleteBranch(p.store, main, { force: true }), { code: 'branch/is-root' });
  });

  it('that somebody owns are deleted by that owner, or by force', async () => {
    await using p = await projectStore();
    const [a, b] = [await p.grow('a', 'main', 'sandbox/s'), await p.grow('b', 'main', 'sandbox/s')];
    await assert.rejects(deleteBranch(p.store, a), {
      code: 'branch/owned',
      message: 'branch "a" belongs to sandbox s',
    });
    await assert.rejects(deleteBranch(p.store, a, { asOwner: 'sandbox/t' }), { code: 'branch/owned' });
    assert.equal(p.store.get('branch', a.name)?.deletedAt, undefined);
    await deleteBranch(p.store, a, { asOwner: 'sandbox/s' });
    await deleteBranch(p.store, b, { force: true });
    assert.deepEqual(
      [a, b].map(x => p.store.get('branch', x.name)?.deletedAt !== undefined),
      [true, true],
    );
  });

  it('have one address, the way through the gateway', async () => {
    await using p = await projectStore();
    const main = findBranch(p.store, 'p', 'main')!;
    const address = branchAddress(p.store, main, { host: '127.0.0.1', port: 7432 });
    const { password } = main.secret;
    assert.deepEqual(address, {
      host: '127.0.0.1',
      port: 7432,
      user: `app.${main.name}`,
      password,
      database: 'app',
    });
    assert.equal(connectionString(address), `postgresql://app.${main.name}:${password}@127.0.0.1:7432/app`);
  });
});

it('limits are no smaller than what a branch needs to start and to recover', async () => {
  await using p = await projectStore();
  const tooSmall = { code: 'branch/bad-limit', message: /"63 MiB": at least 64 MiB are needed/ };
  const limitBytes = 63 * 2 ** 20;
  await assert.rejects(
    createProject(p.store, 'shop', { database: 'app', role: 'app', branchLimitBytes: limitBytes }),
    tooSmall,
  );
  await assert.rejects(
    createBranch(p.store, { project: 'p', name: 'fix', parent: 'main', limitBytes }),
    tooSmall,
  );
  const fix = await createBranch(p.store, {
    project: 'p',
    name: 'fix',
    parent: 'main',
    limitBytes: 2 ** 30,
  });
  assert.equal(fix.spec.limitBytes, 2 ** 30);
  await assert.rejects(limitBranch(p.store, fix, limitBytes), tooSmall);
  await limitBranch(p.store, fix, undefined);
  assert.equal('limitBytes' in p.store.get('branch', fix.name)!.spec, false);
});

describe('a protected branch', () => {
  it('is not deleted, neither by itself nor with what it grows from or its project', async () => {
    await using p = await projectStore();
    const top = await p.grow('top');
    const kept = await p.grow('kept', 'top');
    await protectBranch(p.store, kept, true);
    const protectedOnes = p.store.get('branch', kept.name)!;
    const refused = { code: 'branch/protected', message: 'branch "kept" is protected' };
    await assert.rejects(deleteBranch(p.store, protectedOnes), refused);
    await assert.rejects(deleteBranch(p.store, kept), refused, 'what was read before does not count');
    await assert.rejects(deleteBranch(p.store, top, { recursive: true }), refused);
    await assert.rejects(trashBranch(p.store, top, 1000, new Date(), { recursive: true }), refused);
    await assert.rejects(trashBranch(p.store, kept, 1000, new Date()), refused);
    assert.deepEqual(names(p.store), ['main', 'top', 'kept']);
    await protectBranch(p.store, kept, false);
    await deleteBranch(p.store, top, { recursive: true });
    const main = findBranch(p.store, 'p', 'main')!;
    await protectBranch(p.store, main, true);
    for (const branch of p.store.list('branch').filter(b => b.deletedAt !== undefined))
      await p.store.remove('branch', branch.name);
    await assert.rejects(deleteProject(p.store, storeBaseline(p.store), 'p'), { code: 'branch/protected' });
  });

  it("is none of a sandbox's, and keeps a sandbox from taking it along", async () => {
    await using p = await projectStore();
    const mine = await p.grow('mine', 'main', 'sandbox/s');
    await assert.rejects(protectBranch(p.store, mine, true), {
      code: 'branch/owned',
      hint: 'it goes with sandbox s; make a branch of it, and protect that',
    });
    const grown = await p.grow('grown', 'mine');
    await protectBranch(p.store, grown, true);
    await assert.rejects(deleteSandbox(p.store, 's', { force: false, recursive: true }), {
      code: 'branch/protected',
    });
  });
});

describe('another name for a branch', () => {
  it('is any that git has and nobody else, and changes nothing else', async () => {
    await using p = await projectStore();
    const fix = await p.grow('fix');
    await p.grow('other', 'fix');
    const renamed = await renameBranch(p.store, fix, 'feature/Login-2');
    assert.deepEqual([renamed.name, renamed.secret], [fix.name, fix.secret]);
    assert.deepEqual(names(p.store), ['main', 'feature/Login-2', 'other']);
    assert.equal((await renameBranch(p.store, fix, 'feature/Login-2')).version, renamed.version, 'the same');
    await assert.rejects(renameBranch(p.store, fix, 'other'), { code: 'branch/exists' });
    await assert.rejects(renameBranch(p.store, fix, 'a..b'), { code: 'branch/bad-name' });
    await p.grow('fix');
    const both = [fix, findBranch(p.store, 'p', 'other')!];
    const ends = await Promise.allSettled(both.map(b => renameBranch(p.store, b, 'same')));
    assert.deepEqual(ends.map(e => e.status).sort(), ['fulfilled', 'rejected']);
  });

  it('is not given to the root, and not to what a sandbox finds by its name', async () => {
    await using p = await projectStore();
    const mine = await p.grow('mine', 'main', 'sandbox/s');
    for (const branch of [findBranch(p.store, 'p', 'main')!, mine])
      await assert.rejects(renameBranch(p.store, branch, 'x'), { code: 'branch/rename-refused' });
  });
});

describe('the most branches of a project', () => {
  it('are not exceeded, however many are asked for at once, and what is in the trash does not count', async () => {
    await using p = await projectStore();
    await limitProject(p.store, 'p', { maxBranches: 2 });
    const ends = await Promise.allSettled(['a', 'b', 'c', 'd'].map(name => p.grow(name)));
    const refused = ends.flatMap(e => (e.status === 'rejected' ? [e.reason.message] : []));
    assert.deepEqual(refused, Array(2).fill('project "p" has 2 branches beside main, and may have 2'));
    const [, first] = branchesOf(p.store, 'p');
    await trashBranch(p.store, first!, 1000, new Date());
    await p.grow('e');
    await assert.rejects(p.grow('f'), { code: 'project/full' });
    await limitProject(p.store, 'p', {});
    await p.grow('f');
  });
});
