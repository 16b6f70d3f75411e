import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { silentLog } from '../../src/lib/log.ts';
import { createSlots } from '../../src/lib/slots.ts';
import { OffshootError } from '../../src/model/errors.ts';
import {
  createScheduler,
  type Key,
  type Result,
  type SchedulerOptions,
} from '../../src/reconcile/scheduler.ts';
import { TestClock } from '../support/clock.ts';

const retryable = new OffshootError('volume/busy', { path: '/p', why: 'w' });
const final = new OffshootError('sandbox/fork-cycle', { sandbox: 's', forks: 'f' });

/**
 * A scheduler on a clock of its own, whose looks end when the test says so. Keys have one letter: capitals are of
 * kind `K`, the others of kind `k`.
 */
function held({ concurrency = 4, ...options }: Partial<SchedulerOptions> & { concurrency?: number } = {}) {
  const clock = new TestClock();
  const looks: string[] = [];
  const open = new Map<string, PromiseWithResolvers<Result> & { readonly signal: AbortSignal }>();
  const reconcile = async (name: string, signal: AbortSignal): Promise<Result> => {
    assert.equal(open.has(name), false, `two looks at ${name} at once`);
    looks.push(name);
    const look = Promise.withResolvers<Result>();
    open.set(name, { ...look, signal });
    return look.promise.finally(() => open.delete(name));
  };
  const kind = { reconcile, concurrency };
  const pauses = { baseMs: 100, maxMs: 250, soundMs: 1_000 };
  const scheduler = createScheduler({
    kinds: { k: kind, K: kind },
    pauses,
    log: silentLog,
    clock,
    ...options,
  });
  const keyOf = (name: string): Key => `${name === name.toUpperCase() ? 'K' : 'k'} ${name}`;
  return {
    scheduler,
    clock,
    /** Names in the order in which looks began; reading empties it. */
    looks: () => looks.splice(0).join(''),
    running: () => [...open.keys()].join(''),
    signal: (name: string) => open.get(name)!.signal,
    async add(names: string, wish?: Parameters<typeof scheduler.add>[1]) {
      for (const name of names) scheduler.add(keyOf(name), wish);
      await clock.settled();
    },
    async tell(topic: string, most?: number) {
      scheduler.tell(topic, most);
      await clock.settled();
    },
    async end(names: string, result?: Result | Error) {
      for (const name of names) {
        if (result instanceof Error) open.get(name)!.reject(result);
        else open.get(name)!.resolve(result);
        await clock.settled();
      }
    },
  };
}

describe('looks', () => {
  it('at several keys run at once, at one key one after the other', async () => {
    const s = held();
    await s.add('ab');
    await s.add('ababa');
    assert.equal(s.running(), 'ab');
    await s.end('ab');
    assert.equal(s.looks(), 'abab');
    await s.end('ab');
    await s.scheduler.idle();
    assert.equal(s.looks(), '', 'what was asked for during a look is one more look');
  });

  it('that wait for their turn are one per key, in the order in which they were asked for', async () => {
    const s = held({ concurrency: 1 });
    await s.add('abbcb');
    assert.equal(s.running(), 'a');
    await s.end('abc');
    await s.scheduler.idle();
    assert.equal(s.looks(), 'abc');
  });

  it('at a key that is wanted again and again leave others their turn', async () => {
    const s = held({ concurrency: 1 });
    await s.add('abc');
    await s.add('a');
    await s.end('a');
    await s.add('b');
    await s.end('bc');
    assert.equal(s.looks(), 'abca');
  });

  it('of one kind do not stand in the way of another', async () => {
    const s = held({ concurrency: 1 });
    await s.add('abA');
    assert.equal(s.running(), 'aA');
  });

  it('are asked for of known kinds only', () => {
    const s = held();
    assert.throws(() => s.scheduler.add('other a'), /is not of a kind/);
  });

  it('asked for by the reconciler itself come after this one', async () => {
    const seen: string[] = [];
    const scheduler = createScheduler({
      kinds: {
        k: {
          concurrency: 2,
          async reconcile() {
            seen.push('in');
            if (seen.length === 1) scheduler.add('k a');
            seen.push('out');
            return undefined;
          },
        },
      },
      pauses: { baseMs: 1, maxMs: 1, soundMs: 1 },
      log: silentLog,
    });
    scheduler.add('k a');
    assert.deepEqual(seen, [], 'and none begins in the midst of who asks');
    await scheduler.idle();
    assert.deepEqual(seen, ['in', 'out', 'in', 'out']);
  });
});

