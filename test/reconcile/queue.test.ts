import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { silentLog } from '../../src/lib/log.ts';
import { OffshootError } from '../../src/model/errors.ts';
import { createQueue, type QueueOptions } from '../../src/reconcile/queue.ts';

const retryable = new OffshootError('branch/parent-not-ready', { parent: 'p', why: 'w' });
const final = new OffshootError('sandbox/fork-cycle', { sandbox: 's', forks: 'f' });

const queueOf = (reconcile: QueueOptions['reconcile'], options: Partial<QueueOptions> = {}) =>
  createQueue({ reconcile, concurrency: 4, backoff: { baseMs: 1, maxMs: 2 }, log: silentLog, ...options });

/** A reconciler whose looks end when the test says so, each with `end(key, result)`. */
function held() {
  const looks: string[] = [];
  const open = new Map<string, PromiseWithResolvers<{ again?: number } | undefined>>();
  return {
    /** Keys in the order in which looks began. */
    looks,
    running: () => [...open.keys()],
    async reconcile(key: string) {
      assert.equal(open.has(key), false, `two looks at ${key} at once`);
      looks.push(key);
      const look = Promise.withResolvers<{ again?: number } | undefined>();
      open.set(key, look);
      return look.promise.finally(() => open.delete(key));
    },
    async end(key: string, result?: { again: number } | Error) {
      const look = open.get(key)!;
      if (result instanceof Error) look.reject(result);
      else look.resolve(result);
      await settled();
    },
  };
}

/** When all that follows without timers has happened. */
const settled = () => new Promise(setImmediate);

const timers = () => process.getActiveResourcesInfo().filter(name => name === 'Timeout').length;

describe('looks', () => {
  it('at several keys run at once, at one key one after the other', async () => {
    const h = held();
    const queue = queueOf(h.reconcile);
    for (const key of ['a', 'b', 'a', 'b', 'a']) queue.add(key);
    assert.deepEqual(h.running(), ['a', 'b']);
    await h.end('a');
    await h.end('b');
    assert.deepEqual(h.looks, ['a', 'b', 'a', 'b']);
    await h.end('a');
    await h.end('b');
    await queue.idle();
    assert.equal(h.looks.length, 4, 'what was asked for during a look is one more look');
  });

  it('that wait for their turn are one per key', async () => {
    const h = held();
    const queue = queueOf(h.reconcile, { concurrency: 1 });
    for (const key of ['a', 'b', 'b', 'c', 'b']) queue.add(key);
    assert.deepEqual(h.running(), ['a']);
    for (const key of ['a', 'b', 'c']) await h.end(key);
    await queue.idle();
    assert.deepEqual(h.looks, ['a', 'b', 'c']);
  });

  it('asked for by the reconciler itself come after this one', async () => {
    const seen: string[] = [];
    const queue = queueOf(async key => {
      seen.push('in');
      if (seen.length === 1) queue.add(key);
      seen.push('out');
      return undefined;
    });
    queue.add('a');
    await queue.idle();
    assert.deepEqual(seen, ['in', 'out', 'in', 'out']);
  });
});

describe('a look that fails', () => {
  it('is tried again, later each time, while that may help', async t => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const h = held();
    const warnings: unknown[] = [];
    const log = { ...silentLog, warn: (fields: object) => void warnings.push(fields) };
    const queue = queueOf(h.reconcile, { backoff: { baseMs: 100, maxMs: 250 }, log });
    queue.add('a');
    for (const most of [100, 200, 250, 250]) {
      await h.end('a', retryable);
      t.mock.timers.tick(most * 0.8 - 1);
      assert.deepEqual(h.running(), [], `not before ${most * 0.8} ms`);
      t.mock.timers.tick(most * 0.2 + 1);
      assert.deepEqual(h.running(), ['a'], `after ${most} ms`);
    }
    await h.end('a');
    queue.add('a');
    await h.end('a', retryable);
    t.mock.timers.tick(100);
    assert.deepEqual(h.running(), ['a'], 'a success begins the back-off anew');
    assert.deepEqual(
      (warnings as { code: string; attempt: number }[]).map(w => [w.code, w.attempt]),
      [0, 1, 2, 3, 0].map(attempt => ['branch/parent-not-ready', attempt]),
    );
    await h.end('a');
    await queue.close();
  });

  it('is the first one again after a success, and after an error that was waited out', async t => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const h = held();
    const attempts: number[] = [];
    const log = {
      ...silentLog,
      warn: (fields: object) => void attempts.push((fields as { attempt: number }).attempt),
    };
    const queue = queueOf(h.reconcile, { log });
    const endAll = async (...results: readonly ({ again: number } | Error)[]) => {
      for (const result of results) {
        queue.add('a');
        await h.end('a', result);
      }
    };
    await endAll(retryable, retryable, { again: 1_000 }, retryable, retryable, final, retryable);
    assert.deepEqual(attempts, [0, 1, 0, 1, 2, 0]);
    await queue.close();
  });

  it('with an unknown error is tried again, too', async () => {
    let looks = 0;
    const done = Promise.withResolvers<void>();
    const queue = queueOf(async () => {
      looks += 1;
      if (looks < 3) throw new TypeError('a bug');
      done.resolve();
      return undefined;
    });
    queue.add('a');
    await done.promise;
    await queue.close();
  });

  it('and cannot be mended waits for a change', async t => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const h = held();
    const queue = queueOf(h.reconcile);
    queue.add('a');
    await h.end('a', final);
    t.mock.timers.tick(1_000_000);
    assert.deepEqual(h.looks, ['a']);
    queue.add('a');
    assert.deepEqual(h.looks, ['a', 'a']);
    await h.end('a');
    await queue.close();
  });

  it('is looked at at once when it was asked for meanwhile', async t => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const h = held();
    const queue = queueOf(h.reconcile);
    queue.add('a');
    queue.add('a');
    await h.end('a', retryable);
    assert.deepEqual(h.looks, ['a', 'a']);
    await h.end('a');
    t.mock.timers.tick(1_000);
    assert.deepEqual(h.looks, ['a', 'a'], 'and no retry is left of it');
    await queue.close();
  });
});

