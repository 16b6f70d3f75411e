/** No answer holds a secret, except those that are there to hand one out. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { newResourceRecord } from '../../src/model/resource-record.ts';
import { createBranch } from '../../src/rules/branches.ts';
import { testApi } from '../support/api.ts';
import { applied, deploy, deployment, install, tablePlugin } from '../support/documents.ts';

test('passwords, outputs, hashes, keys and the content of Secrets stay inside', async () => {
  await using api = await testApi();
  const { store } = api;
  const outputs = { id: 'output-that-is-secret' };
  await install(store, 'table', tablePlugin);
  await deploy(store, deployment('users'), {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 'db', namespace: 'demo' },
    data: { url: Buffer.from('manifest-secret').toString('base64') },
  });
  const { routingKey } = (await applied(store, 'x', { resources: [{ name: 'db', plugin: 'table' }] })).secret;
  const make = { state: 'succeeded', startedAt: '2030-01-01T00:00:00.000Z', outputs } as const;
  const db = { ...newResourceRecord('table@0.0.0'), create: { make } };
  await store.modify('sandbox', 'x', () => ({ secret: { routingKey, resources: { db } } }));
  const branch = await createBranch(store, { project: 'default', name: 'fix', parent: 'main' });
  const { key } = await api.client.keys.create('laptop');
  const secrets = [
    branch.secret.password,
    outputs.id,
    'manifest-secret',
    Buffer.from('manifest-secret').toString('base64'),
    key,
    createHash('sha256').update(key).digest('hex'),
    api.apiKey,
  ];

  const reads = [
    '/status',
    '/doctor',
    '/events',
    '/keys',
    '/projects',
    '/projects/default',
    '/projects/default/branches',
    '/projects/default/branches/fix',
    '/sandboxes',
    '/sandboxes/x',
    '/sandboxes/nix',
    '/resource-plugins',
    '/resource-plugins/table',
    '/manifests',
    '/manifests/Secret/demo/db',
    '/workloads/routing-rules',
  ];
  for (const path of reads) await look('GET', path);
  await look('PUT', '/sandboxes/x', { name: 'x', spec: store.get('sandbox', 'x')!.spec });
  await look('PUT', '/sandboxes/x', { name: 'x', spec: {} });
  await look('POST', '/projects/default/branches', { name: 'fix' });
  await look('DELETE', '/sandboxes/x');
  await look('DELETE', '/projects/default/branches/fix');
  await look('DELETE', '/keys/laptop');
  const stop = AbortSignal.timeout(60_000);
  for await (const change of api.client.watch({}, stop)) {
    mustNotHold('watch', JSON.stringify(change));
    if (change.type === 'synced') break;
  }
  const rotated = await api.request('POST', '/api/v1/projects/default/branches/main/rotate-password');
  assert.ok(!rotated.body.includes(store.list('branch')[0]!.secret.password));

  async function look(method: string, path: string, body?: unknown): Promise<void> {
    const answer = await api.request(method, `/api/v1${path}`, { body });
    mustNotHold(`${method} ${path}`, answer.body);
  }
  function mustNotHold(what: string, text: string): void {
    for (const secret of secrets) assert.ok(!text.includes(secret), `${what} holds ${secret}`);
  }
});
