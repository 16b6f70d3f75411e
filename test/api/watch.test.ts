/** The stream of changes, as any reader of server-sent events sees it. */
import assert from 'node:assert/strict';
import { get, type IncomingMessage } from 'node:http';
import { test } from 'node:test';
import { until } from '../../src/lib/wait.ts';
import { createBranch, createProject } from '../../src/rules/branches.ts';
import type { Store } from '../../src/store/contract.ts';
import { type TestApi, testApi } from '../support/api.ts';
import { applied } from '../support/documents.ts';

type Message = { readonly event: string; readonly id?: number; readonly data: Record<string, unknown> };

const brief = (m: Message) =>
  [m.event, m.data.kind, m.data.name].filter(part => part !== undefined).join(' ');

test('what is there, then every change', async () => {
  await using api = await testApi();
  await using watch = await open(api);
  const main = api.store.list('branch')[0]!.name;
  const there = (await watch.next(4)).map(brief);
  assert.deepEqual(there, ['reset', 'put project default', `put branch ${main}`, 'synced']);

  const fix = await createBranch(api.store, { project: 'default', name: 'fix', parent: 'main' });
  const [put] = await watch.next(1);
  assert.equal(brief(put!), `put branch ${fix.name}`);
  assert.equal(put!.id, fix.version);
  assert.deepEqual(put!.data.object, await api.client.branches.get('default', 'fix'));
  await api.store.record({
    kind: 'branch',
    name: fix.name,
    severity: 'info',
    reason: 'Tested',
    message: 'yes',
  });
  await api.store.remove('branch', fix.name);
  assert.deepEqual((await watch.next(2)).map(brief), [`event branch ${fix.name}`, `gone branch ${fix.name}`]);
});

test('keys and images are not told', async () => {
  await using api = await testApi();
  await using watch = await open(api);
  await watch.next(4);
  await api.client.keys.create('laptop');
  await api.store.create('folder', '/shop', {
    spec: { images: { users: { dir: '/x', command: ['x'] } } },
    status: null,
    secret: null,
  });
  await createProject(api.store, 'shop', { database: 'app', role: 'app' });
  assert.equal(brief((await watch.next(1))[0]!), 'put project shop');
});

test('a filter by kind and name', async () => {
  await using api = await testApi();
  const [a, b] = await Promise.all(
    ['a', 'b'].map(name => createBranch(api.store, { project: 'default', name, parent: 'main' })),
  );
  await using watch = await open(api, { query: `?kind=branch&name=${a!.name}` });
  assert.deepEqual((await watch.next(3)).map(brief), ['reset', `put branch ${a!.name}`, 'synced']);
  await api.store.remove('branch', b!.name);
  await api.store.remove('branch', a!.name);
  assert.equal(brief((await watch.next(1))[0]!), `gone branch ${a!.name}`);
});

test('a filter that does not exist', async () => {
  await using api = await testApi();
  for (const query of ['?kind=key', '?kind=nonsense', '?nonsense=1']) {
    assert.equal((await api.request('GET', `/api/v1/watch${query}`)).status, 400, query);
  }
});

test('Last-Event-ID goes on where the reader was, deletions included', async () => {
  await using api = await testApi();
  const fix = await createBranch(api.store, { project: 'default', name: 'fix', parent: 'main' });
  const from = api.store.version();
  const later = await createBranch(api.store, { project: 'default', name: 'later', parent: 'main' });
  await api.store.remove('branch', fix.name);
  await using watch = await open(api, { lastEventId: String(from) });
  assert.deepEqual((await watch.next(2)).map(brief), [`put branch ${later.name}`, `gone branch ${fix.name}`]);
  await createProject(api.store, 'shop', { database: 'app', role: 'app' });
  assert.equal(brief((await watch.next(1))[0]!), 'put project shop');
});

