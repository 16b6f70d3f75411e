/** Peers of HTTP/2 for tests of the data path: workloads and clients on loopback. */
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  createServer,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
  type ServerOptions,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import type { TestContext } from 'node:test';
import type { Address } from '../../src/model/route.ts';

export type Http2Workload = Address & { readonly sessions: ReadonlySet<ServerHttp2Session> };

/** A workload that speaks HTTP/2 with prior knowledge, until the end of the test. */
export async function serveHttp2(
  t: TestContext,
  onStream: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, rawHeaders: string[]) => void,
  options: ServerOptions = {},
): Promise<Http2Workload> {
  const server = createServer(options);
  const sessions = new Set<ServerHttp2Session>();
  server.on('session', session => {
    sessions.add(session);
    session.on('close', () => sessions.delete(session)).on('error', () => {});
  });
  server.on('stream', (stream, headers, _flags, rawHeaders) => {
    stream.on('error', () => {});
    onStream(stream, headers, rawHeaders);
  });
  t.after(() => {
    for (const session of sessions) session.destroy();
    server.close();
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  return { host: '127.0.0.1', port: (server.address() as AddressInfo).port, sessions };
}

/** One connection of a client, until the end of the test. */
export function openHttp2(t: TestContext, { host, port }: Address): ClientHttp2Session {
  const session = connect(`http://${host}:${port}`);
  session.on('error', () => {});
  t.after(() => session.destroy());
  return session;
}

export type Http2Reply = {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly trailers: IncomingHttpHeaders;
  readonly body: string;
  /** With which the stream was closed. */
  readonly code: number;
};

/** All that comes back on a stream. Rejects when it is reset before its answer has begun. */
export async function replyOf(stream: ClientHttp2Stream): Promise<Http2Reply> {
  let trailers: IncomingHttpHeaders = {};
  stream.on('trailers', received => {
    trailers = received;
  });
  const headers = await new Promise<IncomingHttpHeaders>((resolve, reject) => {
    stream.once('response', resolve);
    stream.once('error', reject);
    stream.once('close', () => reject(new Error(`closed with code ${stream.rstCode}`)));
  });
  const body = await text(stream).catch(() => '');
  if (!stream.closed) await new Promise(resolve => stream.once('close', resolve));
  return { status: Number(headers[':status']), headers, trailers, body, code: stream.rstCode };
}

/** One exchange on a session. */
export function askHttp2(
  session: ClientHttp2Session,
  headers: OutgoingHttpHeaders = {},
  body?: string | Buffer,
): Promise<Http2Reply> {
  const stream = session.request(headers, { endStream: body === undefined });
  stream.on('error', () => {});
  if (body !== undefined) stream.end(body);
  return replyOf(stream);
}
