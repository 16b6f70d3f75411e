/**
 * Node's HTTP/2, loaded when somebody speaks it: it takes 4 MB of a sidecar beside a program that nobody asks in HTTP/2.
 */
type Http2 = typeof import('node:http2');

let loaded: Http2 | undefined;

export function http2(): Http2 {
  loaded ??= process.getBuiltinModule('node:http2');
  return loaded;
}
