/** What the gateway does with sockets at both ends of their life. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { IdentitySource } from '../../lib/identity.ts';
import type { Endpoint } from '../../model/route.ts';
import { dialBranch } from '../branches/dial.ts';
import { readOnAfterFailedWrite } from '../read-on.ts';

/**
 * Connects to a server. The connection lives at most until `signal` aborts.
 * @throws the system's error (ENOENT, ECONNREFUSED, …), or AbortError; OffshootError what a branch node says
 */
export type Connect = (endpoint: Endpoint, signal: AbortSignal) => Promise<Socket>;

/** @param identity by which the doors of branch nodes let us in; undefined: all servers are on this machine */
export const connectAs =
  (identity?: IdentitySource): Connect =>
  async (endpoint, signal) => {
    if ('socket' in endpoint) return await connectHere(endpoint.socket, signal);
    if (identity === undefined) throw new Error(`no way to the branch node ${endpoint.node}`);
    return await dialBranch(endpoint, identity, signal);
  };

/** @throws the system's error, or AbortError */
export async function connectHere(path: string, signal: AbortSignal): Promise<Socket> {
  const socket = connect({ path, signal });
  socket.on('error', ignore);
  await once(socket, 'connect');
  // Who ends a session says why, while its client may still have something to say.
  readOnAfterFailedWrite(socket);
  return socket;
}

/** For `error` listeners: 'close' follows every error, and that is what we act on. */
export const ignore = (): void => {};

/** Closes `socket` when everything written to it is on its way; a peer that does not read is cut off after a while. */
export function closeSoon(socket: Socket): void {
  if (socket.destroyed) return;
  const timer = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once('close', () => clearTimeout(timer));
  socket.destroySoon();
}

/** Resolves when `socket` is closed. */
export async function closed(socket: Socket): Promise<void> {
  if (!socket.closed) await new Promise<void>(resolve => socket.once('close', () => resolve()));
}

// --- internal ------------------------------------------------------------------------------------

const LINGER_MS = 10_000;
