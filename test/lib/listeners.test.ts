import assert from 'node:assert/strict';
import { it } from 'node:test';
import { Listeners } from '../../src/lib/listeners.ts';

it('tells everybody, also after one that throws, and then says what was thrown', () => {
  const errors: unknown[] = [];
  for (const failed of [undefined, (error: unknown) => void errors.push(error)]) {
    const listeners = new Listeners<string>(failed);
    const heard: string[] = [];
    const bad = new Error('bad');
    listeners.add(() => {
      throw bad;
    });
    const stop = listeners.add(news => void heard.push(news));
    if (failed === undefined) assert.throws(() => listeners.tell('one'), bad);
    else listeners.tell('one');
    stop();
    assert.deepEqual(heard, ['one']);
  }
  assert.equal(errors.length, 1);
});
