/** The gRPC probe against servers of HTTP/2, of other protocols, and none. */
import assert from 'node:assert/strict';
import { createServer as createHttpServer } from 'node:http';
import { createServer as createHttp2Server, type ServerHttp2Stream } from 'node:http2';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { describe, it, type TestContext } from 'node:test';
import { checkGrpcHealth } from '../../../src/drivers/workload/grpc-health.ts';
import { dial } from '../../../src/lib/dial.ts';

async function listen(t: TestContext, server: Server): Promise<number> {
  t.after(() => void server.close());
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

const check = (port: number, service = '', timeoutMs = 5_000) =>
  checkGrpcHealth(
    {
      ...{ host: '127.0.0.1', port, service, timeoutMs },
      connect: signal => dial({ host: '127.0.0.1', port }, signal),
    },
    AbortSignal.timeout(60_000),
  );

type Answer = { readonly body?: Buffer; readonly code?: string; readonly status?: number };

/** An HTTP/2 server with one answer; `asked` are the bodies that it got. */
async function serveGrpc(t: TestContext, answer: Answer | ((stream: ServerHttp2Stream) => void)) {
  const asked: { head: Record<string, unknown>; body: Buffer }[] = [];
  const server = createHttp2Server();
  const sessions = new Set<{ destroy(): void }>();
  server.on('session', session => sessions.add(session));
  t.after(() => {
    for (const session of sessions) session.destroy();
  });
  server.on('stream', (stream, head) => {
    stream.on('error', () => {});
    if (typeof answer === 'function') return answer(stream);
    void buffer(stream).then(body => {
      asked.push({ head, body });
      const { status = 200, code = '0' } = answer;
      if (answer.body === undefined)
        return stream.respond({ ':status': status, 'grpc-status': code }, { endStream: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': code }));
      stream.respond({ ':status': status, 'content-type': 'application/grpc' }, { waitForTrailers: true });
      stream.end(answer.body);
    });
  });
  return { port: await listen(t, server as unknown as Server), asked };
}

const message = (...bytes: number[]) => Buffer.from([0, 0, 0, 0, bytes.length, ...bytes]);

describe('a gRPC probe', () => {
  const answers: Readonly<Record<string, readonly [Answer, string | undefined]>> = {
    serving: [{ body: message(8, 1) }, undefined],
    'not serving': [{ body: message(8, 2) }, 'health check answered NOT_SERVING'],
    'unknown, which is not written': [{ body: message() }, 'health check answered UNKNOWN'],
    'a service that is not known': [{ code: '5' }, 'health check: the service is not known'],
    'no health service': [{ code: '12' }, 'health check: the server has no health service'],
    'another failure': [{ body: message(8, 1), code: '13' }, 'health check: status 13'],
    'no status at all': [{ status: 404, body: Buffer.from('no') }, 'health check answered 404'],
    'an answer without end': [{ body: Buffer.alloc(100_000) }, 'health check: the answer is too long'],
  };
  for (const [name, [answer, wrong]] of Object.entries(answers))
    it(`${name}: ${wrong ?? 'well'}`, async t => {
      const { port } = await serveGrpc(t, answer);
      assert.equal(await check(port), wrong);
    });

  it('asks as the protocol has it, and names the service', async t => {
    const { port, asked } = await serveGrpc(t, { body: message(8, 1) });
    await check(port);
    const long = 'x'.repeat(200);
    await check(port, long);
    const [whole, one] = asked;
    assert.deepEqual(
      [whole!.head[':method'], whole!.head[':path'], whole!.head['content-type'], whole!.head.te],
      ['POST', '/grpc.health.v1.Health/Check', 'application/grpc', 'trailers'],
    );
    assert.deepEqual(whole!.body, message());
    const length = Buffer.from([0, 0, 0, 0, 203, 0x0a, 0xc8, 0x01]);
    assert.deepEqual(one!.body, Buffer.concat([length, Buffer.from(long)]));
  });

  it('gives up in time, on a call and on a connection', async t => {
    const { port } = await serveGrpc(t, () => {});
    assert.equal(await check(port, '', 100), 'health check: no answer within 100 ms');
    const silent = await listen(t, createServer(socket => void socket.on('error', () => {})).unref());
    assert.equal(await check(silent, '', 100), 'health check: no answer within 100 ms');
  });

  it('fails where nobody listens, or where the connection ends before an answer', async t => {
    const gone = createServer();
    const port = await listen(t, gone);
    await new Promise(resolve => gone.close(resolve));
    assert.equal(await check(port), 'health check: ECONNREFUSED');
    const closing = await listen(
      t,
      createServer(socket => socket.on('error', () => {}).resetAndDestroy()),
    );
    assert.match((await check(closing))!, /^health check: /);
    const breaking = await serveGrpc(t, stream => stream.session!.destroy());
    assert.match((await check(breaking.port))!, /^health check: /);
  });

  it('takes a server that speaks something else as well: there is nothing to ask it', async t => {
    const http = createHttpServer((_request, response) => response.end());
    t.after(() => http.closeAllConnections());
    assert.equal(await check(await listen(t, http)), undefined);
    const other = createServer(socket => {
      socket.on('error', () => {});
      socket.on('data', () => socket.end('-ERR unknown command\r\n'));
    });
    assert.equal(await check(await listen(t, other)), undefined);
  });
});
