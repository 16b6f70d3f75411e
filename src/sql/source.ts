/** The bytes of a script as lines, and the rows that stand in it after COPY … FROM stdin. */
import { closeSync, openSync, read } from 'node:fs';
import { promisify } from 'node:util';
import { fileError } from './files.ts';

export type Source = {
  /** How messages name it. */
  readonly file: string;
  /** Of the line that was read last, from 1. */
  readonly line: number;
  /** The next line with its end, a byte in each character; undefined at the end. */
  next(): Promise<string | undefined>;
  /** What follows, up to the line `\.` or the end, in pieces. Each is good until the next is asked for. */
  rows(): AsyncGenerator<Buffer>;
};

/** It cannot be read, or is no script. Its message names it. */
export class ScriptError extends Error {}

/** @throws ScriptError while it is read, when the file cannot be */
export const fileSource = (path: string, shown: string): Source => readSource(shown, fileReader(path, shown));

/** @param bytes read as they are asked for */
export const source = (file: string, bytes: AsyncIterable<Buffer> | Iterable<Buffer>): Source =>
  readSource(file, iterableReader(bytes));

/** All bytes of a file, in pieces, each of which is good until the next is asked for. @throws ScriptError */
export async function* fileBytes(path: string, shown: string): AsyncGenerator<Buffer> {
  const fill = fileReader(path, shown);
  const buffer = Buffer.alloc(BUFFER);
  for (let count = await fill(buffer); count > 0; count = await fill(buffer)) yield buffer.subarray(0, count);
}

// --- internal -----------------------------------------------------------------------------------

/** Fills what it is given as far as it can. @returns how many bytes came; 0 at the end */
type Reader = (into: Buffer) => Promise<number>;

/** All that is read goes through one buffer: files of gigabytes leave nothing behind. */
function readSource(file: string, fill: Reader): Source {
  const buffer = Buffer.alloc(BUFFER);
  let rest: Buffer = buffer.subarray(0, 0);
  let begun = false;
  let ended = false;
  let line = 0;
  let lineStart = true;

  /** What is left stays in front. @returns false at the end */
  const more = async (): Promise<boolean> => {
    if (ended) return false;
    const kept = rest.length;
    rest.copy(buffer);
    const count = await fill(buffer.subarray(kept));
    rest = buffer.subarray(0, kept + count);
    if (count === 0) {
      ended = true;
      return false;
    }
    if (begun || (rest.length < 3 && (await more()))) return true;
    begun = true;
    if (rest.subarray(0, 3).equals(BOM)) rest = rest.subarray(3);
    else if (UTF16.some(bom => rest.subarray(0, 2).equals(bom)))
      throw new ScriptError(`${file} is in UTF-16; save it as UTF-8`);
    return true;
  };

  return {
    file,
    get line() {
      return line;
    },

    async next() {
      let text = '';
      for (;;) {
        const stop = rest.indexOf(LF);
        const end = stop < 0 ? rest.length : stop + 1;
        text += rest.toString('latin1', 0, end);
        rest = rest.subarray(end);
        if (stop >= 0) break;
        if (text.length > MAX_LINE)
          throw new ScriptError(`${file}:${line + 1}: the line is longer than 256 MiB`);
        if (!(await more()) && rest.length === 0) {
          if (text === '') return undefined;
          break;
        }
      }
      line++;
      lineStart = true;
      return text;
    },

    async *rows() {
      for (;;) {
        if (lineStart) {
          while (
            rest.length < 4 &&
            MARK.subarray(0, rest.length).equals(rest.subarray(0, 2)) &&
            (await more())
          );
          const end = endOfMark(rest, 0, ended);
          if (end !== undefined) {
            rest = rest.subarray(end);
            line++;
            return;
          }
        }
        const stop = nextMark(rest, ended);
        // Of what may be the beginning of the mark, the end is awaited.
        const cut = stop ?? (ended ? rest.length : Math.max(0, rest.length - 4));
        if (cut > 0) {
          const piece = rest.subarray(0, cut);
          rest = rest.subarray(cut);
          line += linesIn(piece);
          lineStart = piece.at(-1) === LF;
          yield piece;
        } else if (!(await more()) && rest.length === 0) return;
      }
    },
  };
}

const BUFFER = 256 * 1024;
const LF = 10;
const BOM = Buffer.from([0xef, 0xbb, 0xbf]);
const UTF16 = [Buffer.from([0xff, 0xfe]), Buffer.from([0xfe, 0xff])];
const MARK = Buffer.from('\\.');
const MAX_LINE = 256 * 1024 * 1024;

function fileReader(path: string, shown: string): Reader {
  let file: number | undefined;
  let ended = false;
  return async into => {
    if (ended) return 0;
    try {
      file ??= openSync(path, 'r');
      const { bytesRead } = await readFrom(file, into, 0, into.length, null);
      if (bytesRead > 0) return bytesRead;
      ended = true;
      closeSync(file);
      return 0;
    } catch (error) {
      throw new ScriptError(`cannot read ${shown}: ${fileError(error)}`);
    }
  };
}

const readFrom = promisify(read);

function iterableReader(bytes: AsyncIterable<Buffer> | Iterable<Buffer>): Reader {
  const chunks = Symbol.asyncIterator in bytes ? bytes[Symbol.asyncIterator]() : bytes[Symbol.iterator]();
  let chunk: Buffer = Buffer.alloc(0);
  return async into => {
    while (chunk.length === 0) {
      const next = await chunks.next();
      if (next.done) return 0;
      chunk = next.value;
    }
    const count = chunk.copy(into);
    chunk = chunk.subarray(count);
    return count;
  };
}

/** Where the line ends that begins at `at`, when it is the mark; undefined when it is another one. */
function endOfMark(bytes: Buffer, at: number, ended: boolean): number | undefined {
  if (!bytes.subarray(at, at + 2).equals(MARK)) return undefined;
  const after = bytes[at + 2] === 13 ? at + 3 : at + 2;
  if (bytes[after] === LF) return after + 1;
  return ended && after >= bytes.length ? after : undefined;
}

/** Where the line of the mark begins, when it is in `bytes`. */
function nextMark(bytes: Buffer, ended: boolean): number | undefined {
  for (let at = bytes.indexOf('\n\\.'); at >= 0; at = bytes.indexOf('\n\\.', at + 1))
    if (endOfMark(bytes, at + 1, ended) !== undefined) return at + 1;
  return undefined;
}

function linesIn(bytes: Buffer): number {
  let lines = 0;
  for (let at = bytes.indexOf(LF); at >= 0; at = bytes.indexOf(LF, at + 1)) lines++;
  return lines;
}
