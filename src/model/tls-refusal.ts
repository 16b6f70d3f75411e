/** What HTTP clients are told which speak clear text where only TLS is served. */
import { OffshootError } from './errors.ts';

/** A whole response. As with other servers, the request's bytes are not looked at. */
export const tlsOnly: string = response(new OffshootError('host/tls-only'));

// --- internal -----------------------------------------------------------------------------------

function response(error: OffshootError): string {
  const body = `${JSON.stringify(error.toBody())}\n`;
  return [
    'HTTP/1.1 400 Bad Request',
    'Content-Type: application/json; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Connection: close',
    '',
    body,
  ].join('\r\n');
}
