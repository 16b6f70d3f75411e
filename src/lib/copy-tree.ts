/** Copies a file or a folder; where the file system can (btrfs, XFS), the copy shares its blocks. */
import { constants } from 'node:fs';
import { cp, lstat, mkdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/**
 * The copy is there as a whole or not at all, and takes nobody's place. Links stay as they are written; what is neither
 * a file, nor a folder, nor a link is left out.
 * @returns false when there was something already, or there is nothing to copy
 */
export async function copyTree(from: string, to: string): Promise<boolean> {
  if ((await exists(to)) || !(await exists(from))) return false;
  await mkdir(dirname(to), { recursive: true });
  const half = join(dirname(to), `.${basename(to)}.half-${process.pid}-${performance.now()}`);
  try {
    await cp(from, half, {
      ...{ recursive: true, verbatimSymlinks: true, preserveTimestamps: true },
      mode: constants.COPYFILE_FICLONE,
      filter: isCopied,
    });
    if (await exists(to)) return false;
    await rename(half, to);
    return true;
  } finally {
    await rm(half, { recursive: true, force: true });
  }
}

// --- internal -----------------------------------------------------------------------------------

const exists = async (path: string): Promise<boolean> =>
  (await lstat(path).catch(() => undefined)) !== undefined;

async function isCopied(path: string): Promise<boolean> {
  const found = await lstat(path);
  return found.isFile() || found.isDirectory() || found.isSymbolicLink();
}
