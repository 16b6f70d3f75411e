/** Another start of programs, over HTTP. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { storeBaseline } from '../../src/baseline/store-baseline.ts';
import { inputsOf } from '../../src/rules/inputs.ts';
import { testApi } from '../support/api.ts';
import { deploy, deployment, install, tablePlugin } from '../support/documents.ts';

const key = { kind: 'Deployment', namespace: 'demo', name: 'users' } as const;
const manifest = 'Deployment/demo/users';

async function restartApi() {
  const api = await testApi();
  await deploy(api.store, deployment('users'), deployment('orders'));
  await install(api.store, 'table', tablePlugin);
  const spec = { cluster: 'local', resources: [{ name: 'db', plugin: 'table' }], forks: [{ forkOf: key }] };
  await api.client.sandboxes.apply({ name: 'x', spec } as never);
  return api;
}

test('of workloads, forks and branches: what is asked for is as it was, and yet another start', async () => {
  await using api = await restartApi();
  const { store, client } = api;
  const around = { store, baseline: storeBaseline(store) };
  const before = store.get('manifest', manifest)!;
  const inputs = inputsOf(around, before);
  const [main] = await client.branches.list('default');
  const done = await client.restart({ of: ['users', 'sandbox/x', 'branch/main'] });
  assert.deepEqual(
    done.workloads.map(({ kind, name, ready }) => [kind, name, ready]),
    [['Deployment', 'users', false]],
  );
  assert.deepEqual(done.forks, [{ sandbox: 'x', forkOf: key }]);
  assert.deepEqual(
    done.branches.map(({ id }) => id),
    [main!.id],
  );
  const after = store.get('manifest', manifest)!;
  assert.deepEqual([after.spec, after.generation], [before.spec, before.generation]);
  assert.deepEqual([after.secret?.restarts, after.secret?.tries], [1, 1]);
  assert.notEqual(inputsOf(around, after), inputs, 'what was seen so far does not count');
  assert.deepEqual(store.get('sandbox', 'x')!.secret.restarts, { 'demo/users': 1 });
  assert.equal(store.get('branch', main!.id)!.secret.tries, 1);
  assert.equal(store.get('manifest', 'Deployment/demo/orders')!.secret?.restarts, undefined);
  await client.restart({ of: ['sandbox/x/users'], namespace: 'demo' });
  assert.deepEqual(store.get('sandbox', 'x')!.secret.restarts, { 'demo/users': 2 });
});

test('what cannot be started anew is refused, and nothing is', async () => {
  await using api = await restartApi();
  const refused = (...of: readonly string[]) => api.refused('POST', '/api/v1/restarts', { of });
  assert.match(await refused(), /^400 api\/bad-request: .*of/);
  assert.match(await refused('users', 'resource/x/db'), /^400 api\/bad-request: .*apply the sandbox again/);
  assert.match(await refused('users', 'nix'), /^404 .*workload "nix" does not exist/);
  assert.equal(api.store.get('manifest', manifest)!.secret?.restarts, undefined);
});
