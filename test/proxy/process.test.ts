/** The data path as a process: it outlives daemons, and one of them takes the place of another without a gap. */
import assert from 'node:assert/strict';
import { existsSync, rmSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { suite, type TestContext, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { WebSocket, WebSocketServer } from 'ws';
import { bootId } from '../../src/lib/boot.ts';
import { silentLog } from '../../src/lib/log.ts';
import { until } from '../../src/lib/wait.ts';
import type { Address, RouteChange } from '../../src/model/route.ts';
import { keepProxy } from '../../src/proxy/keeper.ts';
import { tableFile } from '../../src/proxy/places.ts';
import { readTable } from '../../src/proxy/stream/table-file.ts';
import { echo, fakePostgres } from '../support/fake-postgres.ts';
import { ask, defaultSettings, dial as dialHttp, serveHttp, serveTcp } from '../support/http.ts';
import * as frames from '../support/pg-frames.ts';
import { killIfThere, proxyHome, untilOpen } from '../support/proxy-process.ts';
import { dial } from '../support/raw-client.ts';

const soon = (what: string) => ({ what, deadlineMs: 60_000 });

/** A service, its fork under key `k`, a preview, and a branch; all of it in this process. */
async function world(t: TestContext) {
  const sockets = new WebSocketServer({ noServer: true });
  t.after(() => sockets.close());
  sockets.on('connection', socket => socket.on('message', data => socket.send(`echo ${data}`)));
  const upgrade = {
    onUpgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) =>
      sockets.handleUpgrade(request, socket, head, client => sockets.emit('connection', client)),
  };
  const baseline = await serveHttp(t, (_request, response) => response.end('baseline'), upgrade);
  const fork = await serveHttp(t, (_request, response) => response.end('fork'), upgrade);
  const cache = await serveTcp(t, socket => {
    socket.write('hello ');
    socket.on('data', data => socket.write(data));
  });
  let sessions = 0;
  const postgres = await fakePostgres(client => echo(++sessions, Buffer.from('abcd'))(client));
  t.after(() => postgres[Symbol.asyncDispose]());
  const ready = (address: Address) => ({ ready: true as const, ports: { 80: [address] } });
  const items: RouteChange[] = [
    { kind: 'setting', name: 'proxy', value: defaultSettings },
    {
      kind: 'service',
      name: 'svc:demo/shop:80',
      value: { label: 'Service demo/shop', behind: [{ workload: 'demo/shop', port: 80 }] },
    },
    {
      kind: 'workload',
      name: 'demo/shop',
      value: { label: 'Deployment demo/shop', target: ready(baseline) },
    },
    {
      ...{ kind: 'service', name: 'svc:demo/cache:80' },
      value: { label: 'Service demo/cache', behind: [{ workload: 'demo/cache', port: 80 }] },
    },
    { kind: 'workload', name: 'demo/cache', value: { label: 'Deployment demo/cache', target: ready(cache) } },
    { kind: 'listener', name: 'cache', value: { host: '127.0.0.1', port: 0, serves: 'svc:demo/cache:80' } },
    { kind: 'fork', name: 'demo/shop/k', value: { sandbox: 'mine', target: ready(fork) } },
    { kind: 'listener', name: 'shop', value: { host: '127.0.0.1', port: 0, serves: 'svc:demo/shop:80' } },
    { kind: 'listener', name: 'postgres', value: { host: '127.0.0.1', port: 0, serves: 'postgres' } },
    { kind: 'branch', name: 'abcd1234', value: { endpoint: { socket: postgres.socket }, sessions: 1 } },
  ];
  return { items, postgres };
}

const keyed = { headers: { baggage: 'sd-routing-key=k' } };

async function openSocket(t: TestContext, { host, port }: Address) {
  const socket = new WebSocket(`ws://${host}:${port}/`);
  t.after(() => socket.terminate());
  const heard: string[] = [];
  let over = false;
  socket.on('message', data => heard.push(String(data)));
  socket.on('error', () => {});
  socket.on('close', () => (over = true));
  await until(() => socket.readyState === WebSocket.OPEN || undefined, soon('the WebSocket'));
  return {
    async works() {
      const before = heard.length;
      socket.send('x');
      await until(() => over || heard.length > before || undefined, soon('an echo'));
      return !over;
    },
    socket,
  };
}

async function openSession(t: TestContext, address: Address) {
  const client = await dial(address);
  t.after(() => client[Symbol.asyncDispose]());
  client.send(frames.startupMessage({ user: 'app.abcd1234' }));
  await client.frame('Z');
  return {
    client,
    async works() {
      const before = client.received().length;
      client.send(Buffer.from('x'));
      await until(
        () => client.socket.closed || client.received().length > before || undefined,
        soon('an echo'),
      );
      return !client.socket.closed;
    },
  };
}

suite('without a daemon', () => {
  test('what is open goes on, and what runs is served to new clients; a question gets an answer at once', async t => {
    const home = await proxyHome(t);
    const { items } = await world(t);
    const first = await home.feed();
    first.publish(items);
    first.settle();
    await home.start();
    const [shop, sql] = [await untilOpen(first, 'shop'), await untilOpen(first, 'postgres')];
    const socket = await openSocket(t, shop);
    const session = await openSession(t, sql);
    await first.close();

    assert.equal((await ask(shop)).body, 'baseline');
    assert.equal((await ask(shop, keyed)).body, 'fork');
    assert.ok(await socket.works());
    assert.ok(await session.works());
    assert.ok(await (await openSession(t, sql)).works());
    await using stranger = await dial(sql);
    stranger.send(frames.startupMessage({ user: 'app.other123' }));
    const { C, M } = await stranger.refusal();
    assert.equal(C, '57P03');
    assert.match(M!, /daemon that could start it is not running/);

    const second = await home.feed({
      awake: async () => ({ endpoint: { socket: '/nonexistent' }, sessions: 1 }),
    });
    second.publish(items);
    second.settle();
    await until(() => second.proxies()[0], soon('it follows'));
    assert.ok(await socket.works());
    assert.ok(await session.works());
    await using waits = await dial(sql);
    waits.send(frames.startupMessage({ user: 'app.other123' }));
    assert.match((await waits.refusal()).M!, /cannot be reached now/); // now the daemon was asked
  });

  test('a proxy that is killed begins with the table on disk, with nobody to ask', async t => {
    const home = await proxyHome(t);
    const { items } = await world(t);
    const feed = await home.feed();
    feed.publish(items);
    feed.settle();
    const proxy = await home.start();
    const shop = await untilOpen(feed, 'shop');
    // Another port than 0, as a daemon would tell: the next one must listen there too.
    feed.publish([{ kind: 'listener', name: 'shop', value: { ...shop, serves: 'svc:demo/shop:80' } }]);
    assert.equal(await feed.delivered(), true);
    await feed.close();
    proxy.kill('SIGKILL');
    await until(() => proxy.signalCode ?? undefined, soon('its end'));
    await home.start();
    await until(() => ask(shop).catch(() => undefined), soon('another proxy'));
    assert.equal((await ask(shop, keyed)).body, 'fork');
    assert.equal((await ask(shop)).body, 'baseline');
  });

  test('what was told while no proxy was there is not forgotten by the next one, also when it has nobody to ask', async t => {
    const home = await proxyHome(t);
    const { items } = await world(t);
    const feed = await home.feed();
    feed.publish(items.filter(({ kind }) => kind !== 'fork'));
    feed.settle();
    const proxy = await home.start();
    const shop = await untilOpen(feed, 'shop');
    feed.publish([{ kind: 'listener', name: 'shop', value: { ...shop, serves: 'svc:demo/shop:80' } }]);
    assert.equal(await feed.delivered(), true);
    proxy.kill('SIGKILL');
    await until(() => feed.proxies().length === 0 || undefined, soon('its end'));
    assert.ok(existsSync(tableFile(home.home)), 'nothing has changed since');
    feed.publish(items.filter(({ kind }) => kind === 'fork'));
    await feed.delivered();
    await feed.close();
    assert.equal(existsSync(tableFile(home.home)), false, 'it leads the key of the fork to the baseline');

    await home.start();
    const next = await home.feed();
    next.publish(
      items.map(i =>
        i.name === 'shop' ? { ...i, value: { ...shop, serves: 'svc:demo/shop:80' } } : i,
      ) as RouteChange[],
    );
    next.settle();
    await untilOpen(next, 'shop');
    assert.equal((await ask(shop, keyed)).body, 'fork');
  });

  test('a table that was removed is written again with the next step', async t => {
    const home = await proxyHome(t);
    const { items } = await world(t);
    const feed = await home.feed();
    feed.publish(items);
    feed.settle();
    await home.start();
    await untilOpen(feed, 'shop');
    assert.equal(await feed.delivered(), true);
    rmSync(tableFile(home.home));
    feed.publish([{ kind: 'key', name: 'k', value: {} }]);
    assert.equal(await feed.delivered(), true);
    const table = readTable(tableFile(home.home), bootId())!;
    assert.ok(
      table.some(({ kind }) => kind === 'fork'),
      'all of it',
    );
  });

  test('without a table it serves nobody before it has heard a daemon', async t => {
    const home = await proxyHome(t);
    const { items } = await world(t);
    await home.start();
    const feed = await home.feed();
    feed.publish(items);
    await until(() => feed.proxies()[0], soon('it follows'));
    assert.deepEqual(feed.reports, []);
    feed.settle();
    assert.equal((await ask(await untilOpen(feed, 'shop'), keyed)).body, 'fork');
  });
});

test('told to stop, it ends what is open after the grace, and leaves no table', async t => {
  const home = await proxyHome(t);
  const { items } = await world(t);
  const feed = await home.feed();
  feed.publish(items);
  feed.settle();
  const proxy = await home.start();
  const session = await openSession(t, await untilOpen(feed, 'postgres'));
  assert.equal(await feed.delivered(), true);
  assert.ok(existsSync(tableFile(home.home)));
  feed.stop(20);
  await until(() => proxy.exitCode ?? undefined, soon('its end')).catch(() => {});
  await session.client.closed();
  await until(() => proxy.exitCode === 0 || undefined, soon('its end'));
  assert.equal(existsSync(tableFile(home.home)), false);
});

suite('a keeper', () => {
  const keep = async (t: TestContext, { replace = false, version = '0.1.0' } = {}) => {
    const home = await proxyHome(t);
    const { items, postgres } = await world(t);
    const start = async (options: { replace?: boolean; version?: string } = {}) => {
      let look = () => {};
      let found: object = {};
      const feed = await home.feed({
        onProxies: () => look(),
        onFound(all) {
          found = all;
        },
      });
      feed.publish(items);
      feed.settle();
      const keeper = keepProxy({
        ...{ feed, runner: home.runner, command: home.command, log: silentLog },
        ...{ replace: options.replace ?? replace, version: options.version ?? version },
        mayBeThere: true,
      });
      look = keeper.look;
      t.after(() => keeper.leave());
      return { feed, keeper, found: () => found };
    };
    return { home, start, postgres };
  };

  test('starts a proxy again that was killed', async t => {
    const { home, start } = await keep(t);
    const { feed } = await start();
    const shop = await untilOpen(feed, 'shop');
    feed.publish([{ kind: 'listener', name: 'shop', value: { ...shop, serves: 'svc:demo/shop:80' } }]);
    for (let kills = 0; kills < 3; kills++) {
      const { pid } = await until(() => feed.proxies()[0], soon('a proxy'));
      killIfThere(pid);
      await until(() => ask(shop, keyed).catch(() => undefined), soon('another proxy'));
      assert.equal((await ask(shop, keyed)).body, 'fork');
    }
    assert.equal(home.runner.pids.length, 4);
  });

  test('takes over the proxy of an earlier daemon', async t => {
    const { home, start } = await keep(t);
    const first = await start();
    const shop = await untilOpen(first.feed, 'shop');
    first.keeper.leave();
    await first.feed.close();
    const second = await start();
    assert.deepEqual(await untilOpen(second.feed, 'shop'), shop);
    assert.equal(await second.feed.delivered(), true);
    assert.equal(home.runner.pids.length, 1);
  });

  test('takes over a proxy that nobody took note of', async t => {
    const { home, start } = await keep(t);
    const before = await home.feed();
    before.settle();
    await home.start();
    await until(() => before.proxies()[0], soon('it runs'));
    await before.close();
    const { feed } = await start();
    await untilOpen(feed, 'shop');
    assert.equal(await feed.delivered(), true);
    assert.equal(feed.proxies().length, 1);
    assert.equal(home.runner.pids.length, 2); // noted when it was started, and when it was met
  });

  test('has a proxy of another version replaced: nothing is cut or refused, and what is open ends with the old one', async t => {
    const { home, start, postgres } = await keep(t);
    const first = await start();
    const [shop, sql] = [await untilOpen(first.feed, 'shop'), await untilOpen(first.feed, 'postgres')];
    const socket = await openSocket(t, shop);
    const session = await openSession(t, sql);
    const cache = await untilOpen(first.feed, 'cache');
    const passing = dialHttp(t, cache);
    await until(() => passing.received() || undefined, soon('what passes through'));
    const expected = { 'svc:demo/cache:80': 'tcp', 'svc:demo/shop:80': 'http' };
    await until(
      () => isDeepStrictEqual(first.found(), expected) || undefined,
      soon('what it was found to be'),
    );
    const idle = dialHttp(t, shop);
    idle.socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await until(() => idle.received().endsWith('baseline') || undefined, soon('an answer'));
    const [old] = first.feed.proxies();
    first.keeper.leave();
    await first.feed.close();

    // Clients come all the time, each on a connection of its own.
    let going = true;
    const answers = new Map<string, number>();
    const count = (what: string) => answers.set(what, (answers.get(what) ?? 0) + 1);
    const load = Array.from({ length: 8 }, async () => {
      while (going) {
        await ask(shop, keyed).then(
          ({ body }) => count(body),
          error => count(String(error)),
        );
        await openSession(t, sql).then(
          s => s.client.socket.destroy(),
          error => count(String(error)),
        );
      }
    });
    const second = await start({ version: '0.2.0' });
    const draining = await until(
      () => second.feed.proxies().find(p => p.pid === old!.pid && p.counts.drainingSince),
      soon('the old one drains'),
    );
    const next = await until(() => second.feed.proxies().find(p => p.pid !== old!.pid), soon('the new one'));
    assert.ok(Date.parse(draining.counts.drainingSince!) > 0);
    going = false;
    await Promise.all(load);
    assert.deepEqual([...answers.keys()], ['fork'], 'nobody was refused');
    assert.ok(answers.get('fork')! > 10);

    assert.ok(await socket.works());
    assert.ok(await session.works());
    passing.socket.write('again');
    await until(() => passing.received() === 'hello again' || undefined, soon('what passes through goes on'));
    passing.socket.destroy();
    // A connection that was kept alive is answered once more, and then let go.
    idle.socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await until(() => idle.socket.closed || undefined, soon('its end'));
    assert.equal(idle.received().match(/baseline/g)?.length, 2);
    // A statement of an old session is cancelled through the new proxy.
    await using cancel = await dial(sql);
    cancel.send(frames.cancelRequest(1, Buffer.from('abcd')));
    await cancel.closed();
    assert.deepEqual(postgres.cancels, [frames.cancelRequest(1, Buffer.from('abcd'))]);
    // The old one hears of what ends its connections, too.
    second.feed.publish([{ kind: 'branch', name: 'abcd1234', value: { sessions: 2 } }]);
    await session.client.closed();
    socket.socket.close();
    await until(() => second.feed.proxies().length === 1 || undefined, soon('the old one ends'));
    assert.equal(second.feed.proxies()[0]!.pid, next.pid);
    // And when the new one dies, it is this one that is started again.
    killIfThere(next.pid);
    await until(() => second.feed.proxies().find(p => p.pid !== next.pid), soon('another one'));
    assert.match(home.log(), /a new proxy has taken over/);
  });

  test('a successor that does not come up changes nothing', async t => {
    const { home, start } = await keep(t);
    const first = await start();
    const { pid } = await until(() => first.feed.proxies()[0], soon('a proxy'));
    await untilOpen(first.feed, 'shop');
    const failed = Promise.withResolvers<string>();
    first.keeper.leave();
    await first.feed.close();
    const feed = await home.feed({ onProxies: why => why && failed.resolve(why) });
    feed.settle();
    await until(() => feed.proxies()[0], soon('it follows'));
    feed.replace(pid, { ...home.command, args: ['-e', 'process.exit(7)'] });
    assert.match(await failed.promise, /it ended with exit code 7/);
    assert.equal(feed.proxies()[0]!.counts.drainingSince, undefined);
  });
});
