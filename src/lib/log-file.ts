/** Log files that processes write to by themselves, so that they outlive the daemon. */
import { copyFile, open, stat, truncate } from 'node:fs/promises';

/**
 * Keeps a log file below `maxBytes` by moving its content to `PATH.1`, which replaces the one before.
 * Copied and cut rather than renamed, because the process holds the file open; lines written between the
 * two calls are lost. The writer must append (O_APPEND), otherwise it would go on at its old offset.
 */
export async function rotate(path: string, maxBytes: number): Promise<void> {
  const size = await stat(path).then(
    s => s.size,
    () => 0,
  );
  if (size <= maxBytes) return;
  await copyFile(path, `${path}.1`);
  await truncate(path);
}

/** The newest `lines` lines of a log, oldest first; goes on into `PATH.1` when the file has fewer. */
export async function tail(path: string, lines: number): Promise<string[]> {
  const newest = await lastLines(path, lines);
  if (newest.length >= lines) return newest;
  return [...(await lastLines(`${path}.1`, lines - newest.length)), ...newest];
}

// --- internal -----------------------------------------------------------------------------------

const CHUNK_BYTES = 64 * 1024;

/** Reads backwards until there are enough line ends. A file that is not there has no lines. */
async function lastLines(path: string, lines: number): Promise<string[]> {
  const file = await open(path).catch(() => undefined);
  if (file === undefined) return [];
  try {
    let start = (await file.stat()).size;
    let text = Buffer.alloc(0);
    while (start > 0 && count(text, 0x0a) <= lines) {
      const from = Math.max(0, start - CHUNK_BYTES);
      const chunk = Buffer.alloc(start - from);
      const { bytesRead } = await file.read(chunk, 0, chunk.length, from);
      text = Buffer.concat([chunk.subarray(0, bytesRead), text]);
      start = from;
    }
    const found = text.toString('utf8').split('\n');
    if (found.at(-1) === '') found.pop();
    return lines > 0 ? found.slice(-lines) : [];
  } finally {
    await file.close();
  }
}

function count(bytes: Buffer, byte: number): number {
  let n = 0;
  for (const b of bytes) if (b === byte) n++;
  return n;
}