describe('a look that fails', () => {
  it('is tried again, later each time, while that may help', async () => {
    const warnings: { code: string; attempt: number }[] = [];
    const s = held({ log: { ...silentLog, warn: fields => void warnings.push(fields as never) } });
    await s.add('a');
    for (const most of [100, 200, 250, 250]) {
      await s.end('a', retryable);
      await s.clock.turn(most * 0.8 - 1);
      assert.equal(s.running(), '', `not before ${most * 0.8} ms`);
      await s.clock.turn(most * 0.2 + 2);
      assert.equal(s.running(), 'a', `after ${most} ms`);
    }
    await s.end('a');
    assert.deepEqual(
      warnings.map(w => [w.code, w.attempt]),
      [0, 1, 2, 3].map(attempt => ['volume/busy', attempt]),
    );
  });

  it('for what passes by itself is tried again soon, however often that was', async () => {
    const s = held();
    await s.add('a');
    for (let times = 0; times < 5; times++) {
      await s.end('a', Object.assign(new Error('EMFILE: too many open files'), { code: 'EMFILE' }));
      assert.equal(s.running(), '', 'but not at once');
      await s.clock.turn(100);
      assert.equal(s.running(), 'a', `after ${times + 1} times`);
    }
    await s.end('a', retryable);
    await s.clock.turn(100);
    assert.equal(s.running(), 'a', 'and what fails then, fails for the first time');
  });

  it('with an unknown error, too', async () => {
    const s = held();
    await s.add('a');
    await s.end('a', new TypeError('a bug'));
    await s.clock.turn(100);
    assert.equal(s.looks(), 'aa');
  });

  it('is not tried sooner because somebody asks for it', async () => {
    const s = held();
    await s.add('a');
    await s.add('a');
    await s.end('a', retryable);
    for (let ms = 0; ms < 79; ms++) {
      await s.add('a');
      await s.clock.turn(1);
    }
    assert.equal(s.looks(), 'a');
    await s.clock.turn(21);
    assert.equal(s.looks(), 'a');
    await s.end('a');
    await s.clock.turn(10_000);
    assert.equal(s.looks(), '', 'however many asked, it was one look');
  });

  it('is tried at once when something else is asked for, and as if for the first time', async () => {
    const s = held();
    await s.add('a');
    for (let i = 0; i < 3; i++) {
      await s.end('a', retryable);
      await s.add('a', { intent: true });
      assert.equal(s.running(), 'a');
    }
    await s.end('a', retryable);
    await s.clock.turn(100);
    assert.equal(s.looks(), 'aaaaa', 'the first pause is the shortest');
  });

  it('of what is not asked for any more is no failure', async () => {
    const s = held();
    await s.add('a');
    await s.add('a', { intent: true });
    await s.end('a', retryable);
    assert.equal(s.looks(), 'aa');
    await s.end('a', retryable);
    assert.equal(s.running(), '');
    await s.clock.turn(100);
    assert.equal(s.running(), 'a');
  });

  it('and cannot be mended waits for a change, but not for every word', async () => {
    const s = held();
    await s.add('a');
    await s.end('a', final);
    await s.clock.turn(79);
    await s.add('a');
    assert.equal(s.looks(), 'a');
    await s.clock.turn(21);
    assert.equal(s.looks(), 'a');
    await s.end('a', final);
    await s.clock.turn(1_000_000);
    assert.equal(s.looks(), '');
    await s.add('a', { intent: true });
    assert.equal(s.looks(), 'a');
  });

  it('is forgotten when a success has lasted', async () => {
    const s = held();
    await s.add('a');
    await s.end('a', retryable);
    await s.clock.turn(100);
    await s.end('a');
    await s.clock.turn(500);
    await s.add('a');
    await s.end('a', retryable);
    await s.clock.turn(159);
    assert.equal(s.looks(), 'aaa', 'what works only for moments is broken');
    await s.clock.turn(41);
    await s.end('a');
    await s.clock.turn(1_000);
    await s.add('a');
    await s.end('a', retryable);
    await s.clock.turn(100);
    assert.equal(s.looks(), 'aaa');
  });

  it('is not forgotten by who only waits', async () => {
    const s = held();
    await s.add('a');
    await s.end('a', retryable);
    await s.clock.turn(100);
    await s.end('a', { until: ['x'] });
    await s.clock.turn(10_000);
    await s.tell('x');
    await s.end('a', retryable);
    await s.clock.turn(159);
    assert.equal(s.looks(), 'aaa');
  });
});

