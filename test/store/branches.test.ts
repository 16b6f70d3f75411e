import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
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
  requireProject,
} from '../../src/store/branches.ts';
import type { Store } from '../../src/store/contract.ts';
import { openStore } from '../../src/store/sqlite.ts';

const spec = { database: 'app', role: 'app' };

/** A store with project `p`. */
function projectStore() {
  const store = openStore(':memory:');
  createProject(store, 'p', spec);
  const grow = (name: string, parent = 'main', owner?: string) =>
    createBranch(store, { project: 'p', name, parent, ...(owner !== undefined && { owner }) });
  return { store, grow, [Symbol.dispose]: () => store.close() };
}

const names = (store: Store, project = 'p') => branchesOf(store, project).map(b => b.spec.name);

describe('projects', () => {
  it('begin with a root branch, main, that has an id and a password of its own', () => {
    using p = projectStore();
    createProject(p.store, 'q', spec);
    const [main, other] = p.store.list('branch');
    assert.deepEqual(main?.spec, { project: 'p', name: 'main' });
    assert.match(main.name, /^br[a-z][a-z0-9]{11}$/);
    assert.match(main.secret.password, /^[A-Za-z0-9]{32}$/);
    assert.notEqual(main.name, other?.name);
    assert.notEqual(main.secret.password, other?.secret.password);
  });

  it('have a name that is free and one DNS label', () => {
    using p = projectStore();
    assert.throws(() => createProject(p.store, 'p', spec), { code: 'project/exists' });
    for (const name of ['', 'P', '1p', 'p-', 'p.q', 'a'.repeat(64)])
      assert.throws(() => createProject(p.store, name, spec), { code: 'branch/bad-name' }, name);
    assert.deepEqual(
      p.store.list('project').map(x => x.name),
      ['p'],
    );
  });

  it('refuse databases and roles that PostgreSQL has or could not make, and those that need quoting', () => {
    using p = projectStore();
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
      assert.throws(
        () => createProject(p.store, 'q', { ...spec, role: bad }),
        { code: 'branch/bad-name' },
        bad,
      );
      assert.throws(
        () => createProject(p.store, 'q', { ...spec, database: bad }),
        { code: 'branch/bad-name' },
        bad,
      );
    }
  });

  it('go with their root, but not while there is another branch', () => {
    using p = projectStore();
    const child = p.grow('a');
    assert.throws(() => deleteProject(p.store, 'p'), {
      code: 'project/not-empty',
      params: { project: 'p', branches: 'a' },
    });
    assert.equal(p.store.get('project', 'p')?.deletedAt, undefined);
    deleteBranch(p.store, child);
    assert.throws(() => deleteProject(p.store, 'p'), { code: 'project/not-empty' }, 'it is still there');
    p.store.remove('branch', child.name);
    deleteProject(p.store, 'p');
    assert.ok(p.store.get('project', 'p')?.deletedAt);
    assert.ok(branchesOf(p.store, 'p').every(b => b.deletedAt !== undefined));
    assert.throws(() => deleteProject(p.store, 'p'), { code: 'api/not-found' });
  });

  it('that are to go are not there any more for anyone who asks', () => {
    using p = projectStore();
    deleteProject(p.store, 'p');
    assert.throws(() => requireProject(p.store, 'p'), { code: 'api/not-found' });
    assert.throws(() => p.grow('a'), { code: 'api/not-found' });
    assert.throws(() => requireProject(p.store, 'never'), { code: 'api/not-found' });
  });

  it('need no name when there is one only, or one called default', () => {
    using p = projectStore();
    assert.equal(defaultProject(p.store), 'p');
    createProject(p.store, 'q', spec);
    assert.equal(defaultProject(p.store), 'default');
    deleteProject(p.store, 'p');
    assert.equal(defaultProject(p.store), 'q');
    createProject(p.store, 'default', spec);
    assert.equal(defaultProject(p.store), 'default');
  });
});

