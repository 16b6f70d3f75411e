/** Log files that programs write to by themselves, so that they can outlive us. */
import { statSync } from 'node:fs';
import { open, rm, stat, truncate } from 'node:fs/promises';
import { readTimes } from './log-times.ts';
import { isNoSpace } from './no-space.ts';

export type TimedLine = { readonly text: string; readonly at: number | undefined };

/** Bytes of a file. */
type Part = { readonly from?: number | undefined; readonly to?: number | undefined };

/** Characters of a line that are told. */
export const MAX_LINE = 4096;

/**
 * Keeps a log file below `maxBytes` by moving its last `maxBytes` to `PATH.1`, which replaces the one before.
 * Copied and cut rather than renamed, because the program holds the file open; lines written between the
 * two calls are lost, and all of them when there is no room for the copy. The writer must append (O_APPEND),
 * otherwise it would go on at its old offset.
 * @returns bytes at its beginning that are not in `PATH.1`; undefined when the file was left as it is
 */
export async function rotate(path: string, maxBytes: number): Promise<number | undefined> {
  const size = await stat(path).then(
    s => s.size,
    () => 0,
  );
  if (size <= maxBytes) return undefined;
  try {
    await copyEnd(path, `${path}.1`, size, maxBytes);
  } catch (error) {
    if (!isNoSpace(error)) throw error;
    await rm(`${path}.1`, { force: true });
  }
  await truncate(path);
  return size - maxBytes;
}

/**
 * The newest `lines` lines of a log, oldest first, each cut to 4096 characters; goes on into `PATH.1` when
 * the file has fewer. A file that is not there has no lines.
 * @param part only what stands from its byte `from` on (all of the file when it has been rotated since), and before `to`
 */
export async function tail(path: string, lines: number, part: Part = {}): Promise<string[]> {
  return (await timedTail(path, lines, part)).map(({ text }) => text);
}

/**
 * The same with the time of each, in milliseconds since 1970, as far as log-times.ts knows it: not later than that.
 * @param part.since only what was said then or later
 */
export async function timedTail(
  path: string,
  lines: number,
  part: Part & { readonly since?: number | undefined } = {},
): Promise<readonly TimedLine[]> {
  const newest = await timed(path, lines, part);
  if (newest.lines.length >= lines || part.from !== undefined || newest.reached) return newest.lines;
  const older = await timed(`${path}.1`, lines - newest.lines.length, { since: part.since });
  return [...older.lines, ...newest.lines];
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
/** What is read of a log at most: more lines than are told fit, and a program that ends no line, or writes faster than `rotate` looks, costs no more. */
const MOST_BYTES = 32 * 1024 * 1024;

/** @returns also whether there is something that is too old to be told */
async function timed(
  path: string,
  lines: number,
  { since, ...part }: Part & { readonly since?: number | undefined },
): Promise<{ readonly lines: readonly TimedLine[]; readonly reached: boolean }> {
  const [times, mtimeMs] = await Promise.all([
    readTimes(path),
    stat(path).then(
      found => found.mtimeMs,
      () => undefined,
    ),
  ]);
  const old = since === undefined ? 0 : times.before(since);
  // A look may have come in the middle of a line; one that began before is told whole, or not.
  const from = Math.max(part.from ?? 0, old - MAX_LINE_BYTES);
  const all = (await lastLines(path, lines, { ...part, ...(from > 0 && { from }) })).map(({ text, end }) => ({
    text,
    at: times.at(end) ?? mtimeMs,
  }));
  const told = since === undefined ? all : all.filter(({ at }) => at === undefined || at >= since);
  return { lines: told, reached: old > 0 || told.length < all.length };
}

/** @returns each with the byte behind it */
async function lastLines(
  path: string,
  lines: number,
  { from: first = 0, to = Number.POSITIVE_INFINITY }: Part,
): Promise<{ readonly text: string; readonly end: number }[]> {
  if (lines <= 0) return [];
  const file = await open(path).catch(() => undefined);
  if (file === undefined) return [];
  try {
    const chunks: Buffer[] = [];
    const { size } = await file.stat();
    const last = Math.min(size, to);
    let start = last;
    const lowest = first > size ? 0 : first;
    // One line end more than lines, since the oldest line must be whole and the last byte ends the newest.
    const least = Math.max(lowest, last - MOST_BYTES);
    for (let ends = 0; start > least && ends <= lines; ends += countLineEnds(chunks[0]!)) {
      const from = Math.max(least, start - CHUNK_BYTES);
      const { buffer, bytesRead } = await file.read(Buffer.alloc(start - from), 0, start - from, from);
      chunks.unshift(buffer.subarray(0, bytesRead));
      start = from;
    }
    const bytes = Buffer.concat(chunks);
    const found: { text: string; end: number }[] = [];
    for (let end = bytes.length; end > 0 && found.length < lines; ) {
      // What ends the newest line is no line of its own.
      const stop = bytes[end - 1] === 10 ? end - 1 : end;
      const begin = stop === 0 ? 0 : bytes.lastIndexOf(10, stop - 1) + 1;
      const text = bytes.subarray(begin, Math.min(stop, begin + MAX_LINE_BYTES)).toString('utf8');
      found.push({ text: text.slice(0, MAX_LINE), end: start + end });
      end = begin;
    }
    return found.reverse();
  } finally {
    await file.close();
  }
}

/** Of as many characters. */
const MAX_LINE_BYTES = 4 * MAX_LINE;

function countLineEnds(bytes: Buffer): number {
  let count = 0;
  for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, at + 1)) count++;
  return count;
}
