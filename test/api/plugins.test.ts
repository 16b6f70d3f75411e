/** Resource plugins over HTTP. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ErrorBody } from '../../src/model/errors.ts';
import type { PluginView } from '../../src/model/view.ts';
import { testApi } from '../support/api.ts';
import { applied, branchPlugin, tablePlugin } from '../support/documents.ts';

const plugins = '/api/v1/resource-plugins';

test('a plugin is installed, listed, read and deleted', async () => {
  await using api = await testApi();
  const put = (name: string, spec: object) =>
    api.request('PUT', `${plugins}/${name}`, { body: { name, spec } });
  const made = await put('table', tablePlugin);
  assert.equal(made.status, 201);
  const { name, outcome, status } = made.json() as PluginView & { outcome: string };
  assert.deepEqual([name, outcome, status], ['table@0.0.0', 'created', { resources: [] }]);
  const again = await put('table', tablePlugin);
  assert.deepEqual([again.status, (again.json() as { outcome: string }).outcome], [200, 'unchanged']);
  await put('table@1.0.0', tablePlugin);
  assert.deepEqual(
    (await api.client.plugins.list()).map(p => p.name),
    ['table@0.0.0', 'table@1.0.0'],
  );
  assert.equal((await api.client.plugins.get('table')).name, 'table@1.0.0');
  await applied(api.store, 'x', { resources: [{ name: 'db', plugin: 'table' }] });
  const { resources } = (await api.client.plugins.get('table@1.0.0')).status;
  assert.deepEqual(resources, [{ name: 'db', sandbox: 'x' }]);
  assert.deepEqual(await api.client.plugins.delete('table@0.0.0'), { name: 'table@0.0.0' });
});

test('a file that a script cannot have here is known before it runs', async () => {
  await using api = await testApi();
  const outputs = [{ name: 'id', valueFromPath: '/proc/id' }];
  const inputs = [{ name: 'id', valueFromStep: { name: 'make', output: 'id' }, as: { path: '/proc/id' } }];
  const spec = {
    create: [{ name: 'make', script: 'true', outputs }],
    delete: [{ name: 'unmake', script: 'true', inputs }],
  };
  const answer = await api.request('PUT', `${plugins}/odd`, { body: { name: 'odd', spec } });
  const { code, problems } = answer.json() as ErrorBody;
  assert.deepEqual([answer.status, code], [422, 'document/not-supported']);
  const message = 'a script cannot have the file /proc/id here: /proc is no place for files';
  assert.deepEqual(problems, [
    { file: 'the resource plugin "odd"', path: 'spec.create[0].outputs[0].valueFromPath', message },
    { file: 'the resource plugin "odd"', path: 'spec.delete[0].inputs[0].as.path', message },
  ]);
  assert.deepEqual(await api.client.plugins.list(), []);
});

test('plugins that are refused', async () => {
  await using api = await testApi();
  const refused = (name: string, body: unknown) => api.refused('PUT', `${plugins}/${name}`, body);
  const table = { name: 'table@1.0.0', spec: tablePlugin };
  await api.client.plugins.apply(table);
  assert.match(
    await refused('other', table),
    /^400 api\/bad-request: .*named "table@1.0.0", the path "other"/,
  );
  assert.match(await refused('table@1.0.0', undefined), /^400 document\/invalid/);
  assert.match(
    await refused('table@1.0.0', { name: 'table@1.0.0', spec: { creat: [] } }),
    /^400 document\/invalid/,
  );
  assert.match(
    await refused('table@1.0.0', { ...table, spec: branchPlugin }),
    /^409 plugin\/exists: .*; publish a new version, e.g. name: table@1.1.0/,
  );
  await applied(api.store, 'x', { resources: [{ name: 'db', plugin: 'table' }] });
  assert.match(await api.refused('DELETE', `${plugins}/table`), /^400 plugin\/in-use: .* sandbox x/);
  assert.match(
    await api.refused('GET', `${plugins}/nix`),
    /^404 api\/not-found: resourceplugin "nix" does not exist; see "offshoot resourceplugin list"/,
  );
  assert.match(await api.refused('DELETE', `${plugins}/nix`), /^404/);
});
