/** Following objects through restarts and gaps. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createClient, type WatchEvent } from '../../src/client/index.ts';
import { OffshootError } from '../../src/model/errors.ts';
import type { BranchView } from '../../src/model/view.ts';
import { createBranch } from '../../src/rules/branches.ts';
import { type TestApi, testApi } from '../support/api.ts';

type Event = WatchEvent<BranchView>;

const make = async ({ store }: TestApi, name: string) =>
  (await createBranch(store, { project: 'default', name, parent: 'main' })).name;

const brief = (event: Event): string => {
  if (event.type === 'put') return `put ${event.object.name}`;
  if (event.type === 'event') return `event ${event.event.reason}`;
  return event.type;
};

/** The same store at the same address, as after "offshoot down" and "up". */
const restarted = ({ store, apiKey, url }: TestApi) =>
  testApi({ store, apiKey, port: Number(new URL(url).port) });

/** Pulls events one by one. */
function follow(api: TestApi, stop = new AbortController()) {
  const events = api.client.watch<BranchView>({ kind: 'branch' }, stop.signal);
  return {
    stop,
    async next(count: number): Promise<readonly string[]> {
      const seen: string[] = [];
      while (seen.length < count) seen.push(brief((await events.next()).value));
      return seen;
    },
    async [Symbol.asyncDispose]() {
      stop.abort(new Error('the test is over'));
      await events.next().catch(() => {});
    },
  };
}

test('what is there, then every change', async () => {
  await using api = await testApi();
  await using branches = follow(api);
  assert.deepEqual(await branches.next(3), ['reset', 'put main', 'synced']);
  const id = await make(api, 'fix');
  await api.store.record({
    kind: 'branch',
    name: id,
    severity: 'info',
    reason: 'Tested',
    message: 'Grüße\n\n',
  });
  await api.store.remove('branch', id);
  assert.deepEqual(await branches.next(3), ['put fix', 'event Tested', 'gone']);
});

test('a restart of the daemon loses nothing, deletions included', async () => {
  const first = await testApi();
  await using branches = follow(first);
  const id = await make(first, 'fix');
  assert.deepEqual(await branches.next(4), ['reset', 'put main', 'put fix', 'synced']);
  const waiting = branches.next(2);
  await first[Symbol.asyncDispose]();
  await first.store.remove('branch', id);
  await make(first, 'later');
  await using second = await restarted(first);
  assert.deepEqual(await waiting, ['gone', 'put later']);
  await make(second, 'more');
  assert.deepEqual(await branches.next(1), ['put more']);
});

test('after a gap that is too long everything is told again', async () => {
  const first = await testApi();
  await using branches = follow(first);
  const id = await make(first, 'fix');
  await branches.next(4);
  const waiting = branches.next(3);
  await first[Symbol.asyncDispose]();
  await first.store.remove('branch', id);
  first.store.since = () => undefined;
  await using _second = await restarted(first);
  assert.deepEqual(await waiting, ['reset', 'put main', 'synced']);
});

test('the signal ends it at once: while it waits for a change, and for a daemon', async () => {
  const api = await testApi();
  const reason = new Error('enough');
  const waits = async (branches: ReturnType<typeof follow>) => {
    const waiting = branches.next(1);
    branches.stop.abort(reason);
    await assert.rejects(waiting, error => error === reason);
  };
  const connected = follow(api);
  await connected.next(3);
  await waits(connected);
  await api[Symbol.asyncDispose]();
  await waits(follow(api));
});

test('what trying again does not mend ends it', async () => {
  await using api = await testApi();
  const client = createClient({ url: api.url, apiKey: 'ofs_wrong' });
  const code = (expected: string) => (error: unknown) =>
    error instanceof OffshootError && error.code === expected;
  const { signal } = new AbortController();
  await assert.rejects(client.watch({}, signal).next(), code('api/unauthorized'));
  await assert.rejects(api.client.watch({ kind: 'nonsense' }, signal).next(), code('api/bad-request'));
});
