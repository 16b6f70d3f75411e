/** One of several decides: by a clock that the test turns, and a cluster that answers late, wrongly or not at all. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ClusterClient, Limits } from '../../src/kubernetes/client.ts';
import { type Candidacy, contendFor, whileHeld } from '../../src/kubernetes/lease.ts';
import type { KubernetesObject, Resource } from '../../src/kubernetes/resource.ts';
import type { Clock } from '../../src/lib/clock.ts';
import { silentLog } from '../../src/lib/log.ts';
import { OffshootError } from '../../src/model/errors.ts';
import { TestClock } from '../support/clock.ts';
import { chance } from '../support/random.ts';

type Verb = 'get' | 'write';
/** What comes of a call: as it should; it is done, and nobody hears of it; refused; or no answer until it is given up. */
type Trouble = 'none' | 'unheard' | 'refused' | 'hang';

/** One Lease, written by compare-and-swap. */
function cluster(clock: Clock) {
  let [stored, version]: [KubernetesObject | undefined, number] = [undefined, 1];
  const refused = (code: 'kubernetes/conflict' | 'kubernetes/unreachable') =>
    new OffshootError(code, { verb: 'update', what: 'leases "x"', why: 'ECONNRESET' });
  const write = (object: KubernetesObject): KubernetesObject => {
    if (object.metadata.resourceVersion !== stored?.metadata.resourceVersion)
      throw refused('kubernetes/conflict');
    version += 1;
    stored = { ...object, metadata: { ...object.metadata, resourceVersion: String(version) } };
    return stored;
  };
  /** The client of one candidate, with clock and troubles of its own. */
  const clientOf = (
    own: Clock,
    trouble: (verb: Verb) => Trouble = () => 'none',
    lateMs: (verb: Verb) => number = () => 0,
  ) => {
    const wait = (ms: number, signal: AbortSignal | undefined) =>
      new Promise<void>((resolve, reject) => {
        const onAbort = () => reject(signal!.reason);
        signal?.addEventListener('abort', onAbort, { once: true });
        if (signal?.aborted) onAbort();
        else if (ms !== Number.POSITIVE_INFINITY) {
          if (ms === 0) resolve();
          else own.after(ms, resolve);
        }
      });
    async function call<T>(verb: Verb, signal: AbortSignal | undefined, act: () => T): Promise<T> {
      const what = trouble(verb);
      if (what === 'refused') throw refused('kubernetes/unreachable');
      if (what === 'hang') await wait(Number.POSITIVE_INFINITY, signal);
      const ms = lateMs(verb);
      await wait(ms / 2, signal);
      const done = act();
      await wait(what === 'unheard' ? Number.POSITIVE_INFINITY : ms / 2, signal);
      return done;
    }
    const put = <O extends KubernetesObject>(_: Resource, object: O, limits: Limits = {}) =>
      call('write', limits.signal, () => write(object) as O);
    return {
      get: <O extends KubernetesObject>(_: Resource, __: object, limits: Limits = {}) =>
        call('get', limits.signal, () => stored as O | undefined),
      create: put,
      replace: put,
    } satisfies Pick<ClusterClient, 'get' | 'create' | 'replace'>;
  };
  const candidate = (identity: string, client = clientOf(clock), own = clock): Candidacy =>
    contendFor({
      ...{ client, namespace: 'offshoot', name: 'x', identity, says: `at ${identity}`, clock: own },
      log: silentLog,
    });
  return {
    clientOf,
    candidate,
    held: () => (stored?.spec as { holderIdentity?: string } | undefined)?.holderIdentity,
    spec: () => stored?.spec as Record<string, unknown>,
    remove() {
      stored = undefined;
    },
  };
}

const decides = (one: Candidacy) => one.leftMs() > 0;

test('the first one decides, says who it is, and goes on for as long as it renews', async () => {
  const clock = new TestClock();
  const c = cluster(clock);
  const a = c.candidate('a');
  await clock.settled();
  await a.won;
  const b = c.candidate('b');
  await clock.turn(300_000);
  assert.deepEqual([decides(a), decides(b)], [true, false]);
  assert.deepEqual(b.holder(), { identity: 'a', says: 'at a' });
  assert.equal(c.spec().leaseDurationSeconds, 15);
  assert.equal(c.spec().leaseTransitions, 0);
});

test('one that gives it up is followed at once', async () => {
  const clock = new TestClock();
  const c = cluster(clock);
  const a = c.candidate('a');
  await clock.settled();
  const b = c.candidate('b');
  await clock.turn(5_000);
  await a.release();
  assert.equal(c.held(), '');
  assert.equal(decides(a), false);
  b.look();
  await clock.settled();
  await b.won;
  assert.equal(decides(b), true);
  assert.equal(a.lost.aborted, false, 'it was not taken from it');
  assert.equal(c.spec().leaseTransitions, 1);
});

test('one that is gone is followed when the lease has stood still for its time, and not before', async () => {
  const clock = new TestClock();
  const c = cluster(clock);
  let gone = false;
  const a = c.candidate(
    'a',
    c.clientOf(clock, () => (gone ? 'hang' : 'none')),
  );
  await clock.settled();
  const b = c.candidate('b');
  await clock.turn(6_000);
  gone = true;
  const since = clock.now();
  while (!decides(b)) {
    assert.ok(!(decides(a) && decides(b)));
    await clock.turn(100);
    assert.ok(clock.now() - since < 20_000, 'it is followed');
  }
  assert.ok(clock.now() - since > 12_000, String(clock.now() - since));
  assert.equal(a.lost.aborted, true);
});

