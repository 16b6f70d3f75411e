import assert from 'node:assert/strict';
import { it } from 'node:test';
import { shared } from '../../src/lib/shared.ts';

it('runs once for all who ask before it begins, and once more for all who ask while it runs', async () => {
  const runs: PromiseWithResolvers<number>[] = [];
  const ask = shared(() => {
    const run = Promise.withResolvers<number>();
    runs.push(run);
    return run.promise;
  });
  const first = [ask(), ask()];
  await Promise.resolve();
  assert.equal(runs.length, 1);
  const second = [ask(), ask(), ask()];
  runs[0]!.resolve(1);
  assert.deepEqual(await Promise.all(first), [1, 1]);
  await new Promise(setImmediate);
  runs[1]!.resolve(2);
  assert.deepEqual(await Promise.all(second), [2, 2, 2]);
  assert.equal(runs.length, 2);
});

it('goes on after a run that failed, which only those hear of who asked for it', async () => {
  let runs = 0;
  const ask = shared(async () => {
    runs += 1;
    if (runs === 1) throw new Error('it is broken');
    return runs;
  });
  await assert.rejects(ask(), /it is broken/);
  assert.equal(await ask(), 2);
});
