/** Sessions of HTTP/2 on connections that somebody else has accepted. */
import type { IncomingHttpHeaders, ServerHttp2Session, ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import { http2 } from '../../lib/http2.ts';
import { type Client, clientOf } from './forwarded.ts';
import type { Limits } from './limits.ts';

/** What a client opens: one request, many of which share a connection. */
export type StreamRequest = {
  readonly stream: ServerHttp2Stream;
  /** Flat, pseudo headers among them. */
  readonly rawHeaders: readonly string[];
  /** Names of headers that must not be kept in a table of compression. */
  readonly sensitive: readonly string[];
  /** There is no body. */
  readonly endStream: boolean;
  readonly client: Client;
};

/** Answers one stream. */
export type StreamHandler = (request: StreamRequest) => void;

export type StreamServer = {
  /** Begins a session; what was read of the connection is unshifted. */
  accept(socket: Socket): void;
  /** Whether a session has streams that are not done; undefined when the connection has no session. */
  isBusy(socket: Socket): boolean | undefined;
  /** Tells all clients, and those to come, to open no more streams; their connections end with the last ones. */
  drain(): void;
};

/**
 * Node bounds what a client may do besides: resets in a row, settings and pings without an answer, invalid frames.
 * Against streams that are opened only to be reset (CVE-2023-44487) nghttp2 counts.
 */
export function createStreamServer(limits: Limits, handler: StreamHandler): StreamServer {
  const sessions = new Map<Socket, Open>();
  const opened = new WeakMap<object, Open>();
  let draining = false;
  /** There once somebody has spoken HTTP/2. */
  let server: ReturnType<typeof begin> | undefined;

  function begin() {
    const { constants, createServer, sensitiveHeaders } = http2();
    const server = createServer({
      settings: {
        // Node resets a stream with more than that; what is only a little too large can be answered.
        maxHeaderListSize: 4 * limits.headerBytes,
        ...{ maxConcurrentStreams: limits.streams, enablePush: false },
        initialWindowSize: limits.streamWindowBytes,
      },
      maxSessionMemory: limits.sessionMegabytes,
      maxHeaderListPairs: MAX_HEADERS,
    });
    server.on('sessionError', () => {}); // its end is told by "close"
    server.on(
      'stream',
      (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, flags: number, rawHeaders: string[]) => {
        const open = opened.get(stream.session!);
        stream.on('error', () => {}); // "close" follows
        if (open === undefined) return stream.close(constants.NGHTTP2_REFUSED_STREAM);
        open.streams++;
        stream.once('close', () => {
          open.streams--;
        });
        handler({
          ...{ stream, rawHeaders, client: open.client },
          sensitive: ((headers as never)[sensitiveHeaders] as string[] | undefined) ?? [],
          endStream: (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0,
        });
      },
    );
    return server;
  }

  return {
    accept(socket) {
      server ??= begin();
      server.once('session', session => {
        const open: Open = { session, client: clientOf(socket), streams: 0 };
        sessions.set(socket, open);
        opened.set(session, open);
        session.once('close', () => sessions.delete(socket));
        session.setLocalWindowSize(limits.sessionWindowBytes);
        session.setTimeout(limits.clientIdleMs, () => {
          if (open.streams === 0) session.close();
        });
        if (draining) letGo(session);
      });
      server.emit('connection', socket);
    },
    isBusy(socket) {
      const open = sessions.get(socket);
      return open && open.streams > 0;
    },
    drain() {
      draining = true;
      for (const { session } of sessions.values()) letGo(session);
    },
  };
}

// --- internal ---

type Open = {
  readonly session: ServerHttp2Session;
  readonly client: Client;
  streams: number;
};

/** Their size is limited. */
const MAX_HEADERS = 2_000;

/** Any: RFC 9113 §6.8 wants a first word that refuses nothing, for what is on its way already. */
const EVERY_STREAM = 2 ** 31 - 1;

/** Says first that the session ends, and a round trip later, which streams were its last. */
function letGo(session: ServerHttp2Session): void {
  if (session.closed || session.destroyed) return;
  session.goaway(http2().constants.NGHTTP2_NO_ERROR, EVERY_STREAM);
  const close = () => {
    if (!session.destroyed) session.close();
  };
  if (!session.ping(close)) close();
}
