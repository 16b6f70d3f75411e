import assert from 'node:assert/strict';
import { it } from 'node:test';
import { createSlots } from '../../src/lib/slots.ts';

it('there are only so many places of a topic, and one that becomes free is told once', () => {
  const told: string[] = [];
  const slots = createSlots(topic => told.push(topic));
  const first = slots.take('a', 2);
  assert.ok(first && slots.take('a', 2));
  assert.equal(slots.take('a', 2), undefined);
  assert.ok(slots.take('b', 1), 'topics do not know each other');
  assert.ok(slots.take('a', 3), 'the limit is that of who asks');
  assert.deepEqual([slots.taken('a'), told], [3, []]);
  first();
  first();
  assert.deepEqual([slots.taken('a'), told], [2, ['a']]);
  assert.equal(slots.take('a', 2), undefined);
  assert.equal(slots.take('a', 0), undefined);
});

it('a place is free again before that is told', () => {
  const free: boolean[] = [];
  const slots = createSlots(topic => free.push(slots.take(topic, 1) !== undefined));
  slots.take('a', 1)!();
  assert.deepEqual(free, [true]);
});
