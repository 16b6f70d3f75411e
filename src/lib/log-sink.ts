/** Where a program's own log lines go: a file that stays small, and that is never in the way of the program. */
import { closeSync, fstatSync, openSync, renameSync, statSync, write, writeSync } from 'node:fs';

export type LogSink = {
  /** Never throws and never waits: what the disk does not take, or not quickly enough, is dropped and counted. */
  write(line: string): void;
  /** Writes what is still waiting, at once; for when the process ends. */
  flush(): void;
};

export type LogSinkOptions = {
  /** At this size the file becomes `PATH.1`, in place of the one before. */
  readonly maxBytes: number;
  /** What is written, with a line end, in place of lines that were dropped. */
  readonly note: (dropped: number) => string;
  /** Bytes that may wait, default 1 MiB. */
  readonly maxWaitingBytes?: number;
};

/** Appends to `path`, mode 0600. One that cannot be opened drops everything, and is tried again with each line. */
export function logSink(path: string, options: LogSinkOptions): LogSink {
  const { maxBytes, note, maxWaitingBytes = 2 ** 20 } = options;
  let file: { readonly fd: number; size: number } | undefined;
  let waiting: string[] = [];
  let [waitingBytes, dropped] = [0, 0];
  let writing = false;

  return {
    write(line) {
      if (waitingBytes + line.length > maxWaitingBytes) {
        dropped++;
        return;
      }
      waiting.push(line);
      waitingBytes += line.length;
      if (!writing) next();
    },

    flush() {
      const lines = waiting.length;
      const text = taken();
      if (text === '') return;
      try {
        const bytes = Buffer.from(text);
        const { fd } = opened();
        for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
      } catch {
        dropped += lines;
      }
    },
  };

  function next(): void {
    const [lines, told] = [waiting.length, dropped];
    if (lines === 0) return;
    const bytes = Buffer.from((told === 0 ? '' : note(told)) + taken());
    let target: { readonly fd: number; size: number };
    try {
      target = opened();
    } catch {
      dropped += lines;
      return;
    }
    writing = true;
    const goOn = (at: number) =>
      write(target.fd, bytes, at, bytes.length - at, null, (error, written) => {
        if (error === null && at + written < bytes.length) return goOn(at + written);
        writing = false;
        if (error === null) {
          dropped -= told;
          target.size += bytes.length;
        } else {
          dropped += lines;
        }
        next();
      });
    goOn(0);
  }

  function taken(): string {
    const text = waiting.join('');
    waiting = [];
    waitingBytes = 0;
    return text;
  }

  function opened(): { readonly fd: number; size: number } {
    if (file !== undefined && file.size < maxBytes) return file;
    // A rename needs no room, and a new file may fail: then the old one goes on.
    try {
      if (file !== undefined || (sizeOf(path) ?? 0) >= maxBytes) renameSync(path, `${path}.1`);
      const fd = openSync(path, 'a', 0o600);
      if (file !== undefined) closeSync(file.fd);
      file = { fd, size: fstatSync(fd).size };
    } catch (error) {
      if (file === undefined) throw error;
      file.size = 0;
    }
    return file;
  }
}

// --- internal ------------------------------------------------------------------------------------

const sizeOf = (path: string): number | undefined => statSync(path, { throwIfNoEntry: false })?.size;
