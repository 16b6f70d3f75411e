import assert from 'node:assert/strict';
import { suite, type TestContext, test } from 'node:test';
import {
  askRaw,
  dial,
  freeAddress,
  ready,
  serveBytes,
  serveHttp,
  startRouter,
  usersService,
} from '../../support/http.ts';

/** A router before a workload that answers with what it was asked. */
async function startEcho(t: TestContext) {
  const workload = await serveHttp(t, (request, response) => {
    let body = '';
    request.on('data', chunk => (body += chunk));
    request.on('end', () => {
      const hosts = request.rawHeaders.filter((_, i, all) => /^host$/i.test(all[i - 1] ?? ''));
      response.setHeader('Allow', 'GET, OPTIONS');
      response.end(JSON.stringify([request.method, request.url, hosts, body]));
    });
  });
  const router = await startRouter(t, usersService(ready(workload)));
  const asked = async (request: string) => {
    const reply = await askRaw(router.address, request.replaceAll('\n', '\r\n'));
    assert.match(reply, /^HTTP\/1\.1 200 OK\r\n/);
    return { reply, seen: JSON.parse(/\[.*\]/.exec(reply)![0]) as unknown };
  };
  return { router, asked };
}

suite('forms of a target that servers must accept, RFC 9112 §3.2', () => {
  const forms: Readonly<Record<string, readonly [request: string, seen: readonly unknown[]]>> = {
    'a URL is a path, and its host counts': [
      'GET http://users.demo:3000/a//b?c=http://d HTTP/1.1\nHost: other\nConnection: close\n\n',
      ['GET', '/a//b?c=http://d', ['users.demo:3000'], ''],
    ],
    'a URL with an empty path': [
      'GET HTTP://users.demo HTTP/1.1\nHost: users.demo\nConnection: close\n\n',
      ['GET', '/', ['users.demo'], ''],
    ],
    'a URL with a query and no path': [
      'GET http://users.demo?a=1 HTTP/1.1\nHost: users.demo\nConnection: close\n\n',
      ['GET', '/?a=1', ['users.demo'], ''],
    ],
    'a URL with a body': [
      'POST http://users.demo/a HTTP/1.1\nHost: users.demo\nContent-Length: 2\nConnection: close\n\nok',
      ['POST', '/a', ['users.demo'], 'ok'],
    ],
    'an asterisk': [
      'OPTIONS * HTTP/1.1\nHost: users.demo\nConnection: close\n\n',
      ['OPTIONS', '*', ['users.demo'], ''],
    ],
    'an asterisk with a body': [
      'OPTIONS * HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\nConnection: close\n\n2\nok\n0\n\n',
      ['OPTIONS', '*', ['a'], 'ok'],
    ],
    'OPTIONS of a URL without a path is about the whole server': [
      'OPTIONS http://users.demo:80 HTTP/1.1\nHost: a\nConnection: close\n\n',
      ['OPTIONS', '*', ['users.demo:80'], ''],
    ],
    'OPTIONS of a path': [
      'OPTIONS http://users.demo/ HTTP/1.1\nHost: a\nConnection: close\n\n',
      ['OPTIONS', '/', ['users.demo'], ''],
    ],
    'HTTP/1.0 with a URL and no Host': [
      'GET http://users.demo/ HTTP/1.0\n\n',
      ['GET', '/', ['users.demo'], ''],
    ],
  };
  for (const [name, [request, seen]] of Object.entries(forms))
    test(name, async t => {
      const { asked } = await startEcho(t);
      assert.deepEqual((await asked(request)).seen, seen);
    });

  test('HTTP/1.0 has no Host: it is what the client connected to', async t => {
    const { router, asked } = await startEcho(t);
    const { host, port } = router.address;
    assert.deepEqual((await asked('GET /a HTTP/1.0\n\n')).seen, ['GET', '/a', [`${host}:${port}`], '']);
  });

  test("the answer to an asterisk is the workload's, and the connection goes on", async t => {
    const { asked } = await startEcho(t);
    const { reply } = await asked(
      'OPTIONS * HTTP/1.1\nHost: a\n\nGET /next HTTP/1.1\nHost: a\nConnection: close\n\n',
    );
    assert.match(reply, /\r\nAllow: GET, OPTIONS\r\n/);
    assert.match(reply, /\["GET","\/next",\["a"\],""\]$/);
  });

  test('an asterisk for a workload that is not there, or that breaks off: 502', async t => {
    for (const workload of [await freeAddress(), await serveBytes(t, 'HTTP/1.1 2', 'fin')]) {
      const router = await startRouter(t, usersService(ready(workload)));
      const reply = await askRaw(
        router.address,
        'OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
      );
      assert.match(reply, /^HTTP\/1\.1 502 /);
      assert.match(reply, /"code":"proxy\/upstream-failed"/);
    }
  });

  test('an asterisk for a workload that does not answer: 504', async t => {
    const workload = await serveHttp(t, () => {});
    const router = await startRouter(t, usersService(ready(workload)), { limits: { connectMs: 50 } });
    const client = dial(t, router.address);
    client.socket.end('OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
    const reply = await askRaw(router.address, 'OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
    assert.match(reply, /^HTTP\/1\.1 504 /);
  });
});
