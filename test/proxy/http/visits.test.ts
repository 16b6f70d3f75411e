import assert from 'node:assert/strict';
import { suite, type TestContext, test } from 'node:test';
import { silentLog } from '../../../src/lib/log.ts';
import { OffshootError } from '../../../src/model/errors.ts';
import { defaultLimits } from '../../../src/proxy/http/limits.ts';
import { hashOf } from '../../../src/proxy/http/preview-key.ts';
import { createPreviews } from '../../../src/proxy/http/previews.ts';
import { openServer } from '../../../src/proxy/http/server.ts';
import type { Enter } from '../../../src/proxy/http/visits.ts';
import {
  type Ask,
  ask,
  DESTINATION,
  ready,
  readyFork,
  serveHttp,
  testRoutes,
  usersService,
} from '../../support/http.ts';
import { askHttp2, openHttp2, serveHttp2 } from '../../support/http2.ts';

const at = (label: string) => `${label}.preview.localhost:7480`;
const WEB = at('web--fix-42');
const API = at('api--fix-42');
const OTHER = at('web--other');
const KEY = 'ofs_good';
const form = (key: string, to = '/cart?a=1') => new URLSearchParams({ key, to }).toString();

/** Gateways of previews whose visits are noted at once, and links of which each works once. */
async function startPreviews(
  t: TestContext,
  o: { enter?: Enter; answer?: Record<string, string>; http2?: true } = {},
) {
  const seen: { url: string; headers: Record<string, unknown> }[] = [];
  const address = await serveHttp(t, (request, response) => {
    seen.push({ url: request.url!, headers: request.headers });
    response.writeHead(200, { 'set-cookie': ['app=1', 'offshoot-preview=evil; Path=/'], ...o.answer });
    response.end(request.url);
  });
  const preview = (endpoint: string, sandbox: string) => ({
    ...{ sandbox, endpoint, routingKey: sandbox, destination: DESTINATION, protocol: 'http' as const },
  });
  const { book } = testRoutes({
    destinations: {
      [DESTINATION]: usersService(ready(), {
        'fix-42': readyFork('fix-42', address),
        other: readyFork('other', address),
      }),
    },
    previews: {
      'web--fix-42': preview('web', 'fix-42'),
      'api--fix-42': preview('api', 'fix-42'),
      'web--other': preview('web', 'other'),
    },
    apiKeys: [KEY],
  });
  const links = new Set<string>();
  const enter: Enter =
    o.enter ??
    (async ({ preview, token, by }) => {
      if ('link' in by && !links.delete(by.link)) throw new OffshootError('preview/link-used', {});
      const key = 'key' in by ? by.key : hashOf(KEY);
      book.apply([{ kind: 'visit', name: token, value: { preview, key } }]);
    });
  const previews = createPreviews({ book, log: silentLog, enter, now: () => 0 });
  const server = await openServer(
    { host: '127.0.0.1', port: 0 },
    { what: 'previews', limits: defaultLimits, handlers: previews.handlers },
  );
  t.after(async () => {
    await server.close(0);
    await previews.close();
  });
  const get = (host: string, headers: Record<string, string> = {}, more: Ask = {}) =>
    ask(server, { ...more, headers: { host, ...headers } });
  const send = (host: string, body: string, headers: Record<string, string> = {}) =>
    get(
      host,
      { origin: `http://${host}`, 'content-type': 'application/x-www-form-urlencoded', ...headers },
      { method: 'POST', path: '/.offshoot/key', body },
    );
  /** The cookie of one who typed the key. */
  const comeIn = async (host: string) => {
    const { status, headers } = await send(host, form(KEY));
    assert.equal(status, 303);
    return headers['set-cookie']![0]!.split(';')[0]!;
  };
  return { server, book, links, seen, get, send, comeIn, counters: previews.counters };
}

