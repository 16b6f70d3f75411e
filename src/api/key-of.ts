import type { IncomingHttpHeaders } from 'node:http';

/** The key that a request carries. */
export function keyOf({ headers }: { readonly headers: IncomingHttpHeaders }): string | undefined {
  const named = headers['signadot-api-key'] ?? headers['offshoot-api-key'];
  if (typeof named === 'string') return named;
  const match = /^bearer\s+(\S+)$/i.exec(headers.authorization ?? '');
  return match?.[1];
}
