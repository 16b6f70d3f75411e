import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type MaskedColumn, maskRows, ValueError } from '../../../src/data/mask/rows.ts';

const through = (text: string, columns: readonly MaskedColumn[], all: number, cut: number): string => {
  const out: Buffer[] = [];
  const rows = maskRows(columns, all, piece => out.push(piece));
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += cut) rows.push(bytes.subarray(at, at + cut));
  rows.end();
  return Buffer.concat(out).toString();
};

test('only the first columns of a row become others, wherever its bytes are cut', () => {
  const columns: readonly MaskedColumn[] = [
    { name: 't.a', mask: 'keep' },
    { name: 't.b', mask: (value, by) => `<${value}|${by}>`, by: 0 },
    { name: 't.c', mask: 'null' },
  ];
  const [text, expected] = textsWith('lang'.repeat(20_000));
  for (const cut of [4096, 65_536, 10 ** 7])
    assert.equal(through(text, columns, 5, cut), expected, `cut ${cut}`);
  const [short, other] = textsWith('lang');
  for (const cut of [1, 2, 7]) assert.equal(through(short, columns, 5, cut), other, `cut ${cut}`);
});

test('a table all of whose columns are masked ends its rows by itself', () => {
  const columns: readonly MaskedColumn[] = [{ name: 't.a', mask: value => `${value}!\n` }];
  assert.equal(through('x\n\\N\n\n', columns, 1, 1), 'x!\\n\n\\N\n!\\n\n');
});

test('rows that are none end a copy, and no sentence holds a value', () => {
  const fails = (name: string): readonly MaskedColumn[] => [
    {
      name,
      mask(value) {
        throw new Error(`bad: ${value}`);
      },
    },
    { name: 't.b', mask: 'null' },
  ];
  assert.throws(
    () => through('secret\tx\n', fails('t.a'), 2, 100),
    (error: ValueError) =>
      error instanceof ValueError && error.column === 't.a' && !/secret/.test(error.stack!),
  );
  const two: readonly MaskedColumn[] = [
    { name: 't.a', mask: 'null' },
    { name: 't.b', mask: 'null' },
  ];
  assert.throws(() => through('a\n', two, 2, 100), /another number of columns/);
  assert.throws(() => through('a\tb\tc\n', two, 2, 100), /another number of columns/);
  assert.throws(() => through('a\tb\na', two, 2, 100), /not whole/);
  assert.throws(() => through('a\tb', two, 3, 100), /not whole/);
  assert.throws(() => through(`${'x'.repeat(17 * 2 ** 20)}\tb\n`, two, 2, 2 ** 20), /longer than 16 MiB/);
});

// --- internal -----------------------------------------------------------------------------------

function textsWith(long: string): readonly [string, string] {
  const text = [
    'k\tv\tgone\trest\\t\trest',
    '\\N\tü\\\\\\n\\t\\b\\f\\r\\v\\N\tgone\t\t\\N',
    'a\\tb\t\\\\N\t\\N\t\\\\\t€',
    `k\t\\N\t\t\t${long}`,
    `k\t${long}\t\t\t`,
    '',
  ].join('\n');
  const expected = [
    'k\t<v|k>\t\\N\trest\\t\trest',
    '\\N\t<ü\\\\\\n\\t\\b\\f\\r\\vN|undefined>\t\\N\t\t\\N',
    'a\\tb\t<\\\\N|a\\tb>\t\\N\t\\\\\t€',
    `k\t\\N\t\\N\t\t${long}`,
    `k\t<${long}|k>\t\\N\t\t`,
    '',
  ].join('\n');
  return [text, expected];
}