test('one whose renewals are not heard stops before another begins, and says why', async () => {
  for (const trouble of ['refused', 'hang', 'unheard'] as const) {
    const clock = new TestClock();
    const c = cluster(clock);
    let bad = false;
    const a = c.candidate(
      'a',
      c.clientOf(clock, verb => (bad && verb === 'write' ? trouble : 'none')),
    );
    await clock.settled();
    const wonAt = clock.now();
    bad = true;
    await clock.turn(9_900);
    assert.equal(decides(a), true, trouble);
    await clock.turn(200);
    assert.equal(decides(a), false, trouble);
    assert.equal(clock.now() - wonAt, 10_100);
    assert.equal((a.lost.reason as OffshootError).code, 'kubernetes/lease-lost');
    assert.match((a.lost.reason as OffshootError).message, /does not decide any more: the lease "x"/);
  }
});

test('the time that an answer took is not time to decide in', async () => {
  const clock = new TestClock();
  const c = cluster(clock);
  const slow = c.clientOf(
    clock,
    () => 'none',
    verb => (verb === 'write' ? 8_000 : 0),
  );
  const a = c.candidate('a', slow);
  await clock.turn(8_000);
  assert.equal(a.leftMs(), 2_000);
});

test('one that comes back in its pod goes on at once', async () => {
  const clock = new TestClock();
  const c = cluster(clock);
  let dead = false;
  c.candidate(
    'a',
    c.clientOf(clock, () => (dead ? 'hang' : 'none')),
  );
  await clock.turn(3_000);
  dead = true;
  const again = c.candidate('a');
  await clock.settled();
  assert.equal(decides(again), true);
});

test('a lease that somebody has deleted is still respected by those who knew it', async () => {
  const clock = new TestClock();
  const c = cluster(clock);
  const a = c.candidate('a');
  await clock.settled();
  const b = c.candidate('b');
  await clock.turn(3_000);
  c.remove();
  b.look();
  await clock.settled();
  assert.deepEqual([decides(a), decides(b)], [true, false]);
  await clock.turn(5_000);
  assert.equal(c.held(), 'a');
});

test('whatever the cluster does, and however their clocks go, never two at once', async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const random = chance(seed);
    const clock = new TestClock();
    const c = cluster(clock);
    const troubles: readonly Trouble[] = ['refused', 'unheard', 'hang', 'none', 'none', 'none'];
    let bad = true;
    const mishap = (): Trouble => (bad ? troubles[random.below(troubles.length)]! : 'none');
    const names = ['a', 'b', 'c'];
    const start = (name: string) => {
      // Each has a time of its own; only how fast it passes is the same.
      const aheadMs = random.below(10_000_000);
      const own: Clock = { now: () => clock.now() + aheadMs, after: clock.after, soon: clock.soon };
      const client = c.clientOf(own, mishap, () => (bad ? random.below(3_000) : 0));
      return c.candidate(name, client, own);
    };
    const all = new Map(names.map(name => [name, start(name)]));
    let had = 0;
    for (let step = 0; step < 600; step++) {
      await clock.turn(500);
      const deciding = [...all.values()].filter(decides);
      assert.ok(deciding.length <= 1, `seed ${seed}, step ${step}`);
      had += deciding.length;
      // Whose turn is over starts again, under another name.
      for (const [name, one] of all)
        if (one.lost.aborted) {
          all.delete(name);
          const next = `${name}'`;
          all.set(next, start(next));
        }
    }
    assert.ok(had > 0, `seed ${seed}: nobody ever decided`);
    bad = false;
    await clock.turn(40_000);
    assert.equal([...all.values()].filter(decides).length, 1, `seed ${seed}: one decides again`);
    await Promise.all([...all.values()].map(one => one.release()));
    assert.equal(clock.timers, 0, 'none is left to do something');
  }
});

test('who decides writes only as long as it may, and waits no longer', async () => {
  const asked: (number | undefined)[] = [];
  const write = async (_: unknown, object: unknown, limits: Limits = {}) => {
    asked.push(limits.deadlineMs);
    return object;
  };
  const client = { create: write, replace: write, apply: write, remove: write } as unknown as ClusterClient;
  let leftMs = 700;
  const lost = new AbortController();
  const own = whileHeld(client, { leftMs: () => leftMs, lost: lost.signal });
  const resource = { group: '', version: 'v1', plural: 'secrets' };
  const object = { metadata: { name: 'x' } };
  await own.create(resource, object);
  await own.replace(resource, object, { deadlineMs: 100 });
  await own.apply(resource, object, { deadlineMs: 5_000 });
  await own.remove(resource, { name: 'x' });
  assert.deepEqual(asked, [700, 100, 700, 700]);
  leftMs = 0;
  const writes = [
    () => own.create(resource, object),
    () => own.replace(resource, object),
    () => own.apply(resource, object),
    () => own.remove(resource, { name: 'x' }),
  ];
  for (const one of writes)
    await assert.rejects(one, error => (error as OffshootError).code === 'kubernetes/lease-lost');
  assert.equal(asked.length, 4);
});
