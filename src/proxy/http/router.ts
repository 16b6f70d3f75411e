/** The router: every Service of the baseline answers at its listener; the routing key picks baseline or fork. */
import type { Log } from '../../lib/log.ts';
import { keepKeys, routingKeysOf } from '../../model/carriers.ts';
import { OffshootError } from '../../model/errors.ts';
import type { DestinationKey, RouteSource } from '../../model/route.ts';
import { type Counters, createDataPath, type Pass } from './data-path.ts';
import { defaultLimits, type Limits } from './limits.ts';
import { createListeners, type ListenerState } from './listeners.ts';

export type RouterOptions = {
  readonly routes: RouteSource;
  readonly log: Log;
  /** Further headers whose value is a routing key. */
  readonly customHeaders?: readonly string[];
  readonly limits?: Partial<Limits>;
  /** Called when a listener is open, and once for each new reason why it is not; it is tried again by itself. */
  readonly onListener?: (state: ListenerState) => void;
};

export type Router = {
  readonly counters: Readonly<Counters>;
  /** Ends idle connections now and the others when they are done, at the latest after `graceMs`. */
  close(graceMs: number): Promise<void>;
};

/** Serves `routes`, now and after every swap. Requests pass as they are, apart from hop-by-hop headers. */
export function createRouter({ routes, log, ...options }: RouterOptions): Router {
  const limits = { ...defaultLimits, ...options.limits };
  const customHeaders = (options.customHeaders ?? []).map(name => name.toLowerCase());
  const path = createDataPath({ routes, limits, log });
  const listeners = createListeners({
    limits,
    handlerFor: destination => path.serve([leadTo(destination), readRoutingKeys(customHeaders)]),
    onState: options.onListener ?? (() => {}),
  });
  const unsubscribe = routes.subscribe(table => listeners.apply(table.listeners));
  listeners.apply(routes.current().listeners);

  return {
    counters: path.counters,
    async close(graceMs) {
      unsubscribe();
      await listeners.close(graceMs);
      await path.close();
    },
  };
}

// --- internal ---

const leadTo =
  (destination: () => DestinationKey): Pass =>
  exchange => {
    const { destinations } = exchange.table;
    const key = destination();
    if (!Object.hasOwn(destinations, key))
      throw new OffshootError('proxy/no-destination', { destination: key });
    exchange.destination = destinations[key];
  };

/** From what was received: a `Connection` header that names a carrier must not lead to the baseline, here or further on. */
const readRoutingKeys =
  (customHeaders: readonly string[]): Pass =>
  exchange => {
    exchange.routingKeys = routingKeysOf(exchange.request.rawHeaders, customHeaders);
    exchange.headers = keepKeys(exchange.headers, exchange.routingKeys, customHeaders);
  };
