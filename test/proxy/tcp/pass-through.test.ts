/** What is not HTTP passes through, and what is never does. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { suite, type TestContext, test } from 'node:test';
import { silentLog } from '../../../src/lib/log.ts';
import { until } from '../../../src/lib/wait.ts';
import type { Address } from '../../../src/model/route.ts';
import {
  ask,
  DESTINATION,
  dial,
  freeAddress,
  notReady,
  ready,
  readyFork,
  serveHttp,
  serveTcp,
  startRouter,
  type TestTarget,
  usersService,
} from '../../support/http.ts';

const soon = (what: string) => ({ what, deadlineMs: 60_000 });

/** Answers every line with `+` and the line. */
const echo = (socket: Socket) => void socket.on('data', data => socket.write(`+${data}`));

/** Speaks first, as MySQL, SMTP and others do. */
const greeter = (socket: Socket) => {
  socket.write('220 hello\r\n');
  echo(socket);
};

/** A Service of which nobody says what it speaks, or that it speaks TCP. */
const startPort = (
  t: TestContext,
  baseline: TestTarget,
  speaks: 'tcp' | 'unknown' = 'unknown',
  options: Parameters<typeof startRouter>[2] = {},
) => startRouter(t, { ...usersService(baseline), speaks }, options);

/** How a connection ends that only reads: all that came, and the code of its error. */
async function ending(t: TestContext, { host, port }: Address, first = '') {
  const socket = connect({ host, port });
  t.after(() => socket.destroy());
  let received = '';
  let code: string | undefined;
  socket.on('data', data => (received += data));
  socket.on('error', (error: NodeJS.ErrnoException) => (code = error.code));
  socket.write(first);
  await new Promise(resolve => socket.once('close', resolve));
  return { received, code };
}

suite('by first bytes', () => {
  test('a client that speaks first reaches its workload, byte for byte', async t => {
    const { address, passThrough } = await startPort(t, ready(await serveTcp(t, echo)));
    const client = dial(t, address);
    client.socket.write('PING\r\n');
    await until(() => client.received() === '+PING\r\n' || undefined, soon('an answer'));
    assert.equal(passThrough.found().get(DESTINATION), 'tcp');
    assert.equal(passThrough.connections(), 1);
  });

  test('a workload that speaks first is heard by a client that says nothing', async t => {
    const { address } = await startPort(t, ready(await serveTcp(t, greeter)));
    const client = dial(t, address);
    await until(() => client.received() === '220 hello\r\n' || undefined, soon('the greeting'));
    client.socket.write('EHLO\r\n');
    await until(() => client.received().endsWith('+EHLO\r\n') || undefined, soon('an answer'));
  });

  test('a slow client of HTTP is still routed by its key, and what was opened for it hears nothing', async t => {
    let heard = '';
    const baseline = await serveTcp(t, socket => socket.on('data', data => (heard += data)));
    const fork = await serveHttp(t, (_request, response) => response.end('fork'));
    const destination = usersService(ready(baseline), { k: readyFork('mine', fork) });
    const { address, passThrough } = await startRouter(t, { ...destination, speaks: 'unknown' });
    const client = dial(t, address);
    for (const part of ['\r\nGE', 'T / HT', 'TP/1.1\r\nHost: x\r\n', 'baggage: sd-routing-key=k\r\n\r\n']) {
      client.socket.write(part);
      await new Promise(resolve => setTimeout(resolve, 20));
    }
    await until(() => client.received().includes('fork') || undefined, soon('the answer of the fork'));
    assert.equal(heard, '');
    assert.equal(passThrough.found().get(DESTINATION), 'http');
    assert.equal(passThrough.connections(), 0);
  });

  test('where HTTP was spoken, a greeting is waited for a little later, and HTTP it stays', async t => {
    let connections = 0;
    const workload = await serveHttp(t, (_request, response) => response.end('hello'));
    const greets = await serveTcp(t, socket => {
      connections++;
      greeter(socket);
    });
    const { address, routes, passThrough } = await startPort(t, ready(workload), 'unknown', {
      passLimits: { silenceMs: 30 },
    });
    assert.equal((await ask(address)).body, 'hello');
    routes.swap({ destinations: { [DESTINATION]: { ...usersService(ready(greets)), speaks: 'unknown' } } });
    const client = dial(t, address);
    await until(() => client.received() === '220 hello\r\n' || undefined, soon('the greeting'));
    assert.equal(connections, 1);
    assert.equal(passThrough.found().get(DESTINATION), 'http');
  });

  test('a workload of HTTP that gives up a silent client says nothing of what the port speaks', async t => {
    const workload = await serveTcp(t, socket => socket.end('HTTP/1.1 408 Request Timeout\r\n\r\n'));
    const { address, passThrough } = await startPort(t, ready(workload));
    assert.match((await ending(t, address)).received, /408/);
    assert.equal(passThrough.found().size, 0);
  });

  test('a target that is not ready: HTTP is told why, the others are reset', async t => {
    const { address } = await startPort(t, notReady(), 'unknown', { passLimits: { firstBytesMs: 50 } });
    assert.equal((await ask(address)).status, 503);
    assert.equal((await ending(t, address, 'PING\r\n')).code, 'ECONNRESET');
    assert.equal((await ending(t, address)).code, 'ECONNRESET');
  });

  test('a first line that never ends is answered as HTTP if it looks like it', async t => {
    const { address } = await startPort(t, ready(await serveTcp(t, echo)), 'unknown', {
      passLimits: { firstBytesMs: 50 },
      limits: { headerMs: 200 },
    });
    const other = dial(t, address);
    other.socket.write('SET a');
    await until(() => other.received() === '+SET a' || undefined, soon('it passes through'));
    const http = dial(t, address);
    http.socket.write('GET /');
    await until(() => http.received().includes('408') || undefined, soon('the timeout of HTTP'));
  });
});

