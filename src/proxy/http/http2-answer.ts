/** Answers of our own on a stream: as by HTTP/1, or as a status of gRPC where the client speaks it. */
import type { ServerHttp2Stream } from 'node:http2';
import type { OffshootError } from '../../model/errors.ts';
import { errorAnswer, type OwnAnswer } from './answer.ts';
import { valuesOf } from './headers.ts';
import { http2Headers, streamTargetOf } from './http2-headers.ts';

/** Answers a stream of which nothing has been answered yet. @param headers of the request */
export function answerStreamError(
  stream: ServerHttp2Stream,
  headers: readonly string[],
  error: OffshootError,
): void {
  stream.on('error', () => {}); // the client need not wait for it
  stream.resume(); // what it still sends is nobody's
  if (isGrpc(headers)) {
    // A response of trailers only: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
    stream.respond(
      {
        ...{ ':status': 200, 'content-type': 'application/grpc' },
        ...{ 'grpc-status': String(grpcStatus(error)), 'grpc-message': grpcMessage(error) },
      },
      { endStream: true },
    );
    return;
  }
  const [accept] = valuesOf(headers, 'accept');
  const target = streamTargetOf(headers);
  // A form that was sent cannot be sent again.
  const to = typeof target !== 'string' && target.method === 'GET' ? target.path : '/';
  answerStream(stream, errorAnswer(error, accept, to));
}

/** The same with an answer of ours, be it an error or not. */
export function answerStream(stream: ServerHttp2Stream, { status, headers, body }: OwnAnswer): void {
  stream.on('error', () => {}); // the client need not wait for it
  stream.resume(); // what it still sends is nobody's
  const length = status === 204 ? [] : ['content-length', `${Buffer.byteLength(body)}`];
  stream.respond(http2Headers([...headers, ...length], { ':status': String(status) }, []));
  stream.end(body);
}

// --- internal ---

const isGrpc = (headers: readonly string[]): boolean =>
  valuesOf(headers, 'content-type')[0]?.toLowerCase().startsWith('application/grpc') === true;

/** https://github.com/grpc/grpc/blob/master/doc/statuscodes.md. What clients may try again is UNAVAILABLE, and nothing else. */
const STATUSES: Readonly<Record<number, number>> = {
  400: 13, // INTERNAL
  401: 16, // UNAUTHENTICATED
  404: 5, // NOT_FOUND
  410: 9, // FAILED_PRECONDITION: the key has to change first
  431: 8, // RESOURCE_EXHAUSTED
  501: 12, // UNIMPLEMENTED
  502: 14, // UNAVAILABLE
  503: 14,
  504: 4, // DEADLINE_EXCEEDED
};

const grpcStatus = ({ row }: OffshootError): number => STATUSES[row.http] ?? 2; // UNKNOWN

/** With the hint, which JSON would have in a field of its own. Percent-encoded UTF-8, but for printable ASCII. */
const grpcMessage = ({ code, message, hint }: OffshootError): string =>
  [`${code}: ${message}`, hint]
    .filter(text => text !== undefined)
    .join('; ')
    .replace(/[^ -$&-~]+/gu, text => encodeURIComponent(text));
