/** The server's end of TLS on a connection that is there already, and how to end one so that it is noticed. */
import type { Socket } from 'node:net';
import { TLSSocket, type TLSSocketOptions } from 'node:tls';

/** First byte of a connection that begins with TLS: a handshake record (RFC 8446 §5.1). */
export const handshakeRecord = 22;

const below = new WeakMap<Socket, Socket>();

/**
 * Bytes that `raw` holds already are taken for the client's first ones. The two end together.
 * @param then gets the socket when the handshake is done; if that fails, both are closed
 */
export function acceptTls(
  raw: Socket,
  options: Omit<TLSSocketOptions, 'isServer'>,
  then: (secure: TLSSocket) => void,
): TLSSocket {
  const secure = new TLSSocket(raw, { ...options, isServer: true });
  below.set(secure, raw);
  secure.on('error', () => raw.destroy()); // a peer that speaks something else, or does not like our certificate
  secure.once('secure', () => {
    // As node's own server does; sessions of HTTP/2 wait for it.
    Object.assign(secure, { secureConnecting: false });
    then(secure);
  });
  return secure;
}

/** Resets the connection: what was sent cannot be taken for all of it. */
export const cut = (socket: Socket): Socket => (below.get(socket) ?? socket).resetAndDestroy();
