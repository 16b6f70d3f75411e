/** Header lists of HTTP/2: flat as those of HTTP/1, with pseudo headers in front (RFC 9113 §8.3). */
import type { OutgoingHttpHeaders } from 'node:http2';
import { http2 } from '../../lib/http2.ts';
import { valuesOf, without } from './headers.ts';
import { HOST, type RequestTarget } from './target.ts';

/**
 * What a stream asks for.
 * @param headers with pseudo headers. @returns or, in words, why nobody can act on it
 */
export function streamTargetOf(
  headers: readonly string[],
): (RequestTarget & { readonly method: string }) | string {
  const [method = ''] = valuesOf(headers, ':method');
  const [path = ''] = valuesOf(headers, ':path');
  const host = valuesOf(headers, ':authority')[0] ?? valuesOf(headers, 'host')[0] ?? '';
  if (method === 'CONNECT') return 'CONNECT is not served here';
  if (!HOST.test(host)) return 'its :authority is not a host';
  if (path === '*' ? method !== 'OPTIONS' : !path.startsWith('/')) return 'its :path is not a path';
  return { method, path, host };
}

/** Those that are not pseudo headers, and none that speaks of one connection only (RFC 9113 §8.2.2). */
export const regularHeaders = (headers: readonly string[]): string[] =>
  without(headers, name => name.startsWith(':') || name === 'host' || CONNECTION_SPECIFIC.has(name)).filter(
    // `te` may say that trailers are welcome, and gRPC asks for that.
    (_, i, kept) => kept[i - (i % 2)]!.toLowerCase() !== 'te' || kept[i - (i % 2) + 1] === 'trailers',
  );

/**
 * For node.
 * @param sensitive names, lower case, that must not be kept in a table of compression
 */
export function http2Headers(
  flat: readonly string[],
  pseudo: Readonly<Record<`:${string}`, string>>,
  sensitive: readonly string[],
): OutgoingHttpHeaders {
  const headers: Record<string, string | string[]> = { ...pseudo };
  for (let i = 0; i + 1 < flat.length; i += 2) {
    const name = flat[i]!.toLowerCase();
    const before = headers[name];
    headers[name] = before === undefined ? flat[i + 1]! : [before, flat[i + 1]!].flat();
  }
  return sensitive.length === 0 ? headers : { ...headers, [http2().sensitiveHeaders]: [...sensitive] };
}

// --- internal ---

const CONNECTION_SPECIFIC: ReadonlySet<string> = new Set([
  ...['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade', 'http2-settings'],
]);
