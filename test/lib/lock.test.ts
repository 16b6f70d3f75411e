import assert from 'node:assert/strict';
import { it } from 'node:test';
import { KeyedLock } from '../../src/lib/lock.ts';

it('lets one caller at a time in per key, in order of arrival, and others beside', async () => {
  const lock = new KeyedLock();
  const order: string[] = [];
  const gate = Promise.withResolvers<void>();
  const hold = (name: string, work = async () => {}) =>
    lock.run('a', async () => {
      order.push(`${name} in`);
      await work();
      order.push(`${name} out`);
      return name;
    });
  const all = [hold('first', () => gate.promise), hold('second'), hold('third')];
  assert.equal(await lock.run('b', async () => 'other key'), 'other key');
  gate.resolve();
  assert.deepEqual(await Promise.all(all), ['first', 'second', 'third']);
  assert.deepEqual(
    order,
    ['first', 'second', 'third'].flatMap(name => [`${name} in`, `${name} out`]),
  );
});

it('is released by a holder that fails', async () => {
  const lock = new KeyedLock();
  const boom = new Error('boom');
  const failing = lock.run('a', () => Promise.reject(boom));
  const next = lock.run('a', async () => 'in');
  await assert.rejects(failing, error => error === boom);
  assert.equal(await next, 'in');
});