describe('again', () => {
  it('asks for one more look later, which an earlier one replaces', async () => {
    const s = held();
    await s.add('a');
    await s.end('a', { again: 1_000 });
    await s.scheduler.idle();
    await s.clock.turn(999);
    assert.equal(s.looks(), 'a');
    await s.clock.turn(1);
    assert.equal(s.looks(), 'a');
    await s.end('a', { again: 1_000 });
    await s.add('a');
    await s.end('a');
    await s.clock.turn(10_000);
    assert.equal(s.looks(), 'a');
  });

  it('is no pause: what happens meanwhile is looked at at once', async () => {
    const s = held();
    await s.add('a');
    await s.end('a', { again: 1_000 });
    await s.add('a');
    assert.equal(s.looks(), 'aa');
  });

  it('may be further away than a timer reaches', async () => {
    let looks = 0;
    const reconcile = async (): Promise<Result> => {
      looks += 1;
      return { again: 2 ** 40 };
    };
    const pauses = { baseMs: 1, maxMs: 1, soundMs: 1 };
    const scheduler = createScheduler({
      kinds: { k: { reconcile, concurrency: 1 } },
      pauses,
      log: silentLog,
    });
    scheduler.add('k a');
    await scheduler.idle();
    await new Promise(resolve => setTimeout(resolve, 10));
    assert.equal(looks, 1);
    await scheduler.close();
  });
});

describe('until', () => {
  it('is the end of a wait that costs nothing', async () => {
    const s = held({ concurrency: 1 });
    await s.add('ab');
    await s.end('ab', { until: ['x', 'y'] });
    await s.add('c');
    assert.equal(s.running(), 'c', 'who waits holds no slot');
    await s.end('c');
    await s.clock.turn(1_000_000);
    assert.equal(s.looks(), 'abc');
    await s.tell('y');
    await s.end('a');
    assert.equal(s.looks(), 'ab');
    await s.tell('x');
    assert.equal(s.looks(), '');
  });

  it('knows what was told during the look', async () => {
    const s = held();
    await s.add('a');
    await s.tell('x');
    await s.end('a', { until: ['x'] });
    assert.equal(s.looks(), 'aa');
    await s.end('a', { until: ['x'] });
    assert.equal(s.looks(), '');
  });

  it('may have an end of its own', async () => {
    const s = held();
    await s.add('a');
    await s.end('a', { until: ['x'], again: 100 });
    await s.clock.turn(100);
    assert.equal(s.looks(), 'aa');
    await s.end('a', { until: ['x'], again: 100 });
    await s.tell('x');
    assert.equal(s.looks(), 'a');
    await s.end('a');
    await s.clock.turn(1_000);
    assert.equal(s.looks(), '');
  });

  it('and a failure: the pause comes first', async () => {
    const s = held();
    await s.add('a');
    await s.end('a', { failed: retryable, until: ['x'], again: 1 });
    await s.tell('x');
    await s.clock.turn(79);
    assert.equal(s.looks(), 'a');
    await s.clock.turn(21);
    await s.end('a', { failed: final, until: ['x'] });
    await s.clock.turn(1_000);
    assert.equal(s.looks(), 'a');
    await s.tell('x');
    assert.equal(s.looks(), 'a');
    await s.end('a', { failed: final, again: 300 });
    await s.clock.turn(300);
    assert.equal(s.looks(), 'a');
  });

  it('is over when the look throws: the pause counts', async () => {
    const s = held();
    await s.add('a');
    await s.end('a', { until: ['x'] });
    await s.add('a');
    await s.end('a', retryable);
    await s.tell('x');
    assert.equal(s.running(), '');
  });
});

