/** The scheduler under events by chance, against what must hold of it, said as simply as possible. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { silentLog } from '../../src/lib/log.ts';
import { OffshootError } from '../../src/model/errors.ts';
import { createScheduler, type Key, type Lane, type Result } from '../../src/reconcile/scheduler.ts';
import { TestClock } from '../support/clock.ts';
import { chance } from '../support/random.ts';

const retryable = new OffshootError('volume/busy', { path: '/p', why: 'w' });
const final = new OffshootError('sandbox/fork-cycle', { sandbox: 's', forks: 'f' });
const pauses = { baseMs: 100, maxMs: 1_000, soundMs: 3_000 };
const concurrency = 2;
const lanes: readonly Lane[] = ['usual', 'recovery', 'delete'];
const topics = ['x', 'y', 'z'];

/** What is known of one key from outside. */
class Model {
  owed = false;
  lane = 0;
  /** Since the look began. */
  laneAsked = 0;
  failures = 0;
  /** A look before the first moment is wrong; one that is owed has begun by the second, if there is a slot. */
  pause: readonly [number, number] = [0, 0];
  alarm = Number.POSITIVE_INFINITY;
  sound = Number.POSITIVE_INFINITY;
  waits = new Set<string>();
  news = new Set<string>();
  changed = false;
  look: { end(result: Result | Error): void; readonly lane: number } | undefined;
}

function world(seed: number) {
  const clock = new TestClock();
  const { below, pick, often } = chance(seed);
  const models = new Map<Key, Model>();
  for (const kind of ['k', 'l']) for (let i = 0; i < 5; i++) models.set(`${kind} ${i}`, new Model());
  const all = [...models.entries()];
  const running = (kind: string, lane: number) =>
    all.filter(([key, m]) => key.startsWith(kind) && m.look?.lane === lane).length;

  const reconcile = (kind: string) => (name: string) => {
    const model = models.get(`${kind} ${name}`)!;
    assert.equal(model.look, undefined, 'two looks at one key at once');
    assert.ok(model.owed || model.alarm <= clock.now(), 'a look that nobody asked for');
    assert.ok(clock.now() >= model.pause[0], 'a look in the pause');
    assert.ok(running(kind, model.lane) < concurrency, 'more looks than slots');
    const { promise, resolve, reject } = Promise.withResolvers<Result>();
    const end = (result: Result | Error) => (result instanceof Error ? reject(result) : resolve(result));
    Object.assign(model, { owed: false, alarm: Number.POSITIVE_INFINITY, changed: false, laneAsked: 0 });
    model.news.clear();
    model.look = { end, lane: model.lane };
    return promise;
  };
  const kinds = {
    k: { reconcile: reconcile('k'), concurrency },
    l: { reconcile: reconcile('l'), concurrency },
  };
  const scheduler = createScheduler({ kinds, pauses, log: silentLog, clock });

  const add = () => {
    const [key, model] = pick(all);
    const intent = often(20);
    const lane = often(20) ? below(3) : 0;
    scheduler.add(key, { intent, lane: lanes[lane]! });
    model.owed = true;
    model.lane = Math.max(model.lane, lane);
    model.laneAsked = Math.max(model.laneAsked, lane);
    if (intent)
      Object.assign(model, { failures: 0, pause: [0, 0], sound: Number.POSITIVE_INFINITY, changed: true });
  };

  const tell = () => {
    const topic = pick(topics);
    scheduler.tell(topic);
    for (const [, model] of all) {
      model.news.add(topic);
      if (model.look === undefined && model.waits.has(topic)) model.owed = true;
    }
  };

  const end = async (model: Model, result: Result | Error): Promise<void> => {
    const { look } = model;
    if (look === undefined) return;
    const now = clock.now();
    model.look = undefined;
    model.waits = new Set(result instanceof Error ? [] : result?.until);
    if ([...model.waits].some(topic => model.news.has(topic))) model.owed = true;
    if (result instanceof Error) {
      if (!model.changed) {
        if (now >= model.sound) model.failures = 0;
        model.sound = Number.POSITIVE_INFINITY;
        const pause = Math.min(pauses.maxMs, pauses.baseMs * 2 ** model.failures);
        model.pause = [now + Math.floor(0.8 * pause), now + Math.ceil(pause)];
        model.failures += 1;
        if (result === retryable || model.lane === 2) model.owed = true;
      }
    } else {
      if (result?.again !== undefined) model.alarm = now + result.again;
      if ((result?.until ?? []).length === 0) {
        if (result?.again === undefined) model.lane = model.laneAsked;
        if (model.failures > 0) model.sound = Math.min(model.sound, now + pauses.soundMs);
      }
    }
    look.end(result);
    await clock.settled();
  };

  const result = (): Result | Error => {
    if (often(25)) return undefined;
    if (often(40)) return often(70) ? retryable : final;
    const until = often(70) ? topics.filter(() => often(50)) : undefined;
    const again = often(40) ? below(400) : undefined;
    return { ...(until && { until }), ...(again !== undefined && { again }) };
  };

  /** What must be true when nothing moves: who is owed a look and has none is in a pause, or there is no slot for it. */
  const check = () => {
    for (const [key, model] of all) {
      const due = model.owed || model.alarm < clock.now();
      if (!due || model.look !== undefined || clock.now() < model.pause[1]) continue;
      assert.equal(running(key[0]!, model.lane), concurrency, `${key} is forgotten`);
    }
  };

  return { clock, scheduler, all, add, tell, end, result, check, pick, often, below };
}

for (let seed = 1; seed <= 30; seed++) {
  it(`nobody is forgotten, nothing is done in vain, seed ${seed}`, async () => {
    const w = world(seed);
    for (let i = 0; i < 400; i++) {
      for (let n = w.below(4); n >= 0; n--) {
        if (w.often(45)) w.add();
        else if (w.often(40)) w.tell();
        else await w.end(w.pick(w.all)[1], w.result());
      }
      if (w.often(50)) await w.clock.turn(w.below(300));
      else await w.clock.settled();
      w.check();
    }
    for (const topic of topics) w.scheduler.tell(topic);
    for (const [, model] of w.all) model.waits.clear();
    for (const [, model] of w.all) model.owed = true;
    for (let quiet = 0; quiet < 3; quiet++) {
      await w.clock.turn(pauses.maxMs);
      for (const [, model] of w.all) {
        if (model.look === undefined) continue;
        quiet = 0;
        await w.end(model, undefined);
      }
    }
    await w.clock.turn(pauses.soundMs);
    const left = Object.values(w.scheduler.counts()).map(({ queued, running, waiting, paused }) => ({
      queued,
      running,
      waiting,
      paused,
    }));
    const none = { queued: 0, running: 0, waiting: 0, paused: 0 };
    assert.deepEqual([left, w.clock.timers], [[none, none], 0]);
  });
}
