/** TLS at the gateway, by hand-made clients: how it begins, what it is refused for, and what goes through it. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import { type TestContext, test } from 'node:test';
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls';
import { type Certificate, loadCertificate } from '../../../src/lib/certificate.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { until } from '../../../src/lib/wait.ts';
import { OffshootError } from '../../../src/model/errors.ts';
import { createBook } from '../../../src/proxy/book.ts';
import { createGateway, type GatewayLimits } from '../../../src/proxy/postgres/gateway.ts';
import { authority, writeServer } from '../../support/certificates.ts';
import { fakePostgres } from '../../support/fake-postgres.ts';
import * as frames from '../../support/pg-frames.ts';
import { dial } from '../../support/raw-client.ts';
import { tempDir } from '../../support/temp.ts';

const BRANCH = 'abcd1234';
const hello = frames.startupMessage({ user: `app.${BRANCH}`, database: 'shop' });

type Options = Partial<GatewayLimits> & { readonly clear?: boolean; readonly without?: true };

async function gatewayWithTls(
  t: TestContext,
  socket: string,
  { clear = true, without, ...limits }: Options = {},
) {
  await using dir = await tempDir();
  let certificate: Certificate | undefined;
  const renew = () => {
    certificate = loadCertificate(writeServer(dir.path, ['*.example.com', '127.0.0.1']), Date.now());
  };
  if (!without) renew();
  const book = createBook([
    { kind: 'branch', name: BRANCH, value: { endpoint: { socket }, sessions: 1 } },
    {
      ...{ kind: 'setting', name: 'proxy' },
      value: { domain: 'example.com', headers: [], keepRevoked: false, drainMs: 1_000 },
    },
  ]);
  const awake = () => Promise.reject(new Error('nobody is asked'));
  const gateway = createGateway({ book, awake, log: silentLog, limits, certificate: () => certificate });
  const server = await gateway.open({ host: '127.0.0.1', port: 0 }, { clear: () => clear });
  t.after(async () => {
    await server.close(0);
    gateway.close();
  });
  return { server, gateway, serial: () => certificate!.leaf.serialNumber };
}

type Secure = {
  readonly socket: TLSSocket;
  received(): Buffer;
  until(type: string): Promise<void>;
  closed(): Promise<Buffer>;
};

/** TLS, trusting the test's authority; `first` is sent in clear text before, and its answer is taken off. */
async function secure(
  t: TestContext,
  { port }: { readonly port: number },
  { first, ...options }: ConnectionOptions & { readonly first?: readonly Buffer[] } = {},
): Promise<Secure> {
  const raw = connectTcp(port, '127.0.0.1');
  t.after(() => raw.destroy());
  await once(raw, 'connect');
  for (const [i, request] of (first ?? []).entries()) {
    raw.write(request);
    const [answer] = await once(raw, 'data');
    assert.equal(String(answer), i === first!.length - 1 ? 'S' : 'N');
  }
  raw.removeAllListeners('data');
  const socket = connectTls({ socket: raw, ca: authority.certificate, ...options });
  socket.on('error', () => {});
  const chunks: Buffer[] = [];
  socket.on('data', chunk => chunks.push(chunk));
  await new Promise<unknown>(done => socket.once('secureConnect', done).once('close', done));
  const received = () => Buffer.concat(chunks);
  const soon = (what: string, probe: () => boolean) =>
    until(() => probe() || undefined, { what, deadlineMs: 60_000 });
  return {
    ...{ socket, received },
    until: async type =>
      void (await soon(`message ${type}`, () => frames.readFrames(received()).some(f => f.type === type))),
    async closed() {
      await soon('the other side closes', () => socket.closed || socket.readableEnded);
      return received();
    },
  };
}

const request = { first: [frames.sslRequest()], host: '127.0.0.1' };
const direct = { host: '127.0.0.1', ALPNProtocols: ['postgresql'] };

test('a session goes through TLS that was asked for, or that begins at once', async t => {
  await using server = await fakePostgres();
  const { server: where, gateway } = await gatewayWithTls(t, server.socket);
  for (const how of [
    request,
    { ...request, first: [frames.gssRequest(), frames.sslRequest()] },
    { ...request, ALPNProtocols: ['postgresql'] },
    direct,
  ]) {
    const client = await secure(t, where, how);
    assert.ok(client.socket.authorized);
    client.socket.write(hello);
    await client.until('Z');
    client.socket.write('some bytes');
    await until(() => client.received().includes('some bytes') || undefined, {
      what: 'echo',
      deadlineMs: 60_000,
    });
    client.socket.end();
    await client.closed();
  }
  await until(() => (gateway.size() === 0 && server.clients.size === 0) || undefined, {
    ...{ what: 'all is closed', deadlineMs: 60_000 },
  });
  assert.equal(server.startups.length, 4);
});

