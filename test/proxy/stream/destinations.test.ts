/** What each follower is told, over TLS on loopback: its own part, and nothing else; and how it is noticed that one is away. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { suite, type TestContext, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { type Authority, keepAuthority } from '../../../src/authority.ts';
import { fileIdentity, readIdentity } from '../../../src/lib/identity.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { until } from '../../../src/lib/wait.ts';
import type { RouteChange, Target } from '../../../src/model/route.ts';
import { fileCertificate, openDoor } from '../../../src/proxy/stream/door.ts';
import type { FeedOptions } from '../../../src/proxy/stream/feed.ts';
import { networkWay } from '../../../src/proxy/stream/way.ts';
import { feedPath, key, startFeed, startFollower } from '../../support/stream.ts';
import { tempDir } from '../../support/temp.ts';

const soon = (what: string) => ({ what, deadlineMs: 60_000 });
const target: Target = { ready: true, ports: { 80: [{ host: '10.0.0.9', port: 80 }] } };
const fork = (workload: string, routingKey: string): RouteChange => ({
  ...{ kind: 'fork', name: `${workload}/${routingKey}`, value: { sandbox: 'sb', target } },
});
const dead = (name: string, ...workloads: string[]): RouteChange => ({
  ...{ kind: 'tombstone', name, value: { sandbox: 'old', workloads } },
});

/** A feed with a door on loopback. */
async function house(t: TestContext, options: Partial<FeedOptions> = {}) {
  const home = await tempDir();
  t.after(() => home[Symbol.asyncDispose]());
  const authority = keepAuthority(home.path, 'here', ['localhost', '127.0.0.1'], Date.now());
  const feed = await startFeed(t, await feedPath(t), options);
  const door = await openDoor({
    ...{ host: '127.0.0.1', port: 0, authority: authority.certificate },
    ...{ certificate: fileCertificate(authority.server), admit: feed.admit, log: silentLog },
  });
  t.after(() => door.close());
  const identity = (name: string, by: Authority = authority) => {
    const file = join(home.path, `${name.replaceAll('/', '-')}-${randomUUID()}.pem`);
    writeFileSync(file, by.identity(name), { mode: 0o600 });
    return file;
  };
  const follow = (name: string, { silenceMs, at = door.port }: { silenceMs?: number; at?: number } = {}) =>
    startFollower(t, networkWay({ host: '127.0.0.1', port: at }, fileIdentity(identity(name)), silenceMs), {
      proxy: {
        ...{ version: '1.2.2', pid: 1, startTime: '7', startedAt: '2030-01-01T00:00:00.000Z' },
        id: randomUUID(),
      },
    });
  return { ...{ home: home.path, authority, feed, door, identity, follow } };
}

/** Everything that was ever told on this way. */
async function listen({ door, identity }: Awaited<ReturnType<typeof house>>, name: string) {
  const { cert, key, ca } = readIdentity(identity(name));
  const socket = connectTls({ host: '127.0.0.1', port: door.port, cert, key, ca });
  let heard = '';
  socket.on('data', chunk => {
    heard += chunk;
  });
  socket.on('error', () => {});
  const proxy = { version: '1', pid: 1, startTime: '', startedAt: '', id: randomUUID() };
  socket.write(`${JSON.stringify({ type: 'hello', protocols: [1], proxy })}\n`);
  return {
    socket,
    heard: () => heard,
    untilHeard: (text: string) => until(() => heard.includes(text) || undefined, soon(text)),
  };
}

const world: readonly RouteChange[] = [
  fork('shop/users', 'usersalive'),
  fork('shop/orders', 'ordersalive'),
  // Names of which one begins with the other.
  fork('shop/users-old', 'oldalive'),
  fork('StatefulSet/shop/users', 'setalive'),
  dead('usersdead', 'shop/users', 'shop/cart'),
  dead('ordersdead', 'shop/orders'),
  key('apikeyhash'),
  { kind: 'branch', name: 'brsecret', value: { endpoint: { socket: '/run/brsecret' }, sessions: 1 } },
  {
    ...{ kind: 'preview', name: 'web--sb' },
    value: {
      ...{ sandbox: 'sb', endpoint: 'web', routingKey: 'previewkey', destination: 'svc:shop/users:80' },
      protocol: 'http',
    },
  },
  { kind: 'workload', name: 'shop/users', value: { label: 'Deployment shop/users', target } },
  { kind: 'service', name: 'svc:shop/users:80', value: { label: 'Service shop/users', behind: [] } },
  {
    kind: 'listener',
    name: '127.77.0.1:80',
    value: { host: '127.77.0.1', port: 80, serves: 'svc:shop/users:80' },
  },
  {
    ...{ kind: 'setting', name: 'proxy' },
    value: {
      ...{ domain: 'secret.example', headers: ['x-key'], keepRevoked: true, drainMs: 1 },
      tls: { previews: { cert: '/tls/cert', key: '/tls/key' } },
    },
  },
];

