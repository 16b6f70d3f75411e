/** HTTP/2 through the router: every stream of a connection goes where its own key says. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { constants, sensitiveHeaders } from 'node:http2';
import { suite, type TestContext, test } from 'node:test';
import { until } from '../../../src/lib/wait.ts';
import {
  DESTINATION,
  dial,
  freeAddress,
  notReady,
  ready,
  readyFork,
  serveHttp,
  serveTcp,
  startRouter,
  turns,
  usersService,
} from '../../support/http.ts';
import { askHttp2, openHttp2, replyOf, serveHttp2 } from '../../support/http2.ts';

const soon = (what: string) => ({ what, deadlineMs: 60_000 });
const keyed = (key: string) => ({ baggage: `sd-routing-key=${key}` });

const named = (t: TestContext, name: string) =>
  serveHttp2(t, stream => {
    stream.respond({ ':status': 200 });
    stream.end(name);
  });

suite('route choice', () => {
  test('streams of one connection go to baseline and fork, each by its own key', async t => {
    const baseline = ready(await named(t, 'baseline'));
    const fork = readyFork('mine', await named(t, 'fork'));
    const { address, counters } = await startRouter(t, usersService(baseline, { k: fork }));
    const client = openHttp2(t, address);
    const headers = Array.from({ length: 50 }, (_, i) => (i % 2 === 0 ? keyed('k') : {}));
    const answers = await Promise.all(headers.map(one => askHttp2(client, one)));
    assert.deepEqual(
      answers.map(({ body }) => body),
      headers.map((_, i) => (i % 2 === 0 ? 'fork' : 'baseline')),
    );
    assert.deepEqual([counters.baseline, counters.fork, counters.inFlight], [25, 25, 0]);
  });

  test('a port of which nobody says what it speaks is one of HTTP/2, too', async t => {
    const fork = readyFork('mine', await named(t, 'fork'));
    const destination = usersService(ready(await named(t, 'baseline')), { k: fork });
    const { address } = await startRouter(t, { ...destination, speaks: 'unknown' });
    const client = openHttp2(t, address);
    assert.equal((await askHttp2(client, keyed('k'))).body, 'fork');
    assert.equal((await askHttp2(client)).body, 'baseline');
  });

  test('never the baseline for a key: 503 while its fork is not ready, 410 when its sandbox is gone', async t => {
    let seen = 0;
    const baseline = await serveHttp2(t, stream => {
      seen++;
      stream.respond();
      stream.end();
    });
    const { address, routes } = await startRouter(t, usersService(ready(baseline), { k: notReady('mine') }));
    routes.swap({ tombstones: { old: 'gone' } });
    const client = openHttp2(t, address);
    const unready = await askHttp2(client, { ':method': 'POST', ...keyed('k') }, 'write');
    assert.equal(unready.status, 503);
    assert.equal(unready.headers['retry-after'], '1');
    assert.equal(JSON.parse(unready.body).code, 'proxy/fork-not-ready');
    const gone = await askHttp2(client, keyed('old'));
    assert.deepEqual([gone.status, JSON.parse(gone.body).code], [410, 'proxy/sandbox-gone']);
    assert.equal(seen, 0);
  });

  test('a client that asks in HTTP/2 for a workload of HTTP/1 gets a 502 that says it, and one of nowhere too', async t => {
    const old = await serveHttp(t, (_request, response) => response.end('old'));
    const { address, routes } = await startRouter(t, usersService(ready(old)));
    const client = openHttp2(t, address);
    const answer = await askHttp2(client);
    assert.equal(answer.status, 502);
    assert.match(
      JSON.parse(answer.body).error,
      /asked in HTTP\/2, as the client asks, and does not speak it/,
    );
    const swap = (to: { host: string; port: number }) =>
      routes.swap({ destinations: { [DESTINATION]: usersService(ready(to)) } });
    swap(await freeAddress());
    assert.match(JSON.parse((await askHttp2(client)).body).error, /refused the connection/);
  });

  test('a workload that accepts and says nothing: 502 when its time is over', async t => {
    const silent = await serveTcp(t, socket => void socket.resume());
    const { address } = await startRouter(t, usersService(ready(silent)), { limits: { connectMs: 50 } });
    const answer = await askHttp2(openHttp2(t, address));
    assert.equal(answer.status, 502);
    assert.match(JSON.parse(answer.body).error, /did not accept the connection in time/);
  });

  test('requests that nobody can act on: 400, or a reset', async t => {
    const { address } = await startRouter(t, usersService(ready(await named(t, 'baseline'))));
    const client = openHttp2(t, address);
    for (const headers of [
      { ':path': 'nowhere' },
      { ':path': '*' },
      { ':authority': 'a/b' },
      { ':method': 'CONNECT', ':authority': 'a:1' },
    ]) {
      const refused = await askHttp2(client, headers).then(
        ({ status }) => String(status),
        (error: Error) => error.message,
      );
      assert.match(refused, /^400$|PROTOCOL_ERROR/, JSON.stringify(headers));
    }
  });
});

suite('what passes', () => {
  test('headers, cookies one by one, te for trailers, what is sensitive, and nothing else of the connection', async t => {
    const workload = await serveHttp2(t, (stream, headers, rawHeaders) => {
      stream.respond(
        {
          ...{ ':status': 201, 'set-cookie': ['a=1', 'b=2'], 'x-answer': 'secret' },
          [sensitiveHeaders]: ['x-answer'],
        },
        { sendDate: false } as object,
      );
      stream.end(JSON.stringify([rawHeaders, (headers as never)[sensitiveHeaders]]));
    });
    const { address } = await startRouter(t, usersService(ready(workload)));
    const answer = await askHttp2(openHttp2(t, address), {
      ...{ ':path': '/a?b=c', ':authority': 'users.demo:80', te: 'trailers' },
      ...{ baggage: 'a=b', cookie: ['a=1', 'b=2'], authorization: 'Bearer x' },
      [sensitiveHeaders]: ['authorization'],
    });
    assert.equal(answer.status, 201);
    assert.deepEqual(answer.headers['set-cookie'], ['a=1', 'b=2']);
    assert.deepEqual(answer.headers[sensitiveHeaders as never], ['x-answer']);
    assert.equal(answer.headers.date, undefined, 'the workload has sent none');
    const [raw, sensitive] = JSON.parse(answer.body) as [string[], string[]];
    const pairs = Array.from({ length: raw.length / 2 }, (_, i) => `${raw[2 * i]}: ${raw[2 * i + 1]}`);
    assert.deepEqual(pairs.toSorted(), [
      ':authority: users.demo:80',
      ':method: GET',
      ':path: /a?b=c',
      ':scheme: http',
      'authorization: Bearer x',
      'baggage: a=b',
      'cookie: a=1',
      'cookie: b=2',
      'te: trailers',
    ]);
    assert.ok(sensitive.includes('authorization'));
  });

  test('trailers both ways, and interim responses', async t => {
    const workload = await serveHttp2(t, stream => {
      let seen: object = {};
      stream.on('trailers', received => (seen = { 'x-seen': received['x-sum'] }));
      stream.additionalHeaders({ ':status': 103, link: '</a>' });
      stream.resume().on('end', () => {
        stream.respond({ ':status': 200 }, { waitForTrailers: true });
        stream.on('wantTrailers', () => stream.sendTrailers({ 'x-end': '1', ...seen }));
        stream.end('body');
      });
    });
    const { address } = await startRouter(t, usersService(ready(workload)));
    const sent = openHttp2(t, address).request({ ':method': 'POST' }, { waitForTrailers: true });
    const interim: unknown[] = [];
    sent.on('headers', headers => interim.push(headers[':status'], headers.link));
    sent.on('wantTrailers', () => sent.sendTrailers({ 'x-sum': '42' }));
    sent.end('question');
    const { body, trailers } = await replyOf(sent);
    assert.equal(body, 'body');
    assert.deepEqual([trailers['x-end'], trailers['x-seen']], ['1', '42']);
    assert.deepEqual(interim, [103, '</a>']);
  });

  test('a response of headers only stays one', async t => {
    const workload = await serveHttp2(t, stream => stream.respond({ ':status': 204 }, { endStream: true }));
    const { address } = await startRouter(t, usersService(ready(workload)));
    const sent = openHttp2(t, address).request();
    const [, flags] = await once(sent, 'response');
    assert.ok(flags & constants.NGHTTP2_FLAG_END_STREAM);
  });

  test('bodies stream both ways at the pace of who reads, and other streams go on meanwhile', async t => {
    const size = 8 * 1024 * 1024;
    let taken = 0;
    let open = () => {};
    const workload = await serveHttp2(t, (stream, headers) => {
      stream.respond();
      if (headers[':path'] === '/quick') return void stream.end('quick');
      open = () => void stream.on('data', chunk => (taken += chunk.length));
      stream.on('end', () => stream.end(Buffer.alloc(size)));
    });
    const { address } = await startRouter(t, usersService(ready(workload)));
    const client = openHttp2(t, address);
    const sent = client.request({ ':method': 'POST' });
    let written = false;
    sent.end(Buffer.alloc(size), () => (written = true));
    await once(sent, 'response');
    for (let i = 0; i < 5; i++) assert.equal((await askHttp2(client, { ':path': '/quick' })).body, 'quick');
    assert.equal(written, false, 'nobody keeps what nobody reads');
    open();
    let received = 0;
    for await (const chunk of sent) received += chunk.length;
    assert.deepEqual([taken, received], [size, size]);
  });

  test('resets pass with their code, both ways', async t => {
    const closed: number[] = [];
    const workload = await serveHttp2(t, (stream, headers) => {
      stream.on('close', () => closed.push(stream.rstCode));
      if (headers[':path'] === '/refused') stream.close(constants.NGHTTP2_REFUSED_STREAM);
      if (headers[':path'] === '/middle') {
        // Without it, node ends the body before it resets the stream.
        stream.respond({}, { waitForTrailers: true });
        stream.write('half');
        void turns().then(() => stream.close(constants.NGHTTP2_INTERNAL_ERROR));
      }
    });
    const { address, counters } = await startRouter(t, usersService(ready(workload)));
    const client = openHttp2(t, address);
    await assert.rejects(askHttp2(client, { ':path': '/refused' }), /REFUSED_STREAM/);
    const middle = await askHttp2(client, { ':path': '/middle' });
    assert.equal(middle.code, constants.NGHTTP2_INTERNAL_ERROR);
    closed.length = 0;
    const sent = client.request({ ':path': '/waits' });
    sent.on('error', () => {});
    await until(() => (counters.inFlight === 1 ? true : undefined), soon('the request'));
    sent.close(constants.NGHTTP2_CANCEL);
    await until(() => closed[0], soon('the cancellation'));
    assert.deepEqual(closed, [constants.NGHTTP2_CANCEL]);
    await until(() => (counters.aborted === 1 ? true : undefined), soon('its count'));
  });

  test('an answer before the end of the question: the client has it, and may stop', async t => {
    const workload = await serveHttp2(t, stream => {
      stream.respond({ ':status': 413 });
      stream.end('too much');
    });
    const { address } = await startRouter(t, usersService(ready(workload)));
    const sent = openHttp2(t, address).request({ ':method': 'POST' });
    sent.on('error', () => {});
    sent.write('begin');
    const { status, body } = await replyOf(sent);
    assert.deepEqual([status, body], [413, 'too much']);
  });
});

suite('sessions', () => {
  test('with a workload are shared, and more are opened when its limit of streams is reached', async t => {
    const held: (() => void)[] = [];
    let asked = 0;
    let most = 0;
    const workload = await serveHttp2(
      t,
      stream => {
        const answer = () => {
          stream.respond();
          stream.end('ok');
        };
        // The first one is alone; of the others none is answered before all are there.
        if (asked++ === 0) return answer();
        held.push(answer);
        most = Math.max(most, held.length);
        if (held.length === 20) for (const go of held) go();
      },
      { settings: { maxConcurrentStreams: 5 } },
    );
    const { address } = await startRouter(t, usersService(ready(workload)));
    const [one, two] = [openHttp2(t, address), openHttp2(t, address)];
    await askHttp2(one); // its settings are known from here on
    assert.equal(workload.sessions.size, 1);
    await Promise.all([one, two].flatMap(client => Array.from({ length: 10 }, () => askHttp2(client))));
    assert.equal(most, 20);
    assert.equal(workload.sessions.size, 4);
  });

  test('a workload that says goodbye gets no more streams; those that it has end well', async t => {
    let held: (() => void) | undefined;
    const workload = await serveHttp2(t, (stream, headers) => {
      stream.respond();
      if (headers[':path'] === '/held') held = () => stream.end('held');
      else stream.end('next');
    });
    const { address } = await startRouter(t, usersService(ready(workload)));
    const client = openHttp2(t, address);
    const first = askHttp2(client, { ':path': '/held' });
    await until(() => held, soon('the first stream'));
    const [session] = workload.sessions;
    // What it has not seen yet it refuses, and a client may try again.
    session!.goaway();
    session!.close();
    assert.equal((await until(() => askHttp2(client).catch(() => undefined), soon('another'))).body, 'next');
    held!();
    assert.equal((await first).body, 'held');
  });

  test('a workload that dies in the middle: the client cannot take it for the end', async t => {
    const workload = await serveHttp2(t, (stream, headers) => {
      if (headers[':path'] === '/begun') {
        stream.respond();
        stream.write('half');
      }
      void turns().then(() => stream.session?.destroy());
    });
    const { address } = await startRouter(t, usersService(ready(workload)));
    const client = openHttp2(t, address);
    assert.equal((await askHttp2(client, { ':path': '/begun' })).code, constants.NGHTTP2_INTERNAL_ERROR);
    assert.equal((await askHttp2(client, { ':path': '/not' })).status, 502);
  });

  test('an address that is not in the book any more loses its sessions, and what is in flight ends well', async t => {
    let held: (() => void) | undefined;
    const old = await serveHttp2(t, stream => {
      stream.respond();
      held = () => stream.end('old');
    });
    const { address, routes } = await startRouter(t, usersService(ready(old)));
    const client = openHttp2(t, address);
    const first = askHttp2(client);
    await until(() => held, soon('the first stream'));
    const next = await named(t, 'next');
    routes.swap({ destinations: { [DESTINATION]: usersService(ready(next)) } });
    assert.equal((await askHttp2(client)).body, 'next');
    held!();
    assert.equal((await first).body, 'old');
    await until(() => old.sessions.size === 0 || undefined, soon('the end of its session'));
  });

  test('of clients are told to go when the listener drains, and end with their last stream', async t => {
    let held: (() => void) | undefined;
    const workload = await serveHttp2(t, stream => {
      stream.respond();
      held = () => stream.end('done');
    });
    const { address, listeners } = await startRouter(t, usersService(ready(workload)));
    const client = openHttp2(t, address);
    const goaways: number[] = [];
    client.on('goaway', code => goaways.push(code));
    const last = askHttp2(client);
    await until(() => held, soon('the stream'));
    let drained = false;
    void listeners.drain().then(() => (drained = true));
    await until(() => goaways.length > 0 || undefined, soon('the goodbye'));
    assert.equal(drained, false);
    held!();
    assert.equal((await last).body, 'done');
    await until(() => drained || undefined, soon('the end of the drain'));
    assert.deepEqual(new Set(goaways), new Set([constants.NGHTTP2_NO_ERROR]));
  });
});

suite('abuse', () => {
  test('streams that are opened only to be reset end their connection, and nobody else notices', async t => {
    const { address } = await startRouter(t, usersService(ready(await named(t, 'baseline'))));
    const [good, bad] = [openHttp2(t, address), openHttp2(t, address)];
    await askHttp2(good);
    let over = false;
    bad.on('close', () => (over = true));
    for (let i = 0; i < 5_000 && !over && !bad.closed; i++) {
      const stream = bad.request({ ':method': 'POST' });
      stream.on('error', () => {}).close(constants.NGHTTP2_CANCEL);
      if (i % 100 === 0) await new Promise(resolve => setImmediate(resolve));
    }
    await until(() => over || undefined, soon('the end of that connection'));
    assert.equal((await askHttp2(good)).body, 'baseline');
  });

  test('headers beyond the limit are refused, and other connections go on', async t => {
    const { address } = await startRouter(t, usersService(ready(await named(t, 'baseline'))), {
      limits: { headerBytes: 16 * 1024 },
    });
    const client = openHttp2(t, address);
    for (const size of [20_000, 50_000])
      assert.equal((await askHttp2(client, { 'x-big': 'x'.repeat(size) })).status, 431);
    // Beyond what is decoded at all. Many small ones, or one that is larger than a frame.
    await assert.rejects(askHttp2(openHttp2(t, address), { 'x-big': 'x'.repeat(100_000) }));
    assert.equal((await askHttp2(client)).body, 'baseline');
  });

  test('a header block of 60 KB passes', async t => {
    const { address } = await startRouter(t, usersService(ready(await named(t, 'baseline'))));
    assert.equal((await askHttp2(openHttp2(t, address), { 'x-big': 'x'.repeat(60_000) })).body, 'baseline');
  });

  test('a client has its limit of streams at once, and the next ones wait', async t => {
    const held: (() => void)[] = [];
    let most = 0;
    const workload = await serveHttp2(t, stream => {
      held.push(() => {
        stream.respond();
        stream.end();
      });
      most = Math.max(most, held.length);
      // One more would come while three are held.
      if (held.length === 3) void turns().then(() => held.splice(0).forEach(go => void go()));
    });
    const { address } = await startRouter(t, usersService(ready(workload)), { limits: { streams: 3 } });
    const client = openHttp2(t, address);
    await once(client, 'remoteSettings');
    await Promise.all(Array.from({ length: 12 }, () => askHttp2(client)));
    assert.equal(most, 3);
  });

  test('a preface that never ends is answered when its time is over', async t => {
    const { address } = await startRouter(t, usersService(ready(await named(t, 'baseline'))), {
      limits: { headerMs: 50 },
    });
    const client = dial(t, address);
    client.socket.write('PRI * HT');
    await until(() => client.received().includes('408') || undefined, soon('an answer'));
  });
});
