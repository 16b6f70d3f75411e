import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseMoment } from '../../src/cli/moment.ts';

test('a moment is written as people do: by the clock, as a time ago, or in full', () => {
  const now = new Date(2026, 10, 27, 12, 0, 0);
  const local = (day: number, hour: number, minute: number, second = 0, ms = 0) =>
    new Date(2026, 10, day, hour, minute, second, ms).toISOString().replace('Z', '000Z');
  for (const [text, moment] of [
    ['10:42', local(27, 10, 42)],
    ['9:42', local(27, 9, 42)],
    ['10:42:30', local(27, 10, 42, 30)],
    ['10:42:30.25', local(27, 10, 42, 30, 250)],
    ['13:00', local(26, 13, 0)], // today it is not over yet
    ['2026-11-25 10:42', local(25, 10, 42)],
    ['2026-11-25T10:42:30', local(25, 10, 42, 30)],
    ['15m ago', local(27, 11, 45)],
    ['2h', local(27, 10, 0)],
    ['now', local(27, 12, 0)],
    ['2026-11-27T10:42:30.123456+02:00', '2026-11-27T08:42:30.123456Z'],
    ['2026-11-27T10:42:30Z', '2026-11-27T10:42:30.000000Z'],
  ] as const)
    assert.equal(parseMoment(text, now), moment, text);
  for (const text of ['', 'noon', '25:00', '10:61', '2026-13-01T00:00:00Z', '10:42Z'])
    assert.throws(() => parseMoment(text, now), { code: 'history/bad-moment' }, text);
});