suite('what each is told', () => {
  test('a sidecar: rules of its own workload, never another key, a key of previews, or a branch', async t => {
    const h = await house(t);
    h.feed.publish(world);
    const early = await listen(h, 'workload/shop/users');
    await early.untilHeard('"settled":false');
    h.feed.settle();
    await early.untilHeard('usersalive');
    const late = await listen(h, 'workload/shop/users');
    await late.untilHeard('usersalive');
    // And what comes later.
    h.feed.publish([
      fork('shop/orders', 'orderslater'),
      key('later'),
      dead('ordersgone', 'shop/orders'),
      { kind: 'branch', name: 'brlater', value: { sessions: 2 } },
    ]);
    h.feed.publish([{ kind: 'tombstone', name: 'ordersdead' }, fork('shop/users', 'userslater')]);
    for (const { untilHeard, heard, socket } of [early, late]) {
      await untilHeard('userslater');
      assert.match(heard(), /usersdead/);
      assert.match(heard(), /x-key/);
      const others =
        /orders|cart|oldalive|setalive|apikey|later\b(?<!userslater)|brsecret|previewkey|secret|tls|127\.77/;
      assert.doesNotMatch(heard(), others);
      socket.destroy();
    }
  });

  test('a gateway: all but where this machine listens and its files', async t => {
    const h = await house(t);
    h.feed.publish(world);
    h.feed.settle();
    const { book, told } = h.follow('gateway');
    await told;
    const kinds = [...book.all()].map(({ kind }) => kind);
    assert.deepEqual([...new Set(kinds)].toSorted(), [
      ...['branch', 'fork', 'key', 'preview', 'service', 'setting', 'tombstone', 'workload'],
    ]);
    const { domain, tls } = book.get('setting', 'proxy')!;
    assert.deepEqual([domain, tls], ['secret.example', undefined]);
  });

  test('what is gone of a workload goes for its sidecars, too', async t => {
    const h = await house(t);
    h.feed.publish(world);
    h.feed.settle();
    const { book, told } = h.follow('workload/shop/users');
    await told;
    h.feed.publish([
      { kind: 'fork', name: 'shop/users/usersalive' },
      { kind: 'tombstone', name: 'usersdead' },
      dead('usersalive', 'shop/users'),
    ]);
    await until(() => book.tombstone('usersalive'), soon('the tombstone'));
    assert.deepEqual([[...book.names('fork')], [...book.names('tombstone')]], [[], ['usersalive']]);
  });

  test('only gateways may ask for branches', async t => {
    const asked: string[] = [];
    const h = await house(t, {
      async awake(branch) {
        asked.push(branch);
        return { endpoint: { socket: '/there' }, sessions: 3 };
      },
    });
    h.feed.settle();
    const gateway = h.follow('gateway');
    const sidecar = h.follow('workload/shop/users');
    await Promise.all([gateway.told, sidecar.told]);
    const stop = new AbortController();
    const inVain = sidecar.ask('theirs', stop.signal).catch(() => 'no answer');
    assert.equal((await gateway.ask('mine', stop.signal)).sessions, 3);
    stop.abort(new Error('enough'));
    assert.equal(await inVain, 'no answer');
    assert.deepEqual(asked, ['mine']);
  });
});

suite('delivered', () => {
  test('waits for those whom it concerns, and for nobody who is away', async t => {
    const h = await house(t, { isAlive: () => false });
    h.feed.settle();
    const keeping = Promise.withResolvers<void>();
    const slow = startFollower(
      t,
      networkWay({ host: '127.0.0.1', port: h.door.port }, fileIdentity(h.identity('workload/shop/users'))),
      { kept: () => keeping.promise },
    );
    const other = h.follow('workload/shop/orders');
    await Promise.all([slow.told, other.told]);
    assert.equal(await h.feed.delivered(50), false, 'it has not said that it knows the beginning');
    h.feed.publish([fork('shop/orders', 'k')]);
    assert.equal(await h.feed.delivered(), true);
    assert.deepEqual(
      h.feed.followers().map(({ destination, upToDate }) => [destination, upToDate]),
      [
        ['workload/shop/users', false],
        ['workload/shop/orders', true],
      ],
    );
    assert.deepEqual(h.feed.proxies(), [], 'they are not ours to start and to end');
    keeping.resolve();
    await until(() => h.feed.followers().every(f => f.upToDate) || undefined, soon('all know'));
    slow.close();
    await until(() => h.feed.followers().length === 1 || undefined, soon('it has gone'));
    h.feed.publish([fork('shop/users', 'k')]);
    assert.equal(await h.feed.delivered(), true);
  });
});

