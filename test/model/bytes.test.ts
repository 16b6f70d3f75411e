import assert from 'node:assert/strict';
import { it } from 'node:test';
import { bytesText, parseBytes } from '../../src/model/bytes.ts';

it('reads sizes as people write them, and nothing else', () => {
  for (const [text, bytes] of [
    ['0', 0],
    ['1048576', 2 ** 20],
    ['64k', 65_536],
    ['512M', 2 ** 29],
    [' 20 GiB ', 20 * 2 ** 30],
    ['1TB', 2 ** 40],
  ] as const)
    assert.equal(parseBytes(text), bytes, text);
  for (const text of ['', 'M', '-1', '1.5G', '1 X', '999999999999999T', 'none'])
    assert.equal(parseBytes(text), undefined, text);
});

it('writes sizes in few digits', () => {
  for (const [bytes, text] of [
    [0, '0 bytes'],
    [1023, '1023 bytes'],
    [1024, '1 KiB'],
    [480 * 2 ** 20, '480 MiB'],
    [1.96 * 2 ** 30, '1.9 GiB'],
    [64 * 2 ** 30, '64 GiB'],
    [5000 * 2 ** 40, '5000 TiB'],
  ] as const)
    assert.equal(bytesText(bytes), text);
});
