import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { suite, type TestContext, test } from 'node:test';
import { WebSocket, WebSocketServer } from 'ws';
import { until } from '../../../src/lib/wait.ts';
import type { Address } from '../../../src/model/route.ts';
import {
  askRaw,
  dial,
  freeAddress,
  notReady,
  ready,
  readyFork,
  serveBytes,
  serveHttp,
  serveTcp,
  startRouter,
  usersService,
} from '../../support/http.ts';

const soon = (what: string) => ({ what, deadlineMs: 60_000 });
const UPGRADE = 'GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n';
const SWITCHING = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n';

/** A WebSocket server that says who it is and then repeats what it hears. */
async function echoServer(t: TestContext, name: string): Promise<Address> {
  const server = new WebSocketServer({
    host: '127.0.0.1',
    port: 0,
    handleProtocols: ([first]) => first ?? false,
  });
  t.after(() => {
    for (const socket of server.clients) socket.terminate();
    server.close();
  });
  server.on('connection', (socket, request) => {
    socket.send(`${name} ${request.url} ${request.headers.cookie}`);
    socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
  });
  await once(server, 'listening');
  const { address, port } = server.address() as { address: string; port: number };
  return { host: address, port };
}

function open(t: TestContext, { host, port }: Address, headers: Record<string, string> = {}) {
  const socket = new WebSocket(`ws://${host}:${port}/chat?x=1`, ['v2', 'v1'], { headers });
  t.after(() => socket.terminate());
  const heard: string[] = [];
  socket.on('message', data => heard.push(String(data)));
  return { socket, heard };
}

suite('WebSocket', () => {
  test('goes to baseline or fork by routing key, both ways, with its subprotocol', async t => {
    const baseline = ready(await echoServer(t, 'baseline'));
    const fork = readyFork('mine', await echoServer(t, 'fork'));
    const router = await startRouter(t, usersService(baseline, { k: fork }));
    for (const [name, headers] of [
      ['baseline', { cookie: 'c=1' }],
      ['fork', { cookie: 'c=1', baggage: 'sd-routing-key=k' }],
    ] as const) {
      const { socket, heard } = open(t, router.address, headers);
      await until(() => heard[0], soon('the greeting'));
      assert.equal(heard[0], `${name} /chat?x=1 c=1`);
      assert.equal(socket.protocol, 'v2');
      const large = 'x'.repeat(2 * 1024 * 1024);
      socket.send('hello');
      socket.send(large);
      await until(() => heard[2], soon('the echo'));
      assert.equal(heard[1], 'hello');
      assert.ok(heard[2] === large);
      socket.close(4001, 'enough');
      assert.equal((await once(socket, 'close'))[0], 4001);
    }
    await until(() => router.counters.fork === 1 || undefined, soon('the count'));
    assert.deepEqual([router.counters.baseline, router.counters.inFlight], [1, 0]);
  });

  test('a fork that is not ready refuses the handshake with 503', async t => {
    const router = await startRouter(t, usersService(ready(), { k: notReady('mine') }));
    const { socket } = open(t, router.address, { baggage: 'sd-routing-key=k' });
    const [error] = await once(socket, 'error');
    assert.match(error.message, /503/);
  });

  test('the end of one side is the end of the other', async t => {
    const server = await echoServer(t, 'x');
    const router = await startRouter(t, usersService(ready(server)));
    const { socket, heard } = open(t, router.address);
    await until(() => heard[0], soon('the greeting'));
    await router.close(0);
    assert.equal((await once(socket, 'close'))[0], 1006);
  });
});

