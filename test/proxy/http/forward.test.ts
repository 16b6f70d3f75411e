import assert from 'node:assert/strict';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { suite, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Dispatcher } from 'undici';
import { silentLog } from '../../../src/lib/log.ts';
import { until } from '../../../src/lib/wait.ts';
import { forward } from '../../../src/proxy/http/forward.ts';
import {
  ask,
  askRaw,
  begin,
  dial,
  freeAddress,
  ready,
  responseTo,
  serveBytes,
  serveHttp,
  serveTcp,
  startRouter,
  usersService,
} from '../../support/http.ts';

const soon = (what: string) => ({ what, deadlineMs: 60_000 });

suite('requests', () => {
  test('arrive as they were sent: method, path, header case, order and duplicates', async t => {
    const workload = await serveHttp(t, (request, response) => {
      response.end(JSON.stringify([request.method, request.url, request.rawHeaders]));
    });
    const router = await startRouter(t, usersService(ready(workload)));
    const sent = ['Host', 'users.demo', 'X-Two', 'b', 'x-two', 'a', 'Cookie', 'c=1', 'Ümlaut'.slice(1), 'é'];
    const { body } = await ask(router.address, {
      method: 'OPTIONS',
      path: '//a/%2e%2e/?q=[1]&q',
      headers: sent,
    });
    const [method, path, received] = JSON.parse(body);
    assert.deepEqual([method, path], ['OPTIONS', '//a/%2e%2e/?q=[1]&q']);
    assert.deepEqual(received.slice(0, 2), ['host', 'users.demo']);
    assert.deepEqual(
      received.filter((_: string, i: number) => i > 3),
      sent.slice(2),
    );
  });

  test('lose what is only for one connection, and nothing that Connection must not name', async t => {
    const workload = await serveHttp(t, (request, response) => response.end(JSON.stringify(request.headers)));
    const router = await startRouter(t, usersService(ready(workload)));
    const reply = await askRaw(
      router.address,
      'POST / HTTP/1.1\r\nHost: users.demo\r\nConnection: X-Mine, host, Content-Length,close\r\nX-Mine: 1\r\n' +
        'Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\nTrailer: X\r\nUpgrade: h2c\r\n' +
        'Content-Length: 2\r\nX-Forwarded-For: 10.0.0.1\r\nAuthorization: Bearer t\r\n\r\nok',
    );
    assert.deepEqual(JSON.parse(/\{.*\}/.exec(reply)![0]), {
      host: 'users.demo',
      connection: 'keep-alive',
      'content-length': '2',
      'x-forwarded-for': '10.0.0.1',
      authorization: 'Bearer t',
    });
  });

  test('bodies arrive, with a length or chunked, also with GET and DELETE', async t => {
    const workload = await serveHttp(t, (request, response) => {
      response.write(`${request.method} `);
      request.pipe(response);
    });
    const router = await startRouter(t, usersService(ready(workload)));
    for (const method of ['POST', 'GET', 'DELETE'])
      for (const headers of [{ 'content-length': '5' }, { 'transfer-encoding': 'chunked' }]) {
        const { body } = await ask(router.address, { method, headers, body: 'hello' });
        assert.equal(body, `${method} hello`);
      }
  });

  test('Expect: 100-continue is answered once there is somebody to send the body to', async t => {
    const workload = await serveHttp(t, (request, response) => {
      response.setHeader('x-expect', request.headers.expect ?? 'none');
      request.pipe(response);
    });
    const router = await startRouter(t, usersService(ready(workload)));
    const client = dial(t, router.address);
    const head =
      'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n';
    client.socket.write(head);
    await until(() => client.received() === 'HTTP/1.1 100 Continue\r\n\r\n' || undefined, soon('100'));
    client.socket.write('ok');
    await once(client.socket, 'close');
    assert.match(client.received(), /x-expect: none[\s\S]*ok/);

    router.routes.swap({ destinations: {} });
    const refusal = await askRaw(router.address, head);
    assert.match(refusal, /^HTTP\/1\.1 503 /); // and the connection ended, as a body may follow or not
  });

  test('a large upload streams: the workload reads while the client still sends, memory stays flat', async t => {
    const chunk = Buffer.alloc(64 * 1024, 'x');
    const chunks = 320; // 20 MiB
    let received = 0;
    const workload = await serveHttp(t, (request, response) => {
      request.on('data', data => {
        received += data.length;
      });
      request.on('end', () => response.end(String(received)));
    });
    const router = await startRouter(t, usersService(ready(workload)));
    const upload = begin(router.address, { method: 'POST' });
    let sent = 0;
    let ahead = 0;
    for (let i = 0; i < chunks; i++) {
      if (!upload.write(chunk)) await once(upload, 'drain');
      sent += chunk.length;
      ahead = Math.max(ahead, sent - received);
    }
    upload.end();
    const response = await responseTo(upload);
    assert.equal(Number(await text(response)), chunks * chunk.length);
    // All that can be on its way: buffers of four sockets in the kernel and a few chunks in the streams.
    assert.ok(ahead < 16 * 1024 * 1024, `${ahead} bytes were buffered`);
  });

  test('a workload that does not read holds the client back', async t => {
    const workload = await serveTcp(t, socket => socket.pause());
    const router = await startRouter(t, usersService(ready(workload)));
    const client = dial(t, router.address);
    client.socket.write('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n');
    const chunk = `10000\r\n${'x'.repeat(0x10000)}\r\n`;
    let blocked = false;
    // Kernels buffer a few MiB per connection; more than 64 would have to be in our memory.
    for (let i = 0; i < 1024 && !blocked; i++) {
      if (client.socket.write(chunk)) continue;
      const drained = once(client.socket, 'drain').then(() => false);
      blocked = await Promise.race([drained, new Promise<true>(done => setTimeout(done, 250, true))]);
    }
    assert.ok(blocked, 'the client could send 64 MiB to nobody');
  });

  test("a client that goes away in the middle of an upload takes the workload's request with it", async t => {
    const { promise: broken, resolve } = Promise.withResolvers<boolean>();
    let received = 0;
    const workload = await serveHttp(t, request => {
      request.on('data', data => {
        received += data.length;
      });
      request.on('error', () => {});
      request.on('close', () => resolve(!request.complete));
    });
    const router = await startRouter(t, usersService(ready(workload)));
    const upload = begin(router.address, { method: 'POST', headers: { 'content-length': '1000' } });
    upload.on('error', () => {});
    upload.write('a part');
    await until(() => received === 6 || undefined, soon('a part'));
    upload.destroy();
    assert.equal(await broken, true);
    await until(() => router.counters.aborted === 1 || undefined, soon('the count'));
    assert.equal(router.counters.inFlight, 0);
  });

  test("a client that goes away while it waits takes the workload's request with it", async t => {
    const { promise: asked, resolve: onAsked } = Promise.withResolvers<void>();
    const { promise: closed, resolve: onClosed } = Promise.withResolvers<void>();
    const workload = await serveHttp(t, (_request, response) => {
      onAsked();
      response.on('close', onClosed);
    });
    const router = await startRouter(t, usersService(ready(workload)));
    const waiting = begin(router.address, {});
    waiting.on('error', () => {});
    waiting.end();
    await asked;
    waiting.destroy();
    await closed;
  });

  test('a client that stops in the middle of an upload is given up', async t => {
    const { promise: broken, resolve } = Promise.withResolvers<void>();
    const workload = await serveHttp(t, request => {
      request.on('error', () => resolve()).resume();
    });
    const router = await startRouter(t, usersService(ready(workload)), { limits: { clientIdleMs: 100 } });
    const client = dial(t, router.address);
    client.socket.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\na part');
    await broken;
    await until(() => client.socket.closed || undefined, soon('the end of the connection'));
  });

  test('a client that is gone before there is a connection to the workload: nothing is sent', async t => {
    let handler: Dispatcher.DispatchHandler | undefined;
    const slow = {
      dispatch(_: unknown, given: Dispatcher.DispatchHandler) {
        handler = given;
      },
    };
    const { promise: ended, resolve } = Promise.withResolvers<boolean>();
    const proxy = await serveHttp(t, (request, response) => {
      const upstream = slow as unknown as Dispatcher;
      resolve(forward({ request, response, upstream, path: '/', head: undefined, headers: [], idleMs: 1 }));
    });
    const client = dial(t, proxy);
    client.socket.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n');
    await until(() => handler, soon('the request'));
    client.socket.destroy();
    assert.equal(await ended, false);
    let aborted = 0;
    handler!.onRequestStart!({ abort: () => aborted++ } as unknown as Dispatcher.DispatchController, null);
    assert.equal(aborted, 1);
  });

  test('an answer before the end of the upload reaches the client', async t => {
    const workload = await serveHttp(t, (_request, response) => {
      response.writeHead(413, { connection: 'close' }).end('too much');
    });
    const router = await startRouter(t, usersService(ready(workload)), { limits: { lingerMs: 200 } });
    const client = dial(t, router.address);
    client.socket.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n');
    const timer = setInterval(() => client.socket.write(Buffer.alloc(65536)), 1);
    t.after(() => clearInterval(timer));
    await until(() => client.received().includes('too much') || undefined, soon('the answer'));
    await until(() => client.socket.closed || undefined, soon('the end of a client that never ends'));
  });
});

