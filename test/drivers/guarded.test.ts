import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { Ctx, Driver } from '../../src/drivers/contract.ts';
import { guard } from '../../src/drivers/guarded.ts';
import { type Log, silentLog } from '../../src/lib/log.ts';
import { delay } from '../../src/lib/wait.ts';
import { OffshootError } from '../../src/model/errors.ts';
import { testCtx } from '../support/postgres.ts';

type Toy = Driver<() => Promise<void>, string> & { extra(): string };

const toy: Toy = {
  name: 'toy',
  capabilities: async () => [],
  observe: async id => id,
  async ensure(id, work) {
    await work();
    return id;
  },
  remove: async () => {},
  list: async () => ['a'],
  extra: () => 'as it was',
};

const deadlines = { observe: 1_000, ensure: 1_000, remove: 1_000, list: 1_000 };
const guarded = guard(toy, { log: silentLog, deadlines });
const ctx = (): Ctx => testCtx();

it('passes calls through, and what is no verb untouched', async () => {
  assert.equal(await guarded.observe('a', ctx()), 'a');
  assert.deepEqual(await guarded.list(ctx()), ['a']);
  assert.equal(guarded.extra(), 'as it was');
  assert.equal(guarded.name, 'toy');
});

it('lets one caller at a time change one thing, and does not hold up others', async () => {
  const order: string[] = [];
  const gate = Promise.withResolvers<void>();
  const first = guarded.ensure('a', () => gate.promise.then(() => void order.push('ensure a')), ctx());
  const second = guarded.remove('a', ctx()).then(() => order.push('remove a'));
  await guarded.ensure('b', async () => void order.push('ensure b'), ctx());
  gate.resolve();
  await Promise.all([first, second]);
  assert.deepEqual(order, ['ensure b', 'ensure a', 'remove a']);
});

it('aborts the driver at the deadline, and holds the lock until it has returned', async () => {
  let returned = false;
  const slow: Toy = {
    ...toy,
    async ensure(id, _work, { signal }) {
      await delay(10_000, signal).finally(() => delay(5).then(() => (returned = true)));
      return id;
    },
    remove: async () => assert.equal(returned, true),
  };
  const hasty = guard(slow, { log: silentLog, deadlines: { ...deadlines, ensure: 10 } });
  const late = hasty.ensure('a', async () => {}, ctx());
  const after = hasty.remove('a', ctx());
  await assert.rejects(late, {
    code: 'api/timeout',
    message: 'timed out after 0.01 s waiting for toy ensure a',
  });
  await after;
});

it('ends with the reason of the caller when the caller aborts', async () => {
  const abort = new AbortController();
  const stopping = new Error('the daemon stops');
  const work = guarded.ensure(
    'a',
    async () => {
      abort.abort(stopping);
      throw new Error('consequence');
    },
    { ...ctx(), signal: abort.signal },
  );
  await assert.rejects(work, error => error === stopping);
  await assert.rejects(guarded.list({ ...ctx(), signal: abort.signal }), error => error === stopping);
});

it('makes unknown errors internal and keeps their cause; known ones stay as they are', async () => {
  const bug = new TypeError('a bug');
  await assert.rejects(
    guarded.ensure('a', () => Promise.reject(bug), ctx()),
    { code: 'internal', cause: bug },
  );
  const known = new OffshootError('postgres/not-running', { id: 'a' });
  await assert.rejects(
    guarded.ensure('a', () => Promise.reject(known), ctx()),
    error => error === known,
  );
});

it('writes one line per call, with how long it took', async () => {
  const lines: { level: string; fields: object }[] = [];
  const note = (level: string) => (fields: object) => void lines.push({ level, fields });
  const log: Log = { ...silentLog, debug: note('debug'), warn: note('warn') };
  const logged = guard(toy, { log, deadlines });
  await logged.remove('a', ctx());
  await assert.rejects(
    logged.ensure('b', () => Promise.reject(new Error('no')), ctx()),
    { code: 'internal' },
  );
  const seen = lines.map(({ level, fields }) => {
    const { ms, error, ...rest } = fields as { ms: unknown; error?: { code: string } };
    return { level, ...rest, timed: typeof ms, code: error?.code };
  });
  const call = { driver: 'toy', timed: 'number' };
  assert.deepEqual(seen, [
    { ...call, level: 'debug', verb: 'remove', id: 'a', code: undefined },
    { ...call, level: 'warn', verb: 'ensure', id: 'b', code: 'internal' },
  ]);
});