suite('other upgrades', () => {
  test('bytes behind the request, and behind the answer, are not lost; half-closing passes', async t => {
    let heard = '';
    const workload = await serveTcp(t, socket => {
      socket.setEncoding('latin1').on('data', chunk => {
        heard += chunk;
        if (heard.endsWith('\r\n\r\n')) socket.write(`${SWITCHING}early`);
      });
      socket.on('end', () => socket.end('bye'));
    });
    const router = await startRouter(t, usersService(ready(workload)));
    const client = dial(t, router.address);
    client.socket.write(`${UPGRADE}eager`);
    await until(() => heard.endsWith('eager') || undefined, soon('the eager bytes'));
    assert.match(
      heard,
      /^GET \/chat HTTP\/1\.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\neager$/,
    );
    client.socket.end(' last');
    await once(client.socket, 'close');
    assert.ok(heard.endsWith('eager last'), heard);
    assert.equal(client.received(), `${SWITCHING}earlybye`);
  });

  test('a workload that ends first: what it said arrives before the end', async t => {
    const size = 8 * 1024 * 1024;
    const workload = await serveTcp(t, socket => {
      socket.once('data', () => socket.end(SWITCHING + 'x'.repeat(size)));
    });
    const router = await startRouter(t, usersService(ready(workload)));
    const reply = await askRaw(router.address, UPGRADE);
    assert.equal(reply.length, SWITCHING.length + size);
  });

  test('a workload that declines answers like any other, whole, and the connection ends', async t => {
    const large = 'x'.repeat(8 * 1024 * 1024);
    const workload = await serveHttp(t, (_request, response) => {
      response.writeHead(403, { 'content-length': large.length }).end(large);
    });
    const router = await startRouter(t, usersService(ready(workload)));
    const reply = await askRaw(router.address, `${UPGRADE}GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n`);
    assert.match(reply, /^HTTP\/1\.1 403 Forbidden\r\n[\s\S]*\r\nConnection: close\r\n/i);
    assert.equal(reply.split('HTTP/1.1').length, 2);
    assert.ok(reply.endsWith(`\r\n\r\n${large}`));
  });

  test('h2c is not taken up: each request on the connection is routed by its own key', async t => {
    const baseline = await serveHttp(t, (request, response) =>
      response.end(`baseline ${request.headers.upgrade}`),
    );
    const fork = await serveHttp(t, (request, response) => void request.pipe(response));
    const router = await startRouter(t, usersService(ready(baseline), { k: readyFork('mine', fork) }));
    const client = dial(t, router.address);
    const h2c =
      'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n';
    client.socket.write(`GET / HTTP/1.1\r\nHost: a\r\n${h2c}\r\n`);
    await until(() => client.received().endsWith('baseline undefined') || undefined, soon('the baseline'));
    client.socket.write(
      `POST / HTTP/1.1\r\nHost: a\r\nbaggage: sd-routing-key=k\r\nContent-Length: 4\r\n${h2c}\r\nbody`,
    );
    await until(() => client.received().endsWith('\r\nbody\r\n0\r\n\r\n') || undefined, soon('the fork'));
  });

  test('a request with a body is not a tunnel', async t => {
    const workload = await serveHttp(t, (request, response) => void request.pipe(response));
    const router = await startRouter(t, usersService(ready(workload)));
    const reply = await askRaw(
      router.address,
      'POST / HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\nContent-Length: 4\r\n\r\nbody',
    );
    assert.match(reply, /^HTTP\/1\.1 200 OK[\s\S]*\r\n\r\nbody$/);
  });

  test('nobody listens: 502; garbage: 502; an ambiguous request: 400', async t => {
    const nobody = await startRouter(t, usersService(ready(await freeAddress())));
    assert.match(await askRaw(nobody.address, UPGRADE), /^HTTP\/1\.1 502 [\s\S]*it refused the connection/);
    const garbage = await startRouter(t, usersService(ready(await serveBytes(t, 'no\r\n\r\n'))));
    assert.match(await askRaw(garbage.address, UPGRADE), /^HTTP\/1\.1 502 [\s\S]*not valid HTTP/);
    const ambiguous = UPGRADE.replace('Host: a', 'Host: a\r\nHost: b');
    assert.match(await askRaw(garbage.address, ambiguous), /^HTTP\/1\.1 400 /);
  });

  for (const side of ['client', 'workload'] as const)
    test(`a reset by the ${side} resets the other side`, async t => {
      const { promise: tunnel, resolve } = Promise.withResolvers<Socket>();
      const workload = await serveTcp(t, socket => {
        socket.once('data', () => {
          socket.write(SWITCHING);
          resolve(socket);
        });
      });
      const router = await startRouter(t, usersService(ready(workload)));
      const client = dial(t, router.address);
      client.socket.write(UPGRADE);
      const server = await tunnel;
      await until(() => client.received() === SWITCHING || undefined, soon('the tunnel'));
      const [resetting, other] = side === 'client' ? [client.socket, server] : [server, client.socket];
      const error = once(other, 'error');
      resetting.resetAndDestroy();
      assert.equal((await error)[0].code, 'ECONNRESET');
      await until(() => router.counters.inFlight === 0 || undefined, soon('the count'));
    });

  test('a tunnel in which nothing moves is closed', async t => {
    const workload = await serveBytes(t, SWITCHING);
    const router = await startRouter(t, usersService(ready(workload)), { limits: { idleMs: 100 } });
    const client = dial(t, router.address);
    client.socket.write(UPGRADE);
    await once(client.socket, 'close');
    assert.equal(client.received(), SWITCHING);
  });
});
