import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseCount, parseCountOrNone, parseDuration } from '../../src/cli/options.ts';
import { UsageError } from '../../src/cli/output.ts';

test('durations', () => {
  assert.equal(parseDuration('500ms'), 500);
  assert.equal(parseDuration('90s'), 90_000);
  assert.equal(parseDuration('3m'), 180_000);
  assert.equal(parseDuration('1h30m'), 5_400_000);
  assert.equal(parseDuration('1.5s'), 1_500);
  assert.equal(parseDuration('596h'), 596 * 3_600_000);
  for (const text of ['', '5', 's', '5 s', '-5s', '5d', '5sx', 'x5s', '1e3s']) {
    assert.throws(() => parseDuration(text), UsageError, text);
  }
});

test('a duration that a timer cannot wait is refused rather than over at once', () => {
  assert.throws(() => parseDuration('597h'), /"597h" is too long; the longest is 596h/);
  assert.throws(() => parseDuration(`${'9'.repeat(400)}h`), UsageError);
});

test('counts', () => {
  assert.equal(parseCount('1'), 1);
  assert.equal(parseCount('200'), 200);
  for (const text of ['', '0', '-1', '1.5', '1e3', 'ten', ' 1', '1'.repeat(20)]) {
    assert.throws(() => parseCount(text), UsageError, text);
  }
});

test('counts of which none is one', () => {
  assert.equal(parseCountOrNone('0'), 0);
  assert.equal(parseCountOrNone('200'), 200);
  for (const text of ['', '00', '-1', '0.5']) assert.throws(() => parseCountOrNone(text), UsageError, text);
});
