import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readMaskRules, ruleText } from '../../src/model/mask.ts';

test('rules are read from what a file says', () => {
  const rules = readMaskRules({
    tables: {
      users: { email: 'email', ssn: null, plan: { constant: 3 }, born: { shift: 30, by: 'id' } },
      none: {},
    },
    keep: ['products.name'],
    'large-objects': 'keep',
    sql: 'UPDATE x SET y = 1',
  });
  assert.deepEqual(rules, {
    tables: {
      users: { email: 'email', ssn: 'null', plan: { constant: '3' }, born: { shift: 30, by: 'id' } },
      none: {},
    },
    keep: ['products.name'],
    largeObjects: 'keep',
    sql: ['UPDATE x SET y = 1'],
  });
  assert.deepEqual(readMaskRules({ tables: null, keep: null, 'large-objects': 'empty' }), { tables: {} });
  assert.equal(ruleText({ shift: 30, by: 'id' }), 'shift by up to 30 days, the same for each id');
  assert.equal(ruleText({ constant: 'a"' }), 'constant "a\\""');
});

test('the first place that is wrong is named', () => {
  for (const [file, where, why] of [
    ['x', 'the file', /no mapping/],
    [[], 'the file', /no mapping/],
    [{ table: {} }, 'table', /there are tables, keep/],
    [{ tables: [] }, 'tables', /no mapping/],
    [{ tables: { t: 'email' } }, 'tables.t', /no mapping/],
    [{ tables: { t: { c: 'e-mail' } } }, 'tables.t.c', /there is no rule "e-mail"; a rule is one of keep/],
    [{ tables: { t: { c: 7 } } }, 'tables.t.c', /a rule is one of/],
    [{ tables: { t: { c: { constant: 'x', shift: 3 } } } }, 'tables.t.c', /a rule is one of/],
    [{ tables: { t: { c: { constant: {} } } } }, 'tables.t.c', /a constant is a text/],
    [{ tables: { t: { c: { constant: 'a\0' } } } }, 'tables.t.c', /too long, or none/],
    [{ tables: { t: { c: { shift: 0 } } } }, 'tables.t.c', /a number of days/],
    [{ tables: { t: { c: { shift: 3, by: 4 } } } }, 'tables.t.c', /by takes a column/],
    [{ tables: { t: { c: { by: 'x' } } } }, 'tables.t.c', /a rule is one of/],
    [{ tables: { '': {} } }, 'tables', /a name in it is none/],
    [{ keep: 'users.name' }, 'keep', /a list of columns/],
    [{ keep: ['name'] }, 'keep: name', /TABLE\.COLUMN/],
    [{ sql: ['', 'x'] }, 'sql', /a list of statements/],
    [{ sql: { a: 1 } }, 'sql', /a list of statements/],
    [{ 'large-objects': 'drop' }, 'large-objects', /keep or empty/],
  ] as const)
    assert.throws(
      () => readMaskRules(file),
      (error: Error & { code: string; params: { where: string; why: string } }) => {
        assert.equal(error.code, 'mask/bad-rules');
        assert.equal(error.params.where, where);
        assert.match(error.params.why, why);
        return true;
      },
    );
});
