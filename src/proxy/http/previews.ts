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
import { type Counters, createDataPath, type Exchange, type Pass } from './data-path.ts';
import { withForwarded } from './forwarded.ts';
import { defaultLimits, type Limits } from './limits.ts';
import { previewLabelOf } from './preview-host.ts';
import { apiKeyOf, hashOf, withoutApiKeys } from './preview-key.ts';
import type { Handlers } from './server.ts';

export type PreviewOptions = {
  readonly book: Book;
  readonly log: Log;
  readonly limits?: Partial<Limits>;
  /** How workloads are connected to. */
  readonly dial?: Dial;
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
export function createPreviews({ book, log, ...o }: PreviewOptions): Previews {
  const limits = { ...defaultLimits, ...o.limits };
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
    handlers: path.serve([requirePreviewHost(book), requireApiKey(book, opened), leadTo(book), tellClient]),
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
    const apiKey = apiKeyOf(exchange.received);
    exchange.headers = withoutApiKeys(exchange.headers);
    if (apiKey === undefined) throw new OffshootError('preview/unauthorized', { why: 'none was sent' });
    const hash = hashOf(apiKey);
    if (book.get('key', hash) === undefined)
      throw new OffshootError('preview/unauthorized', { why: 'the one that was sent is not valid' });
    const all = opened.get(hash) ?? new Set();
    opened.set(hash, all.add(exchange));
    exchange.onEnd = () => {
      all.delete(exchange);
      if (all.size === 0 && opened.get(hash) === all) opened.delete(hash);
    };
  };

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
