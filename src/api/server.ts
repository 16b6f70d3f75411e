/** The door: one HTTP server. Every request needs a key; `Host` is checked against DNS rebinding. */
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { isIP, type Socket } from 'node:net';
import type { Certificate } from '../lib/certificate.ts';
import { type Entrance, listenAt } from '../lib/entrance.ts';
import { createServer } from '../lib/http.ts';
import type { Log } from '../lib/log.ts';
import { takeTls } from '../lib/tls-front.ts';
import { inTurns } from '../lib/turns.ts';
import { OffshootError, toOffshootError } from '../model/errors.ts';
import { tlsOnly } from '../model/tls-refusal.ts';
import { readBody, readJson } from './body.ts';
import { branchRoutes } from './branches.ts';
import type { ApiContext } from './context.ts';
import { diskRoutes } from './disks.ts';
import { entranceRoutes } from './entrances.ts';
import { environmentRoutes } from './environments.ts';
import { imageRoutes } from './images.ts';
import { keyOf } from './key-of.ts';
import { keyRoutes } from './key-routes.ts';
import { logRoutes } from './logs.ts';
import { manifestRoutes } from './manifests.ts';
import { masking } from './masking.ts';
import { pluginRoutes } from './plugins.ts';
import { projectRoutes } from './projects.ts';
import { prometheusRoutes } from './prometheus.ts';
import { repairRoutes } from './repair.ts';
import { restartRoutes } from './restarts.ts';
import { Answer, answer, createRoutes, queryOf, type Routes, taken } from './routes.ts';
import { routingRuleRoutes } from './routing-rules.ts';
import { sandboxRoutes } from './sandboxes.ts';
import { systemRoutes } from './system.ts';
import { trashRoutes } from './trash.ts';
import { uploadRoutes } from './uploads.ts';
import { watchRoutes } from './watch.ts';

export type ApiServer = {
  readonly host: string;
  readonly port: number;
  close(): Promise<void>;
};

export type ApiOptions = {
  readonly host: string;
  /** 0 = any free port. */
  readonly port: number;
  /** Gives it its connections, instead of that address. */
  readonly entrance?: Entrance;
  /**
   * Hosts that requests may name, besides `localhost` and addresses. Default: where it listens. `any`: where no browser of
   * a person gets to, and others lead requests on under names of their own.
   */
  readonly names?: readonly string[] | 'any';
  /** TLS is served with; absent: it is not. */
  readonly certificate?: () => Pick<Certificate, 'context'> | undefined;
  /** Whether a peer may speak clear text; default: each. */
  readonly clear?: (peer: Socket) => boolean;
  readonly log: Log;
};

/** Milliseconds for the first byte of a connection, and for its handshake. */
const handshakeMs = 30_000;

/** Milliseconds for a whole request, and between two of them. */
const [requestTimeout, keepAliveTimeout] = [30_000, 72_000];

/** Largest request body in bytes; a whole directory of manifests fits. */
const bodyLimit = 4 * 1024 * 1024;

const all = [
  projectRoutes,
  branchRoutes,
  sandboxRoutes,
  environmentRoutes,
  pluginRoutes,
  manifestRoutes,
  imageRoutes,
  diskRoutes,
  keyRoutes,
  trashRoutes,
  uploadRoutes,
  systemRoutes,
  prometheusRoutes,
  repairRoutes,
  restartRoutes,
  watchRoutes,
  logRoutes,
  entranceRoutes,
  routingRuleRoutes,
];

