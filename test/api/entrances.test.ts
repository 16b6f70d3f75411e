import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testApi } from '../support/api.ts';
import { runCli } from '../support/cli.ts';
import { deploy, deployment } from '../support/documents.ts';

test('who may enter is told the way, which is an event; one that leads elsewhere is not gone', async () => {
  await using api = await testApi();
  await deploy(api.store, deployment('users'));
  const there = await api.client.enter({ of: 'users', program: 'psql' });
  assert.deepEqual([there.pod, there.container, there.env], ['users-0', 'main', { SECRET: 'x' }]);
  const { key } = await api.client.keys.create('laptop');
  const asked = await api.request('POST', '/api/v1/entrances', {
    body: { of: 'deploy/users', program: 'env', container: 'side' },
    headers: { 'offshoot-api-key': key },
  });
  assert.equal(asked.status, 200);
  const events = (await api.client.events()).filter(({ reason }) => reason === 'Entered');
  assert.deepEqual(
    events.map(({ kind, name, message }) => `${kind} ${name}: ${message}`),
    [
      'manifest Deployment/demo/users: the command line of this machine runs "psql" in container "main" of deployment/users',
      'manifest Deployment/demo/users: the key "laptop" runs "env" in container "side" of deployment/users',
    ],
  );
  await assert.rejects(api.client.enter({ of: 'users', container: 'closed', program: 'x' }), {
    code: 'workload/closed',
    message: 'deployment/users cannot be entered: it does not run at the moment',
  });
  await assert.rejects(api.client.enter({ of: 'branch/main', program: 'x' }), { code: 'api/bad-request' });
  assert.equal((await api.client.events()).filter(({ reason }) => reason === 'Entered').length, 2);

  const env = { OFFSHOOT_API_URL: api.url, OFFSHOOT_API_KEY: api.apiKey };
  const elsewhere = await runCli(['shell', 'users'], { env });
  assert.equal(elsewhere.code, 1);
  assert.match(elsewhere.stderr, /users cannot be entered: it runs on another machine than this one/);
  assert.match(elsewhere.stderr, /hint: exec and shell are for the machine of the daemon/);
  const nothing = await runCli(['exec', 'users'], { env });
  assert.equal(nothing.code, 2);
  assert.match(nothing.stderr, /what is to run there\?/);
});
