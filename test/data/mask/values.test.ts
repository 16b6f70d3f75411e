import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Column, Form } from '../../../src/data/mask/columns.ts';
import { moved } from '../../../src/data/mask/dates.ts';
import { mappedList } from '../../../src/data/mask/lists.ts';
import { drawWith } from '../../../src/data/mask/secret.ts';
import { maskOf, unfit } from '../../../src/data/mask/values.ts';
import { type MaskRule, PLAIN_RULES } from '../../../src/model/mask.ts';

const draw = drawWith(Buffer.alloc(32, 7).toString('base64'));

const column = (form: Form, more: Partial<Column> = {}): Column => ({
  ...{ table: '1', number: 1, plain: 'c', name: 'c', type: form, form, list: false },
  ...{ folds: false, padded: false, notNull: false, generated: false, counted: false },
  ...more,
});

const made = (rule: MaskRule, of: Column, value: string, by?: string, drawn = draw): string =>
  maskOf(rule, of, drawn)!(value, by);

test('what was equal stays equal, by another secret it is another', () => {
  const other = drawWith(Buffer.alloc(32, 8).toString('base64'));
  for (const rule of PLAIN_RULES) {
    const of = column('text');
    if (maskOf(rule, of, draw) === undefined) continue;
    const value = 'Anna Ångström, 4711';
    assert.equal(made(rule, of, value), made(rule, of, value), rule);
    assert.equal(unfit(rule, of), undefined);
    assert.doesNotMatch(made(rule, of, value), /Ångström|4711/);
    const values = Array.from({ length: 20 }, (_, i) => `${value}${i}`);
    const both = [draw, other].map(d => values.map(v => made(rule, of, v, undefined, d)).join());
    assert.notEqual(both[0], both[1], rule);
  }
  assert.throws(() => drawWith('c2hvcnQ='), /too short/);
});

test('made-up values fit where they go', () => {
  const shape = (rule: MaskRule, most: number | undefined, like: RegExp) =>
    assert.match(made(rule, column('text', most === undefined ? {} : { most }), 'x'), like);
  shape('email', undefined, /^[a-z]+\.[a-z]+\.[a-z2-7]{13}@example\.com$/);
  shape('email', 20, /^[a-z2-7]{8}@example\.com$/);
  shape('phone', undefined, /^\+999\d{12}$/);
  shape('phone', 10, /^\+999\d{6}$/);
  shape('name', undefined, /^[A-Z][a-z]+ [A-Z][a-z]+$/);
  shape('name', 4, /^.{2,4}$/);
  shape('address', undefined, /^\d+ \w+ \w+, \d{5} \w+$/);
  shape('hash', undefined, /^[\da-f]{32}$/);
  shape('hash', 10, /^[\da-f]{10}$/);
  assert.match(unfit('email', column('text', { most: 17 }))!, /too short for email, which takes 18/);
  assert.match(made('phone', column('integer', { bits: 63 }), '49'), /^999\d{12}$/);
  assert.match(
    made('hash', column('uuid'), 'x'),
    /^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/,
  );
  assert.match(made('hash', column('bytes'), '\\x00'), /^\\x[\da-f]{32}$/);
  assert.match(made('hash', column('address'), '192.0.2.1/24'), /^10\.\d+\.\d+\.\d+$/);
  assert.match(made('hash', column('address'), '2001:db8::1'), /^fd[\da-f]{2}(:[\da-f]{4}){7}$/);
});

test('a rule is refused for what it is not for', () => {
  assert.match(unfit('null', column('text', { notNull: true }))!, /may not be NULL/);
  for (const [rule, form] of [
    ['email', 'json'],
    ['hash', 'date'],
    ['phone', 'date'],
    ['scramble', 'uuid'],
    [{ shift: 3 }, 'text'],
    ['name', 'other'],
  ] as const)
    assert.match(unfit(rule, column(form))!, / is not for /);
  assert.match(unfit('phone', column('integer', { bits: 31 }))!, /phone is not for integer/);
  assert.equal(unfit({ constant: 'x' }, column('other')), undefined);
});