/** @throws OffshootError host/port-taken */
export async function startApi(context: ApiContext, options: ApiOptions): Promise<ApiServer> {
  const { host, port, entrance, names = [host], certificate, clear = () => true, log } = options;
  const { mask, close: endMasking } = masking(context.store);
  const routes = createRoutes();
  routes.get('/healthz', async () => ({ ok: true }));
  const below = under('/api/v1', routes);
  for (const add of all) add(below, { ...context, mask, log });

  /** @throws OffshootError, or anything else, which is a fault of ours */
  const served = async (request: IncomingMessage, response: ServerResponse): Promise<Text | undefined> => {
    const { method = '', url = '', headers } = request;
    if (names !== 'any') checkHost(headers, names);
    if (url !== '/healthz') await checkKey(headers, context);
    const [path = ''] = url.split('?', 1);
    const found = routes.find(method, path);
    if (found === undefined) {
      const params = { kind: 'path', name: path, hint: 'the paths begin with /api/v1/' };
      throw new OffshootError('api/not-found', params);
    }
    const { handler, options } = found.route;
    const kind = options.raw ? 'application/octet-stream' : 'application/json';
    const bytes =
      method === 'GET' ? undefined : await readBody(request, options.bodyLimit ?? bodyLimit, kind);
    const body = bytes === undefined || options.bytes || options.raw ? bytes : readJson(bytes);
    const view = await handler({
      params: found.params as never,
      query: queryOf(url),
      body,
      headers,
      response,
    });
    if (view === taken) return undefined;
    const given = view instanceof Answer ? view : answer(200, view);
    return textOf(given.status, await jsonOf(given.view, options.tellsSecrets ? asItIs : mask));
  };
  const answerTo = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    let text: Text | undefined;
    try {
      text = await served(request, response);
      if (text === undefined) return;
    } catch (thrown) {
      if (response.destroyed) return;
      const error = toOffshootError(thrown);
      if (error.row.http >= 500) log.error({ err: error.cause ?? error, url: request.url }, 'request failed');
      text = textOf(error.row.http, JSON.stringify(mask(error.toBody())));
    }
    // What is told of is done.
    await context.routed();
    send(response, text);
  };
  const server = createServer({ requestTimeout, keepAliveTimeout }, (request, response) => {
    for (const one of [request, response]) one.on('error', () => {}); // its client has left
    void answerTo(request, response).catch(err => {
      log.error({ err, url: request.url }, 'request failed');
      response.destroy();
    });
  });
  const tls = takeTls(server, {
    context: () => certificate?.()?.context,
    ...{ clear, refusal: tlsOnly, deadlineMs: handshakeMs },
  });
  const listening = await listenAt(server, entrance ?? { host, port }).catch(
    (cause: NodeJS.ErrnoException) => {
      endMasking();
      if (cause.code !== 'EADDRINUSE') throw cause;
      throw new OffshootError('host/port-taken', { host, port, what: 'the API' }, { cause });
    },
  );
  return {
    ...{ host: listening.host, port: listening.port },
    async close() {
      listening.leave();
      tls.end();
      const closed = new Promise(resolve => server.close(resolve));
      server.closeAllConnections();
      await closed;
      endMasking();
    },
  };
}

// --- internal -----------------------------------------------------------------------------------

/**
 * A page that a browser loaded from elsewhere may resolve its own name to our address: only our own names are
 * served. An address was not resolved from any name.
 */
function checkHost(headers: IncomingHttpHeaders, own: readonly string[]): void {
  const host = (headers.host ?? '').toLowerCase();
  const name = host.replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
  if (name !== 'localhost' && !own.some(known => known.toLowerCase() === name) && isIP(name) === 0)
    throw new OffshootError('api/host-refused', { host: name.slice(0, 255) });
}

async function checkKey(
  headers: IncomingHttpHeaders,
  { keys, admits }: Pick<ApiContext, 'keys' | 'admits'>,
): Promise<void> {
  const key = keyOf({ headers });
  if (key === undefined) throw new OffshootError('api/unauthorized', { why: 'none was sent' });
  if (!keys.accepts(key) && !(await admits?.(key)))
    throw new OffshootError('api/unauthorized', { why: 'this one is not known' });
}

/** @returns adds routes whose paths begin with `prefix` */
const under = (prefix: string, { get, put, post, delete: remove, find }: Routes): Routes => ({
  get: (path, ...rest) => get(`${prefix}${path}`, ...rest),
  put: (path, ...rest) => put(`${prefix}${path}`, ...rest),
  post: (path, ...rest) => post(`${prefix}${path}`, ...rest),
  delete: (path, ...rest) => remove(`${prefix}${path}`, ...rest),
  find,
});

type Mask = <T>(view: T) => T;
const asItIs: Mask = view => view;

type Text = { readonly status: number; readonly json: string };
const textOf = (status: number, json: string): Text => ({ status, json });

/** Of what may be long: a list, or what has lists in it, is masked and written item by item, in turns. */
async function jsonOf(view: unknown, mask: Mask): Promise<string> {
  if (Array.isArray(view)) {
    const items = await inTurns(view, item => JSON.stringify(mask(item)) ?? 'null');
    return `[${items.join(',')}]`;
  }
  const hasLists = typeof view === 'object' && view !== null && Object.values(view).some(Array.isArray);
  if (!hasLists) return JSON.stringify(mask(view));
  const fields: string[] = [];
  for (const [key, value] of Object.entries(view)) {
    if (Array.isArray(value)) fields.push(`${JSON.stringify(key)}:${await jsonOf(value, mask)}`);
    else if (value !== undefined) fields.push(JSON.stringify(mask({ [key]: value })).slice(1, -1));
  }
  return `{${fields.join(',')}}`;
}

function send(response: ServerResponse, { status, json }: Text): void {
  response.writeHead(status, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(json),
  });
  response.end(json);
}
