import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { storeBaseline } from '../../src/baseline/store-baseline.ts';
import { endpointsOf } from '../../src/model/endpoint.ts';
import type { EnvironmentConfig } from '../../src/model/environment.ts';
import { createBranch, findBranch } from '../../src/rules/branches.ts';
import { applyEnvironment, type EnvironmentWish, renameEnvironment } from '../../src/rules/environments.ts';
import { applySandbox, deleteSandbox } from '../../src/rules/sandboxes.ts';
import { defaultProject, deploy, deployment, job, service } from '../support/documents.ts';
import { it, testStore } from '../support/stores.ts';

const image = { dir: '/code', command: ['node', 'app.js'] };

/** Deployments `users` (with a Service) and `orders` in `demo`, and project `default`. */
async function testEnvironments() {
  const store = testStore();
  const baseline = storeBaseline(store);
  await deploy(
    store,
    deployment('users', { env: [{ name: 'DATABASE_URL', value: 'postgresql://main' }] }),
    deployment('orders'),
    job('migrate', { image: 'users:1' }),
    service('users', { port: 80, targetPort: 3000 }),
  );
  const main = await defaultProject(store);
  const up = (
    branch: string | undefined,
    config: EnvironmentConfig = { database: { variables: { DATABASE_URL: 'connection-string' } } },
    {
      repository = '/code/.git',
      worktree = '/code',
      ...more
    }: Partial<EnvironmentWish['owner']> & Partial<EnvironmentWish> = {},
  ) =>
    applyEnvironment(store, baseline, {
      owner: { repository, worktree, ...(branch !== undefined && { branch }) },
      ...{ config, images: { users: image }, file: '/code/offshoot.yaml', ...more },
    });
  /** The branch that the reconciler would make. */
  const grow = async (sandbox: string, parent = 'main') => {
    const owner = `sandbox/${sandbox}`;
    await createBranch(store, { project: 'default', name: `sb-${sandbox}`, parent, owner });
  };
  return { store, baseline, main, up, grow, [Symbol.asyncDispose]: () => store.close() };
}

