/** A peer that says nothing any more: its machine may have lost its power, which no connection tells by itself. */
import type { Socket } from 'node:net';

/** Calls `then` once when nothing has come from `socket` for so many milliseconds, from now on. */
export function whenSilent(socket: Socket, ms: number, then: () => void): void {
  const timer = setTimeout(then, ms).unref();
  socket.on('data', () => timer.refresh());
  socket.once('close', () => clearTimeout(timer));
}