describe('a limit', () => {
  /** Looks at `names` that each need a place of `start`, of which there are `most`, and hold it until the test ends them. */
  function limited(most: number) {
    const clock = new TestClock();
    const slots = createSlots(topic => scheduler.tell(topic, 1));
    const done: string[] = [];
    const cancelled = new Set<string>();
    const holding = new Map<string, () => void>();
    let looks = 0;
    const reconcile = async (name: string): Promise<Result> => {
      looks += 1;
      await new Promise(setImmediate);
      if (done.includes(name) || cancelled.has(name)) return undefined;
      const release = slots.take('start', most);
      if (release === undefined) return { until: ['start'] };
      await new Promise<void>(resolve => holding.set(name, resolve));
      holding.delete(name);
      done.push(name);
      release();
      return undefined;
    };
    const pauses = { baseMs: 100, maxMs: 250, soundMs: 1_000 };
    const kinds = { k: { reconcile, concurrency: 1_000 } };
    const scheduler = createScheduler({ kinds, pauses, log: silentLog, clock });
    return { clock, scheduler, done, cancelled, holding, looks: () => looks };
  }

  it('is kept, serves the oldest first, and costs two looks more at most for each that waits', async () => {
    const s = limited(3);
    const names = Array.from({ length: 200 }, (_, i) => `n${i}`);
    for (const name of names) s.scheduler.add(`k ${name}`);
    await s.clock.settled();
    while (s.holding.size > 0) {
      assert.ok(s.holding.size <= 3);
      [...s.holding.values()][0]!();
      await s.clock.settled();
    }
    assert.deepEqual(s.done, names);
    assert.ok(s.looks() <= 3 * names.length, `${s.looks()} looks`);
    assert.deepEqual(s.scheduler.counts().k?.waiting, 0);
  });

  it('loses no place when who was woken for it does not take it', async () => {
    const s = limited(1);
    for (const name of ['a', 'b', 'c', 'd', 'e']) s.scheduler.add(`k ${name}`);
    await s.clock.settled();
    for (const name of ['b', 'c', 'e']) s.cancelled.add(name);
    s.holding.get('a')!();
    await s.clock.settled();
    assert.deepEqual([...s.holding.keys()], ['d']);
    s.holding.get('d')!();
    await s.clock.settled();
    assert.deepEqual([s.done, s.scheduler.counts().k?.waiting], [['a', 'd'], 0]);
  });
});

describe('lanes', () => {
  it('keep deletes and recovery from queueing behind what is being made', async () => {
    const s = held({ concurrency: 2 });
    await s.add('abcdef');
    assert.equal(s.running(), 'ab');
    await s.add('e', { lane: 'delete' });
    await s.add('f', { lane: 'recovery' });
    assert.equal(s.running(), 'abef');
    await s.end('ef');
    assert.equal(s.running(), 'ab', 'e and f were asked for once');
    await s.end('abcd');
    assert.equal(s.looks(), 'abefcd');
  });

  it('have limits, too', async () => {
    const s = held({ concurrency: 2 });
    await s.add('abc', { lane: 'delete' });
    assert.equal(s.running(), 'ab');
  });

  it('end the look at what is to be deleted, and go on from there', async () => {
    const s = held({ concurrency: 1 });
    await s.add('ab');
    await s.add('a', { lane: 'delete', interrupt: true, intent: true });
    assert.equal(s.signal('a').aborted, true);
    await s.end('a', s.signal('a').reason as Error);
    assert.equal(s.looks(), 'aab');
    assert.equal(s.running(), 'ab', 'b has got the slot: a has one in another lane');
  });

  it('are kept until a look succeeds', async () => {
    const s = held({ concurrency: 1 });
    await s.add('a');
    await s.add('bc', { lane: 'recovery' });
    await s.end('b', retryable);
    await s.end('c');
    await s.add('bc');
    await s.clock.turn(100);
    assert.equal(s.running(), 'ab', 'b is in its lane still, c is not');
  });

  it('that were asked for during a look are those of the next', async () => {
    const s = held({ concurrency: 1 });
    await s.add('a');
    await s.add('b');
    await s.add('a', { lane: 'recovery' });
    await s.end('a');
    assert.equal(s.running(), 'ab');
  });

  it('never give up a delete', async () => {
    const s = held();
    await s.add('a', { lane: 'delete' });
    await s.end('a', final);
    await s.clock.turn(100);
    await s.end('a', final);
    await s.clock.turn(200);
    assert.equal(s.looks(), 'aaa');
  });
});

