/** Who asked, for the workload: `Forwarded` (RFC 7239) and its forerunners `X-Forwarded-*`. */
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { without } from './headers.ts';

/** Whose connection it is. */
export type Client = {
  /** Its IP. */
  readonly address: string | undefined;
  /** By TLS. */
  readonly secure: boolean;
};

export const clientOf = (socket: Socket): Client => ({
  address: socket.remoteAddress,
  secure: socket instanceof TLSSocket,
});

/** Headers with what this connection shows, and the host that was asked for. What the client claims is left out: no proxy before us is trusted. */
export function withForwarded(headers: readonly string[], client: Client, host: string): string[] {
  // A dual-stack socket shows IPv4 clients as mapped addresses, RFC 4291 §2.5.5.2.
  const ip = (client.address ?? 'unknown').replace(/^::ffff:(?=\d+\.)/, '');
  const node = ip.includes(':') ? `"[${ip}]"` : ip; // RFC 7239 §6
  const proto = client.secure ? 'https' : 'http';
  return [
    ...without(headers, name => name === 'forwarded' || name.startsWith('x-forwarded-')),
    ...['Forwarded', `for=${node};host="${host}";proto=${proto}`],
    ...['X-Forwarded-For', ip, 'X-Forwarded-Host', host, 'X-Forwarded-Proto', proto],
  ];
}