suite('a person types the key', () => {
  test('the page asks for it, and leads to where the person wanted to go', async t => {
    const { get, send, seen } = await startPreviews(t);
    const page = await get(WEB, { accept: 'text/html' }, { path: '/cart?a="1"' });
    assert.equal(page.status, 401);
    assert.match(page.headers['content-type']!, /^text\/html/);
    assert.match(page.body, /<form method="post" action="\/.offshoot\/key">/);
    assert.match(page.body, /name="to" value="\/cart\?a=&#34;1&#34;"/);
    assert.match(
      String(page.headers['content-security-policy']),
      /default-src 'none'.*frame-ancestors 'none'/,
    );
    const done = await send(WEB, form(KEY));
    assert.equal(done.status, 303);
    assert.equal(done.headers.location, '/cart?a=1');
    const [cookie = ''] = done.headers['set-cookie']!;
    assert.match(cookie, /^offshoot-preview=[A-Za-z0-9]{43}; Path=\/; Max-Age=\d+; HttpOnly; SameSite=Lax$/);
    assert.doesNotMatch(cookie, new RegExp(KEY));
    assert.deepEqual(seen, []);
  });

  test('the cookie opens that preview, is taken off, and opens no other', async t => {
    const { get, comeIn, seen } = await startPreviews(t);
    const cookie = await comeIn(WEB);
    const answer = await get(WEB, { cookie: `a=1; ${cookie}; b=2` }, { path: '/cart' });
    assert.deepEqual([answer.status, answer.body], [200, '/cart']);
    assert.equal(seen[0]!.headers.cookie, 'a=1; b=2');
    // The workload cannot set it either.
    assert.deepEqual(answer.headers['set-cookie'], ['app=1']);
    for (const host of [API, OTHER]) assert.equal((await get(host, { cookie })).status, 401, host);
    assert.equal((await get(WEB, { cookie: `${cookie}x` })).status, 401);
    // One that was put beside it by somebody else is not in its way.
    assert.equal((await get(WEB, { cookie: `offshoot-preview=evil; ${cookie}` })).status, 200);
    assert.equal(seen.at(-1)!.headers.cookie, undefined);
  });

  test('it dies with its key, at once', async t => {
    const { get, comeIn, book } = await startPreviews(t);
    const cookie = await comeIn(WEB);
    book.apply([{ kind: 'key', name: hashOf(KEY) }]);
    const { status, body } = await get(WEB, { cookie });
    assert.deepEqual([status, JSON.parse(body).code], [401, 'preview/unauthorized']);
  });

  test('it dies with its time, where it has one', async t => {
    const { get, book } = await startPreviews(t);
    const visit = { preview: 'web--fix-42', key: hashOf(KEY) };
    const visits = {
      late: { ...visit, until: Date.now() - 1 },
      early: { ...visit, until: Date.now() + 1e9 },
    };
    for (const [token, value] of Object.entries(visits))
      book.apply([{ kind: 'visit', name: hashOf(token), value }]);
    assert.equal((await get(WEB, { cookie: 'offshoot-preview=late' })).status, 401);
    assert.equal((await get(WEB, { cookie: 'offshoot-preview=early' })).status, 200);
  });

  test('a wrong key gets the page again, and not for ever', async t => {
    const { send, seen } = await startPreviews(t);
    for (let i = 0; i < 10; i++) {
      const { status, body } = await send(WEB, form('ofs_wrong'));
      assert.equal(status, 401);
      assert.match(body, /The key that was sent is not valid.*name="to" value="\/cart\?a=1"/s);
      assert.doesNotMatch(body, /ofs_wrong/);
    }
    const { status, body } = await send(WEB, form(KEY));
    assert.deepEqual([status, JSON.parse(body).code], [429, 'preview/too-many-tries']);
    assert.deepEqual(seen, []);
  });

  test("nobody else's page can send the form, and it is short", async t => {
    const { send, get } = await startPreviews(t);
    const others: Record<string, string>[] = [
      { origin: 'http://evil.example' },
      { origin: `http://${API}` },
      { origin: 'null' },
      { origin: `https://${WEB}` },
    ];
    for (const headers of others) {
      const { status, body } = await send(WEB, form(KEY), headers);
      assert.deepEqual([status, JSON.parse(body).code], [403, 'preview/foreign-form'], headers.origin!);
    }
    const silent = await get(WEB, {}, { method: 'POST', path: '/.offshoot/key', body: form(KEY) });
    assert.equal(silent.status, 403);
    // Some policies for referrers make browsers say no origin.
    assert.equal(
      (await send(WEB, form(KEY), { origin: 'null', 'sec-fetch-site': 'same-origin' })).status,
      303,
    );
    assert.equal((await send(WEB, 'x'.repeat(10_000))).status, 400);
  });

  test('it leads nowhere else', async t => {
    const { send } = await startPreviews(t);
    for (const to of [
      '//evil.example',
      '/\\evil.example',
      'http://evil.example',
      '/a\r\nb: c',
      '/.offshoot/open',
    ])
      assert.equal((await send(WEB, form(KEY, to))).headers.location, '/', to);
  });

  test('without the control plane nobody new comes in, and who is in stays', async t => {
    const { send, get, book } = await startPreviews(t, {
      enter: () => Promise.reject(new OffshootError('preview/no-entry', {})),
    });
    book.apply([{ kind: 'visit', name: hashOf('in'), value: { preview: 'web--fix-42', key: hashOf(KEY) } }]);
    const { status, body } = await send(WEB, form(KEY));
    assert.deepEqual([status, JSON.parse(body).code], [503, 'preview/no-entry']);
    assert.equal((await get(WEB, { cookie: 'offshoot-preview=in' })).status, 200);
  });
});

