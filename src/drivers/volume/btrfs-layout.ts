/** Where btrfs keeps things on its one device. Layouts: linux/btrfs_tree.h, linux/fiemap.h. */
import { open } from 'node:fs/promises';
import { libc } from '../../lib/libc.ts';
import type { BtrfsCalls } from './btrfs-calls.ts';
import { FIEMAP, HEAD_BYTES } from './extents.ts';

export type Range = { readonly offset: number; readonly bytes: number };

/** A piece of the device that is given to one use, at `offset` of it. */
export type Chunk = Range & {
  /** Address by which the file system itself names its beginning. */
  readonly logical: number;
  readonly use: 'data' | 'metadata' | 'system';
};

/** @param path a directory of the file system, whose chunks are all kept once (profile `single`) */
export async function chunksOf(path: string, calls: BtrfsCalls): Promise<readonly Chunk[]> {
  const items = await calls.search(path, CHUNK_TREE, FIRST_CHUNK_TREE_OBJECT, CHUNK_ITEM);
  return items.map(({ offset, data }) => ({
    logical: Number(offset),
    bytes: Number(data.readBigUInt64LE(0)),
    use: uses[Number(data.readBigUInt64LE(24) & 7n)] ?? 'metadata', // mixed with data
    offset: Number(data.readBigUInt64LE(56)), // of its first stripe
  }));
}

/** Where on the device the content of the file `path` is. */
export async function rangesOf(path: string, chunks: readonly Chunk[]): Promise<readonly Range[]> {
  const { ioctlAside } = await libc();
  await using file = await open(path, 'r');
  const ranges: Range[] = [];
  for (let start = 0n; ; ) {
    const map = Buffer.alloc(HEAD_BYTES + EXTENTS * EXTENT_BYTES);
    map.writeBigUInt64LE(start, 0);
    map.writeBigUInt64LE(2n ** 63n - 1n - start, 8);
    map.writeUInt32LE(FLAG_SYNC, 16);
    map.writeUInt32LE(EXTENTS, 24);
    await ioctlAside(file.fd, FIEMAP, map);
    const found = map.readUInt32LE(20);
    for (let i = 0; i < found; i++) {
      const at = HEAD_BYTES + i * EXTENT_BYTES;
      const logical = Number(map.readBigUInt64LE(at + 8));
      const bytes = Number(map.readBigUInt64LE(at + 16));
      start = map.readBigUInt64LE(at) + BigInt(bytes);
      const chunk = chunks.find(c => c.logical <= logical && logical < c.logical + c.bytes);
      if (chunk !== undefined) ranges.push({ offset: chunk.offset + logical - chunk.logical, bytes });
    }
    if (found < EXTENTS) return ranges;
  }
}

// --- internal ------------------------------------------------------------------------------------

const CHUNK_TREE = 3n;
const FIRST_CHUNK_TREE_OBJECT = 256n;
const CHUNK_ITEM = 228;
const uses: Readonly<Record<number, Chunk['use']>> = { 1: 'data', 2: 'system', 4: 'metadata' };

const FLAG_SYNC = 1;
const EXTENT_BYTES = 56;
const EXTENTS = 256;
