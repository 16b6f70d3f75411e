/** The stream between daemon and proxy: what comes over, in which order, and what happens when one of them is away. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, statSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { dirname } from 'node:path';
import { suite, test } from 'node:test';
import { readJsonLines, writeJsonLine } from '../../../src/lib/json-lines.ts';
import { until } from '../../../src/lib/wait.ts';
import { OffshootError } from '../../../src/model/errors.ts';
import type { RouteChange } from '../../../src/model/route.ts';
import { createUses } from '../../../src/proxy/uses.ts';
import { feedPath, gone, key, startFeed, startFollower, untilKeys } from '../../support/stream.ts';

const soon = (what: string) => ({ what, deadlineMs: 60_000 });
const never = () => new AbortController().signal;

/** A peer that speaks for itself. */
async function rawProxy(socket: string, hello: object) {
  const peer = connect(socket);
  await once(peer, 'connect');
  const heard: Record<string, unknown>[] = [];
  readJsonLines(peer, {
    maxLength: 1_000_000,
    onValue: value => heard.push(value as Record<string, unknown>),
    onBroken: assert.fail,
  });
  writeJsonLine(peer, { type: 'hello', proxy: { pid: 9, version: '0.0.9' }, ...hello });
  return { peer, heard, untilHeard: (n: number) => until(() => heard[n - 1], soon(`message ${n}`)) };
}

suite('what a proxy follows', () => {
  test('everything at first, then what changes, each step at once', async t => {
    const socket = await feedPath(t);
    const feed = await startFeed(t, socket);
    feed.publish([key('a'), key('b')]);
    feed.settle();
    const { book, told } = startFollower(t, socket);
    await told;
    await untilKeys(book, 'a', 'b');
    const steps: string[] = [];
    book.onChange(changed => steps.push(changed.map(c => `${c.name}${c.value ? '+' : '-'}`).join(' ')));
    feed.publish([key('c'), gone('a')]);
    feed.publish([key('b')]); // no change
    feed.publish([gone('b')]);
    await untilKeys(book, 'c');
    assert.deepEqual(steps, ['c+ a-', 'b-']);
  });

  test('many items come whole', async t => {
    const socket = await feedPath(t);
    const feed = await startFeed(t, socket);
    const names = Array.from({ length: 2_345 }, (_, i) => `k${i}`);
    feed.publish(names.map(key));
    feed.settle();
    const { book, told } = startFollower(t, socket);
    let steps = 0;
    book.onChange(() => steps++);
    await told;
    assert.deepEqual([...book.names('key')].toSorted(), names.toSorted());
    assert.equal(steps, 1);
  });

  test('nothing of a daemon that has not made up its mind, then all of it in one step', async t => {
    const socket = await feedPath(t);
    const feed = await startFeed(t, socket);
    feed.publish([key('early')]);
    const { book, first, told } = startFollower(t, socket);
    assert.equal(await first, 'undecided');
    book.apply([key('from disk')]);
    feed.publish([key('later')]);
    assert.deepEqual([...book.names('key')], ['from disk']);
    feed.settle();
    await told;
    await untilKeys(book, 'early', 'later');
  });

  test('a daemon that comes back: what is the same is no change, what is missing goes', async t => {
    const socket = await feedPath(t);
    const old = await startFeed(t, socket);
    old.publish([key('stays'), key('goes')]);
    old.settle();
    const { book, told } = startFollower(t, socket);
    await told;
    const changes: (readonly RouteChange[])[] = [];
    book.onChange(changed => changes.push(changed.map(({ kind, name }) => ({ kind, name }))));
    await old.close();
    assert.deepEqual([...book.names('key')], ['stays', 'goes']);
    const next = await startFeed(t, socket);
    next.publish([key('stays'), key('new')]);
    next.settle();
    await untilKeys(book, 'new', 'stays');
    assert.deepEqual(changes, [[gone('goes'), gone('new')]]);
  });

  test('a connection that breaks: only what was missed comes', async t => {
    const socket = await feedPath(t);
    const feed = await startFeed(t, socket);
    feed.publish([key('a')]);
    feed.settle();
    feed.publish([key('b')]);
    const first = await rawProxy(socket, { protocols: [1] });
    const whole = await first.untilHeard(2);
    first.peer.destroy();
    feed.publish([key('c')]);
    const second = await rawProxy(socket, { protocols: [1], at: whole.place });
    await second.untilHeard(3);
    assert.deepEqual(
      second.heard.slice(1).map(({ items, whole }) => ({ items, whole })),
      [
        { items: [['key', 'c', {}]], whole: undefined },
        { items: [], whole: undefined },
      ],
    );
    const stranger = await rawProxy(socket, { protocols: [1], at: { epoch: 'another', version: 1 } });
    assert.equal((await stranger.untilHeard(2)).whole, true);
    for (const { peer } of [second, stranger]) peer.destroy();
  });

  test('messages, kinds and fields of a later version are passed over', async t => {
    const socket = await feedPath(t);
    mkdirSync(dirname(socket));
    const acked = Promise.withResolvers<unknown>();
    const daemon = createServer(proxy => {
      t.after(() => proxy.destroy());
      const step = (items: unknown) => ({
        type: 'step',
        place: { epoch: 'e', version: 4 },
        items,
        whole: true,
      });
      for (const message of [
        { type: 'hello', protocol: 1, version: '9.9.9', pid: 1, settled: true, mood: 'good' },
        { type: 'forecast', for: 'tomorrow' },
        step([
          ['weather', 'today', { rain: true }],
          ['key', 'a', { expires: 'never' }],
        ]),
      ])
        writeJsonLine(proxy, message);
      const onValue = (value: unknown) => (value as { type: string }).type === 'ack' && acked.resolve(value);
      readJsonLines(proxy, { maxLength: 10_000, onValue, onBroken: assert.fail });
    }).listen(socket);
    t.after(() => void daemon.close());
    const { book, told } = startFollower(t, socket);
    await told;
    await untilKeys(book, 'a');
    assert.deepEqual(await acked.promise, { type: 'ack', place: { epoch: 'e', version: 4 } });
  });
});

