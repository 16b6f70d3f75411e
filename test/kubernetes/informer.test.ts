/** An informer gets over every way in which a watch or a list can be broken. The API server is a fake one, told to break. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { clusterClient } from '../../src/kubernetes/client.ts';
import { type InformerChange, type InformerOptions, informer } from '../../src/kubernetes/informer.ts';
import { compareVersions, resources } from '../../src/kubernetes/resource.ts';
import { until } from '../../src/lib/wait.ts';
import { type FakeApiServer, fakeApiServer } from '../support/fake-api-server.ts';

const config = (name: string, value = '', namespace = 'demo') => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name, namespace },
  data: { value },
});

const dataOf = (object: object) => (object as ReturnType<typeof config>).data.value;

async function watching(
  server: FakeApiServer,
  options: Partial<InformerOptions<string>> & {
    readonly deadlineMs?: number;
    readonly longest?: number;
    pageSize?: number;
  } = {},
) {
  const { deadlineMs = 60_000, longest, pageSize, ...own } = options;
  const client = clusterClient(server.access, {
    deadlineMs,
    ...(longest && { longest }),
    ...(pageSize && { pageSize }),
  });
  const changes: string[] = [];
  const tell = ({ key, before, now }: InformerChange<string>) =>
    void changes.push(`${key}: ${before ?? '-'} → ${now ?? '-'}`);
  const one = informer({
    client,
    resource: resources.ConfigMap,
    keep: dataOf,
    onChange: tell,
    pauseMs: [5, 50],
    ...own,
  });
  const shows = (expected: Readonly<Record<string, string>>) =>
    until(
      () => {
        const now = Object.fromEntries([...one.entries()].map(([key, value]) => [key.split('/')[1], value]));
        return isSame(now, expected) ? true : undefined;
      },
      { what: `the informer to show ${JSON.stringify(expected)}`, deadlineMs: 60_000 },
    );
  return {
    ...{ informer: one, client, changes, shows },
    watches: () =>
      until(() => (server.watches > 0 ? true : undefined), { what: 'a watch', deadlineMs: 60_000 }),
    async [Symbol.asyncDispose]() {
      await one.close();
      client.close();
    },
  };
}

const isSame = (a: object, b: object) => {
  const sorted = (o: object) => JSON.stringify(Object.entries(o).sort(([x], [y]) => (x < y ? -1 : 1)));
  return sorted(a) === sorted(b);
};

const lists = (server: FakeApiServer) => server.asked.filter(one => one === 'GET configmaps').length;

describe('an informer', () => {
  it('lists page by page, then follows, and tells what changes', async () => {
    await using server = await fakeApiServer();
    for (const name of ['a', 'b', 'c', 'd', 'e']) server.put('configmaps', config(name, '1'));
    await using w = await watching(server, { pageSize: 2 });
    await w.informer.synced;
    assert.equal(lists(server), 3);
    await w.shows({ a: '1', b: '1', c: '1', d: '1', e: '1' });
    assert.equal(w.informer.get('demo/a'), '1');
    w.changes.length = 0;
    server.put('configmaps', config('a', '2'));
    server.remove('configmaps', 'demo/b');
    server.put('configmaps', config('f', '1'));
    await w.shows({ a: '2', c: '1', d: '1', e: '1', f: '1' });
    assert.deepEqual(w.changes, ['demo/a: 1 → 2', 'demo/b: 1 → -', 'demo/f: - → 1']);
    const state = w.informer.state();
    assert.deepEqual([state.synced, state.failures, state.lists, state.watches], [true, 0, 1, 1]);
    assert.ok(state.staleMs < 10_000);
  });

  it('keeps to a namespace and to labels', async () => {
    await using server = await fakeApiServer();
    server.put('configmaps', config('a', '1', 'other'));
    const labelled = (name: string) => ({
      ...config(name, '1'),
      metadata: { ...config(name).metadata, labels: { x: 'y' } },
    });
    server.put('configmaps', labelled('b'));
    server.put('configmaps', config('c', '1'));
    await using w = await watching(server, { namespace: 'demo', selection: { labelSelector: 'x=y' } });
    await w.shows({ b: '1' });
    server.put('configmaps', config('d', '1', 'other'));
    server.put('configmaps', labelled('e'));
    await w.shows({ b: '1', e: '1' });
  });

  it('never steps back: older news of what a write was answered count for nothing', async () => {
    await using server = await fakeApiServer();
    const first = server.put('configmaps', config('a', '1'));
    await using w = await watching(server);
    await w.shows({ a: '1' });
    server.muteWatches();
    const second = server.put('configmaps', config('a', '2'));
    w.informer.offer(second);
    assert.equal(w.informer.get('demo/a'), '2');
    w.informer.offer(first);
    assert.equal(w.informer.get('demo/a'), '2');
    // What we have ended does not come back by what is still told of it, nor does what followed it go.
    const third = server.put('configmaps', config('a', '3'));
    server.remove('configmaps', 'demo/a');
    w.informer.ended(third);
    const anew = server.put('configmaps', config('a', 'anew'));
    w.informer.offer(anew);
    server.endWatches('cut');
    await w.watches();
    server.put('configmaps', config('b', '1'));
    await w.shows({ a: 'anew', b: '1' });
    assert.deepEqual(w.changes, [
      'demo/a: - → 1',
      'demo/a: 1 → 2',
      'demo/a: 2 → -',
      'demo/a: - → anew',
      'demo/b: - → 1',
    ]);
  });

  it('of a resource that need not be defined has nothing until it is, and nothing when it is not any more', async () => {
    await using server = await fakeApiServer();
    server.put('configmaps', config('a', '1'));
    const undefinedNow = ({ resource }: { resource: string }) =>
      resource === 'configmaps' ? { status: 404, body: '404 page not found' } : undefined;
    server.fault = undefinedNow;
    await using w = await watching(server, { undefinedMs: 20 });
    await w.informer.synced;
    assert.deepEqual([...w.informer.entries()], []);
    assert.equal(w.informer.state().failures, 0);
    server.fault = undefined;
    await w.shows({ a: '1' });
    await w.watches();
    server.fault = undefinedNow;
    server.endWatches('properly');
    await w.shows({});
    server.fault = undefined;
    await w.shows({ a: '1' });
  });

  it('ends when it is closed, also before it knows anything', async () => {
    await using server = await fakeApiServer();
    server.fault = () => 'hang';
    const w = await watching(server);
    await w[Symbol.asyncDispose]();
    await assert.rejects(w.informer.synced, /was closed/);
  });
});

describe('an informer gets over a watch', () => {
  /** @param lists how often everything may be listed; 1: it goes on where it was */
  const broken = (
    how: string,
    most: number,
    breakIt: (server: FakeApiServer) => void,
    options: Partial<InformerOptions<string>> = {},
  ) =>
    it(how, async () => {
      await using server = await fakeApiServer();
      server.put('configmaps', config('a', '1'));
      server.put('configmaps', config('b', '1'));
      await using w = await watching(server, options);
      await w.shows({ a: '1', b: '1' });
      await w.watches();
      breakIt(server);
      server.put('configmaps', config('a', '2'));
      server.remove('configmaps', 'demo/b');
      server.put('configmaps', config('c', '1'));
      await w.shows({ a: '2', c: '1' });
      await w.watches();
      server.put('configmaps', config('c', '2'));
      await w.shows({ a: '2', c: '2' });
      const { lists, missed } = w.informer.state();
      assert.ok(lists <= most, `${lists} lists`);
      assert.equal(missed, 0);
      assert.deepEqual(
        w.changes.filter(change => change.startsWith('demo/b')),
        ['demo/b: - → 1', 'demo/b: 1 → -'],
      );
    });

  const event = (name: string, value: string, version: string) =>
    JSON.stringify({
      type: 'MODIFIED',
      object: { ...config(name, value), metadata: { ...config(name).metadata, resourceVersion: version } },
    });

  broken('that the server ends', 1, s => s.endWatches('properly'));
  broken('whose connection is cut', 1, s => s.endWatches('cut'));
  broken('that is cut in the middle of a line', 1, s =>
    s.endWatches({ text: event('a', 'half', '9999').slice(0, 60) }),
  );
  broken('that ends properly in the middle of a line', 1, s =>
    s.endWatches({ text: event('a', 'half', '9999').slice(0, 60), and: 'properly' }),
  );
  broken('with a line that is no JSON', 1, s =>
    s.endWatches({ text: '{"type": "MODIFIED", "obj\n', and: 'nothing' }),
  );
  broken('with a line that is no event', 1, s => s.endWatches({ text: '{"hello": 1}\n', and: 'nothing' }));
  broken(
    'with a line that does not end',
    1,
    s => s.endWatches({ text: `{"type": "${'x'.repeat(50_000)}`, and: 'nothing' }),
    { longestLine: 40_000 },
  );
  broken('that is silent on a connection that stays', 1, s => s.muteWatches(), { idleMs: 200 });
  broken(
    'with events told twice',
    1,
    s =>
      s.endWatches({
        text: `${event('a', 'old', s.get('configmaps', 'demo/a')!.metadata.resourceVersion!)}\n`.repeat(2),
        and: 'nothing',
      }),
    { idleMs: 200 },
  );
  for (const [how, error] of Object.entries({
    'that its place is too old (410)': { code: 410, reason: 'Expired' },
    'an error of the server (500)': { code: 500, reason: 'InternalError' },
  }))
    broken(`with an event that tells of ${how}`, 2, s =>
      s.endWatches({
        text: `${JSON.stringify({ type: 'ERROR', object: { kind: 'Status', ...error } })}\n`,
        and: 'nothing',
      }),
    );
  broken('with a bookmark of a past long ago', 2, s =>
    s.endWatches({
      text: '{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"7"}}}\n',
      and: 'nothing',
    }),
  );
  broken('whose place the server has forgotten (410)', 2, s => {
    s.muteWatches();
    s.put('configmaps', config('a', 'unseen'));
    s.compact();
    s.endWatches('cut');
  });
});

