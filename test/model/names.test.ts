import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  labelNameProblem,
  labelOf,
  previewLabel,
  sandboxBranchName,
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

  it('of branches and projects are labels', () => {
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
