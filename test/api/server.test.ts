/** The door itself: who comes in, under which name, and what happens to requests that no route takes. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { Agent, request } from 'undici';
import { startApi } from '../../src/api/server.ts';
import { loadCertificate } from '../../src/lib/certificate.ts';
import { silentLog } from '../../src/lib/log.ts';
import { OffshootError } from '../../src/model/errors.ts';
import { testApi } from '../support/api.ts';
import { authority, writeServer } from '../support/certificates.ts';
import { tempDir } from '../support/temp.ts';

test('a request needs a key that is known', async () => {
  await using api = await testApi();
  const { key } = await api.client.keys.create('laptop');
  const status = async (headers: Record<string, string>) =>
    (await api.request('GET', '/api/v1/status', { headers })).status;
  assert.equal(await status({ 'signadot-api-key': key }), 200);
  assert.equal(await status({ 'offshoot-api-key': key }), 200);
  assert.equal(await status({ authorization: `Bearer ${key}` }), 200);
  assert.equal(await status({ authorization: `bearer ${key}` }), 200);

  assert.equal(await status({ authorization: `Basic ${key}` }), 401);
  assert.equal(await status({ 'signadot-api-key': '' }), 401);
  assert.equal(await status({ 'signadot-api-key': `${key}x` }), 401);
  assert.equal(await status({ 'signadot-api-key': key.slice('ofs_'.length) }), 401);
  assert.equal(await status({ 'signadot-api-key': `ofs_${'x'.repeat(5_000)}` }), 401);
  assert.equal(await status({ cookie: `signadot-api-key=${key}` }), 401);

  const none = await api.request('GET', '/api/v1/status', { headers: {} });
  assert.equal(none.status, 401);
  assert.deepEqual(none.json(), {
    code: 'api/unauthorized',
    error: 'the API needs a valid API key: none was sent',
    hint: 'send it in the header "signadot-api-key" or set OFFSHOOT_API_KEY; "offshoot key create NAME" makes one',
  });
  const wrong = await api.request('GET', '/api/v1/status', { headers: { 'offshoot-api-key': 'ofs_guess' } });
  assert.match(wrong.body, /this one is not known/);

  await api.client.keys.revoke('laptop');
  assert.equal(await status({ 'signadot-api-key': key }), 401);
});

test('without a key nobody learns what exists', async () => {
  await using api = await testApi();
  for (const path of ['/api/v1/sandboxes', '/api/v1/nothing-here', '/', '/api/v1/watch', '/healthz?x']) {
    assert.equal((await api.request('GET', path, { headers: {} })).status, 401, path);
  }
  const health = await api.request('GET', '/healthz', { headers: {} });
  assert.deepEqual([health.status, health.json()], [200, { ok: true }]);
});

test('only addresses and localhost are served: the name of another page is refused (DNS rebinding)', async () => {
  await using api = await testApi();
  const status = async (host: string) =>
    (await api.request('GET', '/healthz', { headers: { host, 'offshoot-api-key': api.apiKey } })).status;
  for (const host of ['localhost', 'localhost:7400', 'LOCALHOST', '127.0.0.1', '127.9.9.9:1', '[::1]:7400']) {
    assert.equal(await status(host), 200, host);
  }
  for (const host of [
    'evil.example',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    'evil.example:7400',
  ]) {
    assert.equal(await status(host), 403, host);
  }
  const refused = await api.request('GET', '/api/v1/status', {
    headers: { host: 'evil.example', 'offshoot-api-key': api.apiKey },
  });
  assert.deepEqual(refused.json(), {
    code: 'api/host-refused',
    error: 'requests for host "evil.example" are refused',
    hint: 'use the address that "offshoot status" prints',
  });
});

test('paths and methods that do not exist', async () => {
  await using api = await testApi();
  for (const [method, path] of [
    ['GET', '/api/v1/nothing'],
    ['GET', '/api/v2/sandboxes'],
    ['PATCH', '/api/v1/keys'],
    ['HEAD', '/api/v1/watch'],
    ['HEAD', '/api/v1/status'],
  ] as const) {
    const answer = await api.request(method, path);
    assert.equal(answer.status, 404, `${method} ${path}`);
    if (method === 'HEAD') continue;
    assert.deepEqual(answer.json(), {
      code: 'api/not-found',
      error: `path "${path}" does not exist`,
      hint: 'the paths begin with /api/v1/',
    });
  }
});

test('what the router cannot read is answered in the shape of all errors', async () => {
  await using api = await testApi();
  const malformed = await api.request('GET', '/api/v1/sandboxes/%zz');
  assert.equal(malformed.status, 400);
  assert.equal((malformed.json() as { code: string }).code, 'api/bad-request');
  const long = await api.request('GET', `/api/v1/sandboxes/${'a'.repeat(2_000)}`);
  assert.equal(long.status, 400);
  assert.equal((long.json() as { code: string }).code, 'api/bad-request');
  const longish = await api.request('GET', `/api/v1/sandboxes/${'a'.repeat(200)}`);
  assert.equal(longish.status, 404);
  assert.match(longish.body, /sandbox \\"a{200}\\" does not exist/);
});

test('bodies that are no JSON, too large, or of the wrong shape', async () => {
  await using api = await testApi();
  const post = async (body: string, type = 'application/json') => {
    const answer = await fetch(`${api.url}/api/v1/keys`, {
      method: 'POST',
      headers: { 'offshoot-api-key': api.apiKey, 'content-type': type },
      body,
    });
    const { code, error } = (await answer.json()) as { code: string; error: string };
    assert.deepEqual([answer.status, code], [400, 'api/bad-request'], body.slice(0, 50));
    return error;
  };
  assert.match(await post('{"name":'), /not valid JSON/);
  assert.match(await post(''), /Body cannot be empty/);
  assert.match(await post('name=a', 'application/x-www-form-urlencoded'), /Unsupported Media Type/);
  assert.match(await post('[]'), /expected object/);
  assert.match(await post('null'), /name: .*expected string/);
  assert.match(await post('{"name":1}'), /name: .*expected string/);
  assert.match(await post('{"name":"a","more":1}'), /more/);
  assert.match(await post('{"name":"a","__proto__":{"x":1}}'), /not valid JSON/);
  assert.match(await post(JSON.stringify({ name: 'x'.repeat(5 * 1024 * 1024) })), /too large/);
  assert.deepEqual(await api.client.keys.list(), []);
});

test('a body of unknown length ends at the limit, and its connection goes on', async () => {
  await using api = await testApi();
  const agent = new Agent({ connections: 1 });
  const headers = { 'offshoot-api-key': api.apiKey, 'content-type': 'application/json' };
  const parts = function* () {
    for (let sent = 0; sent < 6; sent++) yield Buffer.alloc(1024 * 1024, ' ');
  };
  const long = await request(`${api.url}/api/v1/keys`, {
    ...{ method: 'POST', headers, dispatcher: agent },
    body: Readable.from(parts()),
  });
  assert.equal(long.statusCode, 400);
  assert.match(await long.body.text(), /too large/);
  const next = await request(`${api.url}/api/v1/keys`, { headers, dispatcher: agent });
  assert.deepEqual([next.statusCode, await next.body.json()], [200, []]);
  await agent.close();
});

test('a body comes whole in pieces, whether its length is announced or not', async () => {
  await using api = await testApi();
  const headers = { 'offshoot-api-key': api.apiKey, 'content-type': 'application/json' };
  for (const [i, announced] of [true, false].entries()) {
    const name = `p${i}-${'x'.repeat(20)}`;
    const text = Buffer.from(`${JSON.stringify({ name })}${' '.repeat(100_000)}`);
    const pieces = [text.subarray(0, 3), text.subarray(3, 20), text.subarray(20)];
    const made = await request(`${api.url}/api/v1/projects`, {
      method: 'POST',
      headers: { ...headers, ...(announced && { 'content-length': String(text.length) }) },
      body: Readable.from(pieces),
    });
    assert.equal(made.statusCode, 201, await made.body.text());
    assert.notEqual(api.store.get('project', name), undefined);
  }
});

test('a taken port', async () => {
  await using api = await testApi();
  const port = Number(new URL(api.url).port);
  await assert.rejects(
    startApi({ store: api.store } as never, { host: '127.0.0.1', port, log: silentLog }),
    (error: unknown) =>
      error instanceof OffshootError &&
      error.code === 'host/port-taken' &&
      error.message === `cannot listen on 127.0.0.1:${port} for the API: the port is taken`,
  );
});

test('what fails inside is told as such, and its cause stays inside', async () => {
  await using api = await testApi();
  api.store.list = () => {
    throw new Error('disk image is malformed');
  };
  const answer = await api.request('GET', '/api/v1/workloads/routing-rules');
  assert.equal(answer.status, 500);
  assert.equal((answer.json() as { code: string }).code, 'internal');
  assert.doesNotMatch(answer.body, /malformed/);
});

test('closing ends open connections', async () => {
  const api = await testApi();
  const socket = connect(Number(new URL(api.url).port), '127.0.0.1');
  socket.on('error', () => {});
  socket.write(`GET /api/v1/watch HTTP/1.1\r\nhost: localhost\r\noffshoot-api-key: ${api.apiKey}\r\n\r\n`);
  await new Promise(resolve => socket.once('data', resolve));
  const closed = new Promise(resolve => socket.once('close', resolve));
  await api[Symbol.asyncDispose]();
  await closed;
});

test('clear text is refused to those who may not speak it, and other names than ours to all', async () => {
  await using dir = await tempDir();
  const certificate = loadCertificate(writeServer(dir.path, ['dev.example.com', '127.0.0.1']), Date.now());
  await using api = await testApi({ certificate, clear: () => false, names: ['Dev.example.com'] });
  const answer = await fetch(`${api.url}/healthz`);
  assert.deepEqual([answer.status, ((await answer.json()) as { code: string }).code], [400, 'host/tls-only']);
  const agent = new Agent({ connect: { rejectUnauthorized: false } }); // it is about hosts
  const statusFor = async (host: string) =>
    (await request(`${api.url.replace('http', 'https')}/healthz`, { dispatcher: agent, headers: { host } }))
      .statusCode;
  assert.equal(await statusFor('dev.example.com:1'), 200);
  assert.equal(await statusFor('evil.example.com'), 403);
  await agent.destroy();
});

test('the authority is told to who asks, unless there is none', async () => {
  await using api = await testApi({ authority: authority.certificate });
  assert.deepEqual(await api.client.authority(), { certificate: authority.certificate });
  await using other = await testApi();
  await assert.rejects(other.client.authority(), { code: 'api/no-authority' });
});
