import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  branchNameFor,
  branchNameProblem,
  labelNameProblem,
  labelOf,
  previewLabel,
  sandboxBranchName,
  sandboxNameFor,
  sandboxNameProblem,
  similarName,
} from '../../src/model/names.ts';

describe('names that people choose', () => {
  const good = ['a', 'a1', 'pr-12', 'x'.repeat(30)];
  const bad = ['', 'A', '1a', '-a', 'a-', 'a.b', 'a_b', 'ä', ' a', 'a\n'];

  it('of sandboxes are short labels without the separator of preview hosts', () => {
    for (const name of good) assert.equal(sandboxNameProblem(name), undefined, name);
    for (const name of bad) assert.ok(sandboxNameProblem(name), JSON.stringify(name));
    assert.equal(sandboxNameProblem('x'.repeat(31)), 'it has 31 characters, the most is 30');
    assert.match(sandboxNameProblem('a--b') ?? '', /contains "--"/);
  });

  it('of branches are as git has them', () => {
    const byGit = ['feature/Login-2', 'Fix_42', '1a', 'a.b', 'ä/ö', 'dependabot/npm_and_yarn/lodash-4.17.21'];
    for (const name of [...byGit, 'release/1.2', "it's$(x)#1%2F&;|<>!{}", 'a@b', 'ブランチ', 'x'.repeat(255)])
      assert.equal(branchNameProblem(name), undefined, name);
    const none = [
      '',
      ' a',
      'a b',
      'a\n',
      '-a',
      '/a',
      'a/',
      'a//b',
      'a..b',
      '.a',
      'a/.b',
      'a.',
      'a.lock',
      'a.lock/b',
    ];
    for (const name of [
      ...none,
      '@',
      'a@{b',
      'a~1',
      'a^',
      'a:b',
      'a?',
      'a*',
      'a[b',
      'a\\b',
      'a\x7f',
      'a\x9bm',
    ])
      assert.ok(branchNameProblem(name), JSON.stringify(name));
    for (const name of ['a\u202eb', 'a\u2028', '\ud800'])
      assert.ok(branchNameProblem(name), JSON.stringify(name));
    assert.equal(branchNameProblem('ä'.repeat(128)), 'it has 256 bytes, the most is 255');
    assert.equal(branchNameProblem('a b'), 'it contains " ", as no branch of git does');
  });

  it('that are none suggest one', () => {
    assert.equal(sandboxNameFor('Feature/Login_2'), 'feature-login-2');
    assert.equal(sandboxNameFor('42--Größe'), 'x-42-gro-e');
    assert.equal(sandboxNameFor('ブランチ'), 'x');
    assert.match(
      sandboxNameFor('dependabot/npm_and_yarn/lodash-4.17.21'),
      /^dependabot-npm-and-ya-[0-9a-f]{8}$/,
    );
    for (const name of ['Feature/Login_2', '42--Größe', 'ブランチ', '-', 'a/'.repeat(200)]) {
      assert.equal(sandboxNameProblem(sandboxNameFor(name)), undefined, name);
      assert.equal(branchNameProblem(branchNameFor(name)), undefined, name);
      assert.equal(labelNameProblem(branchNameFor(name)), undefined, name);
    }
  });

  it('of projects are labels', () => {
    for (const name of [...good, 'a--b', 'x'.repeat(63)])
      assert.equal(labelNameProblem(name), undefined, name);
    for (const name of bad) assert.ok(labelNameProblem(name), JSON.stringify(name));
    assert.equal(labelNameProblem('x'.repeat(64)), 'it has 64 characters, the most is 63');
  });
});

describe('names that are derived', () => {
  it('are labels of their parts, cut and told apart by a hash when too long', () => {
    assert.equal(labelOf(['sb', 'Users Db', 'x']), 'sb-users-db-x');
    const long = labelOf(['a'.repeat(60), 'bcd']);
    assert.equal(long.length, 63);
    assert.equal(labelNameProblem(long), undefined);
    assert.equal(labelOf(['a'.repeat(60), 'bcd']), long);
    assert.notEqual(labelOf(['a'.repeat(60), 'bce']), long);
    assert.match(labelOf(['a'.repeat(9), 'b'.repeat(20)], 19), /^aaaaaaaaa-[0-9a-f]{8}$/);
  });

  it('of a sandbox are the branch of its database and its preview hosts', () => {
    assert.equal(sandboxBranchName('pr-12'), 'sb-pr-12');
    assert.equal(sandboxBranchName('pr-12', 'usersDb'), 'sb-pr-12-usersdb');
    assert.equal(labelNameProblem(sandboxBranchName('x'.repeat(30), 'y'.repeat(60))), undefined);
    assert.equal(previewLabel('users-api', 'pr-12'), 'users-api--pr-12');
  });
});

describe('similarName', () => {
  const cases: readonly (readonly [name: string, known: readonly string[], expected: string | undefined])[] =
    [
      ['user-service', ['orders', 'users-service'], 'users-service'],
      ['usesr', ['users'], 'users'],
      ['USERS', ['users'], 'users'],
      ['db', ['dc', 'xy'], 'dc'],
      ['db', ['xy'], undefined],
      ['users', ['users-2', 'userz'], 'userz'],
      ['users', ['orders'], undefined],
      ['users', [], undefined],
    ];
  for (const [name, known, expected] of cases) {
    it(`of ${name} among ${known.join(', ') || 'none'} is ${expected}`, () => {
      assert.equal(similarName(name, known), expected);
    });
  }
});