describe('again', () => {
  it('asks for one more look later, which an earlier one replaces', async t => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const h = held();
    const queue = queueOf(h.reconcile);
    queue.add('a');
    await h.end('a', { again: 1_000 });
    await queue.idle();
    t.mock.timers.tick(999);
    assert.equal(h.looks.length, 1);
    t.mock.timers.tick(1);
    assert.equal(h.looks.length, 2);
    await h.end('a', { again: 1_000 });
    queue.add('a');
    await h.end('a');
    t.mock.timers.tick(10_000);
    assert.equal(h.looks.length, 3);
    await queue.close();
  });

  it('may be further away than a timer reaches', async () => {
    const h = held();
    const queue = queueOf(h.reconcile);
    queue.add('a');
    await h.end('a', { again: 2 ** 40 });
    await settled();
    assert.equal(h.looks.length, 1);
    await queue.close();
  });

  it('leaves nothing behind when its time has come', async () => {
    const before = timers();
    const twice = Promise.withResolvers<void>();
    let looks = 0;
    const queue = queueOf(async () => {
      looks += 1;
      if (looks === 2) twice.resolve();
      return looks === 1 ? { again: 0 } : undefined;
    });
    queue.add('a');
    await twice.promise;
    await queue.idle();
    assert.equal(timers(), before);
    await queue.close();
  });
});

describe('interrupt', () => {
  it('aborts the look that runs, and looks again when it has ended', async () => {
    const reasons: string[] = [];
    const queue = queueOf(async (_key, signal) => {
      if (reasons.length > 0) return undefined;
      await new Promise((_, reject) =>
        signal.addEventListener('abort', () => {
          reasons.push(signal.reason.message);
          reject(signal.reason);
        }),
      );
      return undefined;
    });
    queue.add('a');
    queue.add('a');
    assert.deepEqual(reasons, [], 'asking alone does not interrupt');
    queue.add('a', { interrupt: true });
    await queue.idle();
    assert.deepEqual(reasons, ['the intent changed']);
  });

  it('does not disturb other keys, nor a look that has not begun', async () => {
    const aborted: string[] = [];
    const gate = Promise.withResolvers<void>();
    const looks: string[] = [];
    const queue = queueOf(
      async (key, signal) => {
        looks.push(key);
        signal.addEventListener('abort', () => aborted.push(key));
        await gate.promise;
        return undefined;
      },
      { concurrency: 1 },
    );
    queue.add('a');
    queue.add('b');
    queue.add('b', { interrupt: true });
    gate.resolve();
    await queue.idle();
    assert.deepEqual([looks, aborted], [['a', 'b'], []]);
  });
});

describe('close', () => {
  it('aborts what runs, waits for it, and starts nothing more', async () => {
    const looks: string[] = [];
    const ending = Promise.withResolvers<void>();
    const queue = queueOf(
      async (key, signal) => {
        looks.push(key);
        await new Promise(resolve => signal.addEventListener('abort', resolve));
        await ending.promise;
        throw signal.reason;
      },
      { concurrency: 1 },
    );
    queue.add('a');
    queue.add('a');
    queue.add('b');
    let closed = false;
    const closing = queue.close().then(() => {
      closed = true;
    });
    queue.add('c');
    await settled();
    assert.equal(closed, false);
    ending.resolve();
    await closing;
    assert.deepEqual(looks, ['a']);
  });

  it('forgets what was to be looked at later, also of a look that ends only now', async () => {
    const before = timers();
    const h = held();
    const queue = queueOf(h.reconcile);
    for (const key of ['a', 'b', 'c']) queue.add(key);
    await h.end('a', { again: 1_000_000 });
    assert.equal(timers(), before + 1);
    const closing = queue.close();
    await h.end('b', { again: 1_000_000 });
    await h.end('c', retryable);
    await closing;
    assert.equal(timers(), before);
  });
});
