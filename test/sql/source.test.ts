import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Source, source } from '../../src/sql/source.ts';

/** The bytes in pieces of `size`. */
async function* pieces(text: string, size: number): AsyncGenerator<Buffer> {
  const bytes = Buffer.from(text, 'latin1');
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

const sizes = [1, 2, 3, 4, 5, 7, 1_000];

async function linesOf(from: Source): Promise<string[]> {
  const lines: string[] = [];
  for (let line = await from.next(); line !== undefined; line = await from.next()) lines.push(line);
  return lines;
}

async function rowsOf(from: Source): Promise<string> {
  const rows: Buffer[] = [];
  for await (const piece of from.rows()) rows.push(Buffer.from(piece));
  return Buffer.concat(rows).toString('latin1');
}

for (const size of sizes)
  test(`in pieces of ${size}`, async () => {
    const open = (text: string) => source('x.sql', pieces(text, size));
    assert.deepEqual(await linesOf(open('a\n\nb\r\nc')), ['a\n', '\n', 'b\r\n', 'c']);
    assert.deepEqual(await linesOf(open('')), []);
    assert.deepEqual(await linesOf(open('\xef\xbb\xbfa\n\xef\xbb\xbf')), ['a\n', '\xef\xbb\xbf']);
    assert.deepEqual(await linesOf(open('\xef\xbb')), ['\xef\xbb']);

    const rows: Readonly<Record<string, readonly [text: string, rows: string, rest: readonly string[]]>> = {
      'to the mark': [
        '1\\N\n\\\\.\nx\\.\n\\.x\n\\.\nselect 1;\n',
        '1\\N\n\\\\.\nx\\.\n\\.x\n',
        ['select 1;\n'],
      ],
      none: ['\\.\nselect 1;\n', '', ['select 1;\n']],
      'with other line ends': ['1\r\n\\.\r\nselect 1;\r\n', '1\r\n', ['select 1;\r\n']],
      'to the end': ['1\n2', '1\n2', []],
      'to a mark at the end': ['1\n\\.', '1\n', []],
    };
    for (const [what, [text, expected, rest]] of Object.entries(rows)) {
      const from = open(`copy;\n${text}`);
      await from.next();
      assert.equal(await rowsOf(from), expected, what);
      assert.equal(from.line, 1 + expected.split('\n').length - (text.includes('\\.') ? 0 : 1), what);
      assert.deepEqual(await linesOf(from), rest, what);
    }
  });

test('rows that were left in the middle of a line do not end there', async () => {
  const from = source('x.sql', pieces('aaaaaa\\.\nb\n\\.\nc\n', 6));
  for await (const piece of from.rows()) {
    assert.match(piece.toString(), /^a+$/);
    break;
  }
  assert.match(await rowsOf(from), /^a*\\\.\nb\n$/);
  assert.deepEqual(await linesOf(from), ['c\n']);
});

test('UTF-16 is told, not guessed at', async () => {
  await assert.rejects(
    linesOf(source('x.sql', pieces('\xff\xfea\0', 1))),
    /x\.sql is in UTF-16; save it as UTF-8/,
  );
});
