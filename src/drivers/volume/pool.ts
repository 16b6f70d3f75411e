/**
 * The pool: btrfs in a sparse image file, mounted through a loop device, so that a machine with any other
 * file system has copy-on-write volumes too. The file takes the room of what is in it, not of its size.
 */
import { lstatSync } from 'node:fs';
import {
  access,
  chmod,
  mkdir,
  open,
  readlink,
  realpath,
  rename,
  rm,
  rmdir,
  stat,
  statfs,
  truncate,
} from 'node:fs/promises';
import { dirname } from 'node:path';
import {
  flushFileSystem,
  growLoopDevice,
  isMounted,
  loopDevicesOf,
  type Mount,
  mayMount,
  mountDevice,
  mountImage,
  mounts,
  system,
  unmount,
} from '../../lib/mounts.ts';
import { until } from '../../lib/wait.ts';
import { OffshootError } from '../../model/errors.ts';

export type PoolOptions = {
  readonly image: string;
  /** Where to mount it; made when absent. Not used when the image is mounted already. */
  readonly mountPoint: string;
  /** Size of the file system. An older, smaller image grows to it. Default: 80 % of what the host has free. */
  readonly bytes?: number;
};

export type Pool = {
  /** Where it is mounted. */
  readonly root: string;
  readonly bytes: number;
  /**
   * Unmounts it, with all that was written down. Copies of the mount that others hold in mount namespaces of their
   * own (containers, sandboxes of browsers) are theirs: the next `openPool` takes over what they keep alive.
   * @throws OffshootError volume/busy when something still uses it here after `deadlineMs`, default 5000
   */
  close(deadlineMs?: number): Promise<void>;
};

/**
 * Makes the image if there is none, and mounts it; an image that a crashed process left mounted is adopted
 * where it is, because servers may still run on it.
 * @throws with the reason why there can be no pool here
 */
export async function openPool({ image, mountPoint, bytes }: PoolOptions): Promise<Pool> {
  if (!(await mayMount())) throw new Error('it needs Linux and the right to mount, which root has');
  await using undo = new AsyncDisposableStack();
  if (!isThere(image)) {
    await createImage(image, bytes ?? (await defaultBytes(dirname(image))));
    undo.defer(() => rm(image));
  } else {
    await access(image).catch(async () => {
      throw new Error(`${image} leads to ${await readlink(image)}, which is not there: is its disk mounted?`);
    });
    if (bytes !== undefined && bytes > (await stat(image)).size) await truncate(image, wholeMib(bytes));
  }
  const path = await realpath(image); // as the kernel names it
  const left = await writableMountOf(path);
  const root = left ?? mountPoint;
  if (left === undefined) {
    await mount(path, root);
    undo.defer(() => closePool(path, root));
    // Not at one that was left: the kernel makes it read-only when the host is full, and `down` must still work.
    await chmod(root, 0o711);
  }
  await fill(path, root);
  const { size } = await stat(path);
  undo.move();
  return { root, bytes: size, close: deadlineMs => closePool(path, root, deadlineMs) };
}

/** Also when it leads to a disk that is not mounted now. */
export const isThere = (image: string): boolean => lstatSync(image, { throwIfNoEntry: false }) !== undefined;

/** Where the image is mounted. @param image as the kernel names it, without links */
export async function mountOf(image: string): Promise<Mount | undefined> {
  const devices = await devicesOf(image);
  return (await mounts()).find(m => devices.includes(m.source));
}

export const wholeMib = (bytes: number): number => Math.ceil(bytes / MIB) * MIB;

// --- internal ------------------------------------------------------------------------------------

const MIB = 2 ** 20;

async function defaultBytes(directory: string): Promise<number> {
  const fs = await statfs(directory);
  return Math.max(1024 * MIB, wholeMib(fs.bavail * fs.bsize * 0.8));
}

/** The image exists under its name only when its file system is complete. */
async function createImage(image: string, bytes: number): Promise<void> {
  const partial = `${image}.partial`;
  await rm(partial, { force: true });
  try {
    await using file = await open(partial, 'wx', 0o600);
    await file.truncate(wholeMib(bytes));
    // One copy of everything: the host's own file system is below.
    await system('mkfs.btrfs', ['-q', '-K', '-m', 'single', '-d', 'single', '-L', 'offshoot', partial]);
    await file.sync();
    await rename(partial, image);
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
}

/**
 * Where the image is mounted now. One that the kernel has made read-only is mounted anew, which mends it, unless servers
 * still run on it: they end first, by "down".
 */
async function writableMountOf(image: string): Promise<string | undefined> {
  const found = await mountOf(image);
  if (found?.readOnly !== true) return found?.target;
  await closePool(image, found.target, 0).catch(() => {});
  return (await mountOf(image))?.target;
}

/** The image's loop devices. Of two containers on one machine each may have an image of the same path. */
async function devicesOf(image: string): Promise<readonly string[]> {
  const mine = await fileSystemIn(image);
  const named = await loopDevicesOf(image);
  const same = await Promise.all(
    named.map(async device => (await fileSystemIn(device).catch(() => undefined)) === mine),
  );
  return named.filter((_, i) => same[i]);
}

/** The UUID in the superblock of btrfs, 64 KiB from the beginning. */
async function fileSystemIn(path: string): Promise<string> {
  await using file = await open(path, 'r');
  const { buffer } = await file.read(Buffer.alloc(16), 0, 16, 65_536 + 32);
  return buffer.toString('hex');
}

async function mount(image: string, mountPoint: string): Promise<void> {
  await mkdir(mountPoint, { recursive: true });
  if (await isMounted(mountPoint)) throw new Error(`something else is mounted at ${mountPoint}`);
  // Discarding gives the room of deleted branches back to the host.
  const how = { type: 'btrfs', options: ['noatime', 'discard=async'] };
  // A crash, or a copy of the mount in somebody's mount namespace, has left its device. With a second device on the
  // same image two file systems would write over each other.
  for (const device of await devicesOf(image)) {
    try {
      return await mountDevice(device, mountPoint, how);
    } catch (error) {
      if ((await loopDevicesOf(image)).includes(device)) throw error; // otherwise it was let go meanwhile
    }
  }
  await mountImage(image, mountPoint, how);
}

/** Grows the file system to the size of its image. */
async function fill(image: string, root: string): Promise<void> {
  const [fs, file] = await Promise.all([statfs(root), stat(image)]);
  if (fs.blocks * fs.bsize >= file.size) return;
  for (const device of await devicesOf(image)) await growLoopDevice(device);
  await system('btrfs', ['filesystem', 'resize', 'max', root]);
}

async function closePool(image: string, root: string, deadlineMs = 5_000): Promise<void> {
  try {
    await flushFileSystem(root); // the unmount does so only when nobody holds a copy of the mount
    await unmount(root, deadlineMs);
  } catch (cause) {
    throw new OffshootError(
      'volume/busy',
      { path: root, why: cause instanceof Error ? cause.message : String(cause) },
      { cause },
    );
  }
  await rmdir(root); // also takes away the copies of the mount that nobody uses
  await deviceFreed(image);
}

/** The kernel frees the device a moment after the last unmount, and not while others use a copy of the mount. */
async function deviceFreed(image: string): Promise<void> {
  const free = async () => ((await loopDevicesOf(image)).length === 0 ? true : undefined);
  await until(free, { what: `the loop device of ${image} is free`, deadlineMs: 100 }).catch(() => {});
}
