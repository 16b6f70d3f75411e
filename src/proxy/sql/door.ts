/**
 * SQL over HTTP and WebSocket, for programs that have no sockets: `POST /sql` runs statements and ends, `/v2` is a
 * session. Both are clients of the gateway, so branches are named, woken and guarded as for all others. What they say
 * is what the driver of Neon says (https://github.com/neondatabase/serverless), which works with them as it is.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Log } from '../../lib/log.ts';
import { OffshootError } from '../../model/errors.ts';
import { type Reply, replyOf, replyToFailure } from './answer.ts';
import { readSqlRequest } from './request.ts';
import { runSql, type SqlLimits } from './run.ts';
import { serveWebSocket } from './web-socket.ts';

export type SqlDoorLimits = SqlLimits & {
  /** Bytes of a request. */
  readonly requestBytes: number;
  /** Bytes of all requests together: they are held before anybody has logged in. */
  readonly heldBytes: number;
  /** Milliseconds until a request has come. */
  readonly requestMs: number;
  /** Requests that are answered at once. */
  readonly atOnce: number;
};

export type SqlDoor = {
  /** Whether a request is for us, by its path alone. */
  readonly serves: (path: string) => boolean;
  /** As a server's handler. */
  readonly answer: (request: IncomingMessage, response: ServerResponse, head?: Buffer) => void;
};

/** @param join gives an end of a new connection to the gateway, whose client has the address `peer` */
export function createSqlDoor(o: {
  readonly join: (peer: string) => Socket;
  readonly log: Log;
  readonly limits?: Partial<SqlDoorLimits>;
}): SqlDoor {
  const limits = { ...DEFAULT_LIMITS, ...o.limits };
  let running = 0;
  let held = 0;

  const run = async (request: IncomingMessage, signal: AbortSignal): Promise<Reply> => {
    if (running >= limits.atOnce) throw new OffshootError('sql/too-many', { max: limits.atOnce });
    running++;
    let own = 0;
    const take = (bytes: number) => {
      own += bytes;
      held += bytes;
      if (own > limits.requestBytes)
        throw new OffshootError('sql/request-too-large', { max: limits.requestBytes });
      if (held > limits.heldBytes) throw new OffshootError('sql/too-much', { max: limits.heldBytes });
    };
    try {
      const asked = readSqlRequest(request.headers, await readBody(request, limits.requestMs, take, signal));
      const peer = request.socket.remoteAddress ?? '';
      return replyOf(await runSql(asked, () => o.join(peer), limits, signal), asked.begin !== undefined);
    } finally {
      running--;
      held -= own;
    }
  };

  const answerSql = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const left = new AbortController();
    response.once('close', () => left.abort(new Error('the client left')));
    const { status, body } = await run(request, left.signal).catch((error: unknown) => {
      const reply = replyToFailure(error);
      if (reply.status >= 500 && !left.signal.aborted) o.log.warn({ err: error }, 'a request for SQL failed');
      return reply;
    });
    if (left.signal.aborted) return;
    if (!request.complete) response.shouldKeepAlive = false;
    response.writeHead(status, {
      ...ANY_ORIGIN,
      'Content-Type': 'application/json; charset=utf-8',
      'Cache-Control': 'no-store',
    });
    response.end(body);
  };

  return {
    serves: path => pathOf(path) === SQL || pathOf(path) === SESSION,
    answer(request, response, head) {
      const path = pathOf(request.url ?? '');
      if (path === SESSION && head !== undefined && isWebSocket(request))
        return serveWebSocket(request, response, head, { join: o.join, log: o.log, loginMs: limits.loginMs });
      if (path === SESSION)
        return refuse(
          response,
          426,
          { Upgrade: 'websocket' },
          'this is for WebSockets; statements go to /sql',
        );
      if (request.method === 'OPTIONS') return void response.writeHead(204, preflight(request)).end();
      if (request.method !== 'POST')
        return refuse(response, 405, { Allow: 'POST, OPTIONS' }, 'statements come by POST');
      void answerSql(request, response);
    },
  };
}

// --- internal ------------------------------------------------------------------------------------

const [SQL, SESSION] = ['/sql', '/v2'];
const pathOf = (target: string): string => target.replace(/^https?:\/\/[^/]*/i, '').split('?', 1)[0]!;

const DEFAULT_LIMITS: SqlDoorLimits = {
  ...{ requestBytes: 16 << 20, heldBytes: 64 << 20, requestMs: 60_000, answerBytes: 10 << 20, atOnce: 100 },
  ...{ statementMs: 60_000, loginMs: 60_000 },
};

/** Pages of any origin may ask: who has no password gets nothing, and a browser adds none of its own. */
const ANY_ORIGIN = { 'Access-Control-Allow-Origin': '*' };

const preflight = ({ headers }: IncomingMessage): Record<string, string> => ({
  ...ANY_ORIGIN,
  'Access-Control-Allow-Methods': 'POST',
  'Access-Control-Allow-Headers': headers['access-control-request-headers'] ?? 'content-type',
  'Access-Control-Max-Age': '86400',
  // From a public page to this machine: https://wicg.github.io/private-network-access/
  ...(headers['access-control-request-private-network'] === 'true' && {
    'Access-Control-Allow-Private-Network': 'true',
  }),
});

const isWebSocket = ({ method, headers }: IncomingMessage): boolean =>
  method === 'GET' && headers.upgrade?.toLowerCase() === 'websocket';

function refuse(
  response: ServerResponse,
  status: number,
  headers: Record<string, string>,
  message: string,
): void {
  response.writeHead(status, {
    ...ANY_ORIGIN,
    ...headers,
    'Content-Type': 'application/json; charset=utf-8',
  });
  response.end(`${JSON.stringify({ message })}\n`);
}

/** @param take hears of bytes that have come, and throws when they are too many */
async function readBody(
  request: IncomingMessage,
  requestMs: number,
  take: (bytes: number) => void,
  signal: AbortSignal,
): Promise<Buffer> {
  const chunks: Buffer[] = [];
  const late = AbortSignal.timeout(requestMs);
  const stop = () => void request.destroy();
  late.addEventListener('abort', stop);
  try {
    for await (const chunk of request) {
      take(chunk.length);
      chunks.push(chunk);
    }
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    late.removeEventListener('abort', stop);
  }
  return Buffer.concat(chunks);
}