suite('who may follow', () => {
  const refused = async (t: TestContext, dial: (h: Awaited<ReturnType<typeof house>>) => Socket) => {
    const h = await house(t);
    h.feed.publish(world);
    h.feed.settle();
    const socket = dial(h);
    let heard = '';
    socket.on('data', chunk => {
      heard += chunk;
    });
    socket.on('error', () => {});
    const proxy = { version: '1', pid: 1, startTime: '', startedAt: '', id: 'x' };
    socket.write(`${JSON.stringify({ type: 'hello', protocols: [1], proxy })}\n`);
    await until(() => socket.closed || undefined, soon('its end'));
    assert.equal(heard, '');
    assert.deepEqual(h.feed.followers(), []);
  };

  test('nobody in clear text, or without a certificate', async t => {
    await refused(t, ({ door }) => connect({ host: '127.0.0.1', port: door.port }));
    await refused(t, ({ door, authority }) =>
      connectTls({ host: '127.0.0.1', port: door.port, ca: authority.certificate() }),
    );
  });

  test('nobody with a certificate of another authority, or one for servers, or for no destination', async t => {
    const dial = (h: Awaited<ReturnType<typeof house>>, file: string) => {
      const { cert, key } = readIdentity(file);
      return connectTls({ host: '127.0.0.1', port: h.door.port, cert, key, ca: h.authority.certificate() });
    };
    await refused(t, h => {
      const elsewhere = join(h.home, 'elsewhere');
      mkdirSync(elsewhere);
      return dial(h, h.identity('gateway', keepAuthority(elsewhere, 'b', ['x'], Date.now())));
    });
    await refused(t, h => {
      const file = join(h.home, 'server-as-client.pem');
      writeFileSync(file, `${readFileSync(h.authority.server.cert, 'utf8')}${h.authority.certificate()}`);
      return dial(h, file);
    });
    for (const name of ['all', 'workload', 'workload/a', 'workload/a/b/c/d', 'gateway/x'])
      await refused(t, h => dial(h, h.identity(name)));
  });

  test('a follower goes to nobody but its own authority’s', async t => {
    const [mine, other] = [await house(t), await house(t)];
    mine.feed.settle();
    other.feed.settle();
    const { first } = mine.follow('gateway', { at: other.door.port });
    assert.equal(await first, 'absent');
    assert.deepEqual(other.feed.followers(), []);
  });
});

suite('silence', () => {
  /** Bytes pass until it is told to be silent, as a machine is that has lost its power. */
  async function wire(t: TestContext, to: number) {
    const sockets: Socket[] = [];
    let silent = false;
    let said = 0;
    const server = createServer(client => {
      const far = connect({ host: '127.0.0.1', port: to });
      sockets.push(client, far);
      client.on('data', () => said++);
      for (const [from, into] of [
        [client, far],
        [far, client],
      ] as const)
        from
          .on('data', chunk => void (silent || into.write(chunk)))
          .on('error', () => {})
          .on('close', () => silent || into.destroy());
    }).listen(0, '127.0.0.1');
    await until(() => server.listening || undefined, soon('it listens'));
    t.after(() => {
      server.close();
      for (const socket of sockets) socket.destroy();
    });
    return {
      port: (server.address() as { port: number }).port,
      set silent(now: boolean) {
        silent = now;
      },
      connections: () => sockets.length / 2,
      /** How often something came from a follower. */
      said: () => said,
    };
  }

  test('is noticed on both ends, and what was missed comes', async t => {
    const h = await house(t, { beatMs: 200 });
    h.feed.settle();
    const between = await wire(t, h.door.port);
    const { book, told } = h.follow('gateway', { at: between.port, silenceMs: 1_000 });
    await told;
    await until(() => h.feed.followers()[0]?.upToDate || undefined, soon('it follows'));
    between.silent = true;
    await until(() => h.feed.followers().length === 0 || undefined, soon('nobody is there'));
    h.feed.publish([key('a')]);
    await until(() => between.connections() > 1 || undefined, soon('another try'));
    between.silent = false;
    await until(() => book.get('key', 'a'), soon('what was missed'));
  });

  test('of one who speaks is none: beats are answered', async t => {
    const h = await house(t, { beatMs: 100 });
    h.feed.settle();
    const between = await wire(t, h.door.port);
    const { told } = h.follow('gateway', { at: between.port, silenceMs: 60_000 });
    await told;
    const before = between.said();
    // After three of them without an answer it would be gone.
    await until(() => between.said() > before + 8 || undefined, soon('answers to beats'));
    assert.equal(between.connections(), 1);
    assert.equal(h.feed.followers().length, 1);
  });

  test('one that never says who it is is let go', async t => {
    const h = await house(t, { beatMs: 20 });
    h.feed.settle();
    const { cert, key, ca } = readIdentity(h.identity('gateway'));
    const mute = connectTls({ host: '127.0.0.1', port: h.door.port, cert, key, ca });
    mute.on('error', () => {}).resume();
    await until(() => mute.closed || undefined, soon('its end'));
  });
});
