/** What the gateway does with sockets at both ends of their life. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { Endpoint } from '../../model/route.ts';

/**
 * Connects to a server. The connection lives at most until `signal` aborts.
 * @throws the system's error (ENOENT, ECONNREFUSED, …), or AbortError.
 */
export async function connectTo(endpoint: Endpoint, signal: AbortSignal): Promise<Socket> {
  const socket = connect('socket' in endpoint ? { path: endpoint.socket, signal } : { ...endpoint, signal });
  socket.on('error', ignore);
  await once(socket, 'connect');
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
