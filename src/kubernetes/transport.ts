/**
 * Requests to one API server over HTTP/1.1: connections that are kept for calls, and one of its own for each watch, so that
 * none waits behind another. Every call has a deadline, every answer a longest length.
 *
 * Not `@kubernetes/client-node`: see docs/decisions/0027.
 */
import type { Agent, ClientRequest, IncomingMessage, RequestOptions } from 'node:http';
import type { AgentOptions } from 'node:https';
import type { ClusterAccess } from './access.ts';

export type Sent = {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
};

export type Answer = {
  readonly status: number;
  readonly retryAfter?: string;
  /** The server's clock when it answered (RFC 9110 §6.6.1), in whole seconds. */
  readonly date?: string;
  readonly body: Buffer;
};

export type Transport = {
  /** @throws TooLongError; the system's error, or `no answer within N ms`; the signal's reason */
  call(sent: Sent, limits: { deadlineMs: number; most: number; signal?: AbortSignal }): Promise<Answer>;
  /** The same up to the answer's headers; its body is the caller's to read and to end. */
  open(sent: Sent, limits: { deadlineMs: number; signal?: AbortSignal }): Promise<IncomingMessage>;
  close(): void;
};

export class TooLongError extends Error {}

/** More calls than these wait for each other. */
const connections = 32;
/** What has been idle for longer is closed by us, before a load balancer forgets it without a word. */
const idleMs = 45_000;

export function transportTo(access: ClusterAccess): Transport {
  const { protocol, hostname, port, pathname } = new URL(access.server);
  const secure = protocol === 'https:';
  // Like lib/http.ts: an `import` would load all of undici besides.
  const { Agent, request } = process.getBuiltinModule(secure ? 'node:https' : 'node:http');
  const base: AgentOptions = secure ? tlsOptions(access) : {};
  const kept = new Agent({
    ...base,
    keepAlive: true,
    maxSockets: connections,
    timeout: idleMs,
    scheduling: 'lifo',
  });
  const single = new Agent({ ...base, keepAlive: false });
  const root = pathname === '/' ? '' : pathname;

  /** Resolves with the answer's headers. */
  function send(
    sent: Sent,
    agent: Agent,
    deadlineMs: number | undefined,
    signal: AbortSignal | undefined,
  ): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const { method, path, headers, body } = sent;
      const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) };
      const options: RequestOptions = {
        ...{ host: hostname.replace(/^\[|\]$/g, ''), port: port === '' ? undefined : Number(port), agent },
        ...{ method, path: root + path, headers: { ...headers, ...length } },
      };
      const asked: ClientRequest = request(options);
      const tooLate = () => {
        asked.destroy(new Error(`no answer within ${deadlineMs} ms`));
        // Who is silent on one connection may be on the idle ones, too.
        for (const socket of Object.values(kept.freeSockets).flat()) socket?.destroy();
      };
      const late = deadlineMs === undefined ? undefined : setTimeout(tooLate, deadlineMs);
      const aborted = () => asked.destroy(signal!.reason);
      const over = () => {
        clearTimeout(late);
        signal?.removeEventListener('abort', aborted);
      };
      signal?.addEventListener('abort', aborted, { once: true });
      asked.on('error', error => {
        over();
        reject(error);
      });
      asked.once('response', answer => {
        answer.on('error', () => {}); // whoever reads it hears of that
        answer.once('close', over);
        resolve(answer);
      });
      asked.once('socket', socket => socket.setKeepAlive(true, 15_000));
      asked.end(body);
    });
  }

  return {
    async call(sent, { deadlineMs, most, signal }) {
      const answer = await send(sent, kept, deadlineMs, signal);
      const chunks: Buffer[] = [];
      let length = 0;
      for await (const chunk of answer as AsyncIterable<Buffer>) {
        length += chunk.length;
        if (length > most) {
          answer.destroy();
          throw new TooLongError();
        }
        chunks.push(chunk);
      }
      const { 'retry-after': retryAfter, date } = answer.headers;
      return {
        ...{ status: answer.statusCode!, body: Buffer.concat(chunks) },
        ...{ ...(retryAfter && { retryAfter }), ...(date && { date }) },
      };
    },
    async open(sent, { deadlineMs, signal }) {
      // The deadline is for the headers: what follows may take as long as it likes.
      const headers = new AbortController();
      const late = setTimeout(
        () => headers.abort(new Error(`no answer within ${deadlineMs} ms`)),
        deadlineMs,
      );
      try {
        const either = signal === undefined ? headers.signal : AbortSignal.any([signal, headers.signal]);
        return await send(sent, single, undefined, either);
      } finally {
        clearTimeout(late);
      }
    },
    close() {
      kept.destroy();
      single.destroy();
    },
  };
}

/** For requests of others to the same server, with what the kubeconfig says of TLS. */
export const agentTo = (access: ClusterAccess): Agent => {
  const secure = access.server.startsWith('https:');
  const { Agent } = process.getBuiltinModule(secure ? 'node:https' : 'node:http');
  return new Agent({ ...(secure && tlsOptions(access)), keepAlive: true });
};

// --- internal -----------------------------------------------------------------------------------

function tlsOptions({ authorities, certificate, serverName, insecure }: ClusterAccess): AgentOptions {
  return {
    ...(authorities !== undefined && { ca: authorities }),
    ...(certificate !== undefined && { cert: certificate.certificate, key: certificate.key }),
    ...(serverName !== undefined && { servername: serverName }),
    ...(insecure && { rejectUnauthorized: false }),
  };
}