suite('pass-through', () => {
  test('half-closing passes both ways: an answer may begin after the end of the question', async t => {
    const server = createServer({ allowHalfOpen: true }, socket => {
      let asked = '';
      socket.on('error', () => {});
      socket.on('data', data => (asked += data)).on('end', () => socket.end(`answer to ${asked}`));
    });
    t.after(() => void server.close());
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const workload = { host: '127.0.0.1', port: (server.address() as AddressInfo).port };
    for (const speaks of ['tcp', 'unknown'] as const) {
      const { address } = await startPort(t, ready(workload), speaks);
      const client = connect({ ...address, allowHalfOpen: true });
      t.after(() => client.destroy());
      client.end('all of it');
      assert.equal(await text(client), 'answer to all of it', speaks);
    }
  });

  test('a stream of many megabytes arrives whole, at the pace of a slow reader', async t => {
    const size = 32 * 1024 * 1024;
    let received = 0;
    let slow: Socket | undefined;
    const workload = await serveTcp(t, socket => {
      slow = socket.pause();
      socket.on('data', data => (received += data.length));
      socket.pause();
    });
    const { address } = await startPort(t, ready(workload), 'tcp');
    const client = connect(address);
    t.after(() => client.destroy());
    let sent = false;
    client.end(Buffer.alloc(size), () => (sent = true));
    await until(() => slow, soon('a connection'));
    await new Promise(resolve => setTimeout(resolve, 100));
    assert.equal(sent, false, 'nobody keeps what nobody reads');
    slow!.resume();
    await until(() => received === size || undefined, soon('everything'));
  });

  test('a reset passes through, in both directions', async t => {
    const peers: Socket[] = [];
    const workload = await serveTcp(t, socket => void peers.push(socket));
    const { address } = await startPort(t, ready(workload), 'tcp');
    const client = dial(t, address);
    await until(() => peers[0], soon('a connection'));
    let code: string | undefined;
    client.socket.on('error', (error: NodeJS.ErrnoException) => (code = error.code));
    peers[0]!.resetAndDestroy();
    await until(() => code, soon('the reset'));
    assert.equal(code, 'ECONNRESET');

    const other = dial(t, address);
    await until(() => peers[1], soon('a connection'));
    let heard: string | undefined;
    peers[1]!.on('error', (error: NodeJS.ErrnoException) => (heard = error.code)).resume();
    other.socket.resetAndDestroy();
    await until(() => heard, soon('the reset'));
  });

  test('replicas take turns, and one that refuses is passed over', async t => {
    const [one, two] = [await serveTcp(t, s => s.end('one')), await serveTcp(t, s => s.end('two'))];
    const { address } = await startPort(t, ready(one, await freeAddress(), two), 'tcp');
    const answers = new Set<string>();
    for (let i = 0; i < 6; i++) answers.add((await ending(t, address)).received);
    assert.deepEqual([...answers].sort(), ['one', 'two']);
  });

  test('nobody there, too many, or not ready: a reset, and the log says why', async t => {
    const warnings: { code?: string; error?: string }[] = [];
    const log = { ...silentLog, warn: (fields: object) => void warnings.push(fields) };
    const { address, routes } = await startPort(t, ready(await freeAddress()), 'tcp', {
      ...{ log, passLimits: { connections: 1 } },
    });
    assert.equal((await ending(t, address)).code, 'ECONNRESET');
    const swap = (target: TestTarget) =>
      routes.swap({ destinations: { [DESTINATION]: { ...usersService(target), speaks: 'tcp' } } });
    swap(notReady());
    assert.equal((await ending(t, address)).code, 'ECONNRESET');
    swap(ready(await serveTcp(t, greeter)));
    const first = dial(t, address);
    await until(() => first.received() || undefined, soon('the greeting'));
    assert.equal((await ending(t, address)).code, 'ECONNRESET');
    assert.deepEqual(
      warnings.map(w => w.code),
      ['proxy/upstream-failed', 'proxy/baseline-not-ready', 'proxy/too-many-connections'],
    );
    assert.match(warnings[1]!.error!, /CrashLoopBackOff: it exited with code 1/);
  });

  test('a workload that never accepts costs its time and no more', async t => {
    // 192.0.2.0/24 is nobody's (RFC 5737): packets there are lost, or refused where there is no way.
    const { address } = await startPort(t, ready({ host: '192.0.2.1', port: 9 }), 'tcp', {
      passLimits: { connectMs: 50 },
    });
    assert.equal((await ending(t, address)).code, 'ECONNRESET');
  });

  test('what passes goes on while its listener drains, and ends when it is closed', async t => {
    const { address, listeners } = await startPort(t, ready(await serveTcp(t, greeter)), 'tcp');
    const client = dial(t, address);
    await until(() => client.received() || undefined, soon('the greeting'));
    let drained = false;
    void listeners.drain().then(() => (drained = true));
    client.socket.write('still here\r\n');
    await until(() => client.received().endsWith('still here\r\n') || undefined, soon('an answer'));
    assert.equal(drained, false);
    client.socket.end();
    await until(() => drained || undefined, soon('the end of the drain'));
  });
});
