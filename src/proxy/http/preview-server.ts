/**
 * The preview gateway: a URL per endpoint of a sandbox. It lets in whoever has an API key, takes the key
 * off, and sends the request into the baseline with the sandbox's routing key in every carrier.
 *
 * The workload gets the `Host` that the client used, as from most ingresses: links, redirects, cookies and
 * checks of `Origin` against `Host` then fit the URL in the browser.
 */
import type { Log } from '../../lib/log.ts';
import { injectKey } from '../../model/carriers.ts';
import { OffshootError } from '../../model/errors.ts';
import { similarName } from '../../model/names.ts';
import type { RouteSource } from '../../model/route.ts';
import { type Counters, createDataPath, type Pass } from './data-path.ts';
import { withForwarded } from './forwarded.ts';
import { defaultLimits, type Limits } from './limits.ts';
import { previewLabelOf } from './preview-host.ts';
import { apiKeyOf, type CheckKey, rememberKeys, withoutApiKeys } from './preview-key.ts';
import { openServer } from './server.ts';

export type PreviewOptions = {
  readonly routes: RouteSource;
  readonly log: Log;
  /** Previews are at `*.preview.<domain>`. */
  readonly domain: string;
  readonly host: string;
  /** 0: any that is free. */
  readonly port: number;
  /** Is this key good for previews? Answers are kept for 3 s. */
  readonly authorise: CheckKey;
  /** Further headers that carry the routing key. */
  readonly customHeaders?: readonly string[];
  readonly limits?: Partial<Limits>;
};

export type PreviewServer = {
  readonly host: string;
  readonly port: number;
  readonly counters: Readonly<Counters>;
  /** Ends idle connections now and the others when they are done, at the latest after `graceMs`. */
  close(graceMs: number): Promise<void>;
};

/** @throws OffshootError host/port-taken, proxy/listen-failed */
export async function createPreviewServer({
  routes,
  log,
  domain,
  ...o
}: PreviewOptions): Promise<PreviewServer> {
  const limits = { ...defaultLimits, ...o.limits };
  const customHeaders = (o.customHeaders ?? []).map(name => name.toLowerCase());
  const path = createDataPath({ routes, limits, log });
  const handler = path.serve([
    requirePreviewHost(domain),
    requireApiKey(rememberKeys(o.authorise)),
    leadToPreview(domain, customHeaders),
    tellClient,
  ]);
  try {
    const server = await openServer(o, { what: 'previews', limits, handler });
    return {
      host: server.host,
      port: server.port,
      counters: path.counters,
      async close(graceMs) {
        await server.close(graceMs);
        await path.close();
      },
    };
  } catch (error) {
    await path.close();
    throw error;
  }
}

// --- internal ---

/** Before the key is asked for: whoever came to a host that we never serve should learn that. */
const requirePreviewHost =
  (domain: string): Pass =>
  ({ host }) => {
    if (previewLabelOf(host, domain) === undefined) throw new OffshootError('preview/unknown', { host });
  };

/** Before the preview is looked up: without a key nobody learns which previews exist. */
const requireApiKey =
  (check: CheckKey): Pass =>
  async exchange => {
    const apiKey = apiKeyOf(exchange.request.rawHeaders);
    exchange.headers = withoutApiKeys(exchange.headers);
    if (apiKey === undefined) throw new OffshootError('preview/unauthorized', { why: 'none was sent' });
    if (!(await check(apiKey)))
      throw new OffshootError('preview/unauthorized', { why: 'the one that was sent is not valid' });
  };

const leadToPreview =
  (domain: string, customHeaders: readonly string[]): Pass =>
  exchange => {
    const { previews, destinations } = exchange.table;
    const { host } = exchange;
    const label = previewLabelOf(host, domain)!;
    if (!Object.hasOwn(previews, label)) {
      const similar = similarName(label, Object.keys(previews));
      throw new OffshootError('preview/unknown', {
        host,
        similar: similar === undefined ? undefined : `${similar}.preview.${domain}`,
      });
    }
    const { sandbox, endpoint, protocol, destination, routingKey } = previews[label]!;
    if (protocol !== 'http') throw new OffshootError('preview/protocol', { sandbox, endpoint, protocol });
    if (!Object.hasOwn(destinations, destination))
      throw new OffshootError('proxy/no-destination', { destination });
    exchange.destination = destinations[destination];
    exchange.routingKeys = [routingKey];
    exchange.headers = injectKey(exchange.headers, routingKey, customHeaders);
  };

const tellClient: Pass = exchange => {
  exchange.headers = withForwarded(exchange.headers, exchange.request, exchange.host);
};
