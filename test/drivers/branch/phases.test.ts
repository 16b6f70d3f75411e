import assert from 'node:assert/strict';
import { it } from 'node:test';
import { outOfRoom } from '../../../src/drivers/branch/phases.ts';

it('says what a branch that is stopped lacks, in numbers, and what it waits for', () => {
  const seen = { id: 'br1', root: false, bytes: 3 * 2 ** 30, leftBytes: 20 * 2 ** 20 };
  const full = outOfRoom('fix', { ...seen, why: 'limit', limitBytes: 2 * 2 ** 30 }, 'room/br1');
  assert.deepEqual([full.failure?.code, full.reason], ['branch/over-limit', 'BranchOverLimit']);
  assert.deepEqual([full.phase, full.waits], ['server', 'room/br1']);
  assert.equal(full.message, 'branch "fix" was stopped: it takes 3 GiB, and its limit is 2 GiB');
  const low = outOfRoom('fix', { ...seen, why: 'room' }, 'room/br1');
  assert.deepEqual([low.failure?.code, low.reason], ['branch/no-room', 'BranchNoRoom']);
  assert.equal(low.message, 'branch "fix" is stopped: only 20 MiB are left on the disk for branches');
});
