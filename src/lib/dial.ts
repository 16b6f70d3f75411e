/** A connection over TCP, when it is there. */
import { connect, type Socket } from 'node:net';

export type Dial = (
  address: { readonly host: string; readonly port: number },
  signal?: AbortSignal,
) => Promise<Socket>;

/** @returns it, half-open ones allowed. @throws the system's error, with `code`; the signal's reason */
export function dial(
  address: { readonly host: string; readonly port: number },
  signal?: AbortSignal,
): Promise<Socket> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const socket = connect({ ...address, allowHalfOpen: true });
    const aborted = () => socket.destroy(signal!.reason);
    const over = () => signal?.removeEventListener('abort', aborted);
    signal?.addEventListener('abort', aborted, { once: true });
    socket.on('error', error => {
      over();
      reject(error);
    });
    socket.once('connect', () => {
      over();
      resolve(socket);
    });
  });
}
