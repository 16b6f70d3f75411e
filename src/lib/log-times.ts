/**
 * When what stands in a log file was written, for programs that do not say so themselves: `PATH.times` has a line
 * `MILLISECONDS BYTES` for each look at which the file had grown. Whoever writes the log has no part in it; what was written between two looks
 * was written at the later one at the latest.
 */
import { appendFileSync } from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';

export type LogTimes = {
  /** Bytes at the beginning that were surely written before. @param ms since 1970 */
  before(ms: number): number;
  /** Milliseconds since 1970 at which the byte before `end` was there, and hardly longer; undefined: later than all that is known. */
  at(end: number): number | undefined;
};

/** @param path of the log; without an index nothing is known */
export async function readTimes(path: string): Promise<LogTimes> {
  const entries = await read(path);
  return {
    before: ms => entries.findLast(entry => entry.ms < ms)?.bytes ?? 0,
    at(end) {
      let [low, high] = [0, entries.length];
      while (low < high) {
        const middle = (low + high) >> 1;
        if (entries[middle]!.bytes < end) low = middle + 1;
        else high = middle;
      }
      return entries[low]?.ms;
    },
  };
}

export type TimesKeeper = {
  /** What a look has shown. @param ms of the last write, since 1970 */
  seen(bytes: number, ms: number): Promise<void>;
  /** The log was cut: its end is `PATH.1` now, without so many bytes at its beginning. */
  rotated(dropped: number): Promise<void>;
  /** The older part, or all of the log, is gone. */
  gone(what: 'older' | 'all'): Promise<void>;
};

export function keepTimes(path: string): TimesKeeper {
  let last: Entry | undefined;
  let count: number | undefined;

  const begin = async (): Promise<number> => {
    const entries = await read(path);
    last = entries.at(-1);
    return entries.length;
  };

  return {
    async seen(bytes, ms) {
      count ??= await begin();
      if (last?.bytes === bytes || (last === undefined && bytes === 0)) return;
      if (last !== undefined && bytes < last.bytes) {
        await rm(timesOf(path), { force: true }); // it was cut by somebody else, and began anew
        count = 0;
      }
      last = { ms: Math.round(ms), bytes };
      appendFileSync(timesOf(path), lineOf(last), { mode: 0o600 });
      if (++count < MOST) return;
      // The older half tells it by every second look only.
      const entries = await read(path);
      const kept = entries.filter((_, i) => i % 2 === 1 || i >= entries.length / 2);
      await write(timesOf(path), kept);
      count = kept.length;
    },
    async rotated(dropped) {
      const older = (await read(path)).map(({ ms, bytes }) => ({ ms, bytes: bytes - dropped }));
      await write(
        timesOf(`${path}.1`),
        older.filter(({ bytes }) => bytes > 0),
      );
      await rm(timesOf(path), { force: true });
      [last, count] = [undefined, 0];
    },
    async gone(what) {
      if (what === 'older') return await rm(timesOf(`${path}.1`), { force: true });
      await rm(timesOf(path), { force: true });
      [last, count] = [undefined, 0];
    },
  };
}

/** All files beside a log that belong to it, to be removed with it. */
export const besideLog = (path: string): readonly string[] => [
  `${path}.1`,
  timesOf(path),
  timesOf(`${path}.1`),
];

// --- internal -----------------------------------------------------------------------------------

type Entry = { readonly ms: number; readonly bytes: number };

/** About 100 KB of an index. */
const MOST = 4_096;

const timesOf = (path: string): string => `${path}.times`;
const lineOf = ({ ms, bytes }: Entry): string => `${ms} ${bytes}\n`;

const write = (file: string, entries: readonly Entry[]): Promise<void> =>
  writeFile(file, entries.map(lineOf).join(''), { mode: 0o600 });

async function read(path: string): Promise<readonly Entry[]> {
  const text = await readFile(timesOf(path), 'utf8').catch(() => '');
  return text.split('\n').flatMap(line => {
    const [, ms, bytes] = /^(\d+) (\d+)$/.exec(line) ?? []; // the last one may be half written
    return bytes === undefined ? [] : [{ ms: Number(ms), bytes: Number(bytes) }];
  });
}