describe('an informer gets over', () => {
  /** For the first `times` requests of that kind. */
  const first = (
    times: number,
    method: 'WATCH' | 'LIST',
    fault: NonNullable<Awaited<ReturnType<NonNullable<FakeApiServer['fault']>>>>,
  ) => {
    let left = times;
    return (asked: { readonly watch: boolean }) =>
      asked.watch === (method === 'WATCH') && left-- > 0 ? fault : undefined;
  };

  for (const [how, fault] of Object.entries({
    'no connection': 'cut',
    'no answer': 'hang',
    'no right (403)': { status: 403 },
    'an unknown kind (404)': { status: 404 },
    'an error (500)': { status: 500 },
    'an answer that is no JSON': { raw: 'HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n{"ite' },
    'an answer that is cut': { raw: 'HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{"items":[' },
    'an answer that is no HTTP': { raw: 'hello\r\n\r\n' },
  } as const))
    it(`lists and watches with ${how}`, async () => {
      await using server = await fakeApiServer();
      server.put('configmaps', config('a', '1'));
      server.fault = first(3, 'LIST', fault);
      await using w = await watching(server, { deadlineMs: 200, idleMs: 300 });
      await w.informer.synced;
      await w.shows({ a: '1' });
      await w.watches();
      server.fault = first(3, 'WATCH', fault);
      server.muteWatches();
      server.endWatches('cut');
      server.put('configmaps', config('a', '2'));
      await w.shows({ a: '2' });
      await w.watches();
      server.put('configmaps', config('a', '3'));
      await w.shows({ a: '3' });
    });

  it('a server that asks to wait (429), as long as it asks for', async () => {
    await using server = await fakeApiServer();
    server.put('configmaps', config('a', '1'));
    const at: number[] = [];
    server.fault = () => {
      at.push(performance.now());
      return at.length === 1 ? { status: 429, headers: { 'retry-after': '1' } } : undefined;
    };
    await using w = await watching(server);
    await w.shows({ a: '1' });
    assert.ok(at[1]! - at[0]! >= 990, `${at[1]! - at[0]!} ms`);
  });

  it('a list whose second page fails: none of it counts until all of it is there', async () => {
    await using server = await fakeApiServer();
    for (const name of ['a', 'b', 'c']) server.put('configmaps', config(name, '1'));
    let failures = 3;
    server.fault = ({ query }) =>
      query.has('continue') && failures-- > 0 ? { status: failures === 1 ? 410 : 500 } : undefined;
    await using w = await watching(server, { pageSize: 2 });
    await w.informer.synced;
    await w.shows({ a: '1', b: '1', c: '1' });
    assert.equal(lists(server), 8);
    assert.deepEqual(w.changes.length, 3);
  });

  it('a list that is too long: it asks for shorter pages', async () => {
    await using server = await fakeApiServer();
    for (let i = 0; i < 12; i++) server.put('configmaps', config(`c${i}`, 'x'.repeat(5_000)));
    await using w = await watching(server, { longest: 20_000, pageSize: 100 });
    await w.informer.synced;
    assert.equal(w.informer.state().count, 12);
  });

  it('objects as long as they may be', async () => {
    await using server = await fakeApiServer();
    await using w = await watching(server);
    await w.watches();
    const long = 'ä"\\'.repeat(2 ** 18);
    server.put('configmaps', config('long', long));
    await w.shows({ long });
  });

  it('a server that is restored from an earlier state, and counts from there', async () => {
    await using server = await fakeApiServer();
    server.put('configmaps', config('a', '1'));
    const before = server.snapshot();
    await using w = await watching(server);
    await w.shows({ a: '1' });
    for (const value of ['2', '3']) server.put('configmaps', config('a', value));
    server.put('configmaps', config('b', '1'));
    await w.shows({ a: '3', b: '1' });
    server.restore(before);
    await w.shows({ a: '1' });
    await w.watches();
    server.put('configmaps', config('a', 'other'));
    await w.shows({ a: 'other' });
  });

  it('a watch that tells nothing of a change: the next list finds it, and says so', async () => {
    await using server = await fakeApiServer();
    server.put('configmaps', config('a', '1'));
    await using w = await watching(server, { relistMs: 300 });
    await w.shows({ a: '1' });
    await w.watches();
    server.muteWatches();
    const { resourceVersion } = server.put('configmaps', config('a', '2')).metadata;
    const bookmark = { type: 'BOOKMARK', object: { metadata: { resourceVersion } } };
    server.endWatches({ text: `${JSON.stringify(bookmark)}\n`, and: 'nothing' });
    await w.shows({ a: '2' });
    const { lists, failures, missed } = w.informer.state();
    assert.ok(lists > 1);
    assert.deepEqual([failures, missed], [0, 1]);
  });

  it('watches that end at once, with pauses that grow', async () => {
    await using server = await fakeApiServer();
    let count = 0;
    server.fault = ({ watch }) =>
      watch && ++count < 6 ? { status: 200, body: {}, headers: { 'content-length': '0' } } : undefined;
    await using w = await watching(server);
    await w.watches();
    server.put('configmaps', config('a', '1'));
    await w.shows({ a: '1' });
    assert.equal(w.informer.state().failures, 0);
  });

  it('listeners that throw', async () => {
    await using server = await fakeApiServer();
    await using w = await watching(server, {
      onChange: () => {
        throw new Error('I always fail');
      },
    });
    server.put('configmaps', config('a', '1'));
    await w.shows({ a: '1' });
  });
});

it('an informer says for how long it has failed, and why', async () => {
  await using server = await fakeApiServer();
  server.fault = () => ({ status: 403, body: { message: 'configmaps is forbidden: User "x" cannot list' } });
  await using w = await watching(server);
  await until(() => (w.informer.state().failures >= 3 ? true : undefined), {
    what: 'failures',
    deadlineMs: 60_000,
  });
  const { synced, staleMs, failure } = w.informer.state();
  assert.deepEqual([synced, staleMs], [false, Number.POSITIVE_INFINITY]);
  assert.equal(failure?.code, 'kubernetes/forbidden');
  assert.match(
    failure.message,
    /does not allow "list configmaps of all namespaces": configmaps is forbidden/,
  );
});

it('resource versions are compared as the numbers that they are', () => {
  const sorted = ['10', undefined, '9', '100', '99999999999999999999', '11'].sort(compareVersions);
  assert.deepEqual(sorted, ['9', '10', '11', '100', '99999999999999999999', undefined]);
  assert.ok(compareVersions(undefined, '1') < 0 && compareVersions('7', '7') === 0);
});
