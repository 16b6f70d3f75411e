/** Finds a program as execvp(3) would, so that a missing one can be named before anything is started. */
import { access, constants, stat } from 'node:fs/promises';
import { isAbsolute, join, resolve } from 'node:path';

/**
 * @param path as in `PATH`
 * @param cwd a name with a slash, and relative entries of `path`, count from here
 * @returns its absolute path, or undefined
 */
export async function findProgram(name: string, path: string, cwd: string): Promise<string | undefined> {
  if (name.includes('/')) return runnable(resolve(cwd, name));
  for (const folder of path.split(':')) {
    const found = await runnable(isAbsolute(folder) ? join(folder, name) : resolve(cwd, folder, name));
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Puts the folder of the node that runs us first, so that `node` is the same one everywhere. */
export const pathWith = (folder: string, path: string | undefined): string =>
  path ? `${folder}:${path}` : folder;

// --- internal -----------------------------------------------------------------------------------

async function runnable(file: string): Promise<string | undefined> {
  try {
    await access(file, constants.X_OK);
    return (await stat(file)).isFile() ? file : undefined;
  } catch {
    return undefined;
  }
}