suite('versions', () => {
  test('the newest protocol that both know is spoken', async t => {
    const socket = await feedPath(t);
    const feed = await startFeed(t, socket);
    feed.settle();
    const { peer, untilHeard } = await rawProxy(socket, { protocols: [7, 1, 0] });
    const { type, protocol, version, settled } = await untilHeard(1);
    assert.deepEqual(
      { type, protocol, version, settled },
      {
        ...{ type: 'hello', protocol: 1, version: '1.2.3', settled: true },
      },
    );
    const [view] = feed.proxies();
    assert.deepEqual([view?.pid, view?.version, view?.protocol], [9, '0.0.9', 1]);
    peer.destroy();
  });

  test('a proxy with which there is none is told so, and waited for by nobody', async t => {
    const socket = await feedPath(t);
    const feed = await startFeed(t, socket);
    feed.settle();
    const { heard, peer, untilHeard } = await rawProxy(socket, { protocols: [99] });
    await untilHeard(1);
    assert.deepEqual(heard, [{ type: 'refused', why: 'it speaks 99, this daemon 1' }]);
    assert.deepEqual(feed.proxies(), []);
    assert.equal(await feed.delivered(), true);
    peer.destroy();
  });

  test('nonsense ends the connection, and nothing else', async t => {
    const socket = await feedPath(t);
    const feed = await startFeed(t, socket);
    feed.settle();
    const peer = connect(socket);
    peer.end('GET / HTTP/1.1\r\n\r\n');
    peer.resume();
    await once(peer, 'close');
    const { told } = startFollower(t, socket);
    await told;
  });
});

