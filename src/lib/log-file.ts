/** Log files that programs write to by themselves, so that they can outlive us. */
import { statSync } from 'node:fs';
import { open, rm, stat, truncate } from 'node:fs/promises';
import { isNoSpace } from './no-space.ts';

/** Characters of a line that are told. */
export const MAX_LINE = 4096;

/**
 * Keeps a log file below `maxBytes` by moving its last `maxBytes` to `PATH.1`, which replaces the one before.
 * Copied and cut rather than renamed, because the program holds the file open; lines written between the
 * two calls are lost, and all of them when there is no room for the copy. The writer must append (O_APPEND),
 * otherwise it would go on at its old offset.
 */
export async function rotate(path: string, maxBytes: number): Promise<void> {
  const size = await stat(path).then(
    s => s.size,
    () => 0,
  );
  if (size <= maxBytes) return;
  try {
    await copyEnd(path, `${path}.1`, size, maxBytes);
  } catch (error) {
    if (!isNoSpace(error)) throw error;
    await rm(`${path}.1`, { force: true });
  }
  await truncate(path);
}

/**
 * The newest `lines` lines of a log, oldest first, each cut to 4096 characters; goes on into `PATH.1` when
 * the file has fewer. A file that is not there has no lines.
 * @param part only what stands from its byte `from` on (all of the file when it has been rotated since), and before `to`
 */
export async function tail(
  path: string,
  lines: number,
  part: { readonly from?: number | undefined; readonly to?: number | undefined } = {},
): Promise<string[]> {
  const newest = await lastLines(path, lines, part);
  if (newest.length >= lines || part.from !== undefined) return newest;
  return [...(await lastLines(`${path}.1`, lines - newest.length, {})), ...newest];
}

/** Bytes of a log; 0 when it is not there. */
export const logSize = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0;

// --- internal -----------------------------------------------------------------------------------

async function copyEnd(from: string, to: string, size: number, bytes: number): Promise<void> {
  await using source = await open(from);
  await using target = await open(to, 'w', 0o600);
  for (let at = Math.max(0, size - bytes); at < size; ) {
    const { buffer, bytesRead } = await source.read(Buffer.alloc(COPY_BYTES), 0, COPY_BYTES, at);
    if (bytesRead === 0) return;
    await target.writeFile(buffer.subarray(0, bytesRead));
    at += bytesRead;
  }
}

const COPY_BYTES = 256 * 1024;
const CHUNK_BYTES = 64 * 1024;

async function lastLines(
  path: string,
  lines: number,
  { from: first = 0, to = Number.POSITIVE_INFINITY }: { from?: number | undefined; to?: number | undefined },
): Promise<string[]> {
  if (lines <= 0) return [];
  const file = await open(path).catch(() => undefined);
  if (file === undefined) return [];
  try {
    const chunks: Buffer[] = [];
    const { size } = await file.stat();
    let start = Math.min(size, to);
    const lowest = first > size ? 0 : first;
    // One line end more than lines, since the oldest line must be whole and the last byte ends the newest.
    for (let ends = 0; start > lowest && ends <= lines; ends += countLineEnds(chunks[0]!)) {
      const from = Math.max(lowest, start - CHUNK_BYTES);
      const { buffer, bytesRead } = await file.read(Buffer.alloc(start - from), 0, start - from, from);
      chunks.unshift(buffer.subarray(0, bytesRead));
      start = from;
    }
    const found = Buffer.concat(chunks).toString('utf8').split('\n');
    if (found.at(-1) === '') found.pop();
    return found.slice(-lines).map(line => line.slice(0, MAX_LINE));
  } finally {
    await file.close();
  }
}

function countLineEnds(bytes: Buffer): number {
  let count = 0;
  for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, at + 1)) count++;
  return count;
}
