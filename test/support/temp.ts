/** A temporary directory that is gone at the end of its scope: `await using dir = await tempDir()`. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export type TempDir = AsyncDisposable & { readonly path: string };

export async function tempDir(prefix = 'offshoot-test-', within = tmpdir()): Promise<TempDir> {
  const path = await mkdtemp(join(within, prefix));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}
