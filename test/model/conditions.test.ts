import assert from 'node:assert/strict';
import { it } from 'node:test';
import { setCondition } from '../../src/model/conditions.ts';

const [t1, t2, t3] = ['2030-01-01T00:00:01Z', '2030-01-01T00:00:02Z', '2030-01-01T00:00:03Z'] as const;
const said = (type: string, status: 'True' | 'False', reason: string) => ({
  type,
  status,
  reason,
  message: `${reason}!`,
});

it('keeps one condition per type, in the order in which they were first set', () => {
  const one = setCondition([], said('A', 'False', 'Starting'), t1);
  const two = setCondition(one, said('B', 'True', 'Done'), t2);
  const three = setCondition(two, said('A', 'True', 'Done'), t3);
  assert.deepEqual(three, [
    { ...said('A', 'True', 'Done'), lastTransitionTime: t3 },
    { ...said('B', 'True', 'Done'), lastTransitionTime: t2 },
  ]);
  assert.equal(three.find(c => c.type === 'B')?.lastTransitionTime, t2);
  assert.deepEqual(one, [{ ...said('A', 'False', 'Starting'), lastTransitionTime: t1 }]);
});

it('moves the transition time with the status only', () => {
  const before = setCondition([], said('A', 'False', 'Starting'), t1);
  const same = setCondition(before, said('A', 'False', 'Crashed'), t2);
  assert.deepEqual(same, [{ ...said('A', 'False', 'Crashed'), lastTransitionTime: t1 }]);
  const other = setCondition(same, { ...said('A', 'True', 'Done'), status: 'Unknown' }, t3);
  assert.equal(other[0]?.lastTransitionTime, t3);
});
