/** Who asked, for the workload: `Forwarded` (RFC 7239) and its forerunners `X-Forwarded-*`. */
import type { IncomingMessage } from 'node:http';
import { TLSSocket } from 'node:tls';
import { without } from './headers.ts';

/** Headers with what this connection shows, and the host that was asked for. What the client claims is left out: no proxy before us is trusted. */
export function withForwarded(
  headers: readonly string[],
  { socket }: IncomingMessage,
  host: string,
): string[] {
  // A dual-stack socket shows IPv4 clients as mapped addresses, RFC 4291 §2.5.5.2.
  const client = (socket.remoteAddress ?? 'unknown').replace(/^::ffff:(?=\d+\.)/, '');
  const node = client.includes(':') ? `"[${client}]"` : client; // RFC 7239 §6
  const proto = socket instanceof TLSSocket ? 'https' : 'http';
  return [
    ...without(headers, name => name === 'forwarded' || name.startsWith('x-forwarded-')),
    ...['Forwarded', `for=${node};host="${host}";proto=${proto}`],
    ...['X-Forwarded-For', client, 'X-Forwarded-Host', host, 'X-Forwarded-Proto', proto],
  ];
}
