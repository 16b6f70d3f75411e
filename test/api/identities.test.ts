/** Identities of what is started apart. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testApi } from '../support/api.ts';

test('an identity is made for who can follow, and only where somebody can', async () => {
  await using api = await testApi({ feed: true });
  assert.deepEqual(await api.client.identity('gateway'), { name: 'gateway', identity: 'PEM' });
  assert.match(
    await api.refused('POST', '/api/v1/identities', { name: 'all' }),
    /^400 api\/bad-request: .*"all" is neither gateway nor workload/,
  );
  await using alone = await testApi();
  await assert.rejects(alone.client.identity('gateway'), { code: 'api/no-feed' });
});
