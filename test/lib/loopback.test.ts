import assert from 'node:assert/strict';
import { it } from 'node:test';
import { loopbackFor } from '../../src/lib/loopback.ts';

it('gives every key addresses of its own in 127.77.0.0/16, always the same', () => {
  const keys = Array.from({ length: 300 }, (_, i) => `service-${i}`);
  for (const key of keys) {
    const [, a, b] = /^127\.77\.(\d+)\.(\d+)$/.exec(loopbackFor(key))!.map(Number);
    assert.ok(a! <= 255 && b! >= 1 && b! <= 254, loopbackFor(key));
    assert.equal(loopbackFor(key), loopbackFor(key, 0));
    assert.notEqual(loopbackFor(key, 1), loopbackFor(key));
  }
  // Of 65 000, so now and then two are the same; that is what attempts are for.
  assert.ok(new Set(keys.map(key => loopbackFor(key))).size > 290);
});
