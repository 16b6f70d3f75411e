/**
 * Room that is kept on a disk for when it is full: a file that takes it, and gives it up to whoever needs it then.
 * Nobody else can take the room before.
 */

import { randomFillSync } from 'node:crypto';
import { closeSync, ftruncateSync, openSync, statSync } from 'node:fs';
import { open, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { libc } from './libc.ts';

export type Ballast = {
  /** Bytes that it holds now. */
  held(): number;
  /** Gives up all but `keepBytes`, at once. @returns bytes given up; none when they were already, or never could be had */
  release(keepBytes?: number): number;
  /**
   * Gives up all of it to the file `path`, for what will be appended there: whoever fills the disk would have it before the
   * next write otherwise. Without the system call (see libc.ts), or the file, it is given up to whoever comes.
   * @returns bytes given up
   */
  giveTo(path: string): Promise<number>;
  /** Takes the room again. @returns whether it is all there; false while the disk has less than `spareBytes` besides */
  take(): Promise<boolean>;
};

/**
 * @param path of the file; nothing happens before `take`
 * @param bytes to keep
 * @param spareBytes that the disk must have left besides
 */
export function ballast(path: string, bytes: number, spareBytes: number): Ballast {
  const held = () => (statSync(path, { throwIfNoEntry: false })?.blocks ?? 0) * 512;
  return {
    held,

    release(keepBytes = 0) {
      const before = held();
      if (before > keepBytes) {
        const file = openSync(path, 'r+'); // not removed: making a file needs room too
        try {
          ftruncateSync(file, keepBytes);
        } finally {
          closeSync(file);
        }
      }
      return before - held();
    },

    async giveTo(path) {
      const calls = await libc().catch(() => undefined); // loading it takes its time, and the room must not wait for that
      await using file = await open(path, 'r+').catch(() => undefined);
      const { size } = (await file?.stat()) ?? { size: 0 };
      const given = this.release();
      for (
        let part = given;
        file !== undefined && calls !== undefined && part >= PAGE;
        part = Math.floor(part / 2)
      ) {
        const had = await calls.allocate(file.fd, size, part).then(
          () => true,
          () => false, // somebody was quicker with a part of it
        );
        if (had) break;
      }
      return given;
    },

    async take() {
      const missing = bytes - held();
      if (missing <= 0) return true;
      const { bavail, bsize } = await statfs(dirname(path));
      if (bavail * bsize < missing + spareBytes) return false;
      await fill(path, bytes);
      return held() >= bytes;
    },
  };
}

// --- internal ------------------------------------------------------------------------------------

const PAGE = 4096;

async function fill(path: string, bytes: number): Promise<void> {
  await using file = await open(path, 'a', 0o600);
  try {
    await (await libc()).allocate(file.fd, 0, bytes);
    await file.truncate(bytes); // to its full size: what lies beyond the end may stay when it is cut
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOSPC') return;
    // What compresses well, or is a hole, would keep no room.
    const chunk = randomFillSync(Buffer.alloc(1 << 20));
    for (let at = (await file.stat()).size; at < bytes; at += chunk.length) await file.writeFile(chunk);
  }
}
