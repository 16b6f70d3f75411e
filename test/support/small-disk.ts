/** A file system of its own, small enough to be filled. */
import { chmod, mkdir, open, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { mayMount, system } from '../../src/lib/mounts.ts';
import { isNoSpace } from '../../src/lib/no-space.ts';
import { delay } from '../../src/lib/wait.ts';
import { tempDir } from './temp.ts';

export type SmallDisk = AsyncDisposable & {
  readonly path: string;
  /** Writes to a file of somebody else's until there is no byte left. */
  fill(): Promise<void>;
  /** Removes that file. */
  clear(): Promise<void>;
  freeBytes(): Promise<number>;
};

/** Why there can be none here; undefined when there can. */
export const smallDiskMissing = async (): Promise<string | undefined> =>
  (await mayMount()) ? undefined : 'it needs the right to mount';

/** @param kind tmpfs is quick, ext4 is what hosts have, btrfs can share blocks */
export async function smallDisk(
  bytes: number,
  kind: 'tmpfs' | 'ext4' | 'btrfs' = 'tmpfs',
): Promise<SmallDisk> {
  await using undo = new AsyncDisposableStack();
  const dir = undo.use(await tempDir());
  await chmod(dir.path, 0o711);
  const path = join(dir.path, 'disk');
  await mkdir(path);
  if (kind === 'tmpfs') {
    await system('mount', ['-t', 'tmpfs', '-o', `size=${bytes},mode=711`, 'tmpfs', path]);
  } else {
    const image = join(dir.path, 'disk.img');
    await using file = await open(image, 'w');
    await file.truncate(bytes);
    await (kind === 'ext4'
      ? system('mkfs.ext4', ['-q', '-m', '0', image])
      : system('mkfs.btrfs', ['-q', image]));
    await system('mount', ['-o', 'loop', image, path]);
  }
  undo.defer(async () => {
    await system('umount', ['--lazy', path]);
  });
  const filler = join(path, 'of-somebody-else');
  const all = undo.move();
  return {
    path,
    async fill() {
      await using file = await open(filler, 'a');
      for (let size = 4 * 2 ** 20; size >= 1; ) {
        try {
          await file.appendFile(Buffer.alloc(size, 1));
          await delay(5); // as fast as good disks
        } catch (error) {
          if (!isNoSpace(error)) throw error;
          size = Math.floor(size / 4);
        }
      }
    },
    clear: () => rm(filler, { force: true }),
    async freeBytes() {
      const { bavail, bsize } = await statfs(path);
      return bavail * bsize;
    },
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}
