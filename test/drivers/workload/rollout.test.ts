/** What is started and what has to go, as a table: no processes. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { nextSteps, type PodState } from '../../../src/drivers/workload/rollout.ts';
import { rolloutOf } from '../../../src/drivers/workload/rollout-plan.ts';

const well = { ready: true, available: true, served: true, leaving: false };
const now = (index: number, state: Partial<PodState> = {}): PodState => ({
  index,
  current: true,
  ...well,
  ...state,
});
const old = (index: number, state: Partial<PodState> = {}): PodState =>
  now(index, { current: false, ...state });
const young = { ready: false, available: false, served: false };
const ill = { ready: false, available: false };

const rollout = (kind: string, spec: object = {}) => rolloutOf({ kind, spec: { ...spec } });

/** Plays a rollout to its end: what starts becomes available, what has to go is gone. @returns how many were available at least, and there at most */
function play(before: readonly PodState[], replicas: number, plan = rollout('Deployment', { replicas })) {
  let pods = [...before];
  let [least, most] = [Number.POSITIVE_INFINITY, 0];
  for (let turn = 0; turn < 100; turn++) {
    const { start, retire } = nextSteps(pods, replicas, plan);
    if (start.length + retire.length === 0) {
      if (pods.every(pod => pod.available)) return { pods, least, most };
      pods = pods.map(pod => ({ ...pod, ...well }));
    }
    pods = pods.filter(pod => !retire.includes(pod.index));
    least = Math.min(least, pods.filter(pod => pod.available).length);
    pods.push(...start.map(index => now(index, young)));
    most = Math.max(most, pods.length);
    assert.equal(new Set(pods.map(pod => pod.index)).size, pods.length, 'each number once');
  }
  return assert.fail('it has no end');
}

describe('rolling', () => {
  const one = rollout('Deployment', { replicas: 1 });

  it('starts what is missing, at the lowest numbers that are free, and ends what is too much', () => {
    assert.deepEqual(nextSteps([], 2, one), { start: [0, 1], retire: [] });
    assert.deepEqual(nextSteps([now(0), now(1, { leaving: true })], 2, one).start, [2]);
    assert.deepEqual(nextSteps([now(0), now(1), now(2, ill)], 1, one), { start: [], retire: [2, 1] });
    assert.deepEqual(nextSteps([now(0)], 0, one), { start: [], retire: [0] });
  });

  it('has a new one ready before the old one goes', () => {
    assert.deepEqual(nextSteps([old(0)], 1, one), { start: [1], retire: [] });
    assert.deepEqual(nextSteps([old(0), now(1, young)], 1, one), { start: [], retire: [] });
    assert.deepEqual(nextSteps([old(0), now(1, { available: false })], 1, one), { start: [], retire: [] });
    assert.deepEqual(nextSteps([old(0), now(1)], 1, one), { start: [], retire: [0] });
  });

  it('ends at once what is out of date and has never been ready', () => {
    assert.deepEqual(nextSteps([old(0, young)], 1, one), { start: [1], retire: [0] });
    assert.deepEqual(nextSteps([old(0), old(1, young)], 1, one), { start: [2], retire: [1] });
  });

  it('keeps to maxSurge and maxUnavailable, whatever they are', () => {
    for (const replicas of [1, 2, 3, 4, 7])
      for (const maxSurge of [0, 1, 2, '50%'])
        for (const maxUnavailable of [0, 1, 2, '50%']) {
          const plan = rollout('Deployment', {
            replicas,
            strategy: { rollingUpdate: { maxSurge, maxUnavailable } },
          });
          const before = Array.from({ length: replicas }, (_, index) => old(index));
          const { pods, least, most } = play(before, replicas, plan);
          assert.ok(pods.every(pod => pod.current && pod.available) && pods.length === replicas);
          assert.ok(most <= replicas + plan.maxSurge, `${most} pods`);
          assert.ok(least >= replicas - plan.maxUnavailable, `${least} available`);
        }
  });
});

it('recreates: none of the new before the last of the old is gone', () => {
  const plan = rollout('Deployment', { strategy: { type: 'Recreate' } });
  assert.deepEqual(nextSteps([old(0), old(1)], 2, plan), { start: [], retire: [0, 1] });
  assert.deepEqual(nextSteps([old(1, { leaving: true })], 2, plan), { start: [], retire: [] });
  assert.deepEqual(nextSteps([], 2, plan), { start: [0, 1], retire: [] });
});

