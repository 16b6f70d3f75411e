/**
 * The preview gateway: a URL per endpoint of a sandbox. It lets in whoever has an API key, takes the key
 * off, and sends the request into the baseline with the sandbox's routing key in every carrier.
 *
 * The workload gets the `Host` that the client used, as from most ingresses: links, redirects, cookies and
 * checks of `Origin` against `Host` then fit the URL in the browser.
 */
import type { Dial } from '../../lib/dial.ts';
import type { Log } from '../../lib/log.ts';
import { injectKey } from '../../model/carriers.ts';
import { OffshootError } from '../../model/errors.ts';
import { similarName } from '../../model/names.ts';
import type { Book } from '../book.ts';
import { allowCredentials, askedBy, preflight } from './cross-origin.ts';
import { type Counters, createDataPath, type Exchange, type Pass } from './data-path.ts';
import { withForwarded } from './forwarded.ts';
import { valuesOf } from './headers.ts';
import { type Limits, limitsOf } from './limits.ts';
import { previewLabelOf } from './preview-host.ts';
import { apiKeyOf, hashOf, withoutApiKeys } from './preview-key.ts';
import type { Handlers } from './server.ts';
import { withoutVisits, withoutVisitsSet } from './visit-cookie.ts';
import { type Enter, keyOfVisit, welcomeVisitors } from './visits.ts';

export type PreviewOptions = {
  readonly book: Book;
  readonly log: Log;
  readonly limits?: Partial<Limits>;
  /** How workloads are connected to. */
  readonly dial?: Dial;
  /** See visits.ts; absent: nobody can note who comes in. */
  readonly enter?: Enter;
  /** Milliseconds, for what is counted in minutes. */
  readonly now?: () => number;
};

export type Previews = {
  readonly counters: Readonly<Counters>;
  readonly handlers: Handlers;
  /**
   * Which of the versions that a client names by ALPN is spoken. Browsers name both and would take HTTP/2, which most
   * workloads do not speak; so it has to be the preview's own, or the client's only one.
   */
  protocol(asked: {
    readonly servername: string;
    readonly protocols: string[];
  }): 'h2' | 'http/1.1' | undefined;
  /** Ends all connections to workloads; to be called when there are no clients any more. */
  close(): Promise<void>;
};

/** A key that is revoked opens nothing any more, and what it opened is cut, unless a setting keeps it. */
export function createPreviews({ book, log, enter = nobodyNotes, ...o }: PreviewOptions): Previews {
  const limits = limitsOf(book, o.limits);
  const path = createDataPath({ book, limits, log, ...(o.dial && { dial: o.dial }) });
  /** Requests and tunnels under way, by the hash of the key that opened them. */
  const opened: Opened = new Map();
  const unsubscribe = book.onChange(changed => {
    if (book.get('setting', 'proxy')?.keepRevoked) return;
    for (const { kind, name, value } of changed) {
      if (kind !== 'key' || value !== undefined) continue;
      for (const { cut } of opened.get(name) ?? []) cut();
    }
  });
  return {
    counters: path.counters,
    handlers: path.serve([
      requirePreviewHost(book),
      welcomeVisitors({ book, enter, domain: () => domainOf(book), ...(o.now && { now: o.now }) }),
      requireApiKey(book, opened),
      leadTo(book),
      tellClient,
    ]),
    protocol({ servername, protocols }) {
      const label = previewLabelOf(servername, domainOf(book));
      const isGrpc = label !== undefined && book.get('preview', label)?.protocol === 'grpc';
      const order = isGrpc ? (['h2', 'http/1.1'] as const) : (['http/1.1', 'h2'] as const);
      return order.find(one => protocols.includes(one));
    },
    async close() {
      unsubscribe();
      await path.close();
    },
  };
}

// --- internal ---

const nobodyNotes: Enter = () => Promise.reject(new OffshootError('preview/no-entry', {}));

type Opened = Map<string, Set<Exchange>>;

const domainOf = (book: Book): string => book.get('setting', 'proxy')?.domain ?? '';

/** Before the key is asked for: whoever came to a host that we never serve should learn that. */
const requirePreviewHost =
  (book: Book): Pass =>
  ({ host }) => {
    if (previewLabelOf(host, domainOf(book)) === undefined)
      throw new OffshootError('preview/unknown', { host });
  };

/** Before the preview is looked up: without a key nobody learns which previews exist. */
const requireApiKey =
  (book: Book, opened: Opened): Pass =>
  exchange => {
    exchange.headers = withoutVisits(withoutApiKeys(exchange.headers));
    exchange.adapt = withoutVisitsSet;
    const hash = openerOf(book, exchange);
    if (hash === undefined) return;
    const all = opened.get(hash) ?? new Set();
    opened.set(hash, all.add(exchange));
    exchange.onEnd = () => {
      all.delete(exchange);
      if (all.size === 0 && opened.get(hash) === all) opened.delete(hash);
    };
  };

/** The hash of the key that opens the preview, be it by a cookie that was given for it; undefined: there is an answer of ours. */
function openerOf(book: Book, exchange: Exchange): string | undefined {
  const domain = domainOf(book);
  const apiKey = apiKeyOf(exchange.received);
  if (apiKey !== undefined) {
    const hash = hashOf(apiKey);
    if (book.get('key', hash) !== undefined) return hash;
    throw new OffshootError('preview/unauthorized', { why: 'the one that was sent is not valid' });
  }
  const asks = preflight(exchange, domain);
  if (asks !== undefined) {
    exchange.answer = () => Promise.resolve({ status: 204, headers: asks, body: '' });
    return undefined;
  }
  const visited = keyOfVisit(book, exchange, domain);
  if (visited === undefined) throw new OffshootError('preview/unauthorized', { why: 'none was sent' });
  const by = askedBy(exchange, domain);
  if (by === 'foreign')
    throw new OffshootError('preview/unauthorized', { why: 'a cookie is none for a page from elsewhere' });
  if (by === 'sibling') {
    const [origin = ''] = valuesOf(exchange.received, 'origin');
    exchange.adapt = answer => allowCredentials(withoutVisitsSet(answer), origin);
  }
  return visited;
}

const leadTo =
  (book: Book): Pass =>
  exchange => {
    const domain = domainOf(book);
    const { host } = exchange;
    const label = previewLabelOf(host, domain)!;
    const preview = book.get('preview', label);
    if (preview === undefined) throw unknownPreview(book, host, label);
    const { sandbox, endpoint, protocol, destination, routingKey } = preview;
    if (protocol === 'https') throw new OffshootError('preview/protocol', { sandbox, endpoint, protocol });
    exchange.destination = book.destination(destination);
    if (exchange.destination === undefined) throw new OffshootError('proxy/no-destination', { destination });
    exchange.routingKeys = [routingKey];
    exchange.headers = injectKey(exchange.headers, routingKey, book.get('setting', 'proxy')?.headers);
  };

function unknownPreview(book: Book, host: string, label: string): OffshootError {
  const sandbox = label.slice(label.lastIndexOf('--') + 2);
  const isDeleted = [...book.names('tombstone')].some(key => book.tombstone(key) === sandbox);
  if (isDeleted) return new OffshootError('proxy/sandbox-gone', { sandbox });
  const similar = similarName(label, book.names('preview'));
  const hint = similar === undefined ? undefined : `${similar}.preview.${domainOf(book)}`;
  return new OffshootError('preview/unknown', { host, similar: hint });
}

const tellClient: Pass = exchange => {
  exchange.headers = withForwarded(exchange.headers, exchange.client, exchange.host);
};
