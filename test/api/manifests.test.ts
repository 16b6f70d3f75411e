/** Baseline manifests over HTTP. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ErrorBody } from '../../src/model/errors.ts';
import { nowhere } from '../../src/model/folder.ts';
import type { ManifestView } from '../../src/model/view.ts';
import { testApi } from '../support/api.ts';
import { applied, configMap, deployment, fork, service } from '../support/documents.ts';

const manifests = '/api/v1/manifests';
const file = (...documents: readonly object[]) => ({
  file: 'all.json',
  text: documents.map(d => JSON.stringify(d)).join('\n---\n'),
});

test('manifests are applied, listed, read and deleted', async () => {
  await using api = await testApi();
  const images = { users: { dir: '/src/users', command: ['node', 'app.ts'] } };
  const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'demo' } };
  const put = (...documents: readonly object[]) =>
    api.client.manifests.apply({ files: [file(...documents)], images });
  const outcomes = async (...documents: readonly object[]) =>
    (await put(...documents)).applied.map(m => `${m.kind} ${m.namespace}/${m.name} ${m.outcome}`);
  const all = [namespace, deployment('users'), service('users', { port: 80 })];
  assert.deepEqual(await outcomes(...all), [
    'Namespace /demo created',
    'Deployment demo/users created',
    'Service demo/users created',
  ]);
  assert.deepEqual(api.store.get('folder', nowhere)!.spec, { images });
  assert.deepEqual(await outcomes(deployment('users', { args: ['x'] }), all[2]!), [
    'Deployment demo/users configured',
    'Service demo/users unchanged',
  ]);
  const path = `${manifests}/Deployment/demo/users`;
  assert.deepEqual((await api.request('GET', path)).json(), {
    kind: 'Deployment',
    namespace: 'demo',
    name: 'users',
    ready: false,
    reason: 'Pending',
    message: 'not looked at yet',
    generation: 2,
    observedGeneration: 0,
  });
  assert.equal(((await api.request('GET', manifests)).json() as unknown[]).length, 3);
  const deleted = await api.request('DELETE', path);
  assert.equal(deleted.status, 202);
  assert.ok((deleted.json() as ManifestView).deletedAt);
});

test('all of them or none', async () => {
  await using api = await testApi();
  const bad = { ...configMap('c', {}), data: { key: 7 } };
  assert.match(
    await api.refused('PUT', manifests, { files: [file(configMap('a', {}), bad)] }),
    /^400 document\/invalid/,
  );
  await api.client.manifests.apply({ files: [file(configMap('goes', {}))] });
  await api.client.manifests.delete('ConfigMap', 'demo', 'goes');
  assert.match(
    await api.refused('PUT', manifests, { files: [file(configMap('a', {}), configMap('goes', {}))] }),
    /^409 manifest\/deleting/,
  );
  await assert.rejects(api.client.manifests.apply({ files: [file(configMap('goes', {}))] }), {
    code: 'manifest/deleting',
  });
  assert.deepEqual(
    (await api.client.manifests.list()).map(m => m.name),
    ['goes'],
  );
});

test('kinds without an effect here are left out and told of, or refused', async () => {
  await using api = await testApi();
  const account = {
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: { name: 'users', namespace: 'demo' },
  };
  const files = [file(account, configMap('a', {}))];
  assert.match(await api.refused('PUT', manifests, { files, strict: true }), /^422 document\/not-supported/);
  assert.deepEqual(await api.client.manifests.list(), []);
  const { applied, leftOut } = await api.client.manifests.apply({ files });
  assert.deepEqual(
    applied.map(m => m.name),
    ['a'],
  );
  assert.deepEqual(leftOut, [
    {
      ...{ kind: 'ServiceAccount', apiVersion: 'v1', namespace: 'demo', name: 'users' },
      ...{ effect: 'none', file: 'all.json', line: 1, column: 1, known: false },
    },
  ]);
});

test('manifests that are refused', async () => {
  await using api = await testApi();
  assert.match(await api.refused('PUT', manifests), /^400 api\/bad-request: .*files/);
  assert.match(await api.refused('PUT', manifests, { files: [] }), /^400 api\/bad-request: .*files/);
  const relative = { users: { dir: 'src', command: ['node'] } };
  assert.match(
    await api.refused('PUT', manifests, { files: [file(configMap('a', {}))], images: relative }),
    /^400 api\/bad-request: .*images.users.dir: must be an absolute path/,
  );
  await api.client.manifests.apply({ files: [file(deployment('users'))] });
  await applied(api.store, 'x', { forks: [fork('users')] });
  assert.match(
    await api.refused('DELETE', `${manifests}/Deployment/demo/users`),
    /^409 manifest\/in-use: Deployment "users" in namespace "demo" is forked by sandbox x/,
  );
  const inUse = await api.request('DELETE', `${manifests}/Deployment/demo/users`);
  assert.equal((inUse.json() as ErrorBody).code, 'manifest/in-use');
  for (const method of ['GET', 'DELETE'] as const) {
    assert.match(
      await api.refused(method, `${manifests}/Deployment/demo/nix`),
      /^404 api\/not-found: Deployment "nix" does not exist; see "offshoot status"/,
    );
  }
});
