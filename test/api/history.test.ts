/** Moments of branches that are over, over HTTP. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testApi } from '../support/api.ts';

const main = '/api/v1/projects/default/branches/main';

test('what is kept is said per branch, and in a cluster nothing is', async () => {
  await using api = await testApi();
  const { branches } = api.client;
  assert.deepEqual(await branches.history('default', 'main'), { name: 'main', history: null, reach: null });
  const at = '2020-01-01T00:00:00Z';
  for (const refused of [
    branches.setHistory('default', 'main', { keepSeconds: 3600 }),
    branches.create('default', { name: 'old', at }),
    branches.restore('default', 'main', { at }),
  ])
    await assert.rejects(refused, { code: 'history/in-a-cluster' });
});

test('who goes back to a moment is told which there are, before anything is made', async () => {
  const spans = [{ from: '2020-01-01T10:00:00.000000Z', to: '2020-01-01T11:00:00.000000Z' }];
  let kept = false;
  await using api = await testApi({
    history: async () => (kept ? { spans, snapshots: [], bytes: 0 } : undefined),
  });
  const { branches } = api.client;
  const keep = { keepSeconds: 7200, everySeconds: 600 };
  assert.deepEqual((await branches.setHistory('default', 'main', keep)).history, keep);
  for (const [keepSeconds, everySeconds] of [
    [91 * 86_400, 3600],
    [3600, 7200],
    [3600, 5],
  ] as const)
    await assert.rejects(branches.setHistory('default', 'main', { keepSeconds, everySeconds }), {
      code: 'history/bad-keep',
    });
  const at = '2020-01-01T10:30:00Z';
  await assert.rejects(branches.restore('default', 'main', { at }), { code: 'history/none' });
  kept = true;
  assert.match(
    await api.refused('POST', `${main}/restore`, { at: '2020-01-01T12:00:00Z' }),
    /history\/out-of-range: .*known from 2020-01-01T10:00:00.000000Z to 2020-01-01T11:00:00.000000Z/,
  );
  await assert.rejects(branches.restore('default', 'main', { at: 'noon' }), { code: 'history/bad-moment' });
  const moment = '2020-01-01T10:30:00.000000Z';
  const made = await branches.create('default', { name: 'old', at });
  assert.equal(made.moment, moment);
  assert.equal((await branches.reset('default', 'old', { at })).moment, moment);
  await assert.rejects(branches.restore('default', 'main', { at }), { code: 'branch/has-children' });
  assert.equal((await branches.restore('default', 'main', { at, force: true })).moment, moment);
  assert.equal(api.store.list('branch').find(b => b.spec.name === 'main')?.spec.reset?.moment, moment);
  assert.equal((await branches.setHistory('default', 'main', null)).history, null);
});
