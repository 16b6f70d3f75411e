/** Room on file systems, and the error when there is none. */
import { statfs } from 'node:fs/promises';
import { OffshootError } from '../../model/errors.ts';
import type { NodeRoom } from '../contract.ts';

/** Bytes that ordinary users may still write on the file system of `path`. */
export async function freeBytesOf(path: string): Promise<number> {
  const { bavail, bsize } = await statfs(path);
  return bavail * bsize;
}

/** The room that volumes in `directory` have when nothing else is known of it. */
export async function roomIn(directory: string, reserveBytes: number): Promise<NodeRoom> {
  const { blocks, bavail, bsize } = await statfs(directory);
  const [totalBytes, freeBytes] = [blocks * bsize, bavail * bsize];
  return { where: directory, totalBytes, freeBytes, reserveBytes };
}

/** The error volume/no-space for the volume `id`. @param needBytes beside the reserve, where that is not for it */
export function noSpace(id: string, room: NodeRoom, needBytes: number, cause?: unknown): OffshootError {
  const params = { id, where: room.where, freeMib: mib(room.freeBytes), needMib: mib(needBytes) };
  return new OffshootError('volume/no-space', params, cause === undefined ? {} : { cause });
}

const mib = (bytes: number): number => Math.floor(bytes / 2 ** 20);
