/** The daemon itself over HTTP: status, doctor, events, shutdown. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from '../../src/lib/wait.ts';
import type { EventView } from '../../src/model/view.ts';
import { createProject } from '../../src/rules/branches.ts';
import { type TestApi, testApi } from '../support/api.ts';

test('status and doctor', async () => {
  await using api = await testApi();
  const { pid, api: address } = await api.client.status();
  assert.deepEqual([pid, `http://${address.host}:${address.port}`], [process.pid, api.url]);
  assert.deepEqual(await api.client.doctor(), [
    { area: 'volumes', name: 'copy', ok: true, detail: 'always' },
  ]);
});

test('metrics, which can be made to begin anew', async () => {
  await using api = await testApi();
  assert.deepEqual((await api.client.metrics.read()).loopDelay, { p50: 10, p99: 11, max: 12 });
  assert.equal((await api.client.metrics.reset()).since, 'reset 1 times');
});

test('what there is and how it is, for Prometheus', async () => {
  await using api = await testApi();
  const { id } = await api.client.branches.create('default', { name: 'of-"Anna"' });
  api.sizes.set(id, { bytes: 4096, exact: true });
  const { status, headers, body } = await api.request('GET', '/api/v1/metrics/prometheus');
  assert.equal(status, 200);
  assert.match(String(headers['content-type']), /^text\/plain; version=0\.0\.4/);
  const lines = body.split('\n');
  const labels = `project="default",branch="of-\\"Anna\\"",id="${id}"`;
  assert.ok(lines.includes(`offshoot_branch_bytes{${labels}} 4096`), body);
  assert.ok(lines.includes(`offshoot_branch_state{${labels},state="creating"} 1`), body);
  assert.ok(lines.includes('offshoot_loop_delay_seconds{quantile="1"} 0.012'), body);
  assert.ok(lines.includes('offshoot_room_low 0'), body);
  // Lines of one name stand together, behind one line of their type.
  const families = lines
    .filter(line => line !== '' && !line.startsWith('#'))
    .map(line => /^\w+/.exec(line)![0]);
  const heads = families.filter((name, i) => name !== families[i - 1]);
  assert.deepEqual(heads, [...new Set(heads)]);
  const types = lines.filter(line => line.startsWith('# TYPE ')).map(line => line.split(' ')[2]);
  assert.deepEqual(types, heads);
});

test('nothing is told before the data path does it, and no change of it either', async () => {
  let { promise: routed, resolve: go } = Promise.withResolvers<void>();
  await using api = await testApi({ routed: () => routed });
  let told = false;
  const key = api.client.keys.create('laptop').then(() => (told = true));
  await until(() => api.store.list('key')[0], { what: 'the key is there', deadlineMs: 60_000 });
  for (let i = 0; i < 20; i++) await new Promise(setImmediate);
  assert.equal(told, false);
  go();
  await key;

  const { seen, end } = watchProjects(api);
  await until(() => seen[0], { what: 'what is there', deadlineMs: 60_000 });
  ({ promise: routed, resolve: go } = Promise.withResolvers<void>());
  await createProject(api.store, 'shop', { database: 'app', role: 'app' });
  for (let i = 0; i < 20; i++) await new Promise(setImmediate);
  assert.deepEqual(seen, ['default']);
  go();
  await until(() => seen[1], { what: 'the change', deadlineMs: 60_000 });
  await end();
});

test('what changes while a watch begins is told when the data path does it', async () => {
  const held: (() => void)[] = [];
  let isHeld = true;
  await using api = await testApi({
    routed: async () => {
      if (isHeld) await new Promise<void>(go => void held.push(go));
    },
  });
  const { seen, end } = watchProjects(api);
  try {
    const beginning = await until(() => held[0], { what: 'the watch begins', deadlineMs: 60_000 });
    await createProject(api.store, 'shop', { database: 'app', role: 'app' });
    beginning();
    await until(() => seen[0], { what: 'what was there', deadlineMs: 60_000 });
    for (let i = 0; i < 20; i++) await new Promise(setImmediate);
    assert.deepEqual(seen, ['default']);
    isHeld = false;
    for (const go of held) go();
    await until(() => seen[1] === 'shop', { what: 'the change', deadlineMs: 60_000 });
  } finally {
    isHeld = false;
    for (const go of held) go();
    await end();
  }
});

test('events: the newest, oldest first, filtered', async () => {
  await using api = await testApi();
  for (const name of ['a', 'b', 'a', 'c'])
    await api.store.record({
      kind: 'sandbox',
      name,
      severity: 'warning',
      reason: 'Seen',
      message: `of ${name}`,
    });
  const names = async (query = '') =>
    ((await api.request('GET', `/api/v1/events${query}`)).json() as EventView[]).map(e => e.name);
  assert.deepEqual(await names(), ['a', 'b', 'a', 'c']);
  assert.deepEqual(await names('?limit=2'), ['a', 'c']);
  assert.deepEqual(await names('?name=a&kind=sandbox'), ['a', 'a']);
  assert.deepEqual(await names('?kind=branch'), []);
  for (const query of ['?limit=0', '?limit=1001', '?limit=x', '?limit=1&limit=2', '?since=1'])
    assert.match(await api.refused('GET', `/api/v1/events${query}`), /^400 api\/bad-request/, query);
});

test('events of one object: not those of an earlier one that had its name', async () => {
  await using api = await testApi();
  const record = (message: string) =>
    api.store.record({ kind: 'project', name: 'again', severity: 'info', reason: 'Seen', message });
  const told = async () =>
    ((await api.request('GET', '/api/v1/events?kind=project&name=again')).json() as EventView[]).map(
      ({ message }) => message,
    );
  await record('of the first');
  const [first] = await api.store.events({ name: 'again', limit: 1 });
  assert.deepEqual(await told(), ['of the first'], 'of one that is gone all is told');
  await until(() => (new Date().toISOString() > first!.at ? true : undefined), {
    what: 'a moment has passed',
    deadlineMs: 60_000,
  });
  const spec = { database: 'app', role: 'app' };
  await api.store.create('project', 'again', { spec, status: null, secret: null });
  await record('of the second');
  assert.deepEqual(await told(), ['of the second']);
});

test('shutdown is asked for once the answer is out', async () => {
  await using api = await testApi();
  const answer = await api.request('POST', '/api/v1/shutdown');
  assert.deepEqual([answer.status, answer.json()], [202, { stopping: true }]);
  await until(() => api.asked.shutdowns[0], { what: 'shutdown', deadlineMs: 60_000 });
  await api.client.shutdown({ leave: true });
  await until(() => api.asked.shutdowns[1], { what: 'the other one', deadlineMs: 60_000 });
  assert.deepEqual(api.asked.shutdowns, ['stop', 'leave']);
});

// --- internal ------------------------------------------------------------------------------------

/** Names of projects in the order in which a watch tells of them. */
function watchProjects(api: TestApi): { readonly seen: readonly string[]; end(): Promise<void> } {
  const abort = new AbortController();
  const seen: string[] = [];
  const watching = (async () => {
    for await (const change of api.client.watch({ kind: 'project' }, abort.signal))
      if (change.type === 'put') seen.push(change.name);
  })().catch(() => {});
  return {
    seen,
    async end() {
      abort.abort();
      await watching;
    },
  };
}