test('integers change places: none twice, the same in all widths', () => {
  for (const [from, bits] of [
    [-300n, 15],
    [32_600n, 15],
    [2n ** 31n - 300n, 31],
    [2n ** 63n - 300n, 63],
    [-(2n ** 63n), 63],
  ] as const) {
    const all = Array.from({ length: 300 }, (_, i) => from + BigInt(i)).filter(n => n < 2n ** BigInt(bits));
    const found = all.map(n => BigInt(made('hash', column('integer', { bits }), String(n))));
    assert.equal(new Set(found).size, all.length);
    for (const n of found) assert.ok(n >= -(2n ** BigInt(bits)) && n < 2n ** BigInt(bits), String(n));
    assert.notDeepEqual(found, all);
    const wide = all.map(n => BigInt(made('hash', column('integer', { bits: 63 }), String(n))));
    assert.deepEqual(wide, found);
  }
});

test('what a type takes for the same becomes the same', () => {
  const folding = column('text', { folds: true });
  assert.equal(made('email', folding, 'Anna@Example.org'), made('email', folding, 'anna@example.org'));
  const padded = column('text', { padded: true, most: 20 });
  assert.equal(made('hash', padded, 'ab   '), made('hash', padded, 'ab'));
});

test('dates move by days, moments by seconds, and those of one person together', () => {
  for (const [text, seconds, expected] of [
    ['2024-02-28', 86_400, '2024-02-29'],
    ['2024-03-01', -86_400, '2024-02-29'],
    ['1999-12-31 23:59:59.5+00', 1, '2000-01-01 00:00:00.5+00'],
    ['0001-01-01', -86_400, '0001-12-31 BC'],
    ['0001-12-31 BC', 86_400, '0001-01-01'],
    ['4713-01-01 BC', -86_400, '4713-01-02 BC'],
    ['5874897-12-31', 86_400, '5874897-12-30'],
    ['294276-12-31 00:00:00', 86_400, '294276-12-30 00:00:00'],
    ['infinity', 5, 'infinity'],
  ] as const)
    assert.equal(moved(text, seconds), expected, text);
  assert.throws(() => moved('12/31/2024', 1), /no date/);
  const born = made({ shift: 10 }, column('date'), '1980-05-20');
  assert.notEqual(born, '1980-05-20');
  assert.ok(Math.abs(Date.parse(born) - Date.parse('1980-05-20')) <= 10 * 86_400_000);
  const by = (value: string, who: string) =>
    Date.parse(`${made({ shift: 30, by: 'id' }, column('moment'), value, who).replace(' ', 'T')}Z`);
  assert.equal(by('2024-01-03 08:00:00', '7') - by('2024-01-01 07:00:00', '7'), 49 * 3_600_000);
});

test('scrambled texts, numbers and JSON keep their shape', () => {
  assert.match(
    made('scramble', column('text'), 'Dr. Élan-Ö 12, 中文 é!'),
    /^[A-Z][a-z]\. [A-Z][a-z]{3}-[A-Z] \d\d, [a-z]{2} [a-z]!$/,
  );
  assert.match(made('scramble', column('integer', { bits: 31 }), '-2147483647'), /^-1\d{9}$/);
  assert.match(made('scramble', column('number'), '0.050'), /^0\.\d{3}$/);
  assert.equal(made('scramble', column('number'), 'NaN'), 'NaN');
  const text = '{"name": "Anna \\"A\\" \\u00fc", "n": [1.5e3, -7, 0, null, true], "anna@x.org": {"": ""}}';
  const scrambled = made('scramble', column('json'), text);
  const { name, n, ...more } = JSON.parse(scrambled);
  assert.match(name, /^[A-Z][a-z]{3} "[A-Z]" [a-z]$/);
  assert.deepEqual(n.slice(2), [0, null, true]);
  assert.match(scrambled, /\[\d\.\de3, -\d, 0/);
  assert.match(Object.keys(more)[0]!, /^[a-z]{4}@[a-z]\.[a-z]{3}$/);
  assert.doesNotMatch(scrambled, /Anna|anna@x/);
});

test('lists are masked element by element', () => {
  const seen: string[] = [];
  const text = '[0:1][1:3]={{a,"b, \\"c\\" \\\\ {d}",NULL},{"","NULL"," e"}}';
  const other = mappedList(text, value => {
    seen.push(value);
    return `${value}"`;
  });
  assert.deepEqual(seen, ['a', 'b, "c" \\ {d}', '', 'NULL', ' e']);
  assert.equal(other, '[0:1][1:3]={{"a\\"","b, \\"c\\" \\\\ {d}\\"",NULL},{"\\"","NULL\\""," e\\""}}');
  assert.equal(mappedList('{}', String), '{}');
  for (const bad of ['x', '{a', '{"a', '{"a\\']) assert.throws(() => mappedList(bad, String), /no list/, bad);
});
