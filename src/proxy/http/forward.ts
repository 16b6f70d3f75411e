/** One exchange with a workload: the request streams there, the response streams back, at the slower one's pace. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { PassThrough, type Readable } from 'node:stream';
import type { Dispatcher } from 'undici';
import { STATUS_CODES } from '../../lib/http.ts';
import { splice } from '../splice.ts';
import { endToEnd, responseHead, valuesOf } from './headers.ts';

export type Forward = {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** What the workload is asked for. */
  readonly path: string;
  /** Bytes behind an upgrade request; undefined when it is none. */
  readonly head: Buffer | undefined;
  /** Headers for the workload, without those of the client's connection. */
  readonly headers: readonly string[];
  /** What of the workload's the client gets; default: all. */
  readonly adapt?: ((headers: readonly string[]) => readonly string[]) | undefined;
  readonly upstream: Dispatcher;
  /** For the tunnel that an upgrade becomes, milliseconds. */
  readonly idleMs: number;
};

/**
 * @returns true when the client has got everything, false when it went away before (the workload is told).
 * @throws whatever went wrong with the workload, and then leaves the response as it is: perhaps not begun,
 *   perhaps in the middle.
 */
export function forward({
  request,
  response,
  path,
  head,
  headers,
  adapt = all => all,
  upstream,
  idleMs,
}: Forward): Promise<boolean> {
  const { promise, resolve, reject } = Promise.withResolvers<boolean>();
  let exchange: Dispatcher.DispatchController | undefined;
  let over = false;
  let bodyBegan = false;
  const onClose = () => {
    over = true;
    resolve(response.writableFinished);
    if (!response.writableFinished) exchange?.abort(new ClientGone());
  };
  response.once('close', onClose);
  response.on('drain', () => exchange?.resume());
  // We keep the expectation to ourselves: with a target chosen, the body is welcome (RFC 9110 §10.1.1).
  if (request.headers.expect !== undefined && request.httpVersion === '1.1') response.writeContinue();

  upstream.dispatch(
    {
      method: request.method!,
      path,
      headers: [...headers],
      body: bodyOf(request),
      ...(head === undefined ? {} : { upgrade: request.headers.upgrade! }),
    },
    {
      onRequestStart(controller) {
        exchange = controller;
        if (over) controller.abort(new ClientGone());
      },
      onResponseStart(controller, status, _parsed, reason = '') {
        const received = endToEnd(textsOf(controller.rawHeaders));
        if (status < 200) return sendInterim(request, response, status, received);
        response.sendDate = false; // the workload's, or none
        response.writeHead(status, reason, forClient(request, status, [...adapt(received)]));
        // A first chunk that came in the same packet leaves in one too; otherwise the head goes alone.
        setImmediate(() => !bodyBegan && response.flushHeaders());
      },
      onResponseData(controller, chunk) {
        bodyBegan = true;
        if (!response.write(chunk)) controller.pause();
      },
      onResponseEnd(controller) {
        bodyBegan = true;
        const trailers = endToEnd(textsOf(controller.rawTrailers));
        if (trailers.length > 0) response.addTrailers(pairsOf(trailers));
        response.end();
      },
      onRequestUpgrade(controller, status, parsed, stream) {
        response.off('close', onClose);
        const client = request.socket;
        response.detachSocket(client);
        const received = endToEnd(textsOf(controller.rawHeaders));
        const protocol = String(parsed.upgrade ?? request.headers.upgrade);
        const reply = [...received, 'Connection', 'Upgrade', 'Upgrade', protocol];
        client.write(responseHead(status, STATUS_CODES[status] ?? '', reply), 'latin1');
        stream.write(head!);
        void splice(client, stream as Socket, idleMs).then(() => resolve(true));
      },
      onResponseError(_controller, error) {
        reject(error);
      },
    },
  );
  return promise;
}

/**
 * The body as a stream of its own. undici destroys the stream it is given when the workload fails, and
 * destroying the request would destroy the client's connection, on which we still want to answer.
 */
export function bodyOf(request: IncomingMessage): Readable | null {
  const { 'content-length': length, 'transfer-encoding': coding } = request.headers;
  if (coding === undefined && (length === undefined || Number(length) === 0)) return null;
  const body = new PassThrough();
  body.on('error', () => {}); // the exchange reports it
  request.once('error', error => body.destroy(error)); // the client went away in the middle
  return request.pipe(body);
}

// --- internal ---

class ClientGone extends Error {}

/** RFC 9110 §15.2: interim responses are passed on, but HTTP/1.0 has none. */
function sendInterim(
  { httpVersion }: IncomingMessage,
  { socket }: ServerResponse,
  status: number,
  headers: readonly string[],
): void {
  if (httpVersion === '1.1')
    socket?.write(responseHead(status, STATUS_CODES[status] ?? '', headers), 'latin1');
}

/** What cannot be said to this client is left out. */
function forClient({ method, httpVersion }: IncomingMessage, status: number, headers: string[]): string[] {
  // RFC 9110 §8.6: a 204 has no Content-Length.
  if (status === 204) return endToEnd(headers, 'content-length', 'trailer');
  // Trailers need the chunked coding, and announcing them without it is an error for node.
  const chunked = httpVersion === '1.1' && method !== 'HEAD' && status !== 304;
  if (chunked && valuesOf(headers, 'content-length').length === 0) return headers;
  return endToEnd(headers, 'trailer');
}

/** undici's HTTP/1.1 parser gives bytes; header text is Latin-1 for node. */
const textsOf = (raw: Dispatcher.DispatchController['rawHeaders']): string[] =>
  Array.isArray(raw) ? raw.map(text => (typeof text === 'string' ? text : text.toString('latin1'))) : [];

const pairsOf = (flat: readonly string[]): [string, string][] =>
  Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i]!, flat[2 * i + 1]!]);
