/** A secret in a file of its own (mode 0600), made when there is none. */
import { readFile, rename, writeFile } from 'node:fs/promises';

/** Whole or not at all: half a secret would lock us out of what it opens. @param make default: a new one */
export async function keptSecret(file: string, make: () => string): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    const secret = make();
    await writeFile(`${file}.new`, `${secret}\n`, { mode: 0o600, flush: true });
    await rename(`${file}.new`, file);
    return secret;
  }
}
