/** Segments of PostgreSQL's log as files ("WAL Internals"): in order of their names, all of one size. */
import { constants, existsSync } from 'node:fs';
import { chown, copyFile, lstat, open, readdir, rename, rm, utimes } from 'node:fs/promises';
import { join } from 'node:path';

/** Those in a directory that belong to the timeline of `like`, in order. */
export async function segmentsIn(directory: string, like: string): Promise<readonly string[]> {
  const names = existsSync(directory) ? await readdir(directory) : [];
  return names.filter(name => SEGMENT.test(name) && name.startsWith(like.slice(0, 8))).sort();
}

/** @param bytes of a segment */
export function nextSegment(name: string, bytes: number): string {
  const [timeline, log, number] = numbersOf(name);
  const isLast = number + 1 === 2 ** 32 / bytes;
  return [timeline, isLast ? log + 1 : log, isLast ? 0 : number + 1]
    .map(n => n.toString(16).toUpperCase().padStart(8, '0'))
    .join('');
}

/**
 * Whether something was written to it under that name: PostgreSQL makes segments before it needs them, of zeroes or of old
 * ones (XLogPageHeaderData in xlog_internal.h: after magic, flags and timeline comes the address of the page).
 */
export async function isWritten(directory: string, name: string): Promise<boolean> {
  await using file = await open(join(directory, name), 'r');
  const { size } = await file.stat();
  const { buffer, bytesRead } = await file.read(Buffer.alloc(16), 0, 16, 0);
  const [, log, number] = numbersOf(name);
  return (
    bytesRead === 16 && buffer.readBigUInt64LE(8) === BigInt(log) * 2n ** 32n + BigInt(number) * BigInt(size)
  );
}

/**
 * Copies one, sharing its blocks where the file system can: it is whole, or not there.
 * @param durable it stays, whatever happens; its name does when its directory is synced
 */
export async function copySegment(
  from: string,
  to: string,
  name: string,
  {
    owner,
    durable = false,
  }: { readonly owner?: { readonly uid: number; readonly gid: number }; readonly durable?: boolean },
): Promise<void> {
  const [source, target] = [join(from, name), join(to, name)];
  const { atime, mtime } = await lstat(source);
  await rm(`${target}.new`, { force: true });
  await copyFile(source, `${target}.new`, constants.COPYFILE_FICLONE);
  await utimes(`${target}.new`, atime, mtime);
  if (owner !== undefined) await chown(`${target}.new`, owner.uid, owner.gid);
  if (durable) {
    await using file = await open(`${target}.new`, 'r+');
    await file.sync();
  }
  await rename(`${target}.new`, target);
}

// --- internal ------------------------------------------------------------------------------------

const SEGMENT = /^[0-9A-F]{24}$/;

/** Timeline, and the two halves of the segment's number. */
const numbersOf = (name: string): readonly [number, number, number] => {
  const at = (i: number) => Number.parseInt(name.slice(i, i + 8), 16);
  return [at(0), at(8), at(16)];
};
