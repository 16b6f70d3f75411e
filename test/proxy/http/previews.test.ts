import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectHttp2, constants } from 'node:http2';
import { suite, type TestContext, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { WebSocket, WebSocketServer } from 'ws';
import { loadCertificate } from '../../../src/lib/certificate.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { until } from '../../../src/lib/wait.ts';
import type { RouteKinds } from '../../../src/model/route.ts';
import { defaultLimits } from '../../../src/proxy/http/limits.ts';
import { createPreviews } from '../../../src/proxy/http/previews.ts';
import { openServer } from '../../../src/proxy/http/server.ts';
import { writeServer } from '../../support/certificates.ts';
import {
  type Ask,
  ask,
  askRaw,
  begin,
  DESTINATION,
  notReady,
  ready,
  readyFork,
  responseTo,
  serveHttp,
  type TestTable,
  type TestTarget,
  testRoutes,
  usersService,
} from '../../support/http.ts';
import { askHttp2, openHttp2, serveHttp2 } from '../../support/http2.ts';
import { tempDir } from '../../support/temp.ts';

const HOST = 'users-api--xata-test.preview.localhost';
const PREVIEW: RouteKinds['preview'] = {
  sandbox: 'xata-test',
  endpoint: 'users-api',
  routingKey: 'wtmb8kfswrrtb',
  destination: DESTINATION,
  protocol: 'http',
};

const soon = (what: string) => ({ what, deadlineMs: 60_000 });

type Setup = Partial<TestTable> & { readonly fork?: TestTarget };

async function startPreviews(t: TestContext, { fork = notReady('xata-test'), ...table }: Setup = {}) {
  const routes = testRoutes({
    destinations: { [DESTINATION]: usersService(ready(), { [PREVIEW.routingKey]: fork }) },
    previews: { 'users-api--xata-test': PREVIEW },
    apiKeys: ['ofs_good'],
    settings: { headers: ['x-team-key'] },
    ...table,
  });
  const { handlers, counters, protocol, close } = createPreviews({ book: routes.book, log: silentLog });
  await using dir = await tempDir();
  const { context } = loadCertificate(writeServer(dir.path), Date.now());
  const front = { context: () => context, clear: () => true, refusal: '', deadlineMs: 5_000, protocol };
  const server = await openServer(
    { host: '127.0.0.1', port: 0 },
    { what: 'previews', limits: defaultLimits, handlers, front },
  );
  t.after(async () => {
    await server.close(0);
    await close();
  });
  /** A request to `host` with a good key, unless `headers` say otherwise. */
  const get = (headers: readonly string[] = ['signadot-api-key', 'ofs_good'], host = HOST, more: Ask = {}) =>
    ask(server, { headers: ['Host', host, ...headers], ...more });
  return { ...server, routes, counters, get };
}

/** A fork that answers with the headers it got, flat. */
const echoFork = async (t: TestContext) =>
  readyFork(
    'xata-test',
    await serveHttp(t, (request, response) => response.end(JSON.stringify(request.rawHeaders))),
  );

const valueIn = (flat: readonly string[], name: string) =>
  flat.filter((_, i) => i % 2 === 1 && flat[i - 1]!.toLowerCase() === name).join(' | ') || undefined;

suite('who may come in', () => {
  const good: Readonly<Record<string, readonly string[]>> = {
    'signadot-api-key': ['signadot-api-key', 'ofs_good'],
    'offshoot-api-key': ['Offshoot-Api-Key', 'ofs_good'],
    'a bearer token': ['Authorization', 'Bearer ofs_good'],
    'a key for this connection only': ['Connection', 'signadot-api-key', 'signadot-api-key', 'ofs_good'],
  };
  for (const [name, headers] of Object.entries(good))
    test(`${name} opens, and is taken off`, async t => {
      const { get } = await startPreviews(t, { fork: await echoFork(t) });
      const { status, body } = await get(headers);
      assert.equal(status, 200);
      assert.doesNotMatch(body, /ofs_good|api-key|authorization/i);
    });

  const bad: Readonly<Record<string, readonly [headers: readonly string[], why: string]>> = {
    'no key': [[], 'none was sent'],
    'a wrong key': [['signadot-api-key', 'ofs_wrong'], 'the one that was sent is not valid'],
    'an empty key': [['signadot-api-key', ''], 'the one that was sent is not valid'],
    "the application's own token": [['Authorization', 'Bearer eyJ'], 'none was sent'],
  };
  for (const [name, [headers, why]] of Object.entries(bad))
    test(`${name}: the same 401, whether the preview exists or not`, async t => {
      const { get } = await startPreviews(t, { fork: await echoFork(t) });
      for (const host of [HOST, 'other--unknown.preview.localhost']) {
        const { status, headers: received, body } = await get(headers, host);
        assert.equal(status, 401);
        assert.equal(received['www-authenticate'], 'Bearer realm="offshoot"');
        const { code, error, hint } = JSON.parse(body);
        assert.deepEqual([code, error], ['preview/unauthorized', `previews need a valid API key: ${why}`]);
        assert.match(hint, /signadot-api-key/);
      }
    });

  test('people in a browser get a page with the same words', async t => {
    const { get } = await startPreviews(t);
    const { status, headers, body } = await get(['Accept', 'text/html']);
    assert.equal(status, 401);
    assert.match(headers['content-type']!, /^text\/html/);
    assert.match(body, /<p>previews need a valid API key: none was sent\.<\/p>/);
  });

  test("the application's Authorization goes on", async t => {
    const { get } = await startPreviews(t, { fork: await echoFork(t) });
    const { body } = await get(['signadot-api-key', 'ofs_good', 'Authorization', 'Bearer eyJ']);
    assert.equal(valueIn(JSON.parse(body), 'authorization'), 'Bearer eyJ');
  });
});

suite('a key that is revoked', () => {
  /** A fork that tells every second for ever, and echoes over WebSocket. */
  async function endlessFork(t: TestContext) {
    const sockets = new WebSocketServer({ noServer: true });
    t.after(() => sockets.close());
    const address = await serveHttp(t, (_request, response) => void response.write('first '), {
      onUpgrade: (request, socket, head) =>
        sockets.handleUpgrade(request, socket, head, client =>
          client.on('message', data => client.send(`echo ${data}`)),
        ),
    });
    return readyFork('xata-test', address);
  }

  async function underWay(t: TestContext, setup: Setup = {}) {
    const server = await startPreviews(t, {
      ...{ fork: await endlessFork(t), apiKeys: ['ofs_good', 'ofs_other'] },
      ...setup,
    });
    const open = async (key: string) => {
      const headers = { host: HOST, 'signadot-api-key': key };
      const socket = new WebSocket(`ws://127.0.0.1:${server.port}/`, { headers });
      t.after(() => socket.terminate());
      socket.on('error', () => {});
      await once(socket, 'open');
      const sent = begin(server, { headers });
      t.after(() => sent.destroy());
      sent.end();
      const response = await responseTo(sent);
      response.on('error', () => {});
      response.resume();
      return { socket, response };
    };
    return { ...server, mine: await open('ofs_good'), others: await open('ofs_other') };
  }

  const echoes = async (socket: WebSocket) => {
    socket.send('still here');
    assert.equal(String((await once(socket, 'message'))[0]), 'echo still here');
  };

  test('opens nothing more, and what it opened is cut; what others opened goes on', async t => {
    const { routes, get, mine, others } = await underWay(t);
    routes.swap({ apiKeys: ['ofs_other'] });
    assert.equal((await get()).status, 401);
    await until(() => mine.socket.readyState === WebSocket.CLOSED || undefined, soon('the WebSocket ends'));
    await until(() => mine.response.destroyed || undefined, soon('the answer breaks off'));
    assert.equal(mine.response.complete, false);
    await echoes(others.socket);
    assert.equal(others.response.destroyed, false);
  });

  test('keeps what it opened, where a setting says so', async t => {
    const { routes, get, mine } = await underWay(t, { settings: { keepRevoked: true } });
    routes.swap({ apiKeys: [] });
    assert.equal((await get()).status, 401);
    await echoes(mine.socket);
    assert.equal(mine.response.destroyed, false);
  });
});

suite('where it leads', () => {
  test('into the baseline with the routing key in every carrier, and in none another', async t => {
    const { get } = await startPreviews(t, { fork: await echoFork(t) });
    const { body } = await get([
      ...['signadot-api-key', 'ofs_good', 'baggage', 'a=b,sd-routing-key=evil', 'tracestate', 'v=1'],
      ...['uberctx-sd-sandbox', 'evil', 'x-team-key', 'evil'],
    ]);
    const received = JSON.parse(body);
    assert.equal(valueIn(received, 'baggage'), 'sd-routing-key=wtmb8kfswrrtb,a=b');
    assert.equal(valueIn(received, 'tracestate'), 'sd-routing-key=wtmb8kfswrrtb,v=1');
    for (const name of ['ot-baggage-sd-routing-key', 'ot-baggage-sd-sandbox', 'uberctx-sd-routing-key'])
      assert.equal(valueIn(received, name), 'wtmb8kfswrrtb', name);
    assert.equal(valueIn(received, 'uberctx-sd-sandbox'), 'wtmb8kfswrrtb');
    assert.equal(valueIn(received, 'x-team-key'), 'wtmb8kfswrrtb');
    assert.doesNotMatch(body, /evil/);
  });

  test('a URL as target names the preview, whatever Host says', async t => {
    const fork = await echoFork(t);
    const server = await startPreviews(t, { fork });
    const asked = (target: string, host: string) =>
      askRaw(
        server,
        `GET ${target} HTTP/1.1\r\nHost: ${host}\r\nsignadot-api-key: ofs_good\r\nConnection: close\r\n\r\n`,
      );
    const reply = await asked(`http://${HOST}:80/a`, 'evil.example');
    assert.match(reply, /^HTTP\/1\.1 200 OK\r\n/);
    const received: string[] = JSON.parse(/\[.*\]/.exec(reply)![0]);
    assert.equal(valueIn(received, 'host'), `${HOST}:80`);
    assert.equal(valueIn(received, 'x-forwarded-host'), `${HOST}:80`);
    assert.match(await asked('http://evil.example/a', HOST), /^HTTP\/1\.1 404 Not Found\r\n/);
  });

  test('says who asked for what, whatever the client claims; Host stays', async t => {
    const { get } = await startPreviews(t, { fork: await echoFork(t) });
    const { body } = await get(
      [
        ...['signadot-api-key', 'ofs_good', 'Forwarded', 'for=6.6.6.6', 'X-Forwarded-For', '6.6.6.6'],
        ...['X-Forwarded-Host', 'evil', 'X-Forwarded-Proto', 'https', 'X-Forwarded-Port', '666'],
        ...['Connection', 'forwarded, baggage'],
      ],
      `${HOST}:7480`,
    );
    const received = JSON.parse(body);
    assert.equal(valueIn(received, 'host'), `${HOST}:7480`);
    assert.equal(valueIn(received, 'forwarded'), `for=127.0.0.1;host="${HOST}:7480";proto=http`);
    assert.equal(valueIn(received, 'x-forwarded-for'), '127.0.0.1');
    assert.equal(valueIn(received, 'x-forwarded-host'), `${HOST}:7480`);
    assert.equal(valueIn(received, 'x-forwarded-proto'), 'http');
    assert.equal(valueIn(received, 'x-forwarded-port'), undefined);
    assert.equal(valueIn(received, 'baggage'), 'sd-routing-key=wtmb8kfswrrtb');
  });

  test('an endpoint of a service without a fork leads to its baseline', async t => {
    const baseline = await serveHttp(t, (_request, response) => response.end('baseline'));
    const { get } = await startPreviews(t, {
      destinations: { [DESTINATION]: usersService(ready(baseline)) },
    });
    assert.equal((await get()).body, 'baseline');
  });

  test('a sandbox that is not ready: 503 with its name, reason and message', async t => {
    const { get } = await startPreviews(t);
    const { status, headers, body } = await get();
    assert.deepEqual([status, headers['retry-after']], [503, '1']);
    assert.match(
      JSON.parse(body).error,
      /sandbox "xata-test" is not ready: CrashLoopBackOff: it exited with code 1$/,
    );
  });

  test('a host that no preview can have: 404, with or without a key', async t => {
    const { get } = await startPreviews(t);
    for (const headers of [[], ['signadot-api-key', 'ofs_good']]) {
      const { status, body } = await get(headers, 'attacker.example');
      assert.deepEqual([status, JSON.parse(body).code], [404, 'preview/unknown']);
    }
  });

  test('an unknown preview: 404 for who has a key, with the one that was perhaps meant', async t => {
    const { get } = await startPreviews(t);
    const near = await get(undefined, 'user-api--xata-test.preview.localhost');
    assert.equal(near.status, 404);
    assert.equal(JSON.parse(near.body).hint, `did you mean "${HOST}"?`);
    const far = await get(undefined, 'shop--other.preview.localhost');
    assert.deepEqual([far.status, JSON.parse(far.body).code], [404, 'preview/unknown']);
    assert.doesNotMatch(far.body, /xata-test/);
  });

  test('a protocol that is not served yet says so', async t => {
    const { get } = await startPreviews(t, {
      previews: { 'users-api--xata-test': { ...PREVIEW, protocol: 'https' } },
    });
    const { status, body } = await get();
    assert.deepEqual([status, JSON.parse(body).code], [501, 'preview/protocol']);
  });

  test('HTTP/2 is led there as HTTP/1 is: the key comes off, the routing key is set, and a revoked key ends the stream', async t => {
    let held = false;
    const fork = await serveHttp2(t, (stream, headers, rawHeaders) => {
      stream.respond({}, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({}));
      if (headers[':path'] === '/held') held = true;
      else stream.end(JSON.stringify(rawHeaders));
    });
    const { routes, ...server } = await startPreviews(t, {
      fork: readyFork('xata-test', fork),
      previews: { 'users-api--xata-test': { ...PREVIEW, protocol: 'grpc' } },
    });
    const client = openHttp2(t, server);
    const to = { ':authority': HOST };
    assert.equal((await askHttp2(client, to)).status, 401);
    const grpc = await askHttp2(client, { ...to, 'content-type': 'application/grpc' });
    assert.deepEqual([grpc.status, grpc.headers['grpc-status']], [200, '16']);
    const { status, body } = await askHttp2(client, {
      ...to,
      'signadot-api-key': 'ofs_good',
      baggage: 'a=b',
    });
    assert.equal(status, 200);
    const received = new Map(
      (JSON.parse(body) as string[]).flatMap((name, i, all) =>
        i % 2 === 0 ? [[name, all[i + 1]]] : [],
      ) as never,
    );
    assert.equal(received.get('baggage'), 'sd-routing-key=wtmb8kfswrrtb,a=b');
    assert.equal(received.get('x-forwarded-host'), HOST);
    assert.equal(received.get('x-forwarded-for'), '127.0.0.1');
    assert.ok(!received.has('signadot-api-key'));
    const open = askHttp2(client, { ...to, ':path': '/held', 'signadot-api-key': 'ofs_good' });
    await until(() => held || undefined, soon('the stream'));
    routes.swap({ apiKeys: [] });
    assert.equal((await open).code, constants.NGHTTP2_INTERNAL_ERROR);
    assert.equal((await askHttp2(client, { ...to, 'signadot-api-key': 'ofs_good' })).status, 401);
  });

  test('by TLS a preview of gRPC is offered HTTP/2, any other one HTTP/1.1 to those who can', async t => {
    const fork = await serveHttp2(t, stream => {
      stream.respond();
      stream.end('by HTTP/2');
    });
    const { host, port } = await startPreviews(t, {
      fork: readyFork('xata-test', fork),
      previews: {
        'users-api--xata-test': { ...PREVIEW, protocol: 'grpc' },
        'web--xata-test': { ...PREVIEW, endpoint: 'web' },
      },
    });
    const chosen = async (servername: string, ...ALPNProtocols: string[]) => {
      const socket = connectTls({ host, port, servername, ALPNProtocols, rejectUnauthorized: false });
      t.after(() => socket.destroy());
      await once(socket, 'secureConnect');
      return socket;
    };
    assert.equal((await chosen(HOST.replace('users-api', 'web'), 'h2', 'http/1.1')).alpnProtocol, 'http/1.1');
    assert.equal((await chosen(HOST.replace('users-api', 'web'), 'h2')).alpnProtocol, 'h2');
    const socket = await chosen(HOST, 'h2', 'http/1.1');
    assert.equal(socket.alpnProtocol, 'h2');
    const client = connectHttp2(`https://${HOST}`, { createConnection: () => socket });
    t.after(() => client.destroy());
    assert.equal((await askHttp2(client, { 'signadot-api-key': 'ofs_good' })).body, 'by HTTP/2');
  });

  test('a preview of a service that is gone: 503', async t => {
    const { get } = await startPreviews(t, { destinations: {} });
    const { status, body } = await get();
    assert.deepEqual([status, JSON.parse(body).code], [503, 'proxy/no-destination']);
  });

  test('WebSockets pass, with the key taken off and the routing key set', async t => {
    const sockets = new WebSocketServer({ host: '127.0.0.1', port: 0 });
    t.after(() => sockets.close());
    sockets.on('connection', (socket, request) => {
      socket.send(`${request.headers.baggage} ${request.headers['signadot-api-key']}`);
      socket.close();
    });
    await once(sockets, 'listening');
    const { port } = sockets.address() as { port: number };
    const server = await startPreviews(t, { fork: readyFork('xata-test', { host: '127.0.0.1', port }) });
    const client = new WebSocket(`ws://127.0.0.1:${server.port}/`, {
      headers: { host: HOST, 'signadot-api-key': 'ofs_good' },
    });
    t.after(() => client.terminate());
    const [data] = await once(client, 'message');
    assert.equal(String(data), 'sd-routing-key=wtmb8kfswrrtb undefined');
    await once(client, 'close');
    const refused = new WebSocket(`ws://127.0.0.1:${server.port}/`, { headers: { host: HOST } });
    assert.match((await once(refused, 'error'))[0].message, /401/);
  });

  test('an upload arrives whole', async t => {
    const echo = await serveHttp(t, (request, response) => void request.pipe(response));
    const { get } = await startPreviews(t, { fork: readyFork('xata-test', echo) });
    const body = 'x'.repeat(300_000);
    const reply = await get(undefined, undefined, { method: 'POST', body });
    assert.ok(reply.body === body);
  });

  test('a preview of a sandbox that was deleted: 410 with its name', async t => {
    const { get } = await startPreviews(t, { previews: {}, tombstones: { k: 'xata-test' } });
    const { status, body } = await get();
    assert.deepEqual([status, JSON.parse(body).code], [410, 'proxy/sandbox-gone']);
    assert.match(JSON.parse(body).error, /sandbox "xata-test", which was deleted$/);
  });
});

suite('the server', () => {
  test('counts how requests ended', async t => {
    const { get, counters } = await startPreviews(t, { fork: await echoFork(t) });
    await get();
    await get([]);
    assert.deepEqual(
      { ...counters },
      { inFlight: 0, baseline: 0, fork: 1, own: 0, refused: 1, notReady: 0, failed: 0, aborted: 0 },
    );
  });

  test('broken requests are refused as everywhere', async t => {
    const server = await startPreviews(t);
    assert.match(
      await askRaw(server, 'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n'),
      /^HTTP\/1\.1 400 /,
    );
  });
});
