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

it('is shared by those who only want that nobody holds it alone', async () => {
  const lock = new KeyedLock();
  const order: string[] = [];
  const gates = [1, 2].map(() => Promise.withResolvers<void>());
  const reader = (name: string, wait?: Promise<void>) =>
    lock.runAll({ shared: ['a'] }, async () => {
      order.push(`${name} in`);
      await wait;
      order.push(`${name} out`);
    });
  const all = [reader('r1', gates[0]!.promise), reader('r2', gates[1]!.promise)];
  all.push(
    lock.run('a', async () => void order.push('alone')),
    reader('r3'),
  );
  await new Promise(setImmediate);
  assert.deepEqual(order, ['r1 in', 'r2 in']);
  gates[1]!.resolve();
  await all[1];
  assert.deepEqual(order, ['r1 in', 'r2 in', 'r2 out'], 'one of two is not all');
  gates[0]!.resolve();
  await Promise.all(all);
  assert.deepEqual(order.slice(3), ['r1 out', 'alone', 'r3 in', 'r3 out']);
});

it('takes several keys so that no two wait for each other', async () => {
  const lock = new KeyedLock();
  const done: string[] = [];
  const hold = (alone: string[], shared: string[]) =>
    lock.runAll({ alone, shared }, async () => {
      await new Promise(setImmediate);
      done.push(alone.join());
    });
  await Promise.all([
    hold(['a', 'b'], ['c']),
    hold(['b', 'a'], ['c']),
    hold(['c'], ['a']),
    hold(['c', 'a'], []),
    hold(['a'], ['a', 'b', 'c']),
  ]);
  assert.equal(done.length, 5);
});
