/**
 * A workload may answer and hang up before it has read the whole request (413, 401, …), and a database says why it ends a session.
 * The next write to it then fails while its answer is here but not read yet, and node would throw that away together with the socket.
 */
import type { Socket } from 'node:net';

/**
 * From a failed write on, `socket` is only read: it ends by that error once everything that came is read.
 * Its end is never taken for the end of a body, because nobody can tell it from a reset now.
 */
export function readOnAfterFailedWrite(socket: Socket): void {
  let failed = false;
  const guard = (write: Write | undefined): Write | undefined =>
    write &&
    ((...args) => {
      const done = args.pop() as Done;
      write.call(socket, ...args, (error?: Error | null) => {
        if (!GONE.has((error as NodeJS.ErrnoException | undefined)?.code ?? '')) return done(error);
        // `done` is never called: no more is written, as if the peer took its time.
        if (!failed) endWhenRead(socket, error!);
        failed = true;
      });
    });
  const inner = socket as unknown as { _write: Write; _writev?: Write | undefined };
  inner._write = guard(inner._write)!;
  inner._writev = guard(inner._writev);
}

// --- internal ---

type Done = (error?: Error | null) => void;
// biome-ignore lint/suspicious/noExplicitAny: _write and _writev differ in their arguments, which pass as they are.
type Write = (...args: any[]) => void;

/** Codes of a write to a peer that has closed or reset the connection. */
const GONE: ReadonlySet<string> = new Set(['EPIPE', 'ECONNRESET']);

function endWhenRead(socket: Socket, error: Error): void {
  const push = socket.push;
  socket.push = (chunk, encoding) => {
    if (chunk !== null) return push.call(socket, chunk, encoding);
    const endIfRead = () => setImmediate(() => socket.readableLength === 0 && socket.destroy(error));
    socket.on('data', endIfRead);
    endIfRead();
    return false;
  };
}
