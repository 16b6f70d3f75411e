/** Lines of a log file as they are written, by whoever. */
import { once } from 'node:events';
import { closeSync, fstatSync, openSync, readSync, watch } from 'node:fs';
import { basename, dirname } from 'node:path';
import { StringDecoder } from 'node:string_decoder';
import { logSize, MAX_LINE, tail } from './log-file.ts';
import { turn } from './turns.ts';

/**
 * Yields each line that is written to `path` after its byte `from`, until the signal; a line that is longer than 4096
 * characters is cut. The file need not be there yet, and may be cut by `rotate` meanwhile: what was not read by then is
 * lost. After a silence, which costs nothing, the kernel tells; while lines flow the file is read ten times a second instead, which is less work than
 * to be told of each, and for all who follow something at the same time, so that what is made of it goes on in one piece.
 * @throws when the folder of `path` is not there
 */
export async function* follow(path: string, from: number, signal: AbortSignal): AsyncGenerator<string, void> {
  const read = reader(path, from);
  let change: Change | undefined = changeOf(path, signal); // first: what is written while we read is told
  try {
    while (!signal.aborted) {
      let flows = false;
      for (let lines = read.next(); lines !== undefined && !signal.aborted; lines = read.next()) {
        flows = true;
        yield* lines;
        await turn();
      }
      if (flows) await nextLook();
      else if (change !== undefined) await change.told;
      else {
        // Silence, at least until this look. It may be another file by now.
        read.close();
        change = changeOrNever(path, signal);
        continue;
      }
      change?.close();
      change = undefined;
    }
  } finally {
    change?.close();
    read.close();
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

const GATHER_MS = 100;
let look: Promise<void> | undefined;
/** The same for all who wait. */
function nextLook(): Promise<void> {
  look ??= new Promise(resolve => {
    setTimeout(() => {
      look = undefined;
      resolve();
    }, GATHER_MS);
  });
  return look;
}

const CHUNK_BYTES = 64 * 1024;
/** One for all: nobody holds it longer than a call. */
const buffer = Buffer.allocUnsafe(CHUNK_BYTES);

type Change = {
  /** Resolves when something has happened to the file, or at the signal. */
  readonly told: Promise<void>;
  close(): void;
};

function changeOf(path: string, signal: AbortSignal): Change {
  const name = basename(path);
  const { promise: told, resolve } = Promise.withResolvers<void>();
  // The folder rather than the file, which may not be there yet.
  const watcher = watch(dirname(path), { persistent: false }, (_, which) => {
    if (which === name || which === null) resolve();
  });
  watcher.on('error', () => resolve());
  const tell = (): void => resolve();
  signal.addEventListener('abort', tell, { once: true });
  if (signal.aborted) resolve();
  return {
    told,
    close() {
      signal.removeEventListener('abort', tell);
      watcher.close();
    },
  };
}

/** Of a folder that is gone, nothing will be heard any more. */
function changeOrNever(path: string, signal: AbortSignal): Change {
  try {
    return changeOf(path, signal);
  } catch {
    return { told: once(signal, 'abort').then(() => {}), close() {} };
  }
}

type Reader = {
  /** Of a piece of at most 64 KiB, the lines that end in it; undefined at the end of what is there. */
  next(): string[] | undefined;
  /** The next look opens what has this name then. */
  close(): void;
};

/** The file stays open, and is read at once: what was just written is in memory, and a thread to fetch it costs ten times as much. */
function reader(path: string, from: number): Reader {
  let at = from;
  let decoder = new StringDecoder('utf8');
  let held = '';
  let file: number | undefined;
  let inode: number | undefined;

  const anew = (): void => {
    [at, held, decoder] = [0, '', new StringDecoder('utf8')];
  };
  const close = (): void => {
    if (file !== undefined) closeSync(file);
    file = undefined;
  };
  const fill = (): number => {
    try {
      if (file === undefined) {
        file = openSync(path, 'r');
        const { ino } = fstatSync(file);
        if (inode !== undefined && ino !== inode) anew();
        inode = ino;
      }
      const bytes = readSync(file, buffer, 0, CHUNK_BYTES, at);
      if (bytes > 0 || fstatSync(file).size >= at) return bytes;
      anew();
      return readSync(file, buffer, 0, CHUNK_BYTES, at);
    } catch {
      close();
      return 0;
    }
  };

  return {
    next() {
      const bytes = fill();
      if (bytes === 0) return undefined;
      at += bytes;
      const lines = decoder.write(buffer.subarray(0, bytes)).split('\n');
      lines[0] = held + lines[0]!;
      held = lines.pop()!.slice(0, MAX_LINE);
      return lines.map(line => line.slice(0, MAX_LINE));
    },
    close,
  };
}
