/** The door: one HTTP server. Every request needs a key; `Host` is checked against DNS rebinding. */
import { isIP, type Socket } from 'node:net';
import fastify, {
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
} from 'fastify';
import type { Certificate } from '../lib/certificate.ts';
import { createServer } from '../lib/http.ts';
import type { Log } from '../lib/log.ts';
import { type Pending, takeTls } from '../lib/tls-front.ts';
import { OffshootError, toOffshootError } from '../model/errors.ts';
import { tlsOnly } from '../model/tls-refusal.ts';
import { branchRoutes } from './branches.ts';
import type { ApiContext } from './context.ts';
import { diskRoutes } from './disks.ts';
import { imageRoutes } from './images.ts';
import { keyOf } from './key-of.ts';
import { keyRoutes } from './key-routes.ts';
import { manifestRoutes } from './manifests.ts';
import { masking } from './masking.ts';
import { pluginRoutes } from './plugins.ts';
import { projectRoutes } from './projects.ts';
import { repairRoutes } from './repair.ts';
import { routingRuleRoutes } from './routing-rules.ts';
import { sandboxRoutes } from './sandboxes.ts';
import { systemRoutes } from './system.ts';
import { trashRoutes } from './trash.ts';
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
  /** Hosts that requests may name, besides `localhost` and addresses. Default: where it listens. */
  readonly names?: readonly string[];
  /** TLS is served with; absent: it is not. */
  readonly certificate?: () => Certificate | undefined;
  /** Whether a peer may speak clear text; default: each. */
  readonly clear?: (peer: Socket) => boolean;
  readonly log: Log;
};

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Its answer holds the secrets that it is there to tell; those of all others are masked. */
    readonly tellsSecrets?: true;
  }
}

/** Milliseconds for the first byte of a connection, and for its handshake. */
const handshakeMs = 30_000;

/** Milliseconds for a whole request, and between two of them. */
const [requestTimeout, keepAliveTimeout] = [30_000, 72_000];

/** Largest request body in bytes; a whole directory of manifests fits. */
const bodyLimit = 4 * 1024 * 1024;

/** @throws OffshootError host/port-taken */
export async function startApi(context: ApiContext, options: ApiOptions): Promise<ApiServer> {
  const { host, port, names = [host], certificate, clear = () => true, log } = options;
  const pending: Pending[] = [];
  const app = fastify({
    // Fastify sets times only for a server that it makes itself.
    serverFactory(handler) {
      const server = createServer({ requestTimeout, keepAliveTimeout }, handler);
      const context = () => certificate?.()?.context;
      pending.push(takeTls(server, { context, clear, refusal: tlsOnly, deadlineMs: handshakeMs }));
      return server;
    },
    bodyLimit,
    forceCloseConnections: true,
    logger: false,
    exposeHeadRoutes: false, // a watch has no end that an answer to HEAD could wait for
    routerOptions: { maxParamLength: 1_000 },
    // What the router cannot read does not come as far as the error handler.
    frameworkErrors: (thrown, _request, reply) => refuse(fromFastify(thrown), reply as FastifyReply),
  });
  app.addHook('onRequest', async request => {
    checkHost(request, names);
    if (request.url === '/healthz') return;
    const key = keyOf(request);
    if (key === undefined) throw new OffshootError('api/unauthorized', { why: 'none was sent' });
    if (!context.keys.accepts(key))
      throw new OffshootError('api/unauthorized', { why: 'this one is not known' });
  });
  app.addHook('onSend', () => context.routed());
  const { mask, close: endMasking } = masking(context.store);
  app.addHook('preSerialization', async (request, _reply, view) =>
    request.routeOptions.config.tellsSecrets ? view : mask(view),
  );
  app.addHook('onClose', async () => endMasking());
  app.setErrorHandler((thrown: FastifyError, request, reply) => {
    const error = fromFastify(thrown);
    if (error.row.http >= 500) log.error({ err: error.cause ?? error, url: request.url }, 'request failed');
    return refuse(error, reply);
  });
  app.setNotFoundHandler((request, reply) => {
    const params = { kind: 'path', name: request.url.split('?')[0], hint: 'the paths begin with /api/v1/' };
    return refuse(new OffshootError('api/not-found', params), reply);
  });
  app.get('/healthz', async () => ({ ok: true }));
  const all = [
    projectRoutes,
    branchRoutes,
    sandboxRoutes,
    pluginRoutes,
    manifestRoutes,
    imageRoutes,
    diskRoutes,
    keyRoutes,
    trashRoutes,
    systemRoutes,
    repairRoutes,
    watchRoutes,
  ];
  for (const routes of [...all, routingRuleRoutes]) {
    await app.register(async (scope: FastifyInstance) => routes(scope, { ...context, mask }), {
      prefix: '/api/v1',
    });
  }
  try {
    await app.listen({ host, port });
  } catch (cause) {
    await app.close();
    if ((cause as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw cause;
    throw new OffshootError('host/port-taken', { host, port, what: 'the API' }, { cause });
  }
  const address = app.server.address() as { port: number };
  return {
    ...{ host, port: address.port },
    close() {
      for (const one of pending) one.end();
      return app.close();
    },
  };
}

// --- internal -----------------------------------------------------------------------------------

/**
 * A page that a browser loaded from elsewhere may resolve its own name to our address: only our own names are
 * served. An address was not resolved from any name.
 */
function checkHost(request: FastifyRequest, own: readonly string[]): void {
  const host = (request.headers.host ?? '').toLowerCase();
  const name = host.replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
  if (name !== 'localhost' && !own.some(known => known.toLowerCase() === name) && isIP(name) === 0)
    throw new OffshootError('api/host-refused', { host: name.slice(0, 255) });
}

const refuse = (error: OffshootError, reply: FastifyReply) =>
  reply.status(error.row.http).send(error.toBody());

function fromFastify(thrown: FastifyError): OffshootError {
  if (thrown.statusCode !== undefined && thrown.statusCode < 500) {
    return new OffshootError('api/bad-request', { why: thrown.message }, { cause: thrown });
  }
  return toOffshootError(thrown);
}
