/** The real standard streams at the ends of the program: a reader that leaves, a disk that is full, and output that is whole. */

import type { Cli } from './context.ts';
import { ReaderGone, say } from './output.ts';

/**
 * Hears what goes wrong with the streams for as long as the program runs. A reader of standard output that leaves
 * (`offshoot … | head`) ends the command as Ctrl-C does, but in silence; one of standard error is not missed.
 * @returns the exit code that a failed stream asks for, undefined while all went well
 */
export function hearStreams(
  cli: Pick<Cli, 'stdout' | 'stderr'>,
  abort: AbortController,
): () => number | undefined {
  let code: number | undefined;
  cli.stderr.on('error', () => {});
  cli.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (code !== undefined) return; // every further write fails too
    code = error.code === 'EPIPE' ? 0 : 1;
    if (code === 1) say(cli, `error: the output cannot be written: ${error.code ?? error.message}`);
    abort.abort(new ReaderGone());
  });
  return () => code;
}

/**
 * Waits until everything written so far has left the program or cannot leave it any more: pipes take 64 KiB at once,
 * the rest waits for the reader, as long as that takes. Whoever interrupts has waited enough.
 * @returns false when the signal aborted it
 */
export async function flushed(
  streams: readonly NodeJS.WritableStream[],
  signal: AbortSignal,
): Promise<boolean> {
  const all = Promise.all(
    streams.map(stream => new Promise<void>(resolve => stream.write('', () => resolve()))),
  );
  const before = signal.aborted;
  const enough = new Promise<false>(resolve => {
    if (before) setTimeout(resolve, lastWordsMs, false);
    else signal.addEventListener('abort', () => resolve(false), { once: true });
  });
  return Promise.race([all.then(() => true), enough]);
}

// --- internal -----------------------------------------------------------------------------------

/** For what is said about the interruption itself. */
const lastWordsMs = 500;
