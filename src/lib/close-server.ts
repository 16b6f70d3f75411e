/** Closing a server at once, whoever is connected. */
import { once } from 'node:events';
import type { Server, Socket } from 'node:net';

/**
 * To be called before `server` listens.
 * @returns the way to close it: resolves when it does not listen any more and all connections are gone
 */
export function closingAtOnce(server: Server): () => Promise<void> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => {}); // "close" follows
    socket.once('close', () => sockets.delete(socket));
  });
  return async () => {
    const closed = once(server, 'close');
    server.close();
    for (const socket of sockets) socket.destroy();
    await closed;
  };
}
