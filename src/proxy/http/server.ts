/** One strict server of HTTP/1.1 and HTTP/2 (prior knowledge, RFC 9113 §3.3): bounded headers and times, broken requests answered, an end that ends. */
import type { IncomingMessage, Server } from 'node:http';
import { type AddressInfo, Server as NetServer, type Socket } from 'node:net';
import { createServer, ServerResponse } from '../../lib/http.ts';
import { type Pending, type TlsFront, takeTls } from '../../lib/tls-front.ts';
import { OffshootError } from '../../model/errors.ts';
import type { Address } from '../../model/route.ts';
import { fdOf, listen } from '../listen.ts';
import { answerBroken } from './answer.ts';
import { createStreamServer, type StreamHandler, type StreamRequest } from './http2-server.ts';
import type { Limits } from './limits.ts';

/**
 * Answers one request. `head` is there for upgrade requests only: what the client has sent behind it. The
 * response of an upgrade request is an ordinary one, unless the handler detaches the socket from it.
 */
export type Handler = (request: IncomingMessage, response: ServerResponse, head?: Buffer) => void;

export type { StreamRequest };
export type Handlers = { readonly http1: Handler; readonly http2: StreamHandler };

/** Sees each connection before anything of it is read by us; it is ours from `serve` on. */
export type Intercept = (socket: Socket, serve: () => void) => void;

export type HttpServer = Address & {
  /** Of the listening socket, for who takes it over. */
  readonly fd: number;
  /** Clients, those in a tunnel included. */
  connections(): number;
  /** Serves a connection that has come to somebody else. */
  accept(client: Socket): void;
  /**
   * Stops listening and lets clients go with their next answer. An idle one is left alone: ending it could meet a
   * request on its way. Resolves when all have gone.
   */
  drain(): Promise<void>;
  /** Stops listening, ends idle connections now and the others when they are done, at the latest after `graceMs`. */
  close(graceMs: number): Promise<void>;
};

/**
 * @param where an address, or a socket that listens already
 * @param what who listens, for the error
 * @param front TLS at the same port; absent: clear text for everybody
 * @throws OffshootError host/port-taken, proxy/listen-failed
 */
export async function openServer(
  where: Address & { readonly fd?: number | undefined },
  {
    what,
    limits,
    handlers,
    intercept = (_, serve) => serve(),
    front,
  }: { what: string; limits: Limits; handlers: Handlers; intercept?: Intercept; front?: TlsFront },
): Promise<HttpServer> {
  const server: Server & { maxHeaderSize?: number } = createServer({
    keepAlive: true, // a client that is gone without a word is found out
    keepAliveInitialDelay: KEEP_ALIVE_MS,
    insecureHTTPParser: false,
    requireHostHeader: false, // strictness.ts asks for it, with a sentence
    maxHeaderSize: limits.headerBytes,
    headersTimeout: limits.headerMs,
    connectionsCheckingInterval: Math.min(limits.headerMs, 5_000),
    requestTimeout: 0, // uploads may take their time, as long as they move
    keepAliveTimeout: limits.keepAliveMs,
    shouldUpgradeCallback: isUpgrade,
  });
  server.maxHeadersCount = 0; // the bytes are limited; above a count, some versions of node drop headers in silence
  server.timeout = limits.clientIdleMs;

  let closing = false;
  let draining = false;
  /** Every connection with its newest response; those before it are done when it is. */
  const connections = new Map<Socket, ServerResponse | undefined>();
  /** Those that are not ours, or not yet. */
  const others = new Set<Socket>();
  const isBusy = (socket: Socket) =>
    others.has(socket) || (streams.isBusy(socket) ?? connections.get(socket)?.writableFinished === false);
  const streams = createStreamServer(limits, handlers.http2);

  // Node's own listener, which reads requests, has its turn when it is clear that there are any.
  const [readRequests] = server.listeners('connection') as ((this: NetServer, socket: Socket) => void)[];
  server.removeAllListeners('connection');
  server.on('connection', socket => {
    connections.set(socket, undefined);
    others.add(socket);
    socket.once('close', () => {
      connections.delete(socket);
      others.delete(socket);
    });
    intercept(socket, () => {
      if (!others.delete(socket)) return; // it is gone
      if (closing) return void socket.destroy();
      readVersion(socket, limits, version => {
        if (version === 'http2') return streams.accept(socket);
        server.maxHeaderSize = limits.headerBytes; // read by node for each connection; a setting may have changed it
        readRequests!.call(server, socket);
        socket.resume();
      });
    });
  });
  const handle: Handler = (request, response, head) => {
    const { socket } = request;
    connections.set(socket, response);
    if (draining) response.shouldKeepAlive = false;
    response.once('finish', () => {
      if (!request.complete) discardRest(request, limits.lingerMs);
    });
    response.once('close', () => {
      if (closing && !isBusy(socket)) socket.destroySoon();
    });
    handlers.http1(request, response, head);
  };
  server.on('request', handle);
  server.on('checkContinue', handle);
  server.on('upgrade', (request, stream, head) => {
    const socket = stream as Socket; // a net.Socket for every server that listens itself
    socket.on('error', () => {}); // node has taken its own listeners away; "close" follows
    const response = new ServerResponse(request);
    response.shouldKeepAlive = false;
    response.assignSocket(socket);
    response.once('finish', () => socket.destroySoon());
    socket.on('drain', () => response.emit('drain')); // node does this for requests that are not upgrades
    handle(request, response, head);
  });
  server.on('connect', (_request, stream) => {
    stream.on('error', () => {});
    answerBroken(stream, new OffshootError('proxy/bad-request', { why: 'CONNECT is not served here' }));
  });
  server.on('clientError', (error: NodeJS.ErrnoException, stream) => {
    const socket = stream as Socket;
    const response = connections.get(socket);
    // An error in a body can still be answered when that request is the first in line and has no answer yet.
    const room = !isBusy(socket) || (response?.socket === socket && !response.headersSent);
    if (error.code === 'ECONNRESET' || !socket.writable || !room) socket.destroy();
    else answerBroken(socket, brokenRequest(error, limits));
  });

  const pending: Pending | undefined = front && takeTls(server, front);
  await listen(server, where, what);
  server.on('error', () => {}); // e.g. EMFILE while accepting: that client is lost, the others are not
  const closed = new Promise<void>(resolve => {
    server.once('close', resolve);
  });

  return {
    host: where.host,
    port: (server.address() as AddressInfo).port,
    fd: fdOf(server),
    connections: () => connections.size + (pending?.size ?? 0),
    accept: client => void server.emit('connection', client),
    drain() {
      draining = true;
      streams.drain();
      // Not http's own close, which ends idle connections and stops looking after the times of the others.
      NetServer.prototype.close.call(server);
      return closed;
    },
    async close(graceMs) {
      closing = true;
      server.close();
      pending?.end();
      for (const socket of connections.keys()) if (!isBusy(socket)) socket.destroy();
      streams.drain(); // those that are busy
      const timer = setTimeout(() => {
        for (const socket of connections.keys()) socket.destroy();
      }, graceMs);
      await closed;
      clearTimeout(timer);
    },
  };
}