describe('ordered, as a StatefulSet', () => {
  const plan = rollout('StatefulSet');

  it('starts one after the other, and ends from the highest down', () => {
    assert.deepEqual(nextSteps([], 3, plan).start, [0]);
    assert.deepEqual(nextSteps([now(0, young)], 3, plan).start, []);
    assert.deepEqual(nextSteps([now(0)], 3, plan).start, [1]);
    assert.deepEqual(nextSteps([now(0), now(1), now(2)], 1, plan).retire, [2]);
    assert.deepEqual(
      nextSteps([], 2, rollout('StatefulSet', { podManagementPolicy: 'Parallel' })).start,
      [0, 1],
    );
  });

  it('replaces from the highest down, each in its place, while all others are well', () => {
    assert.deepEqual(nextSteps([old(0), old(1)], 2, plan), { start: [], retire: [1] });
    assert.deepEqual(nextSteps([old(0), old(1, { leaving: true })], 2, plan), { start: [], retire: [] });
    assert.deepEqual(nextSteps([old(0)], 2, plan), { start: [1], retire: [] });
    assert.deepEqual(nextSteps([old(0), now(1, young)], 2, plan), { start: [], retire: [] });
    assert.deepEqual(nextSteps([old(0), now(1)], 2, plan), { start: [], retire: [0] });
    const upper = rollout('StatefulSet', { updateStrategy: { rollingUpdate: { partition: 1 } } });
    assert.deepEqual(nextSteps([old(0), old(1)], 2, upper), { start: [], retire: [1] });
    assert.deepEqual(nextSteps([old(0), now(1)], 2, upper), { start: [], retire: [] });
    assert.deepEqual(nextSteps([old(0, young), now(1)], 2, upper), { start: [], retire: [] });
  });

  it('replaces none that is there when they are replaced by hand', () => {
    const byHand = rollout('StatefulSet', { updateStrategy: { type: 'OnDelete' } });
    assert.deepEqual(nextSteps([old(0), old(1)], 2, byHand), { start: [], retire: [] });
    assert.deepEqual(nextSteps([old(0)], 2, byHand), { start: [1], retire: [] });
    assert.deepEqual(nextSteps([old(0), old(1)], 1, byHand), { start: [], retire: [1] });
    const again = { again: true };
    assert.deepEqual(nextSteps([old(0, again), old(1, again)], 2, byHand).retire, [1]);
    assert.deepEqual(nextSteps([old(0, again), now(1)], 2, byHand).retire, [0]);
  });

  it('begins at another number, and ends what has none of those numbers', () => {
    const from5 = rollout('StatefulSet', { ordinals: { start: 5 } });
    assert.deepEqual(nextSteps([], 2, from5).start, [5]);
    assert.deepEqual(nextSteps([now(5)], 2, from5), { start: [6], retire: [] });
    assert.deepEqual(nextSteps([now(5), now(6)], 2, from5), { start: [], retire: [] });
    assert.deepEqual(nextSteps([now(0), now(5), now(6)], 2, from5).retire, [0]);
    assert.deepEqual(nextSteps([old(5), old(6)], 2, from5).retire, [6]);
  });
});

it('leaves a paused Deployment as it is, but for the number of its pods', () => {
  const paused = rollout('Deployment', { paused: true });
  assert.deepEqual(nextSteps([old(0)], 1, paused), { start: [], retire: [] });
  assert.deepEqual(nextSteps([old(0)], 2, paused), { start: [1], retire: [] });
  assert.deepEqual(nextSteps([old(0), old(1)], 1, paused), { start: [], retire: [1] });
  assert.deepEqual(nextSteps([old(0, { again: true })], 1, paused), { start: [], retire: [0] });
});

it('reads strategies with the defaults of Kubernetes', () => {
  const { maxSurge, maxUnavailable, progressMs } = rollout('Deployment', { replicas: 10 });
  assert.deepEqual([maxSurge, maxUnavailable, progressMs], [3, 2, 600_000]);
  const none = { strategy: { rollingUpdate: { maxSurge: 0, maxUnavailable: '0%' } } };
  assert.equal(rollout('Deployment', none).maxUnavailable, 1);
  assert.equal(rollout('Pod').how, 'recreate');
  assert.deepEqual([rollout('DaemonSet').maxSurge, rollout('DaemonSet').maxUnavailable], [0, 1]);
});
