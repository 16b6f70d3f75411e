import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clusterClient } from '../../src/kubernetes/client.ts';
import { resources } from '../../src/kubernetes/resource.ts';
import { clockProblem } from '../../src/roles/clock.ts';
import { fakeApiServer } from '../support/fake-api-server.ts';

test('a clock that differs from the API server is said by how much and which way', async () => {
  await using api = await fakeApiServer();
  const client = clusterClient(api.access);
  const at = async (minutes: number) => {
    const date = new Date(Date.now() + minutes * 60_000).toUTCString();
    api.fault = () => ({ status: 404, body: {}, headers: { date } });
    await client.get(resources.Namespace, { name: 'x' });
    return clockProblem(client);
  };
  try {
    assert.deepEqual(clockProblem(client), [], 'nobody was asked yet');
    assert.deepEqual(await at(0.5), []);
    assert.match((await at(20))[0]!, /the clock of this machine is 20 minutes behind the API server's/);
    assert.match((await at(-5))[0]!, /5 minutes ahead of/);
    assert.deepEqual(await at(0), []);
  } finally {
    client.close();
  }
});
