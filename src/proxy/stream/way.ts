/** How a follower gets to who tells: over a unix socket of its machine, or over a network with TLS. */
import { connect, Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { IdentitySource } from '../../lib/identity.ts';
import type { Address } from '../../model/route.ts';
import { BEAT_MS } from './messages.ts';

export type Way = {
  /** Nobody is dialled before; absent: at once. */
  readonly ready?: Promise<void>;
  /** Begins a connection; `ready` is called when it can be talked on, "close" comes in any case. */
  dial(ready: (socket: Socket) => void): Socket;
  /** Milliseconds between two tries, doubled from the first to the last. */
  readonly pauses: { readonly firstMs: number; readonly lastMs: number };
  /** The other end is heard of at least that often, or is not there any more; undefined: it is on this machine. */
  readonly silenceMs?: number;
};

/** @param path of the unix socket */
export const unixWay = (path: string): Way => ({
  // One that comes is found that soon.
  pauses: { firstMs: 10, lastMs: 100 },
  dial(ready) {
    const socket = connect({ path });
    return socket.once('connect', () => ready(socket));
  },
});

/** @param identity read for each try, because it is renewed */
export const networkWay = (
  { host, port }: Address,
  identity: Pick<IdentitySource, 'read' | 'ready'>,
  silenceMs = SILENCE_MS,
): Way => ({
  ready: identity.ready,
  // Many may follow, and all of them lose it at once.
  pauses: { firstMs: 100, lastMs: 3_000 },
  silenceMs,
  dial(ready) {
    try {
      const { cert, key, ca } = identity.read();
      const socket = connectTls({ host, port, cert, key, ca, minVersion: 'TLSv1.3' });
      socket.setNoDelay(true);
      return socket.once('secureConnect', () => ready(socket));
    } catch (error) {
      return new Socket().destroy(error as Error);
    }
  },
});

// --- internal ---

const SILENCE_MS = 3 * BEAT_MS;
