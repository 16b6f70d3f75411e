/**
 * Rows in the text format of COPY (PostgreSQL, COPY, "Text Format"), some of whose first columns become others on their way.
 * Between columns is a tab, behind a row a line's end, NULL is `\N`; neither stands in a value, where they are written with a
 * backslash. So the rest of a row passes as it is, and only values that are masked are ever read.
 */
import type { Mask } from './values.ts';

/** Of the first columns of each row: what becomes of them. `keep`: read for others, and passed on. */
export type MaskedColumn = {
  readonly name: string;
  readonly mask: Mask | 'keep' | 'null';
  /** Which of the first columns decides; it stands before. */
  readonly by?: number;
};

/** Why a value cannot be masked, without the value. */
export class ValueError extends Error {
  readonly column: string;
  constructor(column: string, why: string) {
    super(why);
    this.column = column;
  }
}

export type RowMasker = {
  /** Takes bytes of rows, cut anywhere. */
  push(bytes: Buffer): void;
  /** @throws Error when the last row is not whole */
  end(): void;
};

/**
 * @param columns of which each row begins; at least one
 * @param all how many columns a row has
 * @param out takes rows as pieces, cut anywhere; they are its own
 * @throws from `push`: ValueError, and Error without any value in it
 */
export function maskRows(
  columns: readonly MaskedColumn[],
  all: number,
  out: (piece: Buffer) => void,
): RowMasker {
  const seen: (string | undefined)[] = columns.map(() => undefined);
  /** Of the row that comes: the next column, `columns.length` when the rest only passes. */
  let next = 0;
  let begun: Buffer[] = [];
  let begunBytes = 0;
  let inRow = false;
  let piece = Buffer.allocUnsafe(PIECE);
  let used = 0;

  const flush = (): void => {
    if (used === 0) return;
    out(piece.subarray(0, used));
    piece = Buffer.allocUnsafe(PIECE);
    used = 0;
  };
  const put = (bytes: Buffer, from: number, to: number): void => {
    while (from < to) {
      if (used === PIECE) flush();
      const part = Math.min(PIECE - used, to - from);
      bytes.copy(piece, used, from, from + part);
      used += part;
      from += part;
    }
  };
  const putText = (text: string): void => {
    if (3 * text.length <= PIECE - used) {
      used += piece.write(text, used, 'utf8');
      return;
    }
    const bytes = Buffer.from(text, 'utf8');
    put(bytes, 0, bytes.length);
  };
  const masked = (field: string): void => {
    const { mask, by, name } = columns[next]!;
    if (field === NULL || mask === 'null') {
      seen[next] = undefined;
      putText(NULL);
      return;
    }
    if (mask === 'keep') {
      seen[next] = plainOf(field);
      putText(field);
      return;
    }
    const value = plainOf(field);
    seen[next] = value;
    let other: string;
    try {
      other = mask(value, by === undefined ? undefined : seen[by]);
    } catch {
      // What the error says may be of the value.
      throw new ValueError(name, 'it is not of the form that its type has');
    }
    putText(escaped(other));
  };

  return {
    push(bytes) {
      let at = 0;
      while (at < bytes.length) {
        inRow = true;
        if (next === columns.length) {
          const end = bytes.indexOf(LINE_END, at);
          const to = end < 0 ? bytes.length : end + 1;
          put(bytes, at, to);
          at = to;
          if (end < 0) return;
          next = 0;
          inRow = false;
          continue;
        }
        let end = at;
        while (end < bytes.length && bytes[end] !== TAB && bytes[end] !== LINE_END) end += 1;
        if (end === bytes.length) {
          begunBytes += end - at;
          if (begunBytes > MOST_BYTES)
            throw new ValueError(columns[next]!.name, `it is longer than ${MOST_BYTES / 2 ** 20} MiB`);
          begun.push(Buffer.from(bytes.subarray(at)));
          return;
        }
        if (begun.length === 0) masked(bytes.toString('utf8', at, end));
        else {
          begun.push(bytes.subarray(at, end));
          const field = Buffer.concat(begun);
          [begun, begunBytes] = [[], 0];
          masked(field.toString('utf8'));
        }
        const last = next === all - 1;
        if ((bytes[end] === LINE_END) !== last)
          throw new Error('the source sent a row with another number of columns');
        put(bytes, end, end + 1);
        at = end + 1;
        next = last ? 0 : next + 1;
        inRow = !last;
      }
    },
    end() {
      if (inRow || begun.length > 0) throw new Error('the source sent a row that is not whole');
      flush();
    },
  };
}

// --- internal -----------------------------------------------------------------------------------

const [TAB, LINE_END] = [9, 10];
const NULL = '\\N';
const PIECE = 64 * 1024;

/** Of one value: it is held as a text, and its other one, too. */
const MOST_BYTES = 16 * 2 ** 20;

const SPECIAL: Readonly<Record<string, string>> = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t', v: '\v' };
const WRITTEN = new Map(Object.entries(SPECIAL).map(([letter, value]) => [value, `\\${letter}`]));

const plainOf = (field: string): string =>
  field.includes('\\') ? field.replace(/\\(.)/gs, (_, letter: string) => SPECIAL[letter] ?? letter) : field;

const escaped = (value: string): string =>
  /[\\\b\f\n\r\t\v]/.test(value)
    ? value.replace(/[\\\u0008\f\n\r\t\v]/g, c => WRITTEN.get(c) ?? '\\\\')
    : value;
