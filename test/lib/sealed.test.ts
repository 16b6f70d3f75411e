import assert from 'node:assert/strict';
import { it } from 'node:test';
import { newSealKey, seal, unseal } from '../../src/lib/sealed.ts';

const text = `ü\n"${'x'.repeat(20_000)}"`;

it('what is sealed comes back, among other lines, and from who had to begin again', () => {
  const key = newSealKey();
  const lines = seal(key, text);
  assert.ok(lines.length > 3 && lines.every(line => /^[\w+/= -]{1,9000}$/.test(line)));
  assert.equal(unseal(key, ['something else', ...lines, 'and more']), text);
  assert.equal(unseal(key, [...lines.slice(0, 2), lines.at(-1)!, ...lines]), text);
  assert.equal(unseal(key, seal(key, '')), '');
});

it('half of it is nothing, and what somebody else has made or changed is an error', () => {
  const key = newSealKey();
  const lines = seal(key, text);
  assert.equal(unseal(key, lines.slice(0, -1)), undefined);
  assert.equal(unseal(key, []), undefined);
  assert.throws(() => unseal(newSealKey(), lines));
  const [first, ...rest] = lines;
  const changed = first!.replace(/.$/, last => (last === 'A' ? 'B' : 'A'));
  assert.throws(() => unseal(key, [changed, ...rest]));
});
