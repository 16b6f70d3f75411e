import assert from 'node:assert/strict';
import { it } from 'node:test';
import { testApi } from '../support/api.ts';

it('shows what would be brought back, and brings it back', async () => {
  const record = { id: 'blost', project: 'shop', branch: 'main', createdAt: '2029-01-01T00:00:00.000Z' };
  await using api = await testApi({ unclaimed: [{ id: 'blost', record }] });
  const plan = await api.client.repair.plan();
  assert.deepEqual(
    plan.map(({ id, project, branch }) => [id, project, branch]),
    [['blost', 'shop', 'main']],
  );
  assert.equal(api.store.get('branch', 'blost'), undefined);
  assert.deepEqual(await api.client.repair.run(), plan);
  assert.equal(api.store.get('branch', 'blost')?.spec.project, 'shop');
});
