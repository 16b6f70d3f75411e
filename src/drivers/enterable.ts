import { chmod, mkdir } from 'node:fs/promises';
import { basename, dirname } from 'node:path';

/** Makes a directory that the servers' user can reach, and what it needs above it: our umask may forbid that. */
export async function makeEnterable(path: string): Promise<void> {
  const first = (await mkdir(path, { recursive: true })) ?? path;
  // As root all instances share the directory above, which an earlier one may have left closed.
  if (basename(dirname(path)) === 'offshoot') await chmod(dirname(path), 0o711);
  for (let directory = path; ; directory = dirname(directory)) {
    await chmod(directory, 0o711);
    if (directory === first) return;
  }
}
