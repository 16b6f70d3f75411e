import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { describe, it } from 'node:test';
import { backoffMs, DeadlineError, delay, orAborted, until } from '../../src/lib/wait.ts';

const stop = new Error('stop');
const isStop = (error: unknown) => error === stop;
const hour = 3_600_000;

describe('delay', () => {
  it('ends with the reason of the signal, whenever that aborts', async () => {
    const abort = new AbortController();
    const waiting = delay(hour, abort.signal);
    abort.abort(stop);
    await assert.rejects(waiting, isStop);
    await assert.rejects(delay(0, abort.signal), isStop);
  });

  it('leaves no timer and no listener behind', async t => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const { signal } = new AbortController();
    const add = t.mock.method(signal, 'addEventListener');
    const remove = t.mock.method(signal, 'removeEventListener');
    const waiting = delay(hour, signal);
    t.mock.timers.tick(hour);
    await waiting;
    assert.deepEqual(
      remove.mock.calls.map(c => c.arguments.slice(0, 2)),
      add.mock.calls.map(c => c.arguments.slice(0, 2)),
    );
  });
});

describe('until', () => {
  it('asks without the rest of a pause when the event comes that it was told of, however that ends', async () => {
    for (const end of ['resolve', 'reject'] as const) {
      const event = Promise.withResolvers<void>();
      let asked = 0;
      const probe = () => {
        asked += 1;
        if (asked === 1) setImmediate(() => event[end]());
        return asked === 2 ? true : undefined;
      };
      const options = { what: 'x', deadlineMs: hour, intervalMs: hour, event: event.promise };
      assert.equal(await until(probe, options), true);
    }
  });

  it('asks again until there is an answer; false and null are answers', async () => {
    const answers = [undefined, undefined, false];
    let asked = 0;
    const found = await until(async () => answers[asked++], { what: 'x', deadlineMs: hour, intervalMs: 0 });
    assert.deepEqual([found, asked], [false, 3]);
    assert.equal(await until(() => null, { what: 'x', deadlineMs: 0 }), null);
  });

  it('asks once more at the deadline, then says what it waited for', async () => {
    let asked = 0;
    const waiting = until(
      () => {
        asked += 1;
        return undefined;
      },
      { what: 'rain', deadlineMs: 0 },
    );
    await assert.rejects(waiting, error => {
      assert.ok(error instanceof DeadlineError);
      assert.equal(error.message, 'rain: not within 0 ms');
      return true;
    });
    assert.equal(asked, 1);
  });

  it('throws at once what the probe throws', async () => {
    const probe = () => {
      throw stop;
    };
    await assert.rejects(until(probe, { what: 'x', deadlineMs: hour }), isStop);
  });

  it('ends with the reason of the signal, without asking when it has aborted before', async () => {
    const abort = new AbortController();
    const options = { what: 'x', deadlineMs: hour, intervalMs: hour, signal: abort.signal };
    const waiting = until(() => undefined, options);
    await new Promise(setImmediate);
    abort.abort(stop);
    await assert.rejects(waiting, isStop);
    await assert.rejects(
      until(() => assert.fail('asked'), options),
      isStop,
    );
  });
});

describe('backoffMs', () => {
  it('doubles from the base to the maximum, and takes at most a fifth off', () => {
    const cases: readonly (readonly [attempt: number, plain: number])[] = [
      [0, 100],
      [1, 200],
      [3, 800],
      [4, 1_000],
      [1_000_000, 1_000],
    ];
    for (const [attempt, plain] of cases) {
      for (let i = 0; i < 100; i++) {
        const ms = backoffMs(attempt, 100, 1_000);
        assert.ok(Number.isInteger(ms) && ms >= plain * 0.8 && ms <= plain, `attempt ${attempt}: ${ms}`);
      }
    }
  });
});

describe('orAborted', () => {
  it('leaves no listener behind', async () => {
    const { signal } = new AbortController();
    assert.equal(await orAborted(Promise.resolve(1), signal), 1);
    await assert.rejects(orAborted(Promise.reject(stop), signal), isStop);
    await delay(0);
    assert.deepEqual(getEventListeners(signal, 'abort'), []);
  });
});