suite('delivered', () => {
  test('waits until what was published is followed and kept', async t => {
    const socket = await feedPath(t);
    const feed = await startFeed(t, socket);
    feed.settle();
    assert.equal(await feed.delivered(), true, 'with no proxy there is nobody to wait for');
    const keeping = Promise.withResolvers<void>();
    const { book, told } = startFollower(t, socket, { kept: () => keeping.promise });
    await told;
    feed.publish([key('a')]);
    await untilKeys(book, 'a');
    assert.equal(await feed.delivered(20), false);
    const delivered = feed.delivered();
    keeping.resolve();
    assert.equal(await delivered, true);
  });

  test('a proxy that is away is waited for until it is back, or known to be gone', async t => {
    const socket = await feedPath(t);
    let alive = true;
    const feed = await startFeed(t, socket, { isAlive: () => alive });
    feed.settle();
    const { told, close } = startFollower(t, socket, { pid: 5 });
    await told;
    assert.equal(await feed.delivered(), true);
    close();
    await until(() => feed.proxies().length === 0 || undefined, soon('it is away'));
    feed.publish([key('a')]);
    assert.equal(await feed.delivered(20), false);
    const delivered = feed.delivered();
    const back = startFollower(t, socket, { pid: 5 });
    assert.equal(await delivered, true);
    back.close();
    await until(() => feed.proxies().length === 0 || undefined, soon('it is away'));
    feed.publish([key('b')]);
    const inVain = feed.delivered();
    alive = false;
    assert.equal(await inVain, true);
  });
});

suite('questions', () => {
  test('the daemon answers, also by an error', async t => {
    const socket = await feedPath(t);
    const feed = await startFeed(t, socket, {
      async awake(branch) {
        if (branch === 'there') return { endpoint: { socket: '/there' }, sessions: 3 };
        if (branch === 'ill') throw new Error('secret');
        throw new OffshootError('gateway/branch-unknown', { branch });
      },
    });
    feed.settle();
    const { ask, told } = startFollower(t, socket);
    await told;
    assert.deepEqual(await ask('there', never()), { endpoint: { socket: '/there' }, sessions: 3 });
    await assert.rejects(ask('elsewhere', never()), { code: 'gateway/branch-unknown' });
    await assert.rejects(ask('ill', never()), { code: 'internal' });
  });

  test('a visit is noted, or refused; nobody can note one without a daemon', async t => {
    const socket = await feedPath(t);
    const { enter, first, told } = startFollower(t, socket);
    assert.equal(await first, 'absent');
    const entry = { preview: 'web--x', token: 'a'.repeat(64), by: { link: 'b'.repeat(64) } };
    await assert.rejects(enter(entry, never()), { code: 'preview/no-entry' });
    const noted: unknown[] = [];
    const feed = await startFeed(t, socket, {
      async enter(one) {
        if (noted.push(one) > 1) throw new OffshootError('preview/link-used', {});
      },
    });
    feed.settle();
    await told;
    await enter(entry, never());
    await assert.rejects(enter(entry, never()), { code: 'preview/link-used' });
    assert.deepEqual(noted, [entry, entry]);
  });

  test('a question that is taken back is not worked on any more', async t => {
    const socket = await feedPath(t);
    const asked = Promise.withResolvers<AbortSignal>();
    const feed = await startFeed(t, socket, {
      awake(_branch, signal) {
        asked.resolve(signal);
        return new Promise(() => {});
      },
    });
    feed.settle();
    const { ask, told } = startFollower(t, socket);
    await told;
    const abort = new AbortController();
    const answer = ask('asleep', abort.signal);
    const signal = await asked.promise;
    abort.abort(new Error('the client left'));
    await assert.rejects(answer, /the client left/);
    await until(() => signal.aborted || undefined, soon('the daemon hears of it'));
  });

  test('without a daemon there is an answer at once; also when it goes in the middle', async t => {
    const socket = await feedPath(t);
    const { ask, first, told } = startFollower(t, socket);
    assert.equal(await first, 'absent');
    const refusal = { code: 'gateway/no-control-plane', row: { sqlstate: '57P03' } };
    const refused = async (answer: Promise<unknown>) => {
      const error = (await answer.then(
        () => assert.fail('an answer'),
        e => e,
      )) as OffshootError;
      assert.deepEqual({ code: error.code, row: { sqlstate: error.row.sqlstate } }, refusal);
    };
    await refused(ask('b', never()));
    const feed = await startFeed(t, socket, { awake: () => new Promise(() => {}) });
    feed.settle();
    await told;
    const answer = ask('b', never());
    await feed.close();
    await refused(answer);
    const back = await startFeed(t, socket, {
      awake: async () => ({ endpoint: { socket: '/there' }, sessions: 1 }),
    });
    back.settle();
    await until(() => back.proxies()[0], soon('it follows again'));
    const sessions = await until(
      () =>
        ask('b', never()).then(
          r => r.sessions,
          () => undefined,
        ),
      soon('an answer'),
    );
    assert.equal(sessions, 1);
  });
});

