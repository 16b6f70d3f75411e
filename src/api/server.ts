/** The door: one HTTP server on loopback. Every request needs a key; `Host` is checked against DNS rebinding. */
import fastify, { type FastifyError, type FastifyInstance, type FastifyRequest } from 'fastify';
import type { Log } from '../lib/log.ts';
import { OffshootError, toOffshootError } from '../model/errors.ts';
import { branchRoutes } from './branches.ts';
import type { ApiContext } from './context.ts';
import { keyRoutes } from './key-routes.ts';
import { manifestRoutes } from './manifests.ts';
import { pluginRoutes } from './plugins.ts';
import { projectRoutes } from './projects.ts';
import { routingRuleRoutes } from './routing-rules.ts';
import { sandboxRoutes } from './sandboxes.ts';
import { systemRoutes } from './system.ts';
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
  /** Host names beside loopback ones under which the API may be asked for. */
  readonly names: readonly string[];
  readonly log: Log;
};

/** Largest request body in bytes; a whole directory of manifests fits. */
const bodyLimit = 4 * 1024 * 1024;

/** @throws OffshootError host/port-taken */
export async function startApi(
  context: ApiContext,
  { host, port, names, log }: ApiOptions,
): Promise<ApiServer> {
  const app = fastify({ bodyLimit, forceCloseConnections: true, requestTimeout: 30_000, logger: false });
  app.addHook('onRequest', async request => {
    checkHost(request, [host, ...names]);
    if (request.url === '/healthz') return;
    const key = keyOf(request);
    if (key === undefined) throw new OffshootError('api/unauthorized', { why: 'none was sent' });
    if (!context.keys.accepts(key))
      throw new OffshootError('api/unauthorized', { why: 'this one is not known' });
  });
  app.setErrorHandler((thrown: FastifyError, request, reply) => {
    const error = fromFastify(thrown);
    if (error.row.http >= 500) log.error({ err: error.cause ?? error, url: request.url }, 'request failed');
    return reply.status(error.row.http).send(error.toBody());
  });
  app.setNotFoundHandler((request, reply) => {
    const params = { kind: 'path', name: request.url.split('?')[0], hint: 'the paths begin with /api/v1/' };
    const error = new OffshootError('api/not-found', params);
    return reply.status(404).send(error.toBody());
  });
  app.get('/healthz', async () => ({ ok: true }));
  const all = [
    projectRoutes,
    branchRoutes,
    sandboxRoutes,
    pluginRoutes,
    manifestRoutes,
    keyRoutes,
    systemRoutes,
    watchRoutes,
  ];
  for (const routes of [...all, routingRuleRoutes]) {
    await app.register(async (scope: FastifyInstance) => routes(scope, context), { prefix: '/api/v1' });
  }
  try {
    await app.listen({ host, port });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw cause;
    throw new OffshootError('host/port-taken', { host, port, what: 'the API' }, { cause });
  }
  const address = app.server.address() as { port: number };
  return { host, port: address.port, close: () => app.close() };
}

// --- internal -----------------------------------------------------------------------------------

/** A page that a browser loaded from elsewhere may resolve its own name to loopback: only our names are served. */
function checkHost(request: FastifyRequest, names: readonly string[]): void {
  const name = (request.headers.host ?? '').replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
  const loopback = name === 'localhost' || name === '::1' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(name);
  if (!loopback && !names.includes(name))
    throw new OffshootError('api/host-refused', { host: name.slice(0, 255) });
}

function keyOf({ headers }: FastifyRequest): string | undefined {
  const named = headers['signadot-api-key'] ?? headers['offshoot-api-key'];
  if (typeof named === 'string') return named;
  const match = /^bearer\s+(\S+)$/i.exec(headers.authorization ?? '');
  return match?.[1];
}

function fromFastify(thrown: FastifyError): OffshootError {
  if (thrown.statusCode !== undefined && thrown.statusCode < 500) {
    return new OffshootError('api/bad-request', { why: thrown.message }, { cause: thrown });
  }
  return toOffshootError(thrown);
}