suite('responses', () => {
  test('arrive as they were sent: status, reason, header case, order and duplicates', async t => {
    const workload = await serveBytes(
      t,
      'HTTP/1.1 299 Fine So Far\r\nSet-Cookie: a=1\r\nX-B: \xe9\r\nset-cookie: b=2\r\nContent-Length: 2\r\n' +
        'Connection: X-Mine\r\nX-Mine: 1\r\nKeep-Alive: timeout=77\r\n\r\nok',
    );
    const router = await startRouter(t, usersService(ready(workload)));
    const reply = await askRaw(router.address, 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
    assert.equal(
      reply,
      'HTTP/1.1 299 Fine So Far\r\nSet-Cookie: a=1\r\nX-B: \xe9\r\nset-cookie: b=2\r\nContent-Length: 2\r\n' +
        'Connection: close\r\n\r\nok',
    );
  });

  test('HEAD, 204 and 304 have no body, and the connection goes on', async t => {
    const workload = await serveHttp(t, (request, response) => {
      if (request.method === 'HEAD') response.setHeader('content-length', '1234');
      if (request.url === '/304') response.setHeader('content-length', '99');
      response.statusCode = Number(request.url!.slice(1));
      response.end();
    });
    const router = await startRouter(t, usersService(ready(workload)));
    const line = (method: string, status: number, more = '') =>
      `${method} /${status} HTTP/1.1\r\nHost: a\r\n${more}\r\n`;
    const reply = await askRaw(
      router.address,
      line('HEAD', 200) + line('GET', 204) + line('GET', 304) + line('HEAD', 404, 'Connection: close\r\n'),
    );
    const heads = reply.split('\r\n\r\n');
    assert.deepEqual(
      heads.map(head => [head.split('\r\n')[0], /content-length: (\d+)/i.exec(head)?.[1]]),
      [
        ['HTTP/1.1 200 OK', '1234'],
        ['HTTP/1.1 204 No Content', undefined],
        ['HTTP/1.1 304 Not Modified', '99'],
        ['HTTP/1.1 404 Not Found', '1234'],
        ['', undefined],
      ],
    );
  });

  test('a 204 that announces a body does not desynchronise the connection', async t => {
    const workload = await serveBytes(t, 'HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello');
    const router = await startRouter(t, usersService(ready(workload)));
    const reply = await askRaw(router.address, 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
    assert.match(reply, /^HTTP\/1\.1 204 No Content\r\n/);
    assert.doesNotMatch(reply, /content-length|hello/i);
  });

  test('trailers follow a chunked body', async t => {
    const workload = await serveHttp(t, (_request, response) => {
      response.writeHead(200, { trailer: 'X-Sum' });
      response.write('body');
      response.addTrailers({ 'X-Sum': '7' });
      response.end();
    });
    const router = await startRouter(t, usersService(ready(workload)));
    const { headers, body, trailers } = await ask(router.address);
    assert.deepEqual([headers.trailer, body, trailers], ['X-Sum', 'body', { 'x-sum': '7' }]);
    const old = await askRaw(router.address, 'GET / HTTP/1.0\r\nHost: a\r\n\r\n');
    assert.match(old, /\r\n\r\nbody$/); // HTTP/1.0 knows neither chunks nor trailers
    assert.doesNotMatch(old, /x-sum/i);
  });

  test('interim responses come before the final one', async t => {
    const workload = await serveBytes(
      t,
      'HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
    );
    const router = await startRouter(t, usersService(ready(workload)));
    const reply = await askRaw(router.address, 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
    assert.match(
      reply,
      /^HTTP\/1\.1 103 Early Hints\r\nLink: <\/a\.css>; rel=preload\r\n\r\nHTTP\/1\.1 200 OK\r\n[\s\S]*ok$/,
    );
    const old = await askRaw(router.address, 'GET / HTTP/1.0\r\nHost: a\r\n\r\n');
    assert.match(old, /^HTTP\/1\.1 200 OK\r\n/);
  });

  test('server-sent events come one by one, the head before the first', async t => {
    const turns: (() => void)[] = [];
    const workload = await serveHttp(t, (_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
      turns.push(
        () => response.write('data: 1\n\n'),
        () => response.write('data: 2\n\n'),
        () => response.end('data: 3\n\n'),
      );
    });
    const router = await startRouter(t, usersService(ready(workload)));
    const sent = begin(router.address, {});
    sent.end();
    const response = await responseTo(sent); // nothing but the head was sent up to here
    assert.equal(response.headers['content-type'], 'text/event-stream');
    let received = '';
    response.setEncoding('utf8').on('data', data => {
      received += data;
    });
    let expected = '';
    for (const [i, turn] of turns.entries()) {
      turn();
      expected += `data: ${i + 1}\n\n`;
      await until(() => received === expected || undefined, soon(`event ${i + 1}`));
    }
    await until(() => response.complete || undefined, soon('the end'));
  });

  test('a client that does not read holds the workload back, and gets everything in the end', async t => {
    const size = 24 * 1024 * 1024;
    const chunk = Buffer.alloc(65536, 'x');
    let sent = 0;
    const workload = await serveHttp(t, (_request, response) => {
      const more = () => {
        while (sent < size) {
          sent += chunk.length;
          if (!response.write(chunk)) return response.once('drain', more);
        }
        response.end();
      };
      more();
    });
    const router = await startRouter(t, usersService(ready(workload)));
    const asked = begin(router.address, {});
    asked.end();
    const response = await responseTo(asked);
    let before = -1;
    await until(
      async () => {
        if (before === sent) return true;
        before = sent;
        await nextTurn();
        return undefined;
      },
      { what: 'the workload waits', deadlineMs: 60_000, intervalMs: 50 },
    );
    assert.ok(sent < size, 'the workload could send everything to nobody');
    let received = 0;
    for await (const data of response) received += data.length;
    assert.equal(received, size);
  });
});

suite('workloads that fail', () => {
  const failure = async (reply: Promise<{ status: number; body: string }>) => {
    const { status, body } = await reply;
    const { code, error } = JSON.parse(body);
    return [status, code, error];
  };

  test('nobody listens: 502 that names the workload', async t => {
    const nobody = await freeAddress();
    const router = await startRouter(t, usersService(ready(nobody)));
    assert.deepEqual(await failure(ask(router.address, { method: 'POST', body: 'x' })), [
      ...[502, 'proxy/upstream-failed'],
      `Deployment demo/users at ${nobody.host}:${nobody.port} did not answer properly: it refused the connection`,
    ]);
    assert.equal(router.counters.failed, 1);
  });

  const bad: Readonly<Record<string, readonly [bytes: string, end: 'keep' | 'fin' | 'reset', why: string]>> =
    {
      'it closes at once': ['', 'fin', 'it closed the connection'],
      'it resets at once': ['', 'reset', 'it reset the connection'],
      'it sends garbage': ['SSH-2.0-OpenSSH_9\r\n', 'keep', 'its answer is not valid HTTP/1.1'],
      'it announces two lengths': [
        'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok',
        'keep',
        'its body is not as long as its Content-Length says',
      ],
      'it announces a length and chunks': [
        'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\nok',
        'keep',
        'its answer is not valid HTTP/1.1',
      ],
      'it sends half a head': ['HTTP/1.1 200 OK\r\nContent-', 'fin', 'it closed the connection'],
      'its head is too large': [
        `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(70_000)}\r\n\r\n`,
        'keep',
        'its header block is too large',
      ],
      'it switches protocols unasked': [
        'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n',
        'keep',
        'it closed the connection',
      ],
    };
  for (const [name, [bytes, end, why]] of Object.entries(bad))
    test(`${name}: 502`, async t => {
      const workload = await serveBytes(t, bytes, end);
      const router = await startRouter(t, usersService(ready(workload)));
      const [status, code, error] = await failure(ask(router.address));
      assert.deepEqual([status, code], [502, 'proxy/upstream-failed']);
      assert.ok(error.endsWith(why), error);
    });

  const truncated: Readonly<Record<string, readonly [bytes: string, end: 'fin' | 'reset']>> = {
    'with a length, closed': ['HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart', 'fin'],
    'with a length, reset': ['HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart', 'reset'],
    'with a length, announced as the last, closed': [
      'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 100\r\n\r\npart',
      'fin',
    ],
    'chunked, closed': ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n', 'fin'],
    'chunked, reset': ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n', 'reset'],
    'without a length, reset': ['HTTP/1.1 200 OK\r\n\r\npart', 'reset'],
    'chunked, then garbage': [
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\nzz\r\n',
      'fin',
    ],
  };
  for (const [name, [bytes, end]] of Object.entries(truncated))
    for (const version of ['1.1', '1.0'])
      test(`body ${name}: the HTTP/${version} client sees a broken connection, not an end`, async t => {
        const workload = await serveBytes(t, bytes, end);
        const router = await startRouter(t, usersService(ready(workload)));
        const whole = askRaw(router.address, `GET / HTTP/${version}\r\nHost: a\r\n\r\n`);
        await assert.rejects(whole, { code: 'ECONNRESET' });
        await until(() => router.counters.failed === 1 || undefined, soon('the count'));
      });

  test('a body without a length that is closed has ended', async t => {
    const workload = await serveBytes(t, 'HTTP/1.1 200 OK\r\n\r\nwhole', 'fin');
    const router = await startRouter(t, usersService(ready(workload)));
    assert.equal((await ask(router.address)).body, 'whole');
  });

  test('one that never answers: 504', async t => {
    const workload = await serveTcp(t, socket => socket.resume());
    const router = await startRouter(t, usersService(ready(workload)), { limits: { idleMs: 100 } });
    assert.deepEqual((await failure(ask(router.address))).slice(0, 2), [504, 'proxy/upstream-timeout']);
  });

  test('failures of workloads are logged with their cause, never with headers', async t => {
    const lines: string[] = [];
    const log = {
      ...silentLog,
      warn: (fields: object, text: string) => lines.push(text + JSON.stringify(fields)),
    };
    const router = await startRouter(t, usersService(ready(await freeAddress())), { log });
    await ask(router.address, { headers: { authorization: 'Bearer secret', cookie: 'secret' } });
    assert.equal(lines.length, 1);
    assert.match(lines[0]!, /^request failed.*proxy\/upstream-failed.*ECONNREFUSED/);
    assert.doesNotMatch(lines[0]!, /secret/);
  });
});