test('the host that a client has gone to names its branch', async t => {
  await using server = await fakePostgres();
  const { server: where } = await gatewayWithTls(t, server.socket);
  const servername = `${BRANCH}.example.com`;
  const client = await secure(t, where, { ...direct, servername });
  client.socket.write(frames.startupMessage({ user: 'app', database: 'shop' }));
  await client.until('Z');
  assert.deepEqual(server.startups[0]!.params, [
    ['user', 'app'],
    ['database', 'shop'],
  ]);
  const other = await secure(t, where, { ...direct, servername });
  other.socket.write(frames.startupMessage({ user: 'app.zzzz9999' }));
  assert.equal(frames.errorFields(frames.readFrames(await other.closed())[0]!).C, '28000');
});

test('TLS without a request has to say that it is for PostgreSQL', async t => {
  const { server: where } = await gatewayWithTls(t, '/nowhere');
  const silent = await secure(t, where, { host: '127.0.0.1' });
  const [error] = frames.readFrames(await silent.closed());
  assert.deepEqual([error!.type, frames.errorFields(error!).C], ['E', '08P01']);
  for (const first of [undefined, [frames.sslRequest()]]) {
    const other = await secure(t, where, {
      ...(first && { first }),
      host: '127.0.0.1',
      ALPNProtocols: ['http/1.1'],
    });
    assert.equal((await other.closed()).length, 0);
    assert.equal(other.socket.authorized, false);
  }
});

test('bytes behind a request are refused, not taken for encrypted ones', async t => {
  await using server = await fakePostgres();
  const { server: where } = await gatewayWithTls(t, server.socket);
  for (const stowaway of [hello, Buffer.from([0x16, 3, 1, 0, 5])]) {
    await using client = await dial(where);
    client.send(Buffer.concat([frames.sslRequest(), stowaway]));
    assert.equal((await client.refusal()).C, '08P01');
  }
  assert.equal(server.startups.length, 0);
});

test('encryption is not asked for twice, nor inside of itself', async t => {
  const { server: where } = await gatewayWithTls(t, '/nowhere');
  for (const again of [frames.sslRequest(), frames.gssRequest(), Buffer.from([0x16, 3, 1, 0, 5])]) {
    const client = await secure(t, where, request);
    client.socket.write(again);
    const all = await client.closed();
    if (again[0] === 0x16) assert.equal(all.length, 0);
    else assert.equal(frames.errorFields(frames.readFrames(all)[0]!).C, '08P01');
  }
});

test('clear text is refused where only TLS is served, a cancel request too', async t => {
  await using server = await fakePostgres();
  const { server: where } = await gatewayWithTls(t, server.socket, { clear: false });
  await using clear = await dial(where);
  clear.send(hello);
  const { C, M, H } = await clear.refusal();
  const { row, message } = new OffshootError('gateway/tls-required');
  assert.deepEqual([C, M], [row.sqlstate, message]);
  assert.match(H!, /sslmode=require/);
  const client = await secure(t, where, request);
  client.socket.write(hello);
  await client.until('Z');
  await using cancel = await dial(where);
  cancel.send(frames.cancelRequest(1, Buffer.from('abcd')));
  await cancel.closed();
  assert.equal(server.cancels.length, 0);
  const secured = await secure(t, where, request);
  secured.socket.write(frames.cancelRequest(1, Buffer.from('abcd')));
  await secured.closed();
  assert.equal(server.cancels.length, 1, 'through TLS it arrives');
});

test('without a certificate TLS is declined, and the session goes on without', async t => {
  await using server = await fakePostgres();
  const { server: where } = await gatewayWithTls(t, server.socket, { without: true });
  await using client = await dial(where);
  client.send(frames.sslRequest());
  assert.equal((await client.bytes(1)).toString(), 'N');
  client.send(hello);
  await until(() => client.received().includes(frames.readyForQuery()) || undefined, {
    ...{ what: 'the login', deadlineMs: 60_000 },
  });
});

test('a handshake that stands still is given up in time', async t => {
  const { server: where, gateway } = await gatewayWithTls(t, '/nowhere', { startupMs: 60 });
  await using asked = await dial(where);
  asked.send(frames.sslRequest());
  await asked.bytes(1);
  await using begun = await dial(where);
  begun.send(Buffer.from([0x16, 3, 1, 2, 0, 1]));
  await Promise.all([asked.closed(), begun.closed()]);
  await until(() => gateway.size() === 0 || undefined, { what: 'both are forgotten', deadlineMs: 60_000 });
});

test('a session that TLS breaks off is over on both sides', async t => {
  await using server = await fakePostgres();
  const { server: where, gateway } = await gatewayWithTls(t, server.socket);
  const client = await secure(t, where, request);
  client.socket.write(hello);
  await client.until('Z');
  client.socket.destroy();
  await until(() => (gateway.size() === 0 && server.clients.size === 0) || undefined, {
    ...{ what: 'all is closed', deadlineMs: 60_000 },
  });
});
