import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type EnvironmentOwner,
  environmentLabels,
  environmentNames,
  environmentOwner,
  sameEnvironment,
} from '../../src/model/environment.ts';
import { sandboxNameProblem } from '../../src/model/names.ts';

const of = (branch?: string, repository = '/code/shop/.git', worktree = '/code/shop'): EnvironmentOwner => ({
  ...{ repository, worktree },
  ...(branch !== undefined && { branch }),
});

test('names look like the branch, are valid, and the second one is nobody else’s', () => {
  assert.equal(environmentNames(of('feature/Login-2'))[0], 'feature-login-2');
  assert.equal(environmentNames(of(undefined, '/code/shop/.git', '/code/Shop 2'))[0], 'shop-2');
  const branches = [
    'fix',
    'FIX',
    'fix/',
    'ümlaut',
    '42',
    '漢字',
    'a'.repeat(200),
    `${'a'.repeat(200)}b`,
    '-',
  ];
  const owners = [
    ...branches.map(branch => of(branch)),
    of('fix', '/code/other/.git'),
    of(undefined, '/code/shop/.git', '/code/fix'),
    of(undefined, '/code/shop/.git', '/tmp/fix'),
  ];
  const names = owners.map(environmentNames);
  for (const name of names.flat()) assert.equal(sandboxNameProblem(name), undefined, name);
  assert.equal(new Set(names.map(([, own]) => own)).size, owners.length);
});

test('the labels of a sandbox say whose it is', () => {
  for (const owner of [of('fix'), of()])
    assert.deepEqual(environmentOwner({ labels: environmentLabels(owner) }), owner);
  assert.equal(environmentOwner({}), undefined);
  assert.equal(environmentOwner({ labels: { team: 'users' } }), undefined);
});

test('a branch is the same wherever it is checked out, a worktree without one is itself', () => {
  assert.ok(sameEnvironment(of('fix'), of('fix', '/code/shop/.git', '/code/elsewhere')));
  assert.ok(!sameEnvironment(of('fix'), of('fix', '/code/other/.git')));
  assert.ok(!sameEnvironment(of('fix'), of('Fix')));
  assert.ok(!sameEnvironment(of(), of(undefined, '/code/shop/.git', '/code/elsewhere')));
  assert.ok(!sameEnvironment(of('worktree'), of()));
});
