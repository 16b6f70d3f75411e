/** Copies directory trees file by file, with owner and mode, also while somebody changes them. */
import { constants, type Stats } from 'node:fs';
import {
  chmod,
  chown,
  copyFile as copyWhole,
  type FileHandle,
  lchown,
  lstat,
  mkdir,
  open,
  readdir,
  readlink,
  symlink,
} from 'node:fs/promises';
import { join } from 'node:path';

export type TreeOptions = {
  /** true: the entry at this path, relative to the root, is left out with all below it. Default: nothing is. */
  readonly skip?: (path: string) => boolean;
  /** true: the tree is in use, so an entry may be gone before it was copied. Default: that is an error. */
  readonly inUse?: boolean;
  /** Which files share their blocks with the copy (ioctl_ficlone(2)), each as it was at one instant. Default: none does. */
  readonly shares?: (file: string) => Promise<boolean>;
  readonly signal?: AbortSignal;
};

/** Copies the directory `from` into `to`, which may exist. A file is copied up to the size it had when opened. */
export async function copyTree(from: string, to: string, options: TreeOptions = {}): Promise<void> {
  await makeDirectory(to, await lstat(from));
  const files: string[] = [];
  for await (const { path, stats } of entries(from, '', options)) {
    const target = join(to, path);
    if (stats.isDirectory()) await makeDirectory(target, stats);
    else if (stats.isSymbolicLink()) await symlink(await readlink(join(from, path)), target);
    else if (stats.isFile()) files.push(path);
  }
  // As many at once as Node has threads for file work by default.
  const next = files[Symbol.iterator]();
  await Promise.all(
    Array.from({ length: 4 }, async () => {
      const buffer = Buffer.allocUnsafeSlow(256 * 1024);
      for (const path of next) await copyFile(join(from, path), join(to, path), buffer, options);
    }),
  );
}

/** Sum of the sizes of all files below `root`, in bytes. */
export async function treeBytes(root: string, signal?: AbortSignal): Promise<number> {
  let sum = 0;
  const options = { inUse: true, ...(signal && { signal }) };
  for await (const { stats } of entries(root, '', options)) if (stats.isFile()) sum += stats.size;
  return sum;
}

/** Writes a file with the owner and mode of `model`. */
export async function writeLike(path: string, content: string | Buffer, model: string): Promise<void> {
  const stats = await lstat(model);
  await using file = await open(path, 'w', stats.mode & 0o777);
  await file.writeFile(content);
  await giveTo(file, stats);
}

// --- internal ------------------------------------------------------------------------------------

type Entry = { readonly path: string; readonly stats: Stats };

/** Everything below `root`/`path`, a directory before its content. */
async function* entries(root: string, path: string, options: TreeOptions): AsyncGenerator<Entry> {
  const names = await orGone(readdir(join(root, path)), options);
  for (const name of names ?? []) {
    options.signal?.throwIfAborted();
    const below = path === '' ? name : `${path}/${name}`;
    if (options.skip?.(below)) continue;
    const stats = await orGone(lstat(join(root, below)), options);
    if (stats === undefined) continue;
    yield { path: below, stats };
    if (stats.isDirectory()) yield* entries(root, below, options);
  }
}

/** What came of `work`, or undefined when its file is gone and that is to be expected. */
async function orGone<T>(work: Promise<T>, options: TreeOptions): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (options.inUse && (error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

async function makeDirectory(path: string, like: Stats): Promise<void> {
  await mkdir(path, { recursive: true, mode: like.mode & 0o777 });
  if (process.getuid?.() === 0) await lchown(path, like.uid, like.gid);
}

async function copyFile(from: string, to: string, buffer: Buffer, options: TreeOptions): Promise<void> {
  options.signal?.throwIfAborted();
  if ((await orGone(options.shares?.(from) ?? no, options)) === true) return await share(from, to, options);
  await using source = await orGone(open(from, 'r'), options);
  if (source === undefined) return;
  const stats = await source.stat();
  await using target = await open(to, 'wx', stats.mode & 0o777);
  await giveTo(target, stats);
  for (let at = 0; at < stats.size; ) {
    options.signal?.throwIfAborted();
    const { bytesRead } = await source.read(buffer, 0, Math.min(buffer.length, stats.size - at), at);
    if (bytesRead === 0) return; // truncated meanwhile
    await target.writeFile(buffer.subarray(0, bytesRead)); // writes on from where it is, and all of it
    at += bytesRead;
  }
}

const no = Promise.resolve(false);

/** With the kernel's call alone: where that does not work it fails, since a whole copy is not what was asked for. */
async function share(from: string, to: string, options: TreeOptions): Promise<void> {
  const mode = constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE_FORCE;
  const stats = await orGone(lstat(from), options);
  if (stats === undefined) return;
  await orGone(copyWhole(from, to, mode), options);
  await orGone(chmod(to, stats.mode & 0o777), options);
  if (process.getuid?.() === 0) await orGone(chown(to, stats.uid, stats.gid), options);
}

async function giveTo(file: FileHandle, like: Stats): Promise<void> {
  await file.chmod(like.mode & 0o777); // open() took the umask off
  if (process.getuid?.() === 0) await file.chown(like.uid, like.gid);
}
