/** The router: every Service of the baseline answers at its listener; the routing key picks baseline or fork. */
import type { Dial } from '../../lib/dial.ts';
import type { Log } from '../../lib/log.ts';
import { keepKeys, routingKeysOf } from '../../model/carriers.ts';
import { OffshootError } from '../../model/errors.ts';
import type { DestinationKey } from '../../model/route.ts';
import type { Book } from '../book.ts';
import { type Counters, createDataPath, type Pass } from './data-path.ts';
import { type Limits, limitsOf } from './limits.ts';
import type { Handlers } from './server.ts';

export type RouterOptions = {
  readonly book: Book;
  readonly log: Log;
  readonly limits?: Partial<Limits>;
  /** How workloads are connected to. */
  readonly dial?: Dial;
  /** @throws OffshootError when a request with these keys cannot be led anywhere now */
  readonly mayRoute?: (routingKeys: readonly string[]) => void;
};

export type Router = {
  readonly counters: Readonly<Counters>;
  /** @param destination where a listener leads, asked for with every request */
  handlersFor(destination: () => DestinationKey): Handlers;
  /** Ends all connections to workloads; to be called when there are no clients any more. */
  close(): Promise<void>;
};

/** Requests pass as they are, apart from hop-by-hop headers. */
export function createRouter({ book, log, ...options }: RouterOptions): Router {
  const limits = limitsOf(book, options.limits);
  const path = createDataPath({ book, limits, log, ...(options.dial && { dial: options.dial }) });
  return {
    counters: path.counters,
    handlersFor: destination =>
      path.serve([leadTo(book, destination), readRoutingKeys(book, options.mayRoute)]),
    close: path.close,
  };
}

// --- internal ---

const leadTo =
  (book: Book, destination: () => DestinationKey): Pass =>
  exchange => {
    exchange.destination = book.destination(destination());
    if (exchange.destination === undefined)
      throw new OffshootError('proxy/no-destination', { destination: destination() });
  };

/** From what was received: a `Connection` header that names a carrier must not lead to the baseline, here or further on. */
const readRoutingKeys =
  (book: Book, mayRoute: RouterOptions['mayRoute']): Pass =>
  exchange => {
    const customHeaders = book.get('setting', 'proxy')?.headers;
    exchange.routingKeys = routingKeysOf(exchange.received, customHeaders);
    mayRoute?.(exchange.routingKeys);
    exchange.headers = keepKeys(exchange.headers, exchange.routingKeys, customHeaders);
  };
