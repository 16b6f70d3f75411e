import assert from 'node:assert/strict';
import { it } from 'node:test';
import { createWaitingRoom } from '../../src/reconcile/waiting-room.ts';

const never = new AbortController().signal;

it('one event is enough for all who wait for the same, and none for the others', async () => {
  const room = createWaitingRoom<number>();
  const first = [room.wait('a', never), room.wait('a', never)];
  const other = room.wait('b', never);
  assert.deepEqual([room.size('a'), room.size('b'), room.size('c')], [2, 1, 0]);
  room.admit('a', 1);
  assert.deepEqual(await Promise.all(first), [1, 1]);
  assert.deepEqual([room.size('a'), room.size('b')], [0, 1]);
  const next = room.wait('a', never);
  room.refuse('b', new Error('no'));
  await assert.rejects(other, { message: 'no' });
  room.admit('a', 2);
  assert.equal(await next, 2);
});

it('who has no patience leaves, and the last one leaves nothing', async () => {
  const room = createWaitingRoom<number>();
  const stop = new AbortController();
  const leaving = room.wait('a', stop.signal);
  const staying = room.wait('a', never);
  stop.abort(new Error('enough'));
  await assert.rejects(leaving, { message: 'enough' });
  await assert.rejects(room.wait('a', stop.signal), { message: 'enough' });
  assert.equal(room.size('a'), 1);
  room.admit('a', 1);
  assert.equal(await staying, 1);
  const last = new AbortController();
  const alone = room.wait('a', last.signal);
  last.abort(new Error('enough'));
  await assert.rejects(alone);
  assert.equal(room.size('a'), 0);
});
