import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withoutReady, withReady } from '../../src/kubernetes/ready.ts';

const routed = { type: 'Routed', status: 'True', reason: 'R', message: 'm', lastTransitionTime: 't' };
const base = { reason: 'Why', message: 'in words', observedGeneration: 3, conditions: [routed] };
const [early, late] = [new Date('2030-01-01T00:00:00Z'), new Date('2030-01-01T00:01:00Z')];
const readyOf = (status: unknown) =>
  (status as { conditions: { type: string }[] }).conditions.find(({ type }) => type === 'Ready');

test('sandboxes and branches are Ready when they say so, each in its way', () => {
  const cases = [
    [{ ready: true }, 'True'],
    [{ ready: false }, 'False'],
    [{ state: 'ready' }, 'True'],
    [{ state: 'creating' }, 'False'],
  ] as const;
  for (const [says, status] of cases)
    assert.deepEqual(readyOf(withReady({ ...base, ...says }, undefined, early)), {
      ...{ type: 'Ready', status, reason: 'Why', message: 'in words' },
      ...{ lastTransitionTime: early.toISOString(), observedGeneration: 3 },
    });
});

test('of a branch whose node is not heard of nobody knows it', () => {
  const silent = {
    type: 'NodeHeard',
    status: 'False',
    reason: 'NodeSilent',
    message: 'n',
    lastTransitionTime: 't',
  };
  const { status, reason, message } = readyOf(
    withReady({ ...base, state: 'ready', conditions: [silent] }, undefined, early),
  ) as unknown as typeof routed;
  assert.deepEqual([status, reason, message], ['Unknown', 'NodeSilent', 'n']);
});

test('its time is that of the last turn, and the way back leaves the rest as it was', () => {
  const first = withReady({ ...base, ready: false }, undefined, early);
  const same = withReady({ ...base, ready: false, reason: 'Other' }, first, late);
  const turned = withReady({ ...base, ready: true }, same, late);
  const times = [first, same, turned].map(
    status => (readyOf(status) as unknown as typeof routed).lastTransitionTime,
  );
  assert.deepEqual(
    times,
    [early, early, late].map(time => time.toISOString()),
  );
  assert.deepEqual(withoutReady(turned), { ...base, ready: true });
});

test('what has no conditions stays as it is', () => {
  for (const status of [null, undefined, { state: 'x' }]) {
    assert.equal(withReady(status, null, early), status);
    assert.equal(withoutReady(status), status);
  }
});
