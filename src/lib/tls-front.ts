/** One port for clear text and TLS: the first byte of a connection tells them apart, for no text begins with the one of TLS. */
import type { Server, Socket } from 'node:net';
import type { SecureContext } from 'node:tls';
import { acceptTls, handshakeRecord } from './tls-socket.ts';

export type TlsFront = {
  /** What TLS is served with; undefined: it is not. Asked for each connection. */
  readonly context: () => SecureContext | undefined;
  /** Whether this peer may go on in clear text. */
  readonly clear: (socket: Socket) => boolean;
  /** What others are told in clear text before they are let go, in the server's own protocol. */
  readonly refusal: string;
  /** Chooses a protocol of those that a client names (ALPN, RFC 7301); undefined: none of them. Absent: nothing is said. */
  readonly protocol?: (asked: {
    readonly servername: string;
    readonly protocols: string[];
  }) => string | undefined;
  /** Milliseconds for the first byte, and then for the handshake. */
  readonly deadlineMs: number;
};

/** Connections whose first byte, or handshake, is waited for. */
export type Pending = { readonly size: number; end(): void };

/**
 * Puts itself before the listeners for `connection` that `server` has now: they get TLS connections when their
 * handshake is done, and clear ones that are allowed.
 */
export function takeTls(server: Server, front: TlsFront): Pending {
  const served = server.listeners('connection') as ((this: Server, socket: Socket) => void)[];
  server.removeAllListeners('connection');
  const serve = (socket: Socket) => {
    for (const listener of served) listener.call(server, socket);
  };
  const pending = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    pending.add(socket);
    socket.on('error', ignore); // "close" follows
    socket.once('close', () => pending.delete(socket));
    const timer = setTimeout(() => socket.destroy(), front.deadlineMs);
    socket.once('close', () => clearTimeout(timer));
    const begin = (chosen: Socket) => {
      clearTimeout(timer);
      pending.delete(socket);
      serve(chosen);
    };
    firstByte(socket, byte => {
      if (byte === handshakeRecord) {
        const secureContext = front.context();
        if (secureContext === undefined) return socket.destroy();
        const alpn = front.protocol && { ALPNCallback: front.protocol };
        return acceptTls(socket, { secureContext, ...alpn }, begin);
      }
      if (front.clear(socket)) return begin(socket);
      socket.end(front.refusal);
      socket.resume(); // what is not read when it is closed resets it, and the answer is lost
    });
  });
  return {
    get size() {
      return pending.size;
    },
    end() {
      for (const socket of pending) socket.destroy();
    },
  };
}

// --- internal ------------------------------------------------------------------------------------

const ignore = (): void => {};

/** Calls `then` when there is a byte, and leaves it where it is. */
function firstByte(socket: Socket, then: (byte: number) => void): void {
  const leave = () => socket.destroy();
  socket.once('end', leave);
  const look = () => {
    const bytes: Buffer | null = socket.read();
    if (bytes === null) return void socket.once('readable', look);
    socket.off('end', leave);
    socket.unshift(bytes);
    then(bytes[0]!);
  };
  socket.once('readable', look);
}
