import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NamedTable } from '../../src/data/catalog.ts';
import { chooseTables } from '../../src/data/choice.ts';

test('a condition for a table is one for its parts, at any depth, unless they have their own', () => {
  const table = (oid: string, plain: string, kind: 'r' | 'p') =>
    ({ oid, kind, schema: 'public', plain, name: `public.${plain}` }) as unknown as NamedTable;
  const all = [
    table('1', 'orders', 'p'),
    table('2', 'orders_2030', 'p'),
    table('3', 'orders_2030_01', 'r'),
    table('4', 'orders_2031', 'r'),
    table('5', 'other', 'r'),
  ];
  const parents = new Map([
    ['2', ['1']],
    ['3', ['2']],
    ['4', ['1']],
  ]);
  const where = { orders: 'id < 10', orders_2031: 'id < 20' };
  const { tables, conditionOf } = chooseTables(all, parents, { where });
  assert.deepEqual(
    tables.map(one => [one.oid, conditionOf(one)]),
    [
      ['3', 'id < 10'],
      ['4', 'id < 20'],
      ['5', undefined],
    ],
  );
});
