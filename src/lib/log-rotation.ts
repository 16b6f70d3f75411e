/** Keeps log files that others write to small, each and all together, while they are written to. */
import { statSync } from 'node:fs';
import { rm, truncate } from 'node:fs/promises';
import { rotate } from './log-file.ts';
import { repeat } from './repeat.ts';
import { inTurns } from './turns.ts';

export type LogRotation = {
  /** From now on `path`, which need not be there yet, is kept below about `maxBytes`, and `PATH.1` too. */
  add(path: string, maxBytes: number): void;
  /** It is left alone from now on. */
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

  const looking = repeat(
    async () => {
      // Asked for here rather than in threads: hundreds of files in a millisecond.
      const sizes = new Map(await inTurns(limits.keys(), path => [path, sizeOf(path)] as const));
      for (const [path, size] of sizes) {
        if (size <= (limits.get(path) ?? size)) continue;
        await rotate(path, limits.get(path)!);
        older.set(path, sizeOf(`${path}.1`));
        sizes.set(path, sizeOf(path));
      }
      let sum = [...sizes.values(), ...older.values()].reduce((a, b) => a + b, 0);
      for (const [path, size] of largestFirst(older)) {
        if (sum <= totalBytes) break;
        await rm(`${path}.1`, { force: true });
        older.set(path, 0);
        sum -= size;
      }
      for (const [path, size] of largestFirst(sizes)) {
        if (sum <= totalBytes) break;
        await truncate(path);
        sum -= size;
      }
      return everyMs;
    },
    failed,
    everyMs,
  );

  return {
    add(path, maxBytes) {
      limits.set(path, maxBytes);
      older.set(path, sizeOf(`${path}.1`));
    },
    remove(path) {
      limits.delete(path);
      older.delete(path);
    },
    stop: () => looking.stop(),
  };
}

// --- internal ------------------------------------------------------------------------------------

const sizeOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0;

const largestFirst = (sizes: ReadonlyMap<string, number>): readonly (readonly [string, number])[] =>
  [...sizes].filter(([, size]) => size > 0).toSorted(([, a], [, b]) => b - a);
