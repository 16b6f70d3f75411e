/** A peer that says nothing any more: its machine may have lost its power, which no connection tells by itself. */
import type { Socket } from 'node:net';

/**
 * Calls `then` once when nothing has come from `socket` for so many milliseconds, from now on. Who was asleep for longer himself first
 * hears what has come meanwhile: timers run before sockets are looked at.
 */
export function whenSilent(socket: Socket, ms: number, then: () => void): void {
  let heard = false;
  const timer = setTimeout(() => {
    heard = false;
    setImmediate(() => heard || socket.destroyed || then());
  }, ms).unref();
  socket.on('data', () => {
    heard = true;
    timer.refresh();
  });
  socket.once('close', () => clearTimeout(timer));
}
