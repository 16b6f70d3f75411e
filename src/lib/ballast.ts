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
