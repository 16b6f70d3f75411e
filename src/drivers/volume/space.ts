/** Room on the file systems that hold the volumes, and the error when there is none. */
import { statfs } from 'node:fs/promises';
import { ExecError } from '../../lib/exec.ts';
import { OffshootError } from '../../model/errors.ts';

export type Room = { readonly where: string; readonly freeBytes: number };

/** The one of `paths` whose file system has the least room for new data. */
export async function leastRoom(paths: readonly string[]): Promise<Room> {
  const rooms = await Promise.all(
    paths.map(async where => {
      const { bavail, bsize } = await statfs(where);
      return { where, freeBytes: bavail * bsize };
    }),
  );
  return rooms.reduce((a, b) => (b.freeBytes < a.freeBytes ? b : a));
}

/** The error volume/no-space for the volume `id`. */
export function noSpace(id: string, room: Room, needBytes: number, cause?: unknown): OffshootError {
  const params = { id, where: room.where, freeMib: mib(room.freeBytes), needMib: mib(needBytes) };
  return new OffshootError('volume/no-space', params, cause === undefined ? {} : { cause });
}

/** Whether the system, or a program that we ran, ran out of room. Follows the chain of causes. */
export function isNoSpace(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if (['ENOSPC', 'EDQUOT'].includes((error as NodeJS.ErrnoException).code ?? '')) return true;
  if (error instanceof ExecError && /No space left on device|Disk quota exceeded/.test(error.stderr))
    return true;
  return isNoSpace(error.cause);
}

const mib = (bytes: number): number => Math.floor(bytes / 2 ** 20);