test('what cannot be gone on from begins with a reset', async () => {
  await using api = await testApi();
  api.store.since = version => (version === 7 ? undefined : []);
  for (const lastEventId of ['7', 'nonsense', '-1', '9'.repeat(30)]) {
    await using watch = await open(api, { lastEventId });
    assert.equal((await watch.next(1))[0]!.event, 'reset', lastEventId);
  }
});

test('a reader who loses the connection before all was told has no id to go on from', async () => {
  await using api = await testApi();
  await using watch = await open(api);
  const [reset, project, branch, synced] = await watch.next(4);
  assert.deepEqual([reset!.id, project!.id, branch!.id], [undefined, undefined, undefined]);
  assert.equal(synced!.id, api.store.version());
});

test('a slow reader is cut off, much that is there is not', async () => {
  await using api = await testApi();
  const listeners = countListeners(api.store);
  const large = 'x'.repeat(64 * 1024);
  // Already more than a reader may owe.
  for (let i = 0; i < 40; i++) await applied(api.store, `s-${i}`, { description: large });
  await using watch = await open(api, { query: '?kind=sandbox' });
  assert.equal((await watch.next(42)).at(-1)!.event, 'synced');

  await until(
    async () => {
      const event = {
        kind: 'sandbox',
        name: 's-0',
        severity: 'info',
        reason: 'Large',
        message: large,
      } as const;
      await Promise.all(Array.from({ length: 100 }, () => api.store.record(event)));
      return listeners() === 0 ? true : undefined;
    },
    { what: 'the reader that reads nothing is cut off', deadlineMs: 60_000 },
  );
  await assert.rejects(watch.next(Number.POSITIVE_INFINITY), /aborted/);
});

test('a reader that leaves is forgotten', async () => {
  await using api = await testApi();
  const listeners = countListeners(api.store);
  const watch = await open(api);
  await watch.next(4);
  assert.equal(listeners(), 1);
  await watch[Symbol.asyncDispose]();
  await until(() => (listeners() === 0 ? true : undefined), { what: 'nobody listens', deadlineMs: 60_000 });
});

// --- a reader ------------------------------------------------------------------------------------

type Watch = AsyncDisposable & {
  /** The next `count` messages. @throws when the stream ends before */
  next(count: number): Promise<readonly Message[]>;
};

async function open(api: TestApi, options: { query?: string; lastEventId?: string } = {}): Promise<Watch> {
  const headers = {
    'offshoot-api-key': api.apiKey,
    ...(options.lastEventId !== undefined && { 'last-event-id': options.lastEventId }),
  };
  const response = await new Promise<IncomingMessage>((resolve, reject) =>
    get(`${api.url}/api/v1/watch${options.query ?? ''}`, { headers, agent: false }, resolve).on(
      'error',
      reject,
    ),
  );
  response.setEncoding('utf8').on('error', () => {});
  assert.equal(response.statusCode, 200);
  assert.equal(response.headers['content-type'], 'text/event-stream');
  const chunks = response[Symbol.asyncIterator]();
  let text = '';
  return {
    async next(count) {
      const messages: Message[] = [];
      while (messages.length < count) {
        const end = text.indexOf('\n\n');
        if (end >= 0) {
          messages.push(parse(text.slice(0, end)));
          text = text.slice(end + 2);
          continue;
        }
        const chunk = await chunks.next();
        if (chunk.done) throw new Error('the stream has ended');
        text += chunk.value;
      }
      return messages;
    },
    async [Symbol.asyncDispose]() {
      response.destroy();
    },
  };
}

function parse(block: string): Message {
  const fields = Object.fromEntries(
    block.split('\n').map(line => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)]),
  );
  const id = fields.id === undefined ? {} : { id: Number(fields.id) };
  return { event: fields.event!, ...id, data: JSON.parse(fields.data!) };
}

/** Counts from now on who listens to `store`. */
function countListeners(store: Store): () => number {
  const onChange = store.onChange.bind(store);
  let count = 0;
  store.onChange = listener => {
    const stop = onChange(listener);
    count += 1;
    return () => {
      count -= 1;
      stop();
    };
  };
  return () => count;
}