// --- internal ---

const KEEP_ALIVE_MS = 60_000;

/** With which a client of HTTP/2 begins (RFC 9113 §3.4). */
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

/** Reads as much as it takes to know the version, and leaves it to be read. A client that says nothing is answered. */
function readVersion(socket: Socket, limits: Limits, then: (version: 'http1' | 'http2') => void): void {
  let bytes: Buffer = Buffer.alloc(0);
  const ignore = () => {};
  const onData = (chunk: Buffer) => {
    bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk]);
    const length = Math.min(bytes.length, PREFACE.length);
    const isPreface = bytes.compare(PREFACE, 0, length, 0, length) === 0;
    if (isPreface && length < PREFACE.length) return;
    stop();
    socket.pause();
    socket.unshift(bytes);
    // A session reads what is there when it begins, which nothing else may be doing just then.
    if (isPreface) setImmediate(() => !socket.destroyed && then('http2'));
    else then('http1');
  };
  const timer = setTimeout(() => {
    stop();
    answerBroken(socket, new OffshootError('proxy/request-timeout', { limit: limits.headerMs }));
  }, limits.headerMs);
  const onEnd = () => {
    stop();
    socket.end();
  };
  const stop = () => {
    clearTimeout(timer);
    socket.off('data', onData).off('end', onEnd).off('close', stop).off('error', ignore);
  };
  socket.on('data', onData).on('end', onEnd).on('close', stop).on('error', ignore).resume();
}

/**
 * Upgrades that we pass on. A request with a body cannot become a tunnel before its end, and h2c (which
 * Java's client asks for with every request) would hide all further requests from routing: both are served
 * as if there was no Upgrade, as RFC 9110 §7.8 allows.
 */
function isUpgrade({ headers }: IncomingMessage): boolean {
  const hasBody = headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0';
  return !hasBody && !/(^|,)[ \t]*h2c[ \t]*(,|$)/i.test(headers.upgrade ?? '');
}

/** Closing at once would reset the connection and lose the answer on its way; so read on for a while. */
function discardRest(request: IncomingMessage, lingerMs: number): void {
  const timer = setTimeout(() => request.socket.destroy(), lingerMs);
  request.once('close', () => clearTimeout(timer));
  request.resume();
}

function brokenRequest(error: NodeJS.ErrnoException & { reason?: string }, limits: Limits): OffshootError {
  if (error.code === 'HPE_HEADER_OVERFLOW')
    return new OffshootError('proxy/headers-too-large', { limit: limits.headerBytes });
  if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT')
    return new OffshootError('proxy/request-timeout', { limit: limits.headerMs });
  return new OffshootError('proxy/bad-request', { why: error.reason ?? 'it cannot be parsed' });
}
