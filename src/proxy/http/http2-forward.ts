/**
 * One stream of a client becomes one stream to a workload, on whichever session leads there: headers, data and
 * trailers pass both ways at the slower one's pace, and so does a reset, with its code.
 */
import type {
  ClientHttp2Stream,
  IncomingHttpHeaders,
  IncomingHttpStatusHeader,
  OutgoingHttpHeaders,
  ServerHttp2Stream,
} from 'node:http2';
import { http2 } from '../../lib/http2.ts';
import { http2Headers } from './http2-headers.ts';
import type { Sessions } from './http2-sessions.ts';

export type StreamToForward = {
  readonly method: string;
  readonly path: string;
  readonly host: string;
  /** For the workload, without pseudo headers. */
  readonly headers: readonly string[];
  /** There is no body. */
  readonly endStream: boolean;
  /** What of the workload's headers the client gets; absent: all. */
  readonly adapt?: ((headers: readonly string[]) => readonly string[]) | undefined;
  /** Names of headers that must not be kept in a table of compression. */
  readonly sensitive: readonly string[];
};

type Received = IncomingHttpHeaders & IncomingHttpStatusHeader;

/**
 * @returns true when the client has got everything, or the reset that the workload answered with; false when it went
 *   away before (the workload is told).
 * @throws when the workload's session fails, and then leaves the stream as it is: perhaps not begun, perhaps in the
 *   middle.
 */
export async function forwardStream(
  stream: ServerHttp2Stream,
  { method, path, host, headers, adapt, endStream, sensitive }: StreamToForward,
  sessions: Sessions,
): Promise<boolean> {
  stream.on('error', () => {}); // "close" follows
  let trailers: IncomingHttpHeaders = {};
  stream.on('trailers', received => {
    trailers = received;
  });
  const pseudo = { ':method': method, ':path': path, ':scheme': 'http', ':authority': host };
  const upstream = await sessions.request(http2Headers(headers, pseudo, sensitive), {
    endStream,
    waitForTrailers: !endStream,
  });
  if (stream.destroyed) {
    upstream.on('error', () => {}).close(http2().constants.NGHTTP2_CANCEL);
    return false;
  }
  if (!endStream) {
    upstream.once('wantTrailers', () => sendTrailers(upstream, trailers));
    stream.pipe(upstream);
  }
  return passResponse(upstream, stream, adapt);
}

// --- internal ---

/**
 * All streams wait for trailers, also where there are none: node ends the body of a stream that is reset, and only
 * with the last word still open that is no end to the other side.
 */
function sendTrailers(stream: ClientHttp2Stream | ServerHttp2Stream, trailers: IncomingHttpHeaders): void {
  if (!stream.closed && !stream.destroyed) stream.sendTrailers(trailers);
}

function adapted(received: Received, adapt: NonNullable<StreamToForward['adapt']>): OutgoingHttpHeaders {
  const { ':status': status, ...named } = received;
  const flat = Object.entries(named).flatMap(([name, value]) =>
    [value ?? []].flat().flatMap((one: string) => [name, one]),
  );
  return http2Headers(adapt(flat), { ':status': String(status) }, []);
}

function passResponse(
  upstream: ClientHttp2Stream,
  stream: ServerHttp2Stream,
  adapt: StreamToForward['adapt'],
): Promise<boolean> {
  const { promise, resolve, reject } = Promise.withResolvers<boolean>();
  let trailers: IncomingHttpHeaders = {};
  let failure: Error | undefined;
  let complete = false;
  let answered = false;
  const { session } = upstream;
  /** It has answered and does not want the rest of the request (RFC 9113 §8.1), so the client may stop as well. */
  const stopRequest = () => {
    if (answered && upstream.closed && !stream.readableEnded)
      stream.close(http2().constants.NGHTTP2_NO_ERROR);
  };

  // RFC 9113 §8.1: interim responses come before the final one, any number of them.
  upstream.on('headers', (received: Received) => {
    if (!stream.destroyed && !stream.headersSent) stream.additionalHeaders(received);
  });
  upstream.once('response', (received: Received, flags: number) => {
    if (stream.destroyed) return;
    const endStream = (flags & http2().constants.NGHTTP2_FLAG_END_STREAM) !== 0;
    try {
      const headers = adapt === undefined ? received : adapted(received, adapt);
      stream.respond(headers, { endStream, waitForTrailers: !endStream, sendDate: false } as object);
    } catch (error) {
      reject(error);
      return upstream.close(http2().constants.NGHTTP2_INTERNAL_ERROR);
    }
    if (endStream) {
      complete = answered = true;
      return;
    }
    stream.once('wantTrailers', () => {
      sendTrailers(stream, trailers);
      answered = true;
      setImmediate(stopRequest);
    });
    upstream.pipe(stream, { end: false });
  });
  upstream.on('trailers', (received: IncomingHttpHeaders) => {
    trailers = received;
  });
  upstream.once('end', () => {
    // A reset ends it, too.
    complete = upstream.rstCode === http2().constants.NGHTTP2_NO_ERROR;
    if (complete) stream.end();
  });
  upstream.on('error', error => {
    failure = error;
  });
  stream.once('close', () => {
    const { rstCode } = stream;
    upstream.close(
      rstCode === http2().constants.NGHTTP2_NO_ERROR ? http2().constants.NGHTTP2_CANCEL : rstCode,
    );
    resolve(complete && rstCode === http2().constants.NGHTTP2_NO_ERROR);
  });
  upstream.once('close', () => {
    if (stream.destroyed) return;
    if (complete) return stopRequest();
    const { rstCode } = upstream;
    if (session === undefined || session.destroyed || rstCode === http2().constants.NGHTTP2_NO_ERROR)
      return reject(failure ?? new Error('it closed the connection'));
    // The workload's own word, which may mean that it can be tried again.
    stream.close(rstCode);
    resolve(true);
  });
  return promise;
}
