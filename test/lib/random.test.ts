import assert from 'node:assert/strict';
import { it } from 'node:test';
import { randomName, randomRoutingKey, randomSecret } from '../../src/lib/random.ts';

const many = (make: () => string): string[] => {
  const made = Array.from({ length: 500 }, make);
  assert.equal(new Set(made).size, made.length);
  return made;
};

it('makes names that are fit for DNS and SQL', () => {
  for (const name of many(() => randomName(12))) assert.match(name, /^[a-z][a-z0-9]{11}$/);
});

it('makes secrets that need no quoting, of all letters and digits', () => {
  const secrets = many(() => randomSecret(32));
  for (const secret of secrets) assert.match(secret, /^[A-Za-z0-9]{32}$/);
  assert.equal(new Set(secrets.join('')).size, 62);
});

it('makes routing keys of 13 characters without vowels', () => {
  for (const key of many(randomRoutingKey)) assert.match(key, /^[b-df-hj-np-tv-z0-9]{13}$/);
});
