/** Secrets that we know of, wherever they may stand in what we tell. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ResourceRecord } from '../../src/model/resource-record.ts';
import type { SandboxStatus } from '../../src/model/sandbox.ts';
import { createBranch } from '../../src/rules/branches.ts';
import { type TestApi, testApi } from '../support/api.ts';
import { applied, deploy, deployment, fork, install, tablePlugin } from '../support/documents.ts';

const token = 'tok-/Zq"81+mN';
const password = 'Gr8 pass@word';
const url = `postgresql://ann:${encodeURIComponent(password)}@db.example/app`;
const told = [
  `curl failed: ${token}`,
  `json ${JSON.stringify(token)}`,
  `query ?t=${encodeURIComponent(token)}`,
  `auth ${Buffer.from(`ann:${password}`).toString('base64')}`,
  `dsn ${url}`,
];

/** Sandbox `sb`, whose steps gave a token and a URL with a password, which stand wherever a text may stand. */
async function leakyApi(log: readonly string[] = told): Promise<TestApi> {
  const api = await testApi({ log });
  await deploy(api.store, deployment('users'));
  await install(api.store, 'table', tablePlugin);
  await applied(api.store, 'sb', {
    description: told.join(' '),
    resources: [{ name: 'db', plugin: 'table' }],
    forks: [fork('users', { URL: url })],
  });
  const times = { state: 'succeeded', startedAt: '2030-01-01T00:00:00.000Z' } as const;
  const record: Partial<ResourceRecord> = {
    phase: 'undoing',
    create: {
      make: { ...times, outputs: { 'api-token': token, tenant: 'tenant-7' } },
      more: { ...times, outputs: { url } },
    },
    failure: {
      ...{ step: 'more', code: 'step/failed', retry: false, generation: 1 },
      ...{ message: told.join(), hint: `not ${token}`, output: told },
    },
  };
  const status: SandboxStatus = {
    ...{ ready: false, failed: true, reason: 'ResourceFailed', message: told.join(), observedGeneration: 1 },
    conditions: [
      { type: 'ResourcesReady', status: 'False', reason: 'R', message: told.join(), lastTransitionTime: 't' },
    ],
    forks: [
      {
        ...{
          name: 'users',
          ready: false,
          reason: 'R',
          message: told.join(),
          restarts: 0,
          ports: {},
          log: told,
        },
        forkOf: { kind: 'Deployment', namespace: 'demo', name: 'users' },
      },
    ],
    endpoints: [],
  };
  await api.store.modify('sandbox', 'sb', ({ secret }) => ({
    status,
    secret: { ...secret, resources: { db: { ...secret.resources.db!, ...record } } },
  }));
  const message = told.join();
  await api.store.record({ kind: 'sandbox', name: 'sb', severity: 'warning', reason: 'R', message });
  return api;
}

/** Everything that tells one of them. */
const traces = [
  ...[
    token,
    JSON.stringify(token).slice(1, -1),
    encodeURIComponent(token),
    password,
    encodeURIComponent(password),
  ],
  Buffer.from(`ann:${password}`).toString('base64').slice(6, -4),
];

function assertHidden(text: string, what: string): void {
  for (const trace of traces) {
    for (const form of [trace, JSON.stringify(trace).slice(1, -1)])
      assert.ok(!text.includes(form), `${what} tells ${form}: ${text}`);
  }
}

test('no answer tells an output that is secret, by its own name or by another, as it is or quoted', async () => {
  await using api = await leakyApi();
  const paths = [
    ...['/sandboxes', '/sandboxes/sb', '/events', '/logs?of=sandbox/sb', '/logs?of=resource/sb/db'],
    '/manifests',
  ];
  for (const path of paths) {
    const { status, body } = await api.request('GET', `/api/v1${path}`);
    assert.equal(status, 200, path);
    assertHidden(body, path);
    if (path !== '/manifests') assert.match(body, /\*\*\*/, path);
  }
  const { status } = await api.client.sandboxes.get('sb');
  assert.equal(status.resources[0]?.hint, 'not ***');
  assert.equal(status.forks[0]?.log?.at(-1), 'dsn postgresql://ann:***@db.example/app');
  assert.equal((await api.client.sandboxes.get('sb')).name, 'sb');
});

test('neither does an error', async () => {
  await using api = await leakyApi();
  const path = `/api/v1/projects/${encodeURIComponent(token)}/branches`;
  const { status, body } = await api.request('GET', path);
  assert.equal(status, 404);
  assertHidden(body, 'the error');
  assert.match(body, /project \\"\*\*\*\\" does not exist/);
});

test('nor the watch, nor its events', async () => {
  await using api = await leakyApi();
  const stop = new AbortController();
  const seen: string[] = [];
  const watching = (async () => {
    for await (const change of api.client.watch({}, stop.signal)) {
      seen.push(JSON.stringify(change));
      if (change.type === 'synced')
        await api.store.record({
          kind: 'sandbox',
          name: 'sb',
          severity: 'info',
          reason: 'R',
          message: token,
        });
      if (change.type === 'event') break;
    }
  })();
  await watching;
  stop.abort();
  assertHidden(seen.join('\n'), 'the watch');
  assert.match(seen.at(-1)!, /\*\*\*/);
});

test('a password of a branch stands in its credentials, and nowhere else', async () => {
  await using api = await testApi();
  const made = await createBranch(api.store, { project: 'default', name: 'fix', parent: 'main' });
  const message = `FATAL: ${made.secret.password}`;
  await api.store.record({ kind: 'branch', name: made.name, severity: 'warning', reason: 'R', message });
  assert.equal((await api.request('GET', '/api/v1/events')).body.includes(made.secret.password), false);
  const { connectionString, password: own } = await api.client.branches.credentials('default', 'fix');
  assert.equal(own, made.secret.password);
  assert.ok(connectionString.includes(own));
});

test('an output that goes with its sandbox is hidden no longer; one that is no secret never was', async () => {
  await using api = await leakyApi();
  const say = (message: string) =>
    api.store.record({ kind: 'sandbox', name: 'sb', severity: 'info', reason: 'R', message });
  await say('made tenant-7');
  const messages = async () => (await api.request('GET', '/api/v1/events')).body;
  assert.match(await messages(), /made tenant-7/);
  await api.store.remove('sandbox', 'sb');
  await say(`was ${token.slice(0, 7)}`);
  assert.match(await messages(), /was tok-\/Zq/);
});
