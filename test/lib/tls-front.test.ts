/** One port for clear text and TLS, in front of a real HTTP server. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import { TLSSocket } from 'node:tls';
import { Agent, fetch } from 'undici';
import { loadCertificate } from '../../src/lib/certificate.ts';
import { isLoopback, isOnThisMachine } from '../../src/lib/peer.ts';
import { takeTls } from '../../src/lib/tls-front.ts';
import { cut } from '../../src/lib/tls-socket.ts';
import { until } from '../../src/lib/wait.ts';
import { tlsOnly } from '../../src/model/tls-refusal.ts';
import { authority, writeServer } from '../support/certificates.ts';
import { dial } from '../support/raw-client.ts';
import { tempDir } from '../support/temp.ts';

async function front(t: TestContext, { clear = true, tls = true, deadlineMs = 5_000 } = {}) {
  await using dir = await tempDir();
  const { context } = loadCertificate(writeServer(dir.path), Date.now());
  const server = createServer((request, response) => {
    if (request.url === '/cut') {
      response.write('half');
      return setImmediate(() => cut(request.socket));
    }
    response.end(request.socket instanceof TLSSocket ? 'by TLS' : 'in clear text');
  });
  const pending = takeTls(server, {
    context: () => (tls ? context : undefined),
    clear: () => clear,
    refusal: tlsOnly,
    deadlineMs,
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const agent = new Agent({ connect: { ca: authority.certificate } });
  t.after(async () => {
    await agent.destroy();
    server.closeAllConnections();
    pending.end();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const get = (scheme: string, path = '/') =>
    fetch(`${scheme}://127.0.0.1:${port}${path}`, { dispatcher: agent }).then(r => r.text());
  return { port, get, pending };
}

test('both are served at one port, and connections are kept', async t => {
  const { get } = await front(t);
  for (const _ of [1, 2]) {
    assert.equal(await get('http'), 'in clear text');
    assert.equal(await get('https'), 'by TLS');
  }
});

test('clear text that is not allowed is told so, and nothing of it is served', async t => {
  const { get, port } = await front(t, { clear: false });
  const answer = JSON.parse(await get('http')) as { code: string; hint: string };
  assert.deepEqual([answer.code, answer.hint], ['host/tls-only', 'use a URL that begins with https://']);
  assert.equal(await get('https'), 'by TLS');
  await using client = await dial({ host: '127.0.0.1', port });
  client.send(Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(1_000)));
  assert.equal((await client.closed()).toString(), tlsOnly);
});

test('TLS without a certificate, and handshakes that are none, are closed', async t => {
  const { port } = await front(t, { tls: false });
  const nonsense = Buffer.from('\x16GET / HTTP/1.1\r\n\r\n');
  await using client = await dial({ host: '127.0.0.1', port });
  client.send(nonsense);
  assert.equal((await client.closed()).length, 0);
  const { port: other, pending } = await front(t);
  await using second = await dial({ host: '127.0.0.1', port: other });
  second.send(nonsense);
  await second.closed();
  await until(() => pending.size === 0 || undefined, { what: 'it is forgotten', deadlineMs: 60_000 });
});

test('who says nothing, or goes again, is forgotten', async t => {
  const { port, pending } = await front(t, { deadlineMs: 50 });
  await using silent = await dial({ host: '127.0.0.1', port });
  await silent.closed();
  const gone = connect(port, '127.0.0.1');
  gone.on('error', () => {});
  gone.end();
  await until(() => pending.size === 0 || undefined, { what: 'all are forgotten', deadlineMs: 60_000 });
});

test('a connection that is cut is seen to be, also through TLS', async t => {
  const { get } = await front(t);
  for (const scheme of ['http', 'https']) await assert.rejects(get(scheme, '/cut'), TypeError);
});

test('who is on this machine', () => {
  const isLocal = (remoteAddress: string | undefined, localAddress = '10.0.0.1') =>
    isOnThisMachine({ remoteAddress, localAddress });
  for (const address of ['127.0.0.1', '127.8.8.8', '::1', '::ffff:127.0.0.1', '10.0.0.1'])
    assert.ok(isLocal(address));
  for (const address of ['10.0.0.2', '128.0.0.1', '::ffff:10.0.0.2', undefined]) assert.ok(!isLocal(address));
  assert.ok(isLoopback('LocalHost') && isLoopback('x.localhost'));
  assert.ok(!isLoopback('localhost.example.com') && !isLoopback('127.0.0.1.example.com'));
});
