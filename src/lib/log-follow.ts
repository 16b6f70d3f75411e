/** Lines of a log file as they are written, by whoever. */
import { type FSWatcher, watch } from 'node:fs';
import { open } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { StringDecoder } from 'node:string_decoder';
import { logSize, MAX_LINE, tail } from './log-file.ts';
import { delay } from './wait.ts';

/**
 * Yields each line that is written to `path` after its byte `from`, until the signal; a line that is longer than 4096
 * characters is cut. The file need not be there yet, and may be cut by `rotate` meanwhile: what was not read by then is
 * lost. Told by the kernel: costs nothing while nothing is written, and reads at most every 50 ms.
 * @throws when the folder of `path` is not there
 */
export async function* follow(path: string, from: number, signal: AbortSignal): AsyncGenerator<string, void> {
  let ring = (): void => {};
  let written = Promise.withResolvers<void>();
  const stop = (): void => ring();
  const watcher = watchFile(path, () => ring());
  ring = () => written.resolve();
  signal.addEventListener('abort', stop, { once: true });
  const read = reader(path, from);
  try {
    while (!signal.aborted) {
      written = Promise.withResolvers<void>(); // first: what is written while we read rings again
      for (let lines = await read(); lines !== undefined && !signal.aborted; lines = await read())
        yield* lines;
      await written.promise;
      await delay(GATHER_MS, signal).catch(() => {});
    }
  } finally {
    signal.removeEventListener('abort', stop);
    watcher.close();
  }
}

/** The newest `lines` lines of a log, oldest first, then each that comes, until the signal. */
export async function* tailAndFollow(
  path: string,
  lines: number,
  signal: AbortSignal,
): AsyncGenerator<string, void> {
  const to = logSize(path);
  yield* await tail(path, lines, { to });
  yield* follow(path, to, signal);
}

// --- internal -----------------------------------------------------------------------------------

const GATHER_MS = 50;
const CHUNK_BYTES = 64 * 1024;

function watchFile(path: string, changed: () => void): FSWatcher {
  const name = basename(path);
  // The folder rather than the file, which may not be there yet.
  const watcher = watch(dirname(path), { persistent: false }, (_, which) => {
    if (which === name || which === null) changed();
  });
  return watcher.on('error', changed);
}

/** @returns what reads on; it answers undefined at the end of what is there */
function reader(path: string, from: number): () => Promise<string[] | undefined> {
  let at = from;
  let decoder = new StringDecoder('utf8');
  let held = '';
  return async () => {
    const file = await open(path).catch(() => undefined);
    if (file === undefined) return undefined;
    try {
      const { size } = await file.stat();
      if (size < at) [at, held, decoder] = [0, '', new StringDecoder('utf8')];
      const { buffer, bytesRead } = await file.read(Buffer.alloc(CHUNK_BYTES), 0, CHUNK_BYTES, at);
      if (bytesRead === 0) return undefined;
      at += bytesRead;
      const lines = decoder.write(buffer.subarray(0, bytesRead)).split('\n');
      lines[0] = held + lines[0]!;
      held = lines.pop()!.slice(0, MAX_LINE);
      return lines.map(line => line.slice(0, MAX_LINE));
    } finally {
      await file.close();
    }
  };
}
