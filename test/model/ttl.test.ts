import assert from 'node:assert/strict';
import { it } from 'node:test';
import { deleteTime } from '../../src/model/ttl.ts';

const times = { createdAt: '2030-01-01T00:00:00.000Z', updatedAt: '2030-06-01T00:00:00.000Z' };

const cases: readonly (readonly [duration: string, end: string])[] = [
  ['90m', '2030-01-01T01:30:00.000Z'],
  ['36h', '2030-01-02T12:00:00.000Z'],
  ['0d', '2030-01-01T00:00:00.000Z'],
  ['31d', '2030-02-01T00:00:00.000Z'],
  ['2w', '2030-01-15T00:00:00.000Z'],
  // The last time that a Date can say.
  ['4294967296w', '+275760-09-13T00:00:00.000Z'],
];

for (const [duration, end] of cases) {
  it(`${duration} end at ${end}`, () => assert.equal(deleteTime({ duration }, times), end));
}

it('is counted from the last change when the document says so', () => {
  assert.equal(deleteTime({ duration: '1h', offsetFrom: 'updatedAt' }, times), '2030-06-01T01:00:00.000Z');
  assert.equal(deleteTime({ duration: '1h', offsetFrom: 'createdAt' }, times), '2030-01-01T01:00:00.000Z');
});

it('never comes without a ttl', () => assert.equal(deleteTime(undefined, times), undefined));
