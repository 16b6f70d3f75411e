/** What a request asks for: the forms of a request's target that servers must accept (RFC 9112 §3.2), as one. */
import type { IncomingMessage } from 'node:http';
import { TLSSocket } from 'node:tls';
import { valuesOf, without } from './headers.ts';

export type RequestTarget = {
  /** For the workload: a path with its query; `*` when the request is about the server as a whole. */
  readonly path: string;
  /** Host and port that the client named, as a Host header has them. */
  readonly host: string;
};

/** @returns or, in words, why nobody can act on it */
export function targetOf(request: IncomingMessage): RequestTarget | string {
  const { url = '', method, httpVersion, rawHeaders, socket } = request;
  const hosts = valuesOf(rawHeaders, 'host');
  // HTTP/1.0 knows no Host; then it is what the client connected to (RFC 9112 §3.3).
  if (hosts.length > 1 || (hosts.length === 0 && httpVersion !== '1.0'))
    return `it has ${hosts.length} Host headers`;
  const host = hosts[0] ?? `${socket.localAddress}:${socket.localPort}`;
  if (!HOST.test(host)) return 'its Host is not a host';
  if (url.startsWith('/')) return { path: url, host };
  if (url === '*') return method === 'OPTIONS' ? { path: url, host } : `its target is * with ${method}`;
  return absolute(url, method, socket instanceof TLSSocket ? 'https' : 'http');
}

/** Headers with `host` as the only Host. As they are when they say so already. */
export function withHost(headers: readonly string[], host: string): readonly string[] {
  const [said, ...more] = valuesOf(headers, 'host');
  if (said === host && more.length === 0) return headers;
  return ['Host', host, ...without(headers, name => name === 'host')];
}

/** RFC 3986 §3.2.2 and §3.2.3, without user information. */
export const HOST = /^[A-Za-z0-9._~!$&'()*+,;=%:[\]-]+$/;

// --- internal ---

/** RFC 9112 §3.2.2: what the target says counts, and Host is ignored. */
function absolute(url: string, method: string | undefined, spoken: 'http' | 'https'): RequestTarget | string {
  const [, scheme, host = '', path = ''] = /^([a-z][a-z0-9+.-]*):\/\/([^/?#]*)(.*)$/is.exec(url) ?? [];
  if (scheme === undefined) return 'its target is neither a path nor a URL';
  if (scheme.toLowerCase() !== spoken)
    return `its target is a URL of ${scheme.toLowerCase()}, not of ${spoken}`;
  if (host.startsWith(':') || !HOST.test(host)) return 'the URL that is its target has no host';
  // RFC 9112 §3.2.4: without a path it is about the whole server.
  if (path === '') return { path: method === 'OPTIONS' ? '*' : '/', host };
  return { path: path.startsWith('/') ? path : `/${path}`, host };
}
