/** Logs over HTTP: whose, how much, and until when. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LogFilter } from '../../src/client/index.ts';
import { OffshootError } from '../../src/model/errors.ts';
import { type TestApi, type TestApiOptions, testApi } from '../support/api.ts';
import { deploy, deployment, install, tablePlugin } from '../support/documents.ts';

const soon = () => AbortSignal.timeout(60_000);
const all = (api: TestApi, filter: LogFilter) => Array.fromAsync(api.client.logs(filter, soon()));
const texts = async (api: TestApi, ...of: readonly string[]) =>
  (await all(api, { of })).map(line => `${line.of}: ${line.text}`);

async function logApi(options: TestApiOptions = {}) {
  const api = await testApi(options);
  await deploy(api.store, deployment('users'), deployment('orders'));
  await install(api.store, 'table', tablePlugin);
  const forks = [{ forkOf: { kind: 'Deployment', namespace: 'demo', name: 'users' } }];
  const spec = { cluster: 'local', resources: [{ name: 'db', plugin: 'table' }], forks };
  await api.client.sandboxes.apply({ name: 'x', spec } as never);
  return api;
}

test('of workloads, forks and branches, named, in the order asked for; without a name of all', async () => {
  await using api = await logApi();
  assert.deepEqual(await all(api, { of: ['deployment/users'], lines: 7, container: 'main' }), [
    { of: 'deployment/users', namespace: 'demo', pod: 'users-0', container: 'main', text: 'one' },
    { of: 'deployment/users', namespace: 'demo', pod: 'users-0', container: 'main', text: 'two' },
  ]);
  const workload = { kind: 'Deployment', namespace: 'demo', name: 'users' };
  const asked = { workload, lines: 7, follow: false, previous: false, container: 'main' };
  assert.deepEqual(api.asked.logs, [asked]);
  assert.deepEqual(await texts(api, 'branch/main', 'sandbox/x', 'users'), [
    'branch/main: ready',
    ...['sandbox/x/users: one', 'sandbox/x/users: two'],
    ...['deployment/users: one', 'deployment/users: two'],
  ]);
  const everybody = await all(api, { lines: 1, previous: true });
  assert.deepEqual(
    [...new Set(everybody.map(({ of }) => of))],
    ['deployment/users', 'deployment/orders', 'sandbox/x/users'],
  );
  assert.deepEqual(api.asked.logs.at(-1), {
    ...{ workload, sandbox: 'x', lines: 1, follow: false, previous: true },
  });
  assert.deepEqual(await all(api, { namespace: 'other' }), []);
});

test('what the steps of a resource have printed', async () => {
  await using api = await logApi();
  assert.deepEqual(await texts(api, 'resource/x/db'), []);
  const startedAt = '2030-01-01T00:00:00.000Z';
  await api.store.modify('sandbox', 'x', ({ secret }) => {
    const create = { first: { state: 'succeeded', said: ['made it'], startedAt } } as const;
    return { secret: { ...secret, resources: { db: { ...secret.resources.db!, create } } } };
  });
  assert.deepEqual(await texts(api, 'resource/x/db'), ['resource/x/db: made it']);
  const failure = {
    step: 'make',
    code: 'step/failed',
    message: 'exit code 7',
    output: ['bad', 'no luck'],
    retry: false,
    generation: 1,
  } as const;
  await api.store.modify('sandbox', 'x', ({ secret }) => {
    const db = { ...secret.resources.db!, phase: 'failed', failure } as const;
    return { secret: { ...secret, resources: { db } } };
  });
  assert.deepEqual(await texts(api, 'resource/x/db'), [
    ...['resource/x/db: made it', 'resource/x/db: bad', 'resource/x/db: no luck'],
  ]);
  assert.equal((await all(api, { of: ['resource/x/db'], lines: 1 }))[0]?.text, 'no luck');
});

test('what is not there, or no selector', async () => {
  await using api = await logApi();
  const refused = (query: string) => api.refused('GET', `/api/v1/logs?${query}`);
  assert.match(await refused('of=nix'), /^404 .*workload "nix" does not exist; see "offshoot status"/);
  assert.match(await refused('of=job/users'), /^404 .*Job "users"/);
  assert.match(await refused('of=users&namespace=other'), /^404 .*workload "users"/);
  assert.match(await refused('of=sandbox/nix'), /^404 .*sandbox "nix" does not exist/);
  assert.match(await refused('of=sandbox/x/nix'), /^404 .*fork "nix" does not exist; its forks are: users$/);
  assert.match(await refused('of=resource/x/nix'), /^404 .*resource "nix"/);
  assert.match(await refused('of=branch/nix'), /^404 .*branch "nix"/);
  assert.match(await refused('of=branch/main&project=nix'), /^404 .*project "nix"/);
  assert.match(await refused('of=service/users'), /^400 api\/bad-request: .*names no program/);
  assert.match(await refused('lines=-1'), /^400 api\/bad-request: .*lines/);
});

test('what is followed comes as it is said, without secrets, and ends with the client or its key', async () => {
  const { promise: over, resolve: end } = Promise.withResolvers<void>();
  const saying = async function* (signal: AbortSignal) {
    yield 'three';
    await new Promise(resolve => signal.addEventListener('abort', resolve));
    end();
  };
  await using api = await logApi({ saying });
  const password = api.store.list('branch')[0]!.secret.password;
  const stop = new AbortController();
  const lines = api.client.logs({ of: ['users'], follow: true }, AbortSignal.any([stop.signal, soon()]));
  const seen: string[] = [];
  await assert.rejects(async () => {
    for await (const { text } of lines) {
      seen.push(text);
      if (text === 'three') stop.abort();
    }
  });
  assert.deepEqual(seen, ['one', 'two', 'three']);
  await over;

  await using leaky = await logApi({ log: [`my password is ${password}`], saying });
  const [branch] = leaky.store.list('branch');
  await leaky.store.modify('branch', branch!.name, ({ secret }) => ({ secret: { ...secret, password } }));
  assert.equal((await all(leaky, { of: ['users'] }))[0]?.text, 'my password is ***');

  const { key } = await leaky.client.keys.create('mine');
  const { status, body } = await fetch(`${leaky.url}/api/v1/logs?of=users&follow=true`, {
    headers: { 'offshoot-api-key': key },
    signal: soon(),
  });
  assert.equal(status, 200);
  const reader = body!.getReader();
  assert.match(new TextDecoder().decode((await reader.read()).value), /password/);
  await leaky.client.keys.revoke('mine');
  await assert.rejects(async () => {
    for (;;) if ((await reader.read()).done) throw new Error('ended');
  });
});

test('a daemon that goes away while it is followed is an error', async () => {
  const saying = async function* () {
    yield 'three';
  };
  await using api = await logApi({ saying });
  await assert.rejects(
    all(api, { of: ['users'], follow: true }),
    error => error instanceof OffshootError && error.code === 'api/unreachable',
  );
});

test('since when, and when: asked of programs, read in the log of PostgreSQL', async () => {
  const line = (time: string, text: string) => `2030-01-31 ${time}.000 UTC [7] ${text}`;
  await using api = await logApi({
    branchLog: [line('11:00:00', 'old'), '\tHINT: old, too', line('12:00:00', 'new'), '\tHINT: new, too'],
  });
  const since = '2030-01-31T12:30:00+01:00';
  assert.deepEqual(await all(api, { of: ['branch/main'], since, timestamps: true }), [
    { of: 'branch/main', at: '2030-01-31T12:00:00.000Z', text: line('12:00:00', 'new') },
    { of: 'branch/main', at: '2030-01-31T12:00:00.000Z', text: '\tHINT: new, too' },
  ]);
  await all(api, { of: ['users'], since, timestamps: true });
  const { lines, since: asked, timestamps } = api.asked.logs.at(-1) as Record<string, unknown>;
  assert.deepEqual([lines, asked, timestamps], [10_000, Date.parse(since), true]);
  await assert.rejects(all(api, { since: 'yesterday' }), { code: 'api/bad-request' });
});
