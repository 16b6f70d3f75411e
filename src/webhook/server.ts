/**
 * What the API server asks before it takes an object: HTTPS with a certificate of our authority, which its configuration
 * names. Nobody else can reach anything by it: it answers what it is asked, and changes nothing.
 */

import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createServer, type TLSSocket } from 'node:tls';
import { closingAtOnce } from '../lib/close-server.ts';
import { createServer as createHttp } from '../lib/http.ts';
import type { Log } from '../lib/log.ts';
import { OffshootError } from '../model/errors.ts';
import type { Address } from '../model/route.ts';
import { type AdmissionRequest, admissionRequest, admissionReview, type Verdict } from './admission.ts';

export type WebhookOptions = Address & {
  readonly certificate: {
    current(): { readonly cert: string; readonly key: string };
    onChange(listener: () => void): () => void;
  };
  /** By path. What one throws is logged, and the API server told to do without us. */
  readonly answers: Readonly<Record<string, (request: AdmissionRequest) => Verdict>>;
  readonly log: Log;
};

export type WebhookServer = Address & { close(): Promise<void> };

/** @throws OffshootError host/port-taken */
export async function openWebhook({
  host,
  port,
  certificate,
  answers,
  log,
}: WebhookOptions): Promise<WebhookServer> {
  const http = createHttp({ requestTimeout: REQUEST_MS, headersTimeout: REQUEST_MS }, (request, response) => {
    request.on('error', () => {}); // the connection goes with it
    response.on('error', () => {});
    serve(request, response).catch(err => {
      log.error({ err, path: request.url }, 'a webhook failed');
      if (!response.headersSent) end(response, 500, { error: 'it failed; see the log of the controller' });
    });
  });

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? '').split('?', 1)[0]!;
    const answer = Object.hasOwn(answers, path) ? answers[path] : undefined;
    if (request.method !== 'POST' || answer === undefined)
      return end(response, 404, { error: 'nothing is asked for here' });
    const body = await bodyOf(request);
    if (body === undefined) return end(response, 413, { error: 'it is too long' });
    const asked = admissionRequest(body);
    if (asked === undefined) return end(response, 400, { error: 'this is no AdmissionReview' });
    const verdict = answer(asked);
    log.debug({ path, kind: asked.kind.kind, namespace: asked.namespace, allowed: verdict.allowed }, 'asked');
    end(response, 200, admissionReview(asked.uid, verdict));
  }

  const context = () => ({ ...certificate.current(), minVersion: 'TLSv1.2' as const });
  const server = createServer({ ...context(), handshakeTimeout: REQUEST_MS }, (socket: TLSSocket) =>
    http.emit('connection', socket),
  );
  server.maxConnections = MAX_CONNECTIONS;
  const close = closingAtOnce(server);
  server.on('tlsClientError', error => log.debug({ why: error.message }, 'a client of webhooks has left'));
  const stop = certificate.onChange(() => server.setSecureContext(context()));
  await once(server.listen({ host, port }), 'listening').catch((cause: NodeJS.ErrnoException) => {
    stop();
    throw new OffshootError('host/port-taken', { host, port, what: 'webhooks' }, { cause });
  });
  server.on('error', err => log.error({ err }, 'webhooks cannot be asked'));
  return {
    ...{ host, port: (server.address() as AddressInfo).port },
    async close() {
      stop();
      http.close();
      await close();
    },
  };
}

// --- internal ------------------------------------------------------------------------------------

const REQUEST_MS = 10_000;
const MAX_CONNECTIONS = 1_000;
/** An object and the one before it, each at most what etcd takes, with room. */
const MAX_BYTES = 8 * 1024 * 1024;

/** @returns undefined when it is too long; null when it is no JSON */
async function bodyOf(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_BYTES) return undefined;
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString());
  } catch {
    return null;
  }
}

function end(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}
