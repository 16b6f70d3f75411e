/** Makes changes of names durable. */
import { open } from 'node:fs/promises';

/** What was made, renamed or removed in the directory `path` survives a power cut. */
export async function syncDirectory(path: string): Promise<void> {
  await using directory = await open(path, 'r');
  await directory.sync();
}
