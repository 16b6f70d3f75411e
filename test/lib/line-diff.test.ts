import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { lineDiff } from '../../src/lib/line-diff.ts';

const lines = (...all: readonly (string | number)[]) => all.map(line => `${line}\n`).join('');

describe('the difference of two texts', () => {
  it('is nothing when they are equal', () => {
    assert.deepEqual(lineDiff(lines('a', 'b'), lines('a', 'b')), []);
    assert.deepEqual(lineDiff('', ''), []);
  });

  it('of nothing and something is all of it', () => {
    assert.deepEqual(lineDiff('', lines('a', 'b')), ['@@ -1 +1 @@', '+a', '+b']);
    assert.deepEqual(lineDiff(lines('a'), ''), ['@@ -1 +1 @@', '-a']);
  });

  it('has the lines around each change, and where it is in both', () => {
    const before = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
    const after = ['new', ...before.filter(n => n !== 10)];
    assert.deepEqual(lineDiff(lines(...before), lines(...after), 1), [
      ...['@@ -1 +1 @@', '+new', ' 1'],
      ...['@@ -9 +10 @@', ' 9', '-10', ' 11'],
    ]);
  });

  it('keeps what both have in common in the middle', () => {
    assert.deepEqual(lineDiff(lines('x', 'same', 'y'), lines('same', 'z')), [
      ...['@@ -1 +1 @@', '-x', ' same', '-y', '+z'],
    ]);
  });
});