suite('a link', () => {
  const path = '/.offshoot/open?token=once&to=%2Fcart';

  test('turns into the cookie, once, at an address without it', async t => {
    const { get, links, seen } = await startPreviews(t);
    links.add(hashOf('once'));
    // Programs that only look before they show a link to somebody do not use it up.
    assert.equal((await get(WEB, {}, { method: 'HEAD', path })).status, 404);
    const { status, headers } = await get(WEB, {}, { path });
    assert.equal(status, 303);
    assert.equal(headers.location, '/cart');
    assert.equal(headers['referrer-policy'], 'no-referrer');
    const cookie = headers['set-cookie']![0]!.split(';')[0]!;
    assert.equal((await get(WEB, { cookie }, { path: '/cart' })).status, 200);
    const again = await get(WEB, {}, { path });
    assert.equal(again.status, 401);
    assert.match(again.body, /This link was used already, or is too old/);
    // Whoever is in only goes on.
    const loaded = await get(WEB, { cookie }, { path });
    assert.deepEqual([loaded.status, loaded.headers.location], [303, '/cart']);
    assert.deepEqual(
      seen.map(({ url }) => url),
      ['/cart'],
    );
  });

  test('paths of ours reach no workload', async t => {
    const { get, seen, counters } = await startPreviews(t);
    for (const path of ['/.offshoot/', '/.offshoot/key', '/.offshoot/x?y'])
      assert.equal((await get(WEB, { 'offshoot-api-key': KEY }, { path })).status, 404, path);
    assert.deepEqual(seen, []);
    assert.equal(counters.own, 3);
  });
});

suite('a page of one preview that asks another', () => {
  const asks = {
    'access-control-request-method': 'PUT',
    'access-control-request-headers': 'content-type,x-a',
  };

  test('of the same sandbox: the preflight is answered, and reaches nobody', async t => {
    const { get, seen } = await startPreviews(t);
    const { status, headers } = await get(API, { origin: `http://${WEB}`, ...asks }, { method: 'OPTIONS' });
    assert.equal(status, 204);
    assert.deepEqual(
      [
        headers['access-control-allow-origin'],
        headers['access-control-allow-credentials'],
        headers['access-control-allow-methods'],
        headers['access-control-allow-headers'],
        headers['content-length'],
      ],
      [`http://${WEB}`, 'true', 'PUT', 'content-type,x-a', undefined],
    );
    assert.deepEqual(seen, []);
  });

  test('of elsewhere: only with a key of its own', async t => {
    const { get } = await startPreviews(t);
    for (const origin of [`http://${OTHER}`, `https://${WEB}`, 'http://localhost:3000', 'null']) {
      const refused = await get(API, { origin, ...asks }, { method: 'OPTIONS' });
      assert.equal(refused.status, 401, origin);
      const brings = { ...asks, 'access-control-request-headers': 'content-type, signadot-api-key' };
      const { status, headers } = await get(API, { origin, ...brings }, { method: 'OPTIONS' });
      assert.deepEqual(
        [status, headers['access-control-allow-origin'], headers['access-control-allow-credentials']],
        [204, origin, undefined],
      );
    }
  });

  test('that brings a key: the workload answers the preflight', async t => {
    const { get, seen } = await startPreviews(t);
    const headers = { origin: 'http://localhost:3000', ...asks, 'offshoot-api-key': KEY };
    assert.equal((await get(API, headers, { method: 'OPTIONS' })).status, 200);
    assert.equal(seen.length, 1);
  });

  test('the cookie of a preview counts for pages of its sandbox only', async t => {
    const { get, comeIn, seen } = await startPreviews(t);
    const cookie = await comeIn(API);
    for (const origin of [`http://${API}`, `http://${WEB}`])
      assert.equal((await get(API, { cookie, origin })).status, 200, origin);
    for (const origin of [`http://${OTHER}`, 'http://evil.example', 'null']) {
      const { status, body } = await get(API, { cookie, origin });
      assert.equal(status, 401, origin);
      assert.match(JSON.parse(body).error, /a cookie is none for a page from elsewhere/);
    }
    assert.equal(seen.length, 2);
    // What a page takes in, a picture say, comes without an origin; a link that somebody follows is his own doing.
    const picture = { cookie, 'sec-fetch-site': 'same-site', 'sec-fetch-mode': 'no-cors' };
    assert.equal((await get(API, { ...picture, referer: `http://${WEB}/page` })).status, 200);
    for (const referer of [`http://${OTHER}/`, undefined])
      assert.equal((await get(API, { ...picture, ...(referer && { referer }) })).status, 401);
    assert.equal((await get(API, { ...picture, 'sec-fetch-mode': 'navigate' })).status, 200);
  });

  for (const [allowed, expected] of [
    ['*', [`http://${WEB}`, 'true']],
    [`http://${WEB}`, [`http://${WEB}`, 'true']],
    ['https://shop.example', ['https://shop.example', undefined]],
  ] as const)
    test(`what a workload allows to ${allowed} may be read with our cookie`, async t => {
      const { get, comeIn } = await startPreviews(t, { answer: { 'access-control-allow-origin': allowed } });
      const cookie = await comeIn(API);
      const { headers } = await get(API, { cookie, origin: `http://${WEB}` });
      assert.deepEqual(
        [headers['access-control-allow-origin'], headers['access-control-allow-credentials']],
        expected,
      );
    });
});