describe('an environment', () => {
  it('forks what runs the file’s images, with previews and a database', async () => {
    await using e = await testEnvironments();
    const { object, outcome, grownFrom } = await e.up('feature/Login-2');
    assert.deepEqual([object.name, outcome, grownFrom], ['feature-login-2', 'created', 'main']);
    const { forks = [], labels = {}, resources = [] } = object.spec;
    assert.deepEqual(
      forks.map(({ forkOf }) => forkOf),
      [{ kind: 'Deployment', namespace: 'demo', name: 'users' }],
    );
    const valueFrom = { resource: { name: 'database', outputKey: 'provision.connection-string' } };
    assert.deepEqual(forks[0]!.customizations?.env, [{ name: 'DATABASE_URL', container: 'main', valueFrom }]);
    assert.deepEqual(labels, {
      'offshoot.dev/repository': '/code/.git',
      'offshoot.dev/worktree': '/code',
      'offshoot.dev/git-branch': 'feature/Login-2',
    });
    assert.deepEqual(resources[0]!.params, {
      ...{ 'parent-branch': e.main.name, project: 'default', afterwards: 'trash' },
    });
    assert.deepEqual(
      endpointsOf(object.spec).map(({ name, target }) => [name, target]),
      [['users', 'http://users.demo.svc:80']],
    );
    assert.equal((await e.up('feature/Login-2')).outcome, 'unchanged');
  });

  it('has what the project file names, and says what is not there', async () => {
    await using e = await testEnvironments();
    const forks = ['demo/orders', 'Deployment/demo/users'];
    const endpoints = { api: 'http://users.demo.svc:80' };
    const { object } = await e.up('a', { forks, endpoints });
    assert.deepEqual(
      object.spec.forks?.map(({ forkOf }) => forkOf.name),
      ['orders', 'users'],
    );
    assert.equal(object.spec.resources, undefined);
    assert.deepEqual(
      endpointsOf(object.spec).map(({ name }) => name),
      ['api'],
    );
    await assert.rejects(e.up('b', { forks: ['demo/nobody'] }), {
      code: 'sandbox/baseline-missing',
      message: 'environment.forks[0]: Deployment "nobody" does not exist in namespace "demo"',
    });
    await assert.rejects(e.up('b', {}, { images: {} }), { code: 'environment/nothing-to-fork' });
    await assert.rejects(e.up('b', { endpoints: { api: 'http://nobody.demo.svc:80' } }), {
      code: 'sandbox/baseline-missing',
    });
  });

  it('has a name of its own, which it keeps', async () => {
    await using e = await testEnvironments();
    const elsewhere = { repository: '/other/.git', worktree: '/other' };
    const names = await Promise.all([
      e.up('fix'),
      e.up('fix', {}, elsewhere),
      e.up('Fix', {}, { worktree: '/c' }),
    ]);
    const [first, second, third] = names.map(({ object }) => object.name);
    assert.equal([first, second, third].filter(name => name === 'fix').length, 1);
    assert.equal(new Set([first, second, third]).size, 3);
    await deleteSandbox(e.store, first!, { force: false });
    assert.equal((await e.up('fix', {}, elsewhere)).object.name, second);
    await assert.rejects(e.up('fix'), { code: 'sandbox/deleting' });
  });

  it('is never a sandbox that somebody applies, and the other way', async () => {
    await using e = await testEnvironments();
    const apply = (name: string) => applySandbox(e.store, e.baseline, { name, spec: { cluster: 'local' } });
    await apply('fix');
    assert.match((await e.up('fix')).object.name, /^fix-[0-9a-f]{8}$/);
    await e.up('next');
    await assert.rejects(apply('next'), {
      code: 'environment/name-taken',
      message: 'sandbox "next" is the environment of the git branch next of /code/.git',
    });
  });

  it('gives its folder to the branch that is checked out there', async () => {
    await using e = await testEnvironments();
    await e.up('a');
    await e.up('b', {}, { worktree: '/elsewhere' });
    assert.deepEqual((await e.up('c')).parked, ['a']);
    const spec = (name: string) => e.store.get('sandbox', name)!.spec;
    assert.deepEqual([spec('a').forks, spec('a').resources?.length], [undefined, 1]);
    assert.equal(spec('b').forks?.length, 1);
    assert.deepEqual((await e.up('a')).parked, ['c']);
    assert.equal(spec('a').forks?.length, 1);
  });

  it('grows its database from what is named, else from where its git branch came from', async () => {
    await using e = await testEnvironments();
    const database = { database: { variables: { DATABASE_URL: 'connection-string' } } };
    const parent = async (branch: string, more: Partial<EnvironmentWish>) => {
      const { object, grownFrom } = await e.up(branch, database, { worktree: `/${branch}`, ...more });
      const id = findBranch(e.store, 'default', grownFrom!)!.name;
      assert.equal(object.spec.resources![0]!.params!['parent-branch'], id);
      return grownFrom;
    };
    assert.equal(await parent('a', { cameFrom: ['nowhere'] }), 'main');
    await e.grow('a');
    await createBranch(e.store, { project: 'default', name: 'staging', parent: 'main' });
    assert.equal(await parent('b', { cameFrom: ['nowhere', 'b', 'a'] }), 'sb-a');
    assert.equal(await parent('c', { from: 'staging', cameFrom: ['a'] }), 'staging');
    assert.equal(await parent('d', { from: 'a' }), 'sb-a');
    // It stays; only who asks for another one by name is told so.
    assert.equal(await parent('c', { cameFrom: ['a'] }), 'staging');
    assert.equal(await parent('c', { from: 'staging' }), 'staging');
    await assert.rejects(e.up('c', database, { from: 'main' }), {
      code: 'environment/grown',
      message: 'the database of environment "c" has grown from staging already',
    });
    await assert.rejects(e.up('e', database, { from: 'nobody' }), { code: 'api/not-found' });
    const elsewhere = { repository: '/other/.git', worktree: '/other' };
    assert.equal((await e.up('x', database, { ...elsewhere, cameFrom: ['a'] })).grownFrom, 'main');
  });

  it('goes along when its git branch is renamed', async () => {
    await using e = await testEnvironments();
    const { object: before } = await e.up('old');
    await e.up('other', {}, { worktree: '/elsewhere' });
    const owner = (branch: string) => ({ repository: '/code/.git', worktree: '/code', branch });
    const rename = (from: string, to: string) => renameEnvironment(e.store, owner(from), to);
    assert.equal(await rename('old', 'other'), undefined, 'that has one of its own');
    assert.equal(await rename('none', 'new'), undefined);
    // Whoever makes one for the new name at the same moment gets this one.
    const [name, { object }] = await Promise.all([rename('old', 'new'), e.up('new')]);
    assert.deepEqual([name, object.name, object.secret.routingKey], ['old', 'old', before.secret.routingKey]);
    assert.deepEqual(object.spec, {
      ...before.spec,
      description: 'environment of the git branch new of /code/.git',
      labels: { ...before.spec.labels, 'offshoot.dev/git-branch': 'new' },
    });
    assert.match((await e.up('old')).object.name, /^old-[0-9a-f]{8}$/, 'a new branch of that name');
  });

  it('goes although something grows from its database', async () => {
    await using e = await testEnvironments();
    await e.up('a');
    await createBranch(e.store, {
      ...{ project: 'default', name: 'sb-a', parent: 'main', owner: 'sandbox/a', afterOwner: 'trash' },
    });
    await createBranch(e.store, { project: 'default', name: 'child', parent: 'sb-a' });
    assert.ok((await deleteSandbox(e.store, 'a', { force: false }))?.deletedAt);
  });
});
