/**
 * What the router and the preview gateway have in common: passes over one request, in order and in one turn of the
 * event loop, so that they all see the same state of the route book, until it is clear who answers; then the
 * exchange itself; and the count of how it went.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';
import type { Dial } from '../../lib/dial.ts';
import { http2 } from '../../lib/http2.ts';
import type { Log } from '../../lib/log.ts';
import { cut as cutConnection } from '../../lib/tls-socket.ts';
import { OffshootError, toOffshootError } from '../../model/errors.ts';
import { type Address, addressKey } from '../../model/route.ts';
import type { Book, Destination } from '../book.ts';
import { answerError, answerOwn, type OwnAnswer } from './answer.ts';
import { chooseTarget } from './choose-target.ts';
import { forward } from './forward.ts';
import { forwardAsterisk } from './forward-asterisk.ts';
import { type Client, clientOf } from './forwarded.ts';
import { endToEnd } from './headers.ts';
import { answerStream, answerStreamError } from './http2-answer.ts';
import { forwardStream } from './http2-forward.ts';
import { regularHeaders, streamTargetOf } from './http2-headers.ts';
import type { Limits } from './limits.ts';
import type { Handlers, StreamRequest } from './server.ts';
import { ambiguity } from './strictness.ts';
import { targetOf, withHost } from './target.ts';
import { upstreamError } from './upstream-error.ts';
import { createUpstreams } from './upstreams.ts';

/** One request on its way, of whichever version. Passes fill in what is not readonly. */
export type Exchange = {
  /** Headers as they came: the routing keys are in there, whatever a client says of them. */
  readonly received: readonly string[];
  readonly client: Client;
  /** Breaks it off, so that nobody takes it for complete. */
  readonly cut: () => void;
  /** What the client asks for, and of whom. */
  method: string;
  path: string;
  host: string;
  /** What the workload will get. */
  headers: readonly string[];
  destination: Destination | undefined;
  routingKeys: readonly string[];
  /** What the client gets in place of a workload's answer. @param body of the request; it need not be read */
  answer: ((body: Readable) => Promise<OwnAnswer>) | undefined;
  /** What of a workload's headers the client gets; absent: all. */
  adapt: ((answer: readonly string[]) => readonly string[]) | undefined;
  /** Called when the exchange, or the tunnel that it became, is over. */
  onEnd: (() => void) | undefined;
};

/** @throws OffshootError to answer the request with it */
export type Pass = (exchange: Exchange) => void;

/** How requests ended, since the start. */
export type Counters = {
  /** Requests and tunnels that have not ended. */
  inFlight: number;
  /** Answered by a baseline, whatever the answer. */
  baseline: number;
  /** Answered by a fork. */
  fork: number;
  /** Answered by ourselves, without an error: preflights, and the ways in for people. */
  own: number;
  /** Refused because of the client: broken, unknown, not authorised. */
  refused: number;
  /** 503: known, but nobody there to answer. */
  notReady: number;
  /** The workload failed, or we did. */
  failed: number;
  /** The client went away before the end. */
  aborted: number;
};

export type DataPath = {
  readonly counters: Readonly<Counters>;
  /** Finds the destination by `passes`: the same ones for every version. */
  serve(passes: readonly Pass[]): Handlers;
  /** Ends all connections to workloads; to be called when there are no clients any more. */
  close(): Promise<void>;
};