test('HTTP/2: the cookie opens and is taken off, preflights are answered', async t => {
  const { server, book } = await startPreviews(t);
  const echo = await serveHttp2(t, (stream, headers) => {
    stream.respond({ ':status': 200, 'access-control-allow-origin': '*', 'set-cookie': ['a=1', 'b=2'] });
    stream.end(JSON.stringify(headers.cookie ?? null));
  });
  const fork = `${DESTINATION}/fix-42`;
  const target = { ready: true, ports: { 80: [echo] } } as const;
  book.apply([
    { kind: 'visit', name: hashOf('in'), value: { preview: 'api--fix-42', key: hashOf(KEY) } },
    { kind: 'fork', name: fork, value: { sandbox: 'fix-42', target } },
  ]);
  const session = await openHttp2(t, server);
  const ours = { ':authority': API, origin: `http://${WEB}` };
  const answer = await askHttp2(session, { ...ours, cookie: 'offshoot-preview=in; mine=1' });
  assert.deepEqual([answer.headers[':status'], answer.body], [200, '"mine=1"']);
  assert.equal(answer.headers['access-control-allow-origin'], `http://${WEB}`);
  assert.deepEqual(answer.headers['set-cookie'], ['a=1', 'b=2']);
  const asked = await askHttp2(session, {
    ...ours,
    ':method': 'OPTIONS',
    'access-control-request-method': 'PUT',
  });
  assert.equal(asked.headers[':status'], 204);
});

test('HTTP/2: the page asks for the key, which opens the preview; others get JSON', async t => {
  const { server, seen } = await startPreviews(t);
  const session = await openHttp2(t, server);
  const web = { ':authority': WEB };
  const page = await askHttp2(session, { ...web, ':path': '/cart?a=1', accept: 'text/html' });
  assert.equal(page.status, 401);
  assert.match(String(page.headers['content-type']), /^text\/html/);
  assert.match(page.body, /name="to" value="\/cart\?a=1"/);
  const plain = await askHttp2(session, { ...web, ':path': '/cart' });
  assert.deepEqual([plain.status, JSON.parse(plain.body).code], [401, 'preview/unauthorized']);
  const send = (body: string, more: object = {}) =>
    askHttp2(
      session,
      { ...web, ':method': 'POST', ':path': '/.offshoot/key', origin: `http://${WEB}`, ...more },
      body,
    );
  assert.equal((await send(form('ofs_wrong'))).status, 401);
  assert.equal((await send('x'.repeat(100_000))).status, 400);
  assert.equal((await send(form(KEY), { origin: 'http://elsewhere.example' })).status, 403);
  const { status, headers } = await send(form(KEY));
  assert.deepEqual([status, headers.location], [303, '/cart?a=1']);
  assert.match(headers['set-cookie']![0]!, /^offshoot-preview=[A-Za-z0-9]{43}; Path=\/; .*HttpOnly/);
  const lost = await askHttp2(session, { ...web, ':path': '/.offshoot/none', accept: 'text/html' });
  assert.equal(lost.status, 404);
  assert.deepEqual(seen, []);
});
