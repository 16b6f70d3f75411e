/** Answers of our own: an error as JSON, or as a plain page for people in a browser. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { STATUS_CODES } from '../../lib/http.ts';
import type { OffshootError } from '../../model/errors.ts';
import { responseHead } from './headers.ts';
import { escapeHtml, keyPage } from './key-page.ts';
import { targetOf } from './target.ts';

/** What a client gets of ourselves in place of a workload's answer; headers as names and values in turn. */
export type OwnAnswer = {
  readonly status: number;
  readonly headers: readonly string[];
  readonly body: string;
};

/** Answers a request of which nothing has been answered yet. */
export function answerOwn(
  request: IncomingMessage,
  response: ServerResponse,
  { status, headers, body }: OwnAnswer,
): void {
  const length = status === 204 ? [] : ['Content-Length', `${Buffer.byteLength(body)}`];
  response.writeHead(status, [...headers, ...length]);
  response.end(request.method === 'HEAD' ? '' : body);
}

/** Answers a request of which nothing has been answered yet. */
export function answerError(request: IncomingMessage, response: ServerResponse, error: OffshootError): void {
  // A client that was never told to go on may send its body or leave it out (RFC 9110 §10.1.1), so what
  // comes next on this connection would be a guess.
  if (request.headers.expect !== undefined && !request.readableDidRead) response.shouldKeepAlive = false;
  answerOwn(request, response, errorAnswer(error, request.headers.accept, pathOf(request)));
}

/**
 * What a client is told of an error: a page when it shows pages, else JSON.
 * @param to where the person wanted to go
 */
export function errorAnswer(error: OffshootError, accept = '', to: string): OwnAnswer {
  if (!accept.includes('text/html')) return json(error);
  if (error.code !== 'preview/unauthorized') return page(error);
  const { status, headers, body } = keyPage(error.row.http, `${error.message}.`, to);
  return { status, headers: [...headers, ...challenge], body };
}

/** Answers on a connection whose request was too broken to become a request, and ends it. */
export function answerBroken(socket: Duplex, error: OffshootError): void {
  const { headers, body } = json(error);
  const head = responseHead(error.row.http, STATUS_CODES[error.row.http]!, [
    ...[...headers, 'Content-Length', `${Buffer.byteLength(body)}`],
    ...['Connection', 'close'],
  ]);
  socket.end(head + body, () => socket.destroy());
}

// --- internal ---

const json = (error: OffshootError): OwnAnswer =>
  content(error, 'application/json; charset=utf-8', `${JSON.stringify(error.toBody())}\n`);

const page = (error: OffshootError): OwnAnswer =>
  content(
    error,
    'text/html; charset=utf-8',
    `<!doctype html><title>${error.row.http} ${STATUS_CODES[error.row.http]}</title>
<h1>${error.row.http} ${STATUS_CODES[error.row.http]}</h1>
<p>${escapeHtml(error.message)}</p>
<p>${escapeHtml(error.hint ?? '')}</p>
<p><code>${error.code}</code></p>
`,
  );

function content(error: OffshootError, type: string, body: string): OwnAnswer {
  const headers = ['Content-Type', type, 'Cache-Control', 'no-store'];
  if (error.row.http === 401) headers.push(...challenge);
  if (error.row.http === 503) headers.push('Retry-After', '1');
  return { status: error.row.http, headers, body };
}

/** RFC 9110 §15.5.2. */
const challenge: readonly string[] = ['WWW-Authenticate', 'Bearer realm="offshoot"'];

/** Where a person wanted to go; a form that was sent cannot be sent again. */
function pathOf(request: IncomingMessage): string {
  const target = request.method === 'GET' ? targetOf(request) : '/';
  return typeof target === 'string' ? '/' : target.path;
}
