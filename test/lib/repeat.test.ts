import assert from 'node:assert/strict';
import { it } from 'node:test';
import { repeat } from '../../src/lib/repeat.ts';
import { until } from '../../src/lib/wait.ts';

const soon = (what: string, probe: () => boolean) =>
  until(() => (probe() ? true : undefined), { what, deadlineMs: 60_000 });

it('looks again after the pause that a look asked for, and after an error', async () => {
  let looks = 0;
  const errors: unknown[] = [];
  const looking = repeat(
    async () => {
      if (++looks === 2) throw new Error('no luck');
      return 1;
    },
    error => errors.push(error),
    1,
  );
  await soon('four looks', () => looks >= 4);
  await looking.stop();
  const seen = looks;
  assert.equal((errors[0] as Error).message, 'no luck');
  assert.equal(errors.length, 1);
  await new Promise(setImmediate);
  assert.equal(looks, seen);
});

it('looks at once when asked to, never twice at the same time, and ends what goes on before it stops', async () => {
  let [looks, now, most] = [0, 0, 0];
  let release = () => {};
  const looking = repeat(async () => {
    looks++;
    most = Math.max(most, ++now);
    await new Promise<void>(resolve => {
      release = resolve;
    });
    now--;
    return 60_000;
  }, assert.ifError);
  looking.now();
  looking.now();
  release();
  await soon('a second look', () => looks === 2);
  release();
  await soon('the second look has ended', () => now === 0);
  looking.now();
  await soon('a third look', () => looks === 3);
  let stopped = false;
  const stopping = looking.stop().then(() => {
    stopped = true;
  });
  await new Promise(setImmediate);
  assert.equal(stopped, false);
  release();
  await stopping;
  assert.deepEqual([looks, most], [3, 1]);
});
