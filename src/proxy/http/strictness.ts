/**
 * Hardening against request smuggling: what node's parser lets pass, but two parsers might read differently.
 * The parser itself refuses both lengths at once, several lengths, folded lines, and invalid characters.
 */
import type { IncomingMessage } from 'node:http';
import { valuesOf } from './headers.ts';

/** @returns why the request is ambiguous, or undefined. */
export function ambiguity({ httpVersion, rawHeaders }: IncomingMessage): string | undefined {
  if (httpVersion !== '1.1' && httpVersion !== '1.0') return `its version is ${httpVersion}`;
  const codings = valuesOf(rawHeaders, 'transfer-encoding');
  if (codings.length > 1 || (codings.length === 1 && codings[0]!.toLowerCase() !== 'chunked'))
    return 'its Transfer-Encoding is not "chunked"';
  // RFC 9112 §6.1: the framing of such a message is faulty.
  if (codings.length === 1 && httpVersion === '1.0') return 'HTTP/1.0 has no Transfer-Encoding';
  return undefined;
}
