/** Keeps log files that others write to small, each and all together, while they are written to, and notes when that was. */
import { statSync } from 'node:fs';
import { rm, truncate } from 'node:fs/promises';
import { rotate } from './log-file.ts';
import { keepTimes, type TimesKeeper } from './log-times.ts';
import { repeat } from './repeat.ts';
import { inTurns } from './turns.ts';

export type LogRotation = {
  /** From now on `path`, which need not be there yet, is kept below about `maxBytes`, and `PATH.1` too. */
  add(path: string, maxBytes: number): void;
  /** It, or all in this folder, is left alone from now on. */
  remove(path: string): void;
  stop(): Promise<void>;
};

/**
 * @param totalBytes most that all files together may take: then the older parts go, largest first, and then what the
 *   largest hold
 * @param everyMs between two looks, default 1000: as much as is written in this time is too much at most
 */
export function logRotation(
  totalBytes: number,
  failed: (error: unknown) => void,
  everyMs = 1_000,
): LogRotation {
  const limits = new Map<string, number>();
  /** Sizes of the older parts, which only we change. */
  const older = new Map<string, number>();
  const times = new Map<string, TimesKeeper>();

  const looking = repeat(
    async () => {
      // Asked for here rather than in threads: hundreds of files in a millisecond.
      const seen = await inTurns(limits.keys(), path => [path, statOf(path)] as const);
      const sizes = new Map(seen.map(([path, { size }]) => [path, size]));
      let failure: { readonly error: unknown } | undefined;
      // Of a full disk, or a folder that has just gone: no reason to leave the logs as large as they are.
      const note = (written: Promise<void> | undefined) =>
        written?.catch(error => {
          failure ??= { error };
        });
      for (const [path, { size, mtimeMs }] of seen) {
        await note(times.get(path)?.seen(size, mtimeMs));
        if (size <= (limits.get(path) ?? size)) continue;
        const dropped = await rotate(path, limits.get(path)!);
        if (dropped !== undefined) await note(times.get(path)?.rotated(dropped));
        older.set(path, sizeOf(`${path}.1`));
        sizes.set(path, sizeOf(path));
      }
      let sum = [...sizes.values(), ...older.values()].reduce((a, b) => a + b, 0);
      for (const [path, size] of largestFirst(older)) {
        if (sum <= totalBytes) break;
        await rm(`${path}.1`, { force: true });
        await note(times.get(path)?.gone('older'));
        older.set(path, 0);
        sum -= size;
      }
      for (const [path, size] of largestFirst(sizes)) {
        if (sum <= totalBytes) break;
        await truncate(path);
        await note(times.get(path)?.gone('all'));
        sum -= size;
      }
      if (failure !== undefined) throw failure.error;
      return everyMs;
    },
    failed,
    everyMs,
  );

  return {
    add(path, maxBytes) {
      limits.set(path, maxBytes);
      if (!times.has(path)) times.set(path, keepTimes(path));
      older.set(path, sizeOf(`${path}.1`));
    },
    remove(path) {
      for (const one of [...limits.keys()].filter(one => one === path || one.startsWith(`${path}/`))) {
        limits.delete(one);
        older.delete(one);
        times.delete(one);
      }
    },
    stop: () => looking.stop(),
  };
}

// --- internal ------------------------------------------------------------------------------------

const statOf = (path: string): { readonly size: number; readonly mtimeMs: number } =>
  statSync(path, { throwIfNoEntry: false }) ?? { size: 0, mtimeMs: 0 };

const sizeOf = (path: string): number => statOf(path).size;

const largestFirst = (sizes: ReadonlyMap<string, number>): readonly (readonly [string, number])[] =>
  [...sizes].filter(([, size]) => size > 0).toSorted(([, a], [, b]) => b - a);