describe('interrupt', () => {
  it('aborts the look that runs, and looks again when it has ended', async () => {
    const s = held();
    await s.add('ab');
    await s.add('a');
    assert.equal(s.signal('a').aborted, false, 'asking alone does not interrupt');
    await s.add('a', { interrupt: true });
    assert.deepEqual([s.signal('a').aborted, s.signal('b').aborted], [true, false]);
    assert.equal(s.signal('a').reason.message, 'the intent changed');
    await s.end('a', s.signal('a').reason as Error);
    assert.equal(s.looks(), 'aba');
    assert.equal(s.signal('a').aborted, false);
  });

  it('does not disturb a look that has not begun', async () => {
    const s = held({ concurrency: 1 });
    await s.add('ab');
    await s.add('b', { interrupt: true });
    await s.end('a');
    assert.equal(s.signal('b').aborted, false);
  });
});

describe('close', () => {
  it('aborts what runs, waits for it, and starts nothing more', async () => {
    const s = held({ concurrency: 1 });
    await s.add('aab');
    let closed = false;
    const closing = s.scheduler.close().then(() => {
      closed = true;
    });
    await s.add('c');
    await s.tell('x');
    assert.equal(s.signal('a').aborted, true);
    assert.equal(closed, false);
    await s.end('a', retryable);
    await closing;
    await s.clock.turn(1_000);
    assert.equal(s.looks(), 'a');
  });

  it('forgets what was to be looked at later, also of a look that ends only now', async () => {
    const s = held();
    await s.add('abcd');
    await s.end('a', { again: 1_000 });
    await s.end('d', retryable);
    assert.equal(s.clock.timers, 2);
    const closing = s.scheduler.close();
    await s.end('b', { again: 1_000 });
    await s.end('c', { until: ['x'] });
    await closing;
    assert.equal(s.clock.timers, 0);
  });
});

describe('what is known of the keys', () => {
  it('is counted by what they do', async () => {
    const s = held({ concurrency: 2 });
    await s.add('wpfabc');
    await s.end('w', { until: ['x'] });
    await s.end('p', retryable);
    await s.end('f', final);
    await s.clock.turn(50);
    assert.deepEqual(s.scheduler.counts().k, {
      queued: 1,
      running: 2,
      waiting: 1,
      paused: 2,
      looks: 5,
      failures: 2,
      longestWaitMs: 0,
    });
    await s.end('a');
    assert.equal(s.scheduler.counts().k?.longestWaitMs, 50);
  });

  it('is forgotten when nothing is to be remembered', async () => {
    const s = held();
    await s.add('abc');
    await s.end('a');
    await s.end('b', { again: 10 });
    await s.end('c', retryable);
    await s.clock.turn(100);
    await s.end('bc');
    await s.clock.turn(1_000);
    assert.equal(s.clock.timers, 0);
    assert.deepEqual({ ...s.scheduler.counts().k, looks: 0, failures: 0, longestWaitMs: 0 }, zero);
  });
});

const zero = { queued: 0, running: 0, waiting: 0, paused: 0, looks: 0, failures: 0, longestWaitMs: 0 };

it('ten thousand keys are looked at as one is', async () => {
  const names = Array.from({ length: 10_000 }, (_, i) => `n${i}`);
  const seen: string[] = [];
  const scheduler = createScheduler({
    kinds: {
      k: {
        concurrency: 16,
        async reconcile(name) {
          seen.push(name);
          return seen.length <= names.length ? { until: ['x', name] } : undefined;
        },
      },
    },
    pauses: { baseMs: 1, maxMs: 1, soundMs: 1 },
    log: silentLog,
  });
  for (const name of names) scheduler.add(`k ${name}`);
  await scheduler.idle();
  scheduler.tell('x');
  await scheduler.idle();
  assert.deepEqual(seen, [...names, ...names]);
});
