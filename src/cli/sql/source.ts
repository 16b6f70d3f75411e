/** The bytes of a script as lines, and the rows that stand in it after COPY … FROM stdin. */
import { createReadStream } from 'node:fs';
import { UsageError } from '../output.ts';

export type Source = {
  /** How messages name it. */
  readonly file: string;
  /** Of the line that was read last, from 1. */
  readonly line: number;
  /** The next line with its end, a byte in each character; undefined at the end. */
  next(): Promise<string | undefined>;
  /** What follows, up to the line `\.` or the end, in pieces. */
  rows(): AsyncGenerator<Buffer>;
};

/** @throws UsageError while it is read, when the file cannot be */
export const fileSource = (path: string, shown: string): Source => source(shown, openFile(path, shown));

/** @param bytes read as they are asked for */
export function source(file: string, bytes: AsyncIterable<Buffer>): Source {
  const chunks = bytes[Symbol.asyncIterator]();
  let rest: Buffer = Buffer.alloc(0);
  let begun = false;
  let ended = false;
  let line = 0;
  let lineStart = true;

  /** @returns false at the end */
  const more = async (): Promise<boolean> => {
    if (ended) return false;
    const { value, done } = await chunks.next();
    if (done) {
      ended = true;
      return false;
    }
    rest = rest.length === 0 ? value : Buffer.concat([rest, value]);
    if (begun || (rest.length < 3 && (await more()))) return true;
    begun = true;
    if (rest.subarray(0, 3).equals(BOM)) rest = rest.subarray(3);
    else if (UTF16.some(bom => rest.subarray(0, 2).equals(bom)))
      throw new UsageError(`${file} is in UTF-16; save it as UTF-8`);
    return true;
  };

  return {
    file,
    get line() {
      return line;
    },

    async next() {
      const parts: Buffer[] = [];
      let length = 0;
      for (;;) {
        const stop = rest.indexOf(LF);
        if (stop >= 0 || (ended && rest.length > 0)) {
          const end = stop < 0 ? rest.length : stop + 1;
          parts.push(rest.subarray(0, end));
          rest = rest.subarray(end);
          break;
        }
        if (rest.length > 0) parts.push(rest);
        length += rest.length;
        if (length > MAX_LINE) throw new UsageError(`${file}:${line + 1}: the line is longer than 256 MiB`);
        rest = Buffer.alloc(0);
        if (!(await more()) && parts.length === 0) return undefined;
        if (ended && rest.length === 0) break;
      }
      line++;
      lineStart = true;
      return Buffer.concat(parts).toString('latin1');
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

// --- internal -----------------------------------------------------------------------------------

const LF = 10;
const BOM = Buffer.from([0xef, 0xbb, 0xbf]);
const UTF16 = [Buffer.from([0xff, 0xfe]), Buffer.from([0xfe, 0xff])];
const MARK = Buffer.from('\\.');
const MAX_LINE = 256 * 1024 * 1024;

async function* openFile(path: string, shown: string): AsyncGenerator<Buffer> {
  try {
    yield* createReadStream(path, { highWaterMark: 256 * 1024 }) as AsyncIterable<Buffer>;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why = code === 'ENOENT' ? 'it does not exist' : code === 'EISDIR' ? 'it is a folder' : String(code);
    throw new UsageError(`cannot read ${shown}: ${why}`);
  }
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
