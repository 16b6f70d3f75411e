/** In how many pieces a file lies on its disk: linux/fiemap.h. */
import { open } from 'node:fs/promises';
import { ioctlNumber, libc, read, write } from '../../lib/libc.ts';

/** struct fiemap, before the extents that it is not asked to list. */
export const HEAD_BYTES = 32;

export const FIEMAP = ioctlNumber(read | write, 'f'.charCodeAt(0), 11, HEAD_BYTES);

/** 0 where the system does not tell. @throws ENOENT */
export async function extentsOf(path: string): Promise<number> {
  await using file = await open(path, 'r');
  const map = Buffer.alloc(HEAD_BYTES);
  map.writeBigUInt64LE(2n ** 63n - 1n, 8); // from 0 to the end
  try {
    await (await libc()).ioctlAside(file.fd, FIEMAP, map);
  } catch {
    return 0; // another system's, or a file system without it
  }
  return map.readUInt32LE(20); // fm_mapped_extents
}
