import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { OffshootError } from '../../../src/model/errors.ts';
import { branchOfHost, findDestination } from '../../../src/proxy/postgres/destination.ts';

const find = (params: Record<string, string>) => {
  const { branch, startup } = findDestination({ version: 0x3_0000, params: new Map(Object.entries(params)) });
  return { branch, params: Object.fromEntries(startup.params) };
};
const refusedWith = (code: string) => (error: OffshootError) => error.code === code;

test('the branch stands behind the last dot of the user', () => {
  assert.deepEqual(find({ user: 'app.abcd1234', database: 'shop' }), {
    branch: 'abcd1234',
    params: { user: 'app', database: 'shop' },
  });
  assert.equal(find({ user: 'first.last.abcd1234' }).params.user, 'first.last');
});

test('the branch stands in the options, which go on without it', () => {
  assert.deepEqual(find({ user: 'app', options: '-c offshoot.branch=abcd1234' }), {
    branch: 'abcd1234',
    params: { user: 'app' },
  });
  assert.equal(
    find({ user: 'app', options: '--offshoot.branch=abcd1234 -c jit=off' }).params.options,
    '-c jit=off',
  );
});

test('the branch stands behind the last @ of the database', () => {
  assert.deepEqual(find({ user: 'app', database: 'shop@abcd1234' }), {
    branch: 'abcd1234',
    params: { user: 'app', database: 'shop' },
  });
  assert.equal(find({ user: 'app', database: 'a@b@abcd1234' }).params.database, 'a@b');
  assert.equal(find({ user: 'app.abcd1234', database: 'a@B' }).params.database, 'a@B');
  assert.throws(
    () => find({ user: 'app.abcd9999', database: 'shop@abcd1234' }),
    refusedWith('gateway/branch-conflict'),
  );
});

test('the branch stands in the host, below the domain or the name of this machine', () => {
  const site = { domain: 'example.com', advertised: 'DevBox.example.com' };
  assert.equal(branchOfHost('abcd1234.example.com', site), 'abcd1234');
  assert.equal(branchOfHost('ABCD1234.devbox.example.com.', site), 'abcd1234');
  for (const host of [
    'devbox.example.com',
    'example.com',
    'abcd1234.other.com',
    'a.b.example.com',
    'abcd1234',
    '',
  ])
    assert.equal(branchOfHost(host, site), undefined, host);
  assert.equal(branchOfHost('abcd1234.localhost', { domain: 'localhost' }), 'abcd1234');
  assert.equal(branchOfHost(undefined, site), undefined);
  const params = new Map([['user', 'app']]);
  assert.equal(findDestination({ version: 0x3_0000, params }, { host: 'abcd1234' }).branch, 'abcd1234');
  const other = new Map([['user', 'app.abcd9999']]);
  assert.throws(
    () => findDestination({ version: 0x3_0000, params: other }, { host: 'abcd1234' }),
    refusedWith('gateway/branch-conflict'),
  );
});

test('a port of its own is a branch, and roles there are called as they are', () => {
  const at = (user: string, more: Readonly<Record<string, string>> = {}, host?: string) => {
    const params = new Map(Object.entries({ user, ...more }));
    const { branch, startup } = findDestination({ version: 0x3_0000, params }, { port: 'abcd1234', host });
    return [branch, startup.params.get('user'), startup.params.get('database')];
  };
  assert.deepEqual(at('app'), ['abcd1234', 'app', undefined]);
  assert.deepEqual(at('app.abcd1234', { database: 'shop@abcd1234' }), ['abcd1234', 'app', 'shop']);
  assert.deepEqual(at('first.last', { database: 'me@work' }), ['abcd1234', 'first.last', 'me@work']);
  assert.throws(() => at('app', { options: '-c offshoot.branch=efgh5678' }), {
    code: 'gateway/branch-conflict',
  });
  assert.throws(() => at('app', {}, 'efgh5678'), { code: 'gateway/branch-conflict' });
  for (const user of ['offshoot', 'offshoot.abcd1234'])
    assert.throws(() => at(user), { code: 'gateway/reserved-role' });
});

test('a role with a dot that is no branch keeps it', () => {
  assert.equal(find({ user: 'first.x', options: '-c offshoot.branch=abcd1234' }).params.user, 'first.x');
});

test('the same branch in both places is one branch', () => {
  const found = find({ user: 'app.abcd1234', options: '-c offshoot.branch=abcd1234' });
  assert.deepEqual(found, { branch: 'abcd1234', params: { user: 'app' } });
});

test('a database that only repeats the user is left to the default of the server', () => {
  assert.deepEqual(find({ user: 'app.abcd1234', database: 'app.abcd1234' }).params, { user: 'app' });
});

test('two different branches are refused', () => {
  for (const params of [
    { user: 'app.abcd1234', options: '-c offshoot.branch=abcd9999' },
    { user: 'app', options: '-c offshoot.branch=abcd1234 -c offshoot.branch=abcd9999' },
  ])
    assert.throws(() => find(params), refusedWith('gateway/branch-conflict'));
});

test('a login without a branch is told how to name one', () => {
  for (const user of ['app', 'app.', '.abcd1234', 'app.UPPER', 'app.abc', `app.a${'b'.repeat(41)}`, ''])
    assert.throws(
      () => find({ user }),
      (error: OffshootError) =>
        error.code === 'gateway/no-branch' &&
        /ROLE\.BRANCHID.*-c offshoot\.branch=BRANCHID/.test(error.hint!),
    );
});

test('something that cannot be an id is a branch that does not exist', () => {
  for (const id of ['', '../x', 'ABCD', 'abc', `a${'b'.repeat(41)}`])
    assert.throws(
      () => find({ user: 'app', options: `-c offshoot.branch=${id}` }),
      refusedWith('gateway/branch-unknown'),
    );
});

test('the role of the daemon is refused, whatever way it is written', () => {
  for (const params of [
    { user: 'offshoot' },
    { user: 'offshoot.abcd1234' },
    { user: 'offshoot', options: '-c offshoot.branch=abcd1234' },
    { user: 'offshoot.abcd1234', options: '-c offshoot.branch=abcd1234' },
    { user: 'offshoot.abcd1234', replication: 'true' },
  ])
    assert.throws(() => find(params), refusedWith('gateway/reserved-role'));
});
