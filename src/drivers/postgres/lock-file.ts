/** `postmaster.pid` and the socket's lock file: who runs on a data directory (postmaster: miscadmin.h, LOCK_FILE_LINE_*). */
import { readFile } from 'node:fs/promises';

export type LockFile = {
  readonly pid: number;
  readonly dataDir: string;
  /** true: it accepts connections. Only postmaster.pid tells; in the socket's lock file it is always false. */
  readonly ready: boolean;
};

/** @returns undefined when there is no such file, or not enough of it yet */
export async function readLockFile(path: string): Promise<LockFile | undefined> {
  return parse(await readFile(path, 'utf8').catch(absent));
}

// --- internal ------------------------------------------------------------------------------------

function absent(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
}

function parse(text: string | undefined): LockFile | undefined {
  if (text === undefined) return undefined;
  const lines = text.split('\n');
  const [pid, dataDir] = [Number(lines[0]), lines[1]];
  if (!Number.isInteger(pid) || pid <= 0 || !dataDir) return undefined;
  return { pid, dataDir, ready: lines[7]?.trim() === 'ready' };
}
