/**
 * `OPTIONS *`, for which undici has no words: one exchange with a workload on a connection of its own. It is asked
 * so seldom that it may cost that.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { request as open } from '../../lib/http.ts';
import type { Address } from '../../model/route.ts';
import { bodyOf } from './forward.ts';
import { endToEnd } from './headers.ts';
import type { Limits } from './limits.ts';

/** As `forward`. @param headers for the workload, Host among them */
export function forwardAsterisk(
  request: IncomingMessage,
  response: ServerResponse,
  headers: readonly string[],
  { host, port }: Address,
  limits: Limits,
): Promise<boolean> {
  const { promise, resolve, reject } = Promise.withResolvers<boolean>();
  const body = bodyOf(request);
  const chunked = body !== null && request.headers['content-length'] === undefined;
  const sent = open({
    ...{ host, port, method: 'OPTIONS', path: '*', agent: false },
    headers: [...headers, 'Connection', 'close', ...(chunked ? ['Transfer-Encoding', 'chunked'] : [])],
    maxHeaderSize: limits.headerBytes,
    timeout: limits.connectMs,
  });
  response.once('close', () => {
    resolve(response.writableFinished);
    sent.destroy();
  });
  sent.once('timeout', () => sent.destroy(new WorkloadSilent()));
  sent.once('error', reject);
  sent.once('response', answer => {
    answer.on('error', reject);
    response.sendDate = false; // the workload's, or none
    response.writeHead(answer.statusCode!, answer.statusMessage, endToEnd(answer.rawHeaders, 'trailer'));
    answer.pipe(response);
  });
  if (body === null) sent.end();
  else body.pipe(sent);
  return promise;
}

// --- internal ---

class WorkloadSilent extends Error {
  readonly code = 'UND_ERR_HEADERS_TIMEOUT';
}
