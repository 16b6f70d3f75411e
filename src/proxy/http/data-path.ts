/**
 * What the router and the preview gateway have in common: passes over one request, in order and in one turn of the
 * event loop, so that they all see the same state of the route book, until it is clear who answers; then the
 * exchange itself; and the count of how it went.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Log } from '../../lib/log.ts';
import { cut } from '../../lib/tls-socket.ts';
import { OffshootError, toOffshootError } from '../../model/errors.ts';
import { addressKey } from '../../model/route.ts';
import type { Book, Destination } from '../book.ts';
import { answerError } from './answer.ts';
import { chooseTarget } from './choose-target.ts';
import { forward } from './forward.ts';
import { forwardAsterisk } from './forward-asterisk.ts';
import { endToEnd } from './headers.ts';
import type { Limits } from './limits.ts';
import type { Handler } from './server.ts';
import { ambiguity } from './strictness.ts';
import { targetOf, withHost } from './target.ts';
import { upstreamError } from './upstream-error.ts';
import { createUpstreams } from './upstreams.ts';

/** One request on its way. Passes fill in what is not readonly. */
export type Exchange = {
  readonly request: IncomingMessage;
  /** What the client asks for, and of whom. */
  path: string;
  host: string;
  /** What the workload will get. */
  headers: readonly string[];
  destination: Destination | undefined;
  routingKeys: readonly string[];
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
  /** A handler that finds the destination by `passes`. */
  serve(passes: readonly Pass[]): Handler;
  /** Ends all connections to workloads; to be called when there are no clients any more. */
  close(): Promise<void>;
};

export function createDataPath(o: { book: Book; limits: Limits; log: Log }): DataPath {
  const { book, limits, log } = o;
  const upstreams = createUpstreams(limits);
  upstreams.follow([...book.all()]);
  const unsubscribe = book.onChange(upstreams.follow);
  const counters = { inFlight: 0, baseline: 0, fork: 0, refused: 0, notReady: 0, failed: 0, aborted: 0 };
  let turn = 0;

  async function exchangeOnce(
    passes: readonly Pass[],
    exchange: Exchange,
    response: ServerResponse,
    head: Buffer | undefined,
  ): Promise<keyof Counters> {
    const { request } = exchange;
    for (const pass of passes) pass(exchange);
    const destination = exchange.destination!;
    const target = chooseTarget(destination, exchange.routingKeys, book.tombstone);
    const address = target.addresses[turn++ % target.addresses.length]!;
    const { headers, path } = exchange;
    try {
      const answered = await (path === '*'
        ? forwardAsterisk(request, response, headers, address, limits)
        : forward({
            ...{ request, response, path, head, headers },
            upstream: upstreams.to(address),
            idleMs: limits.idleMs,
          }));
      if (!answered) return 'aborted';
      return target.sandbox === undefined ? 'baseline' : 'fork';
    } catch (thrown) {
      const owner = target.sandbox === undefined ? '' : ` of sandbox "${target.sandbox}"`;
      throw upstreamError(thrown, `${destination.label}${owner} at ${addressKey(address)}`, limits);
    }
  }

  function answerFailure(
    request: IncomingMessage,
    response: ServerResponse,
    thrown: unknown,
  ): keyof Counters {
    if (request.socket.destroyed) return 'aborted'; // and so did what it was waiting for
    const error = toOffshootError(thrown);
    const notReady = error.row.http === 503;
    if (error.row.fault === 'system' && !notReady)
      // Of the cause only the stack: undici's parser error also holds what the workload sent.
      log.warn(
        { code: error.code, error: error.message, cause: (error.cause as Error | undefined)?.stack },
        'request failed',
      );
    // The middle of a response has no room for an error: only a reset cannot be taken for its end.
    if (response.headersSent) cut(request.socket);
    else answerError(request, response, error);
    if (notReady) return 'notReady';
    return error.row.fault === 'system' ? 'failed' : 'refused';
  }

  return {
    counters,
    serve: passes => async (request, response, head) => {
      counters.inFlight++;
      const exchange: Exchange = {
        ...{ request, path: '', host: '', headers: request.rawHeaders },
        ...{ destination: undefined, routingKeys: [], onEnd: undefined },
      };
      const ended = await exchangeOnce(
        [requireUnambiguous, readTarget, dropHopByHop, ...passes],
        exchange,
        response,
        head,
      ).catch(thrown => answerFailure(request, response, thrown));
      exchange.onEnd?.();
      counters.inFlight--;
      counters[ended]++;
    },
    async close() {
      unsubscribe();
      await upstreams.destroy();
    },
  };
}

// --- internal ---

const requireUnambiguous: Pass = ({ request }) => {
  const why = ambiguity(request);
  if (why !== undefined) throw new OffshootError('proxy/bad-request', { why });
};

const readTarget: Pass = exchange => {
  const target = targetOf(exchange.request);
  if (typeof target === 'string') throw new OffshootError('proxy/bad-request', { why: target });
  exchange.path = target.path;
  exchange.host = target.host;
  exchange.headers = withHost(exchange.headers, target.host);
};

/**
 * First of all, so that a `Connection` header of the client cannot name what later passes add. undici sends
 * no trailers with a request, so they are not announced either; `Expect` is answered by us.
 */
const dropHopByHop: Pass = exchange => {
  exchange.headers = endToEnd(exchange.headers, 'expect', 'trailer');
};