export function createDataPath(o: { book: Book; limits: Limits; log: Log; dial?: Dial }): DataPath {
  const { book, limits, log } = o;
  const upstreams = createUpstreams(limits, o.dial);
  upstreams.follow([...book.all()]);
  const unsubscribe = book.onChange(upstreams.follow);
  const counters = {
    inFlight: 0,
    baseline: 0,
    fork: 0,
    own: 0,
    refused: 0,
    notReady: 0,
    failed: 0,
    aborted: 0,
  };
  let turn = 0;

  /** The rule, once for every version. */
  function route(passes: readonly Pass[], exchange: Exchange): Routed | NonNullable<Exchange['answer']> {
    for (const pass of passes) {
      pass(exchange);
      if (exchange.answer !== undefined) return exchange.answer;
    }
    const destination = exchange.destination!;
    const target = chooseTarget(destination, exchange.routingKeys, book.tombstone);
    const address = target.addresses[turn++ % target.addresses.length]!;
    const owner = target.sandbox === undefined ? '' : ` of sandbox "${target.sandbox}"`;
    return {
      address,
      by: target.sandbox === undefined ? 'baseline' : 'fork',
      label: `${destination.label}${owner} at ${addressKey(address)}`,
    };
  }

  async function exchangeOnce(
    passes: readonly Pass[],
    exchange: Exchange,
    { request, response, head }: Http1,
  ): Promise<keyof Counters> {
    exchangeTarget(request, exchange);
    if (!upstreams.isLoaded()) {
      await upstreams.load();
      if (response.destroyed) return 'aborted';
    }
    const routed = route(passes, exchange);
    if (typeof routed === 'function') {
      answerOwn(request, response, await routed(request));
      return 'own';
    }
    const { address, by, label } = routed;
    const { headers, path, adapt } = exchange;
    try {
      const answered = await (path === '*'
        ? forwardAsterisk(request, response, headers, address, limits)
        : forward({
            ...{ request, response, path, head, headers, adapt },
            upstream: upstreams.to(address),
            idleMs: limits.idleMs,
          }));
      return answered ? by : 'aborted';
    } catch (thrown) {
      throw upstreamError(thrown, label, limits);
    }
  }

  async function exchangeStream(
    passes: readonly Pass[],
    exchange: Exchange,
    request: StreamRequest,
  ): Promise<keyof Counters> {
    const { endStream } = readStreamTarget(request, exchange, limits.headerBytes);
    const routed = route(passes, exchange);
    if (typeof routed === 'function') {
      answerStream(request.stream, await routed(request.stream));
      return 'own';
    }
    const { address, by, label } = routed;
    try {
      const answered = await forwardStream(
        request.stream,
        { ...exchange, endStream, sensitive: request.sensitive },
        upstreams.sessionsTo(address),
      );
      return answered ? by : 'aborted';
    } catch (thrown) {
      throw upstreamError(thrown, label, limits);
    }
  }

  /** @param client gone: whatever it was waiting for failed because of that. @param answer not begun yet */
  function answerFailure(
    thrown: unknown,
    client: { readonly gone: boolean; readonly answered: boolean; cut(): void },
    answer: (error: OffshootError) => void,
  ): keyof Counters {
    if (client.gone) return 'aborted';
    const error = toOffshootError(thrown);
    const notReady = error.row.http === 503;
    if (error.row.fault === 'system' && !notReady)
      // Of the cause only the stack: undici's parser error also holds what the workload sent.
      log.warn(
        { code: error.code, error: error.message, cause: (error.cause as Error | undefined)?.stack },
        'request failed',
      );
    // The middle of a response has no room for an error: only a reset cannot be taken for its end.
    if (client.answered) client.cut();
    else answer(error);
    if (notReady) return 'notReady';
    return error.row.fault === 'system' ? 'failed' : 'refused';
  }

  async function count(exchange: Exchange, ended: Promise<keyof Counters>): Promise<void> {
    counters.inFlight++;
    // Of a fault of ours only this exchange may die, not the process with all others.
    const how = await ended.catch((error: unknown) => {
      log.error({ err: error }, 'a request could not be answered');
      exchange.cut();
      return 'failed' as const;
    });
    exchange.onEnd?.();
    counters.inFlight--;
    counters[how]++;
  }

  return {
    counters,
    serve: passes => ({
      http1(request, response, head) {
        const { socket, rawHeaders } = request;
        const cut = () => void cutConnection(socket);
        const exchange = newExchange(rawHeaders, rawHeaders, clientOf(socket), cut);
        const failed = (thrown: unknown) =>
          answerFailure(thrown, { gone: socket.destroyed, answered: response.headersSent, cut }, error =>
            answerError(request, response, error),
          );
        void count(exchange, exchangeOnce(passes, exchange, { request, response, head }).catch(failed));
      },
      http2(request) {
        const { stream, rawHeaders, client } = request;
        const cut = () => stream.close(http2().constants.NGHTTP2_INTERNAL_ERROR);
        const exchange = newExchange(rawHeaders, regularHeaders(rawHeaders), client, cut);
        const failed = (thrown: unknown) =>
          answerFailure(
            thrown,
            { gone: stream.destroyed || stream.closed, answered: stream.headersSent, cut },
            error => answerStreamError(stream, rawHeaders, error),
          );
        void count(exchange, exchangeStream(passes, exchange, request).catch(failed));
      },
    }),
    async close() {
      unsubscribe();
      await upstreams.destroy();
    },
  };
}

// --- internal ---

type Routed = {
  readonly address: Address;
  readonly by: 'baseline' | 'fork';
  /** For errors: who it is, and where. */
  readonly label: string;
};

type Http1 = {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly head: Buffer | undefined;
};

const newExchange = (
  received: readonly string[],
  headers: readonly string[],
  client: Client,
  cut: () => void,
): Exchange => ({
  ...{ received, headers, client, cut, method: '', path: '', host: '' },
  ...{ destination: undefined, routingKeys: [], answer: undefined, adapt: undefined, onEnd: undefined },
});

/** What belongs to HTTP/1 alone, before anything else looks at it. */
function exchangeTarget(request: IncomingMessage, exchange: Exchange): void {
  const why = ambiguity(request);
  if (why !== undefined) throw new OffshootError('proxy/bad-request', { why });
  const target = targetOf(request);
  if (typeof target === 'string') throw new OffshootError('proxy/bad-request', { why: target });
  exchange.method = request.method!;
  exchange.path = target.path;
  exchange.host = target.host;
  // Before the passes, so that a `Connection` header of the client cannot name what they add. undici sends no
  // trailers with a request, so they are not announced either; `Expect` is answered by us.
  exchange.headers = endToEnd(withHost(exchange.headers, target.host), 'expect', 'trailer');
}

function readStreamTarget(request: StreamRequest, exchange: Exchange, headerBytes: number) {
  const bytes = request.rawHeaders.reduce((sum, text) => sum + text.length, 0);
  if (bytes > headerBytes) throw new OffshootError('proxy/headers-too-large', { limit: headerBytes });
  const target = streamTargetOf(request.rawHeaders);
  if (typeof target === 'string') throw new OffshootError('proxy/bad-request', { why: target });
  exchange.method = target.method;
  exchange.path = target.path;
  exchange.host = target.host;
  return { endStream: request.endStream };
}
