import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readSchedule, scheduleProblem } from '../../src/model/schedule.ts';

const at = (text: string) => new Date(text);

test('times follow the time zone, UTC when none is said', () => {
  const next = (zone?: string) =>
    readSchedule('30 2 * * *', zone).after(at('2030-06-01T00:00:00Z'))?.toISOString();
  assert.deepEqual(
    [next(), next('Europe/Berlin'), next('America/New_York')],
    ['2030-06-01T02:30:00.000Z', '2030-06-01T00:30:00.000Z', '2030-06-01T06:30:00.000Z'],
  );
});

test('a day of the month and one of the week: either', () => {
  const { after } = readSchedule('0 0 13 * FRI');
  assert.equal(after(at('2030-06-08T00:00:00Z'))?.toISOString(), '2030-06-13T00:00:00.000Z');
  assert.equal(after(at('2030-06-13T00:00:00Z'))?.toISOString(), '2030-06-14T00:00:00.000Z');
});

test('the newest time up to now; a date that never comes', () => {
  const { latest } = readSchedule('0 * * * *');
  const now = at('2030-01-01T03:00:00Z');
  assert.equal(latest(at('2030-01-01T00:30:00Z'), now)?.toISOString(), now.toISOString());
  assert.equal(latest(now, at('2030-01-01T03:59:59Z')), undefined);
  assert.equal(readSchedule('0 0 31 2 *').after(now), undefined);
  assert.equal(readSchedule('0 0 31 2 *').latest(at('2020-01-01T00:00:00Z'), now), undefined);
});

const schedules: readonly (readonly [
  schedule: string,
  zone: string | undefined,
  problem: RegExp | undefined,
])[] = [
  ['@hourly', undefined, undefined],
  ['*/15 0-5 1,15 * MON-FRI', 'Asia/Kathmandu', undefined],
  ['0 0 * * * *', undefined, /^schedule: must have five fields/],
  ['61 * * * *', undefined, /^schedule: must have five fields/],
  ['@reboot', undefined, /^schedule: must have five fields/],
  ['TZ=UTC 0 * * * *', undefined, /^schedule: a time zone stands under timeZone/],
  ['0 * * * *', 'Mars/Olympus', /^timeZone: there is no time zone "Mars\/Olympus"$/],
];
for (const [schedule, zone, problem] of schedules) {
  test(`"${schedule}" in ${zone ?? 'no zone'}: ${problem === undefined ? 'is taken' : 'is refused'}`, () => {
    const found = scheduleProblem(schedule, zone);
    if (problem === undefined) assert.equal(found, undefined);
    else assert.match(`${found?.field}: ${found?.message}`, problem);
  });
}
