import assert from 'node:assert/strict';
import { test } from 'node:test';
import { watchExits } from '../../../src/drivers/postgres/exits.ts';
import type { Exit, Running } from '../../../src/drivers/processes/contract.ts';

function server(): Running & { end(): Promise<void> } {
  const { promise: ended, resolve } = Promise.withResolvers<Exit>();
  const leader = { pid: 1, startedAt: '1' } as unknown as Running['leader'];
  return {
    leader,
    ended,
    async end() {
      resolve({ outOfMemory: false });
      await ended;
    },
  };
}

test('the next process goes on counting where the last one stopped', async () => {
  const first = watchExits();
  for (const _ of [1, 2, 3]) {
    const running = server();
    first.watch('a', running);
    await running.end();
  }
  assert.equal(first.of('a').count, 3);
  const notes = first.notes('a');

  const next = watchExits();
  const running = server();
  next.watch('a', running, notes);
  assert.equal(next.of('a').count, 3);
  await running.end();
  assert.equal(next.of('a').count, 4, 'it has not lived long');
});

test('a server that has lived for ten seconds, also under an earlier process, ends for the first time', async () => {
  const next = watchExits();
  const running = server();
  next.watch('a', running, { startedAt: String(Date.now() - 10_000), exits: '3' });
  const { upMs = 0 } = next.of('a');
  assert.ok(upMs >= 10_000);
  await running.end();
  assert.equal(next.of('a').count, 1);
});

test('what is ended on purpose is not counted, and forgotten', async () => {
  const exits = watchExits();
  const running = server();
  exits.watch('a', running, { exits: '3' });
  exits.forget('a');
  await running.end();
  assert.deepEqual([exits.of('a').count, exits.notes('a').exits], [0, '0']);
});