describe('branches', () => {
  it('grow from a parent, named or by id, and are found by name or id', () => {
    using p = projectStore();
    const a = p.grow('a');
    const b = p.grow('b', a.name, 'sandbox/s');
    assert.deepEqual(b.spec, { project: 'p', name: 'b', parent: a.name, owner: 'sandbox/s' });
    assert.equal(a.spec.parent, findBranch(p.store, 'p', 'main')?.name);
    assert.deepEqual(findBranch(p.store, 'p', 'b'), b);
    assert.deepEqual(findBranch(p.store, 'p', b.name), b);
    assert.equal(findBranch(p.store, 'q', 'b'), undefined);
    assert.notEqual(a.secret.password, b.secret.password);
  });

  it('have names that are one DNS label, free in their project only', () => {
    using p = projectStore();
    createProject(p.store, 'q', spec);
    p.grow('a', 'main', 'sandbox/s');
    assert.throws(() => p.grow('a'), {
      code: 'branch/exists',
      message: 'branch "a" already exists in project "p" and belongs to sandbox/s',
    });
    assert.throws(() => p.grow('main'), { code: 'branch/exists' });
    createBranch(p.store, { project: 'q', name: 'a', parent: 'main' });
    for (const name of ['', 'A', '-a', 'a_b', 'ä', 'a'.repeat(64)])
      assert.throws(() => p.grow(name), { code: 'branch/bad-name' }, name);
    p.grow('a'.repeat(63));
    assert.deepEqual(names(p.store, 'q'), ['main', 'a']);
  });

  it('need a parent that is there and is to stay', () => {
    using p = projectStore();
    assert.throws(() => p.grow('a', 'nope'), { code: 'branch/parent-missing' });
    deleteBranch(p.store, p.grow('going'));
    assert.throws(() => p.grow('a', 'going'), { code: 'branch/parent-missing' });
    assert.throws(() => createBranch(p.store, { project: 'nope', name: 'a', parent: 'main' }), {
      code: 'api/not-found',
    });
    assert.deepEqual(names(p.store), ['main', 'going']);
  });

  it('stay while something grows from them', () => {
    using p = projectStore();
    const a = p.grow('a');
    const b = p.grow('b', 'a');
    assert.throws(() => deleteBranch(p.store, a, { force: true }), {
      code: 'branch/has-children',
      message: 'branch "a" has children: b',
    });
    deleteBranch(p.store, b);
    assert.throws(() => deleteBranch(p.store, a), { code: 'branch/has-children' }, 'b is still there');
    p.store.remove('branch', b.name);
    deleteBranch(p.store, a);
    assert.ok(p.store.get('branch', a.name)?.deletedAt);
  });

  it('that are the root go with their project only', () => {
    using p = projectStore();
    const main = findBranch(p.store, 'p', 'main')!;
    assert.throws(() => deleteBranch(p.store, main, { force: true }), { code: 'branch/is-root' });
  });

  it('that somebody owns are deleted by that owner, or by force', () => {
    using p = projectStore();
    const [a, b] = [p.grow('a', 'main', 'sandbox/s'), p.grow('b', 'main', 'sandbox/s')];
    assert.throws(() => deleteBranch(p.store, a), {
      code: 'branch/owned',
      message: 'branch "a" belongs to sandbox s',
    });
    assert.throws(() => deleteBranch(p.store, a, { asOwner: 'sandbox/t' }), { code: 'branch/owned' });
    assert.equal(p.store.get('branch', a.name)?.deletedAt, undefined);
    deleteBranch(p.store, a, { asOwner: 'sandbox/s' });
    deleteBranch(p.store, b, { force: true });
    assert.deepEqual(
      [a, b].map(x => p.store.get('branch', x.name)?.deletedAt !== undefined),
      [true, true],
    );
  });

  it('have one address, the way through the gateway', () => {
    using p = projectStore();
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
