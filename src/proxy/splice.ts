/** Two connections become one: bytes go both ways, half-closing included, until both ends are closed. */
import type { Socket } from 'node:net';
import { cut } from '../lib/tls-socket.ts';

/**
 * @param idleMs without a byte in either direction, both are closed; undefined: they may be silent for as long as both
 *   ends are there, which keep-alive probes find out
 * @returns when both are closed
 */
export function splice(one: Socket, other: Socket, idleMs: number | undefined): Promise<unknown> {
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const) {
    from.on('error', () => {}); // "close" follows
    if (idleMs !== undefined)
      from.setTimeout(idleMs, () => {
        from.destroy();
        to.destroy();
      });
    from.once('close', hadError => {
      if (hadError) return void cut(to); // not to be taken for an end
      // Nobody is left to read what comes, but it must be read for its end to be seen.
      to.end();
      to.resume();
    });
    from.pipe(to);
  }
  const closed = (socket: Socket) =>
    new Promise<void>(resolve => {
      if (socket.closed) resolve();
      else socket.once('close', () => resolve());
    });
  return Promise.all([closed(one), closed(other)]);
}