test('what a proxy tells of itself is told to every daemon anew', async t => {
  const socket = await feedPath(t);
  const { tellCounts, tellListeners } = startFollower(t, socket, { pid: 5 });
  const taken = new OffshootError('host/port-taken', { host: '127.0.0.1', port: 80, what: 'x' });
  tellListeners([
    { name: 'a', host: '127.0.0.1', port: 8080 },
    { name: 'b', host: '127.0.0.1', port: 80, error: taken },
  ]);
  tellCounts({ http: 2, sql: 1 });
  for (let life = 0; life < 2; life++) {
    const feed = await startFeed(t, socket);
    feed.settle();
    const [report] = await until(() => (feed.reports.length > 0 ? feed.reports : undefined), soon('report'));
    assert.deepEqual(
      report!.map(({ name, port, error }) => [name, port, error?.message]),
      [
        ['a', 8080, undefined],
        ['b', 80, taken.message],
      ],
    );
    await until(() => feed.proxies()[0]?.counts.http === 2 || undefined, soon('the counts'));
    await feed.close();
  }
});

test('who uses a branch is known when the answer to a step is that comes after; and to every daemon anew', async t => {
  const socket = await feedPath(t);
  const uses = createUses();
  const { book } = startFollower(t, socket, { uses });
  const leave = uses.begin('br1');
  for (let life = 0; life < 2; life++) {
    const feed = await startFeed(t, socket);
    const changes: string[] = [];
    feed.uses.onChange(branch => changes.push(`${branch} ${feed.uses.has(branch)}`));
    feed.settle();
    await until(() => feed.uses.has('br1') || undefined, soon('the use'));
    // One that comes while a step is on its way, as soon as it is there.
    const came = book.onChange(() => uses.begin('br2'));
    feed.publish([key(`step ${life}`)]);
    assert.equal(await feed.delivered(60_000), true);
    assert.equal(feed.uses.has('br2'), true);
    came();
    const second = uses.begin('br1');
    second();
    second();
    assert.deepEqual(changes, ['br1 true', 'br2 true']);
    await feed.close();
    uses.begin('br3')();
  }
  const feed = await startFeed(t, socket);
  feed.settle();
  await until(() => feed.uses.has('br1') || undefined, soon('the use'));
  leave();
  await until(() => !feed.uses.has('br1') || undefined, soon('its end'));
  assert.equal(feed.uses.has('br2'), true);
});

test('what a proxy used that is gone for good is used by nobody', async t => {
  const socket = await feedPath(t);
  let alive = true;
  const feed = await startFeed(t, socket, { isAlive: () => alive });
  feed.settle();
  const raw = await rawProxy(socket, { protocols: [1] });
  writeJsonLine(raw.peer, { type: 'uses', begun: ['br1'], whole: true });
  await until(() => feed.uses.has('br1') || undefined, soon('the use'));
  raw.peer.destroy();
  await until(() => feed.proxies().length === 0 || undefined, soon('it is away'));
  assert.equal(feed.uses.has('br1'), true);
  alive = false;
  await until(() => !feed.uses.has('br1') || undefined, soon('its end'));
});

test('nobody else can reach the socket', async t => {
  const socket = await feedPath(t);
  await startFeed(t, socket);
  assert.equal(statSync(dirname(socket)).mode & 0o777, 0o700);
});
