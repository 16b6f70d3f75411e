/** What went wrong with a workload, in words. */
import type { Socket } from 'node:net';
import type { Dial } from '../../lib/dial.ts';
import { OffshootError } from '../../model/errors.ts';
import type { Address } from '../../model/route.ts';
import type { Limits } from './limits.ts';

/** Code of the error when a workload resets a connection; upstreams.ts says why it has a name of our own. */
export const RESET = 'ERR_UPSTREAM_RESET';

/** Code of the error when a workload is asked in HTTP/2 and answers in something else. */
export const NO_HTTP2 = 'ERR_UPSTREAM_NO_HTTP2';

const REASONS: Readonly<Record<string, string>> = {
  ECONNRESET: 'it closed the connection',
  ECONNREFUSED: 'it refused the connection',
  EHOSTUNREACH: 'it cannot be reached',
  ENETUNREACH: 'it cannot be reached',
  EPIPE: 'it closed the connection',
  UND_ERR_CONNECT_TIMEOUT: 'it did not accept the connection in time',
  UND_ERR_SOCKET: 'it closed the connection',
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'its body is not as long as its Content-Length says',
  UND_ERR_HEADERS_OVERFLOW: 'its header block is too large',
  UND_ERR_BODY_TIMEOUT: 'it stopped in the middle of its body',
  [RESET]: 'it reset the connection',
  [NO_HTTP2]: 'it was asked in HTTP/2, as the client asks, and does not speak it',
  ERR_HTTP2_SESSION_ERROR: 'it broke off the session',
  ERR_HTTP2_STREAM_ERROR: 'it broke off the session',
};

/** A connection to a workload, with keep-alive probes. @throws with UND_ERR_CONNECT_TIMEOUT when it takes too long */
export async function dialInTime(dial: Dial, address: Address, connectMs: number): Promise<Socket> {
  const late = AbortSignal.timeout(connectMs);
  try {
    const socket = await dial(address, late);
    socket.allowHalfOpen = false; // whoever has heard the end of an answer has no more to say
    return socket.setNoDelay(true).setKeepAlive(true, KEEP_ALIVE_MS);
  } catch (error) {
    if (!late.aborted) throw error;
    throw Object.assign(new Error('no connection in time'), { code: 'UND_ERR_CONNECT_TIMEOUT' });
  }
}

/** @param upstream who it was, e.g. `Deployment demo/users at 127.0.0.1:4001` */
export function upstreamError(thrown: unknown, upstream: string, limits: Limits): OffshootError {
  const code = codeOf(thrown);
  // undici found the request unfit to be sent, e.g. a path with bytes that a path cannot have.
  if (code === 'UND_ERR_INVALID_ARG')
    return new OffshootError('proxy/bad-request', { why: 'it cannot be sent on' }, { cause: thrown });
  if (code === 'UND_ERR_HEADERS_TIMEOUT')
    return new OffshootError('proxy/upstream-timeout', { upstream, limit: limits.idleMs }, { cause: thrown });
  const garbled = thrown instanceof Error && thrown.name === 'HTTPParserError';
  const why = garbled ? 'its answer is not valid HTTP/1.1' : (REASONS[code] ?? 'it failed');
  return new OffshootError('proxy/upstream-failed', { upstream, why }, { cause: thrown });
}

// --- internal ---

const KEEP_ALIVE_MS = 60_000;

const codeOf = (thrown: unknown): string =>
  thrown instanceof Error && 'code' in thrown ? String(thrown.code) : '';
