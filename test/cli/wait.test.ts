/** Waiting for objects, also through restarts of the daemon. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { waitFor } from '../../src/cli/wait.ts';
import { OffshootError } from '../../src/model/errors.ts';
import type { BranchView } from '../../src/model/view.ts';
import { createBranch } from '../../src/rules/branches.ts';
import { type TestApi, testApi } from '../support/api.ts';
import { fakeCli } from '../support/cli.ts';

type Objects = ReadonlyMap<string, BranchView>;

function waiter(api: TestApi, signal?: AbortSignal) {
  const env = { OFFSHOOT_API_URL: api.url, OFFSHOOT_API_KEY: api.apiKey };
  const { cli } = fakeCli({ env, ...(signal && { signal }) });
  return (
    probe: (objects: Objects) => boolean | undefined,
    more: { name?: string; timeoutMs?: number } = {},
  ) =>
    waitFor<BranchView>(cli, {
      kind: 'branch',
      timeoutMs: 20_000,
      what: 'the branch',
      probe,
      last: objects => [...objects.values()].map(b => b.name).join(),
      ...more,
    });
}

const make = async ({ store }: TestApi, name: string) =>
  (await createBranch(store, { project: 'default', name, parent: 'main' })).name;

test('it looks when all is known, then after each change', async () => {
  await using api = await testApi();
  const fix = await make(api, 'fix');
  const seen: string[] = [];
  await waiter(api)(objects => {
    const names = [...objects.values()].map(b => b.name).join();
    if (seen.push(names) === 1) queueMicrotask(() => api.store.remove('branch', fix));
    return names === 'main' ? true : undefined;
  });
  assert.deepEqual(seen, ['main,fix', 'main']);
});

test('an object that went while the daemon was down is noticed, even when its end is forgotten', async () => {
  const first = await testApi();
  const fix = await make(first, 'fix');
  const known = Promise.withResolvers<void>();
  const gone = waiter(first)(
    objects => {
      known.resolve();
      return objects.has(fix) ? undefined : true;
    },
    { name: fix },
  );
  await known.promise;
  await first[Symbol.asyncDispose]();
  await first.store.remove('branch', fix);
  first.store.since = () => undefined;
  const port = Number(new URL(first.url).port);
  await using _second = await testApi({ store: first.store, apiKey: first.apiKey, port });
  await gone;
});

test('it does not look at half of what is there', async () => {
  await using api = await testApi();
  await make(api, 'fix');
  const sizes: number[] = [];
  await waiter(api)(objects => {
    sizes.push(objects.size);
    return true;
  });
  assert.deepEqual(sizes, [2]);
});

test('the deadline, with what was last seen', async t => {
  await using api = await testApi();
  const over = new AbortController();
  t.mock.method(AbortSignal, 'timeout', () => over.signal, { times: 1 });
  // It passes once there is something that was seen.
  const look = () => void over.abort(new DOMException('it is over', 'TimeoutError'));
  await assert.rejects(waiter(api)(look, { timeoutMs: 100 }), (error: unknown) => {
    assert.ok(error instanceof OffshootError);
    assert.equal(error.message, 'timed out after 100 ms waiting for the branch; last seen: main');
    assert.equal(error.hint, 'wait longer with --wait-timeout');
    return true;
  });
});

test('a daemon that never comes back ends at the deadline, too', async () => {
  const api = await testApi();
  await api[Symbol.asyncDispose]();
  await assert.rejects(
    waiter(api)(() => true, { timeoutMs: 100 }),
    /timed out after 100 ms/,
  );
});

test('what the probe throws, and Ctrl-C', async () => {
  await using api = await testApi();
  const stop = new AbortController();
  const wait = waiter(api, stop.signal);
  const reason = new Error('SIGINT');
  await assert.rejects(
    wait(() => {
      throw reason;
    }),
    error => error === reason,
  );
  const waiting = wait(() => {
    stop.abort(reason);
    return undefined;
  });
  await assert.rejects(waiting, error => error === reason);
});
