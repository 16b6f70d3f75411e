/** The first line of a connection that is followed by something else: what comes behind it is left where it is. */
import type { Socket } from 'node:net';

/**
 * @param longest bytes that it may have
 * @throws an error when the connection ends before, or with a line that is longer or no JSON; the signal's reason
 */
export function firstLine(socket: Socket, longest: number, signal: AbortSignal): Promise<unknown> {
  return new Promise((resolve, reject) => {
    let held: Buffer = Buffer.alloc(0);
    const over = (done: () => void) => {
      socket.off('readable', look);
      socket.off('end', ended);
      socket.off('close', ended);
      signal.removeEventListener('abort', aborted);
      done();
    };
    const fail = (error: unknown) => over(() => reject(error));
    const ended = () => fail(new Error('the other side has ended the connection'));
    const aborted = () => fail(signal.reason);
    const look = () => {
      for (let chunk: Buffer | null = socket.read(); chunk !== null; chunk = socket.read()) {
        held = Buffer.concat([held, chunk]);
        const end = held.indexOf('\n');
        if (end > longest || (end < 0 && held.length > longest))
          return fail(new Error('the line is too long'));
        if (end < 0) continue;
        const line = held.toString('utf8', 0, end);
        const rest = held.subarray(end + 1);
        return over(() => {
          if (rest.length > 0) socket.unshift(rest);
          try {
            resolve(JSON.parse(line));
          } catch {
            reject(new Error('the line is no JSON'));
          }
        });
      }
    };
    if (signal.aborted) return reject(signal.reason);
    signal.addEventListener('abort', aborted, { once: true });
    socket.once('end', ended);
    socket.once('close', ended);
    socket.on('readable', look);
    look();
  });
}
