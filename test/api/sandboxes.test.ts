/** Sandboxes over HTTP. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SandboxView } from '../../src/model/view.ts';
import { removeSandbox } from '../../src/rules/sandboxes.ts';
import { testApi } from '../support/api.ts';
import { applied, deploy, deployment, install, service, tablePlugin } from '../support/documents.ts';

const sandboxes = '/api/v1/sandboxes';

const document = (name: string) => ({
  name,
  spec: {
    cluster: 'local',
    resources: [{ name: 'db', plugin: 'table' }],
    forks: [{ forkOf: { kind: 'Deployment', namespace: 'demo', name: 'users' } }],
  },
});

async function apiWithBaseline() {
  const api = await testApi();
  await deploy(api.store, deployment('users'), service('users', { port: 80 }));
  await install(api.store, 'table', tablePlugin);
  return api;
}

test('a sandbox is applied, read and deleted', async () => {
  await using api = await apiWithBaseline();
  const made = await api.request('PUT', `${sandboxes}/x`, { body: document('x') });
  assert.equal(made.status, 201);
  const { outcome, warnings, changed, migrates, ...view } = made.json() as SandboxView & {
    outcome: string;
    warnings: string[];
    changed: unknown[];
    migrates: boolean;
  };
  assert.deepEqual([outcome, warnings, changed, migrates], ['created', [], [], false]);
  assert.match(view.routingKey, /^[a-z0-9]{13}$/);
  assert.equal(view.generation, 1);
  assert.deepEqual(view.endpoints, []);
  assert.deepEqual(view.status, {
    ready: false,
    failed: false,
    reason: 'InProgress',
    message: 'being created',
    observedGeneration: 0,
    conditions: [],
    resources: [
      { name: 'db', plugin: 'table@0.0.0', ready: false, failed: false, workflow: 'create', steps: [] },
    ],
    forks: [],
  });
  assert.deepEqual((await api.request('GET', `${sandboxes}/x`)).json(), view);
  assert.deepEqual((await api.request('GET', sandboxes)).json(), [view]);

  const same = await api.request('PUT', `${sandboxes}/x`, { body: document('x') });
  assert.deepEqual([same.status, (same.json() as { outcome: string }).outcome], [200, 'unchanged']);
  const described = { ...document('x'), spec: { ...document('x').spec, description: 'mine' } };
  const updated = (await api.request('PUT', `${sandboxes}/x`, { body: described })).json();
  assert.deepEqual(
    [(updated as SandboxView).generation, (updated as { outcome: string }).outcome],
    [2, 'updated'],
  );

  const first = await api.request('DELETE', `${sandboxes}/x`);
  assert.equal(first.status, 202);
  const { already, deletedAt } = first.json() as { already: boolean; deletedAt: string };
  assert.deepEqual([already, Date.parse(deletedAt) > 0], [false, true]);
  assert.equal((await api.client.sandboxes.delete('x')).already, true);
  assert.match(
    await api.refused('PUT', `${sandboxes}/x`, document('x')),
    /^409 sandbox\/deleting: sandbox "x" is being deleted/,
  );
});

test('force is remembered', async () => {
  await using api = await apiWithBaseline();
  await api.client.sandboxes.apply(document('x') as never);
  await api.client.sandboxes.delete('x', { force: true });
  assert.equal(api.store.get('sandbox', 'x')!.secret.force, true);
});

test('sandboxes that are refused leave nothing behind', async () => {
  await using api = await apiWithBaseline();
  const refused = (name: string, body: unknown) => api.refused('PUT', `${sandboxes}/${name}`, body);
  const change = (spec: object) => ({ name: 'x', spec: { ...document('x').spec, ...spec } });
  assert.match(await refused('x', document('y')), /^400 api\/bad-request: .*named "y", the path "x"/);
  assert.match(
    await refused('x', change({ unknown: 1 })),
    /^400 document\/invalid: the sandbox is not valid: 1 problem/,
  );
  assert.match(await refused('x', undefined), /^400 document\/invalid/);
  assert.match(await refused('x', change({ local: [{ name: 'l' }] })), /^(400|422) document\//);
  assert.match(
    await refused('x', change({ resources: [{ name: 'db', plugin: 'tabel' }] })),
    /^422 sandbox\/plugin-missing: .*did you mean "table"/,
  );
  const forks = [{ forkOf: { kind: 'Deployment', namespace: 'demo', name: 'nix' } }];
  assert.match(await refused('x', change({ forks })), /^422 sandbox\/baseline-missing/);
  const endpoints = [{ name: 'e', host: 'users.demo.svc', port: 81, protocol: 'http' }];
  assert.match(
    await refused('x', change({ endpoints })),
    /^422 sandbox\/port-missing: .*; its ports are: 80/,
  );
  assert.deepEqual(await api.client.sandboxes.list(), []);
});

test('the problems of a document are listed', async () => {
  await using api = await apiWithBaseline();
  const answer = await api.request('PUT', `${sandboxes}/x`, {
    body: { name: 'x', spec: { clusters: 'local' } },
  });
  const { problems } = answer.json() as { problems: { path: string; suggestion?: string }[] };
  assert.ok(problems.some(p => p.suggestion === 'cluster'));
});

test('a sandbox that was deleted is told apart from one that never was', async () => {
  await using api = await testApi();
  const deleted = {
    kind: 'sandbox',
    name: 'was',
    severity: 'info',
    reason: 'Deleted',
    message: 'gone',
  } as const;
  await api.store.record(deleted);
  assert.match(
    await api.refused('DELETE', '/api/v1/sandboxes/was'),
    /^404 sandbox\/gone: sandbox "was" is gone already: it was deleted at 20/,
  );
});

test('a sandbox that does not exist', async () => {
  await using api = await apiWithBaseline();
  const expected = '404 api/not-found: sandbox "nix" does not exist; see "offshoot sandbox list"';
  assert.equal(await api.refused('GET', `${sandboxes}/nix`), expected);
  assert.equal(await api.refused('DELETE', `${sandboxes}/nix`), expected);
});

test('routing rules of all forks, filtered', async () => {
  await using api = await apiWithBaseline();
  const forks = [
    {
      name: 'users',
      forkOf: { kind: 'Deployment', namespace: 'demo', name: 'users' },
      ready: true,
      reason: 'Ready',
      message: '',
      restarts: 0,
      ports: { 3000: [{ host: '127.0.0.1', port: 4000 }] },
    },
  ] as const;
  const status = { ready: true, failed: false, reason: 'Ready', message: '', observedGeneration: 1 };
  for (const name of ['x', 'y', 'gone']) {
    await api.client.sandboxes.apply(document(name) as never);
    await api.store.modify('sandbox', name, () => ({
      status: { ...status, conditions: [], resources: [], endpoints: [], forks },
    }));
  }
  await api.client.sandboxes.delete('gone');
  const rules = async (query = '') =>
    (
      (await api.request('GET', `/api/v1/workloads/routing-rules${query}`)).json() as {
        routingRules: {
          routingKey: string;
          baseline: { name: string };
          destinationSandbox: { name: string };
          mappings: unknown[];
        }[];
      }
    ).routingRules;
  const { routingKey } = await api.client.sandboxes.get('x');
  assert.deepEqual((await rules())[0], {
    routingKey,
    baseline: { kind: 'Deployment', namespace: 'demo', name: 'users' },
    destinationSandbox: { name: 'x' },
    mappings: [{ workloadPort: 3000, destinations: [{ host: '127.0.0.1', port: 4000 }] }],
  });
  const names = async (query: string) => (await rules(query)).map(r => r.destinationSandbox.name);
  // One that is being deleted still has its key to itself, and leads nowhere.
  assert.deepEqual((await rules('?destinationSandboxName=gone'))[0]!.mappings, []);
  await removeSandbox(api.store, 'gone');
  assert.deepEqual((await rules('?destinationSandboxName=gone'))[0]!.baseline.name, 'users');
  for (const { name } of api.store.list('tombstone')) await api.store.remove('tombstone', name);
  assert.deepEqual(await names(''), ['x', 'y']);
  // And so has one that is not there yet.
  await api.client.sandboxes.apply(document('new') as never);
  assert.deepEqual((await rules('?destinationSandboxName=new'))[0]!.mappings, []);
  await api.store.remove('sandbox', 'new');
  assert.deepEqual(await names(`?routingKey=${routingKey}`), ['x']);
  assert.deepEqual(await names('?destinationSandboxName=y&baselineName=users'), ['y']);
  assert.deepEqual(await names('?baselineNamespace=other'), []);
  assert.deepEqual(await names('?baselineKind=Deployment&routingKey='), ['x', 'y']);
  assert.match(await api.refused('GET', '/api/v1/workloads/routing-rules?kind=x'), /^400/);
});

test('a link opens one preview of a sandbox, the first unless another one is named', async () => {
  await using api = await testApi();
  await deploy(api.store, deployment('users'), service('users', { port: 80 }));
  const target = 'http://users.demo.svc:80';
  const endpoints = [
    { name: 'web', target },
    { name: 'api', target },
  ];
  await applied(api.store, 'fix-42', { defaultRouteGroup: { endpoints } });
  await applied(api.store, 'blind', {});
  await assert.rejects(api.client.sandboxes.link('fix-42', {}), { code: 'sandbox/not-ready' });
  const at = (name: string) => `http://${name}--fix-42.preview.localhost:7480/`;
  await api.store.modify('sandbox', 'fix-42', () => ({
    status: {
      ...{ ready: true, reason: 'Ready', message: '', failed: false, observedGeneration: 1 },
      ...{ conditions: [], forks: [] },
      endpoints: endpoints.map(({ name }) => ({
        ...{ name, url: at(name), target, routeType: 'host', protocol: 'http' },
      })),
    },
  }));
  assert.deepEqual(await api.client.sandboxes.link('fix-42', {}), {
    endpoint: 'web',
    preview: at('web'),
    url: `${at('web')}.offshoot/open?token=link-of-web--fix-42`,
  });
  const { url } = await api.client.sandboxes.link('fix-42', { endpoint: 'api', path: '/users?a=1' });
  assert.equal(url, `${at('api')}.offshoot/open?token=link-of-api--fix-42&to=%2Fusers%3Fa%3D1`);
  await assert.rejects(api.client.sandboxes.link('fix-42', { endpoint: 'nix' }), { code: 'api/not-found' });
  await assert.rejects(api.client.sandboxes.link('fix-42', { path: 'nix' }), { code: 'api/bad-request' });
  await assert.rejects(api.client.sandboxes.link('blind', {}), {
    message: 'endpoint "of blind" does not exist',
  });
  await assert.rejects(api.client.sandboxes.link('nix', {}), { code: 'api/not-found' });
});
