import assert from 'node:assert/strict';
import { it } from 'node:test';
import {
  candidates,
  layoutOf,
  overlap,
  readIp,
  readRange,
  serviceAddress,
} from '../../../src/drivers/network/range.ts';

const range = (text: string) => readRange(text)!;

it('reads ranges and refuses what is none', () => {
  assert.deepEqual(range('10.208.16.0/20'), { text: '10.208.16.0/20', first: 0x0ad01000, bits: 20 });
  for (const wrong of [
    '10.208.16.1/20',
    '10.208.16.0',
    '10.208.256.0/20',
    '10.0.0.0/33',
    '10.0.0/8',
    '',
    'x/8',
  ])
    assert.equal(readRange(wrong), undefined, wrong);
  assert.equal(readIp('255.255.255.255'), 0xffff_ffff);
});

it('gives each instance all parts of the pool, in an order of its own', () => {
  const pool = range('10.208.0.0/12');
  const [a, b] = [candidates(pool, 'a'), candidates(pool, 'b')];
  assert.equal(new Set(a.map(({ text }) => text)).size, 256);
  assert.deepEqual(a.map(({ text }) => text).sort(), b.map(({ text }) => text).sort());
  assert.notEqual(a[0]!.text, b[0]!.text);
  assert.ok(a.every(part => overlap(part, pool) && part.bits === 20));
  assert.deepEqual(candidates(range('192.0.2.0/24'), 'a'), [range('192.0.2.0/24')]);
});

it('tells ranges that have an address in common', () => {
  assert.ok(overlap(range('10.0.0.0/8'), range('10.208.16.0/20')));
  assert.ok(!overlap(range('10.208.0.0/20'), range('10.208.16.0/20')));
});

it('keeps addresses of pods and Services apart, and each Service its own', () => {
  const layout = layoutOf(range('10.208.16.0/20'));
  assert.equal(layout.gateway, '10.208.16.1');
  assert.equal(layout.services.text, '10.208.24.0/21');
  const all = Array.from({ length: 2046 }, (_, attempt) => serviceAddress(layout, 'users', attempt));
  assert.equal(new Set(all).size, 2046);
  assert.ok(all.every(ip => overlap(range(`${ip}/32`), layout.services)));
  assert.ok(!all.includes('10.208.24.0') && !all.includes('10.208.31.255'));
  assert.equal(serviceAddress(layout, 'users', 0), all[0]);
});
