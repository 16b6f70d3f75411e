import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { until } from '../../../src/lib/wait.ts';
import type { ErrorBody } from '../../../src/model/errors.ts';
import { askRaw, dial, ready, serveHttp, serveTcp, startRouter, usersService } from '../../support/http.ts';

const bodyOf = (reply: string): ErrorBody => JSON.parse(reply.slice(reply.indexOf('\r\n\r\n')));

suite('broken and ambiguous requests', () => {
  const refused: Readonly<Record<string, string>> = {
    'Content-Length and Transfer-Encoding':
      'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    'Transfer-Encoding and Content-Length':
      'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n',
    'two equal Content-Lengths':
      'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx',
    'two Content-Lengths': 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx',
    'a list of Content-Lengths': 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\nx',
    'a signed Content-Length': 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx',
    'another transfer coding': 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n',
    'two transfer codings': 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n',
    'chunked twice':
      'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    'an almost chunked coding': 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n',
    'Transfer-Encoding in HTTP/1.0':
      'POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    'a bad chunk size': 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n\r\n',
    'a folded header line': 'GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n',
    'a space before the colon': 'GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\n',
    'a NUL in a value': 'GET / HTTP/1.1\r\nHost: a\r\nX: 1\x002\r\n\r\n',
    'a DEL in a value': 'GET / HTTP/1.1\r\nHost: a\r\nX: 1\x7f2\r\n\r\n',
    'a bare CR in a value': 'GET / HTTP/1.1\r\nHost: a\r\nX: 1\rY: 2\r\n\r\n',
    'a bare LF at the end of a line': 'GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n',
    'a URL with user information as target': 'GET http://b@a/ HTTP/1.1\r\nHost: a\r\n\r\n',
    'a URL without a host as target': 'GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n',
    'a URL with nothing but a port as target': 'GET http://:80/a HTTP/1.1\r\nHost: a\r\n\r\n',
    'a URL of another scheme as target': 'GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n',
    'a URL as target, and no Host': 'GET http://a/ HTTP/1.1\r\n\r\n',
    'a URL as target, and two Hosts': 'GET http://a/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n',
    'an asterisk as target of GET': 'GET * HTTP/1.1\r\nHost: a\r\n\r\n',
    'a host and port as target of GET': 'GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n',
    'a space in the target': 'GET /a b HTTP/1.1\r\nHost: a\r\n\r\n',
    CONNECT: 'CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n',
    'no Host': 'GET / HTTP/1.1\r\nX: 1\r\n\r\n',
    'an empty Host': 'GET / HTTP/1.1\r\nHost:\r\n\r\n',
    'two Hosts': 'GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n',
    'a Host with a path': 'GET / HTTP/1.1\r\nHost: a/b\r\n\r\n',
    'a Host with user information': 'GET / HTTP/1.1\r\nHost: x@a\r\n\r\n',
    'HTTP/0.9': 'GET /\r\n\r\n',
    'HTTP/2 without its preface': 'GET / HTTP/2.0\r\nHost: a\r\n\r\n',
    'almost the preface of HTTP/2': 'PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n',
    'no HTTP at all': '\x16\x03\x01\x02\x00\x01\x00',
  };
  for (const [name, bytes] of Object.entries(refused))
    test(`${name}: 400, and the workload sees nothing`, async t => {
      let seen = 0;
      const workload = await serveHttp(t, (_request, response) => {
        seen++;
        response.end();
      });
      const router = await startRouter(t, usersService(ready(workload)));
      // The connection ends by itself where the rest cannot be trusted; otherwise this request ends it.
      const reply = await askRaw(
        router.address,
        `${bytes}GET /end HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`,
      );
      assert.match(reply, /^HTTP\/1\.1 400 Bad Request\r\n/);
      assert.equal(JSON.parse(reply.split('\r\n\r\n')[1]!.split('\n')[0]!).code, 'proxy/bad-request');
      assert.ok(
        seen === 0 || (seen === 1 && reply.includes('HTTP/1.1 200 OK')),
        `${seen} requests were sent on`,
      );
    });

  test('a header block above the limit: 431', async t => {
    const router = await startRouter(t, usersService(ready()));
    const reply = await askRaw(
      router.address,
      `GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(64 * 1024)}\r\n\r\n`,
    );
    assert.match(reply, /^HTTP\/1\.1 431 /);
    assert.equal(bodyOf(reply).code, 'proxy/headers-too-large');
  });

  test('heads of 60 KB pass both ways, and a setting that changes counts for the next connection', async t => {
    const workload = await serveTcp(t, socket => {
      let head = '';
      socket.setEncoding('latin1').on('data', chunk => {
        head += chunk;
        if (head.endsWith('\r\n\r\n'))
          socket.end(`HTTP/1.1 200 OK\r\nY: ${'y'.repeat(60_000)}\r\nContent-Length: 0\r\n\r\n`);
      });
    });
    const { address, routes } = await startRouter(t, usersService(ready(workload)));
    const long = `GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: ${'x'.repeat(60_000)}\r\n\r\n`;
    assert.match(await askRaw(address, long), /^HTTP\/1\.1 200 OK\r\nY: y{60000}\r\n/);
    routes.swap({ settings: { headerBytes: 32 * 1024 } });
    const refused = await askRaw(address, long);
    assert.match(refused, /^HTTP\/1\.1 431 /);
    assert.match(bodyOf(refused).error!, /larger than 32768 bytes/);
  });

  test('very many small headers all arrive', async t => {
    const workload = await serveTcp(t, socket => {
      let head = '';
      socket.setEncoding('latin1').on('data', chunk => {
        head += chunk;
        const count = head.split('\r\na: ').length - 1;
        if (head.endsWith('\r\n\r\n')) socket.end(`HTTP/1.1 200 OK\r\n\r\n${count}`);
      });
    });
    const router = await startRouter(t, usersService(ready(workload)));
    const reply = await askRaw(router.address, `GET / HTTP/1.0\r\nHost: a\r\n${'a:\r\n'.repeat(3_000)}\r\n`);
    assert.match(reply, /\r\n\r\n3000$/);
  });

  test('a header block that does not come: 408', async t => {
    const router = await startRouter(t, usersService(ready()), { limits: { headerMs: 50 } });
    const reply = await askRaw(router.address, 'GET / HTTP/1.1\r\nHost: a\r\n');
    assert.match(reply, /^HTTP\/1\.1 408 /);
    assert.equal(bodyOf(reply).code, 'proxy/request-timeout');
  });

  test('a broken request behind a good one does not spoil its answer', async t => {
    const workload = await serveHttp(t, (_request, response) => {
      response.writeHead(200, { 'content-length': '100' }).write('part');
    });
    const router = await startRouter(t, usersService(ready(workload)));
    const client = dial(t, router.address);
    client.socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await until(() => client.received().endsWith('part') || undefined, {
      what: 'a part',
      deadlineMs: 60_000,
    });
    client.socket.write('\0\0\0');
    await until(() => client.socket.closed || undefined, { what: 'the end', deadlineMs: 60_000 });
    assert.ok(client.received().endsWith('part'), client.received());
  });
});
