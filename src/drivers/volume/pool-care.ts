/** What people do to a pool while nothing runs on it: see it, give it another size, look for damage, put it on another disk. */
import {
  link,
  lstat,
  open,
  readlink,
  realpath,
  rename,
  rm,
  stat,
  statfs,
  symlink,
  truncate,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ExecError, exec } from '../../lib/exec.ts';
import { isMounted, system } from '../../lib/mounts.ts';
import { syncDirectory } from '../../lib/sync.ts';
import { bytesText } from '../../model/bytes.ts';
import { OffshootError } from '../../model/errors.ts';
import { isThere, mountOf, openPool, wholeMib } from './pool.ts';
import { freeBytesOf } from './space.ts';
import { userPoolOf } from './user-pool.ts';

export type PoolPlace = {
  /** The image, or the link to it, in the data directory. */
  readonly image: string;
  /** Where it is mounted when that is needed. */
  readonly mountPoint: string;
};

export type PoolSeen = {
  /** Without links. */
  readonly image: string;
  /** Size of its file system. */
  readonly bytes: number;
  /** What it takes of the disk that it is on. */
  readonly hostBytes: number;
  /** What that disk has free. */
  readonly hostFreeBytes: number;
  /** What is in it; absent while it is not mounted. */
  readonly usedBytes?: number;
  /** null: nothing runs on it. */
  readonly mountedAt: string | null;
};

/** @throws OffshootError volume/no-pool */
export async function seePool({ image }: Pick<PoolPlace, 'image'>): Promise<PoolSeen> {
  if (!isThere(image)) throw new OffshootError('volume/no-pool', { home: dirname(image) });
  const path = await realpath(image);
  const [{ size, blocks }, hostFreeBytes, mount] = await Promise.all([
    stat(path),
    freeBytesOf(dirname(path)),
    mountOf(path),
  ]);
  const inside = mount === undefined ? {} : { usedBytes: await usedIn(mount.target) };
  return {
    ...{ image: path, bytes: size, hostBytes: 512 * blocks, hostFreeBytes },
    ...{ ...inside, mountedAt: mount?.target ?? null },
  };
}

/** The pool that root has made for this user, where the volumes of `folder` are in it. */
export async function seeUserPool(folder: string): Promise<PoolSeen | undefined> {
  const { image, root } = userPoolOf(process.getuid?.() ?? 0);
  const target = await readlink(folder).catch(() => undefined);
  if (target === undefined || dirname(target) !== root) return undefined;
  const [{ size, blocks }, hostFreeBytes, mounted] = await Promise.all([
    stat(image),
    freeBytesOf(dirname(image)),
    isMounted(root),
  ]);
  const inside = mounted ? { usedBytes: await usedIn(root) } : {};
  return {
    ...{ image, bytes: size, hostBytes: 512 * blocks, hostFreeBytes },
    ...{ ...inside, mountedAt: mounted ? root : null },
  };
}

/**
 * Grows or shrinks it. Shrinking moves what is at its end to its front first; whatever it is interrupted at, the pool is whole.
 * @throws OffshootError volume/no-pool, volume/pool-in-use, volume/pool-size
 */
export async function resizePool(place: PoolPlace, wanted: number): Promise<void> {
  const { image } = await unused(place);
  const bytes = wholeMib(wanted);
  const pool = await openPool({ ...place, bytes });
  try {
    if (bytes >= pool.bytes) return;
    const used = await usedIn(pool.root);
    const refuse = (why: string) =>
      new OffshootError('volume/pool-size', { size: bytesText(bytes), why, used: bytesText(used) });
    if (bytes < used) throw refuse('that is less than is in it');
    try {
      await system('btrfs', ['filesystem', 'resize', String(bytes), pool.root]);
    } catch (error) {
      throw refuse(error instanceof ExecError ? lastLine(error.stderr) : String(error));
    }
  } finally {
    await pool.close();
  }
  await truncate(image, bytes); // not before: the file system ends there now
}

export type PoolFindings = {
  readonly bytesRead: number;
  /** One line each. */
  readonly problems: readonly string[];
};

/**
 * Reads all that is in it and compares it with its checksums; what the file system itself keeps is examined too, where the pool is not
 * in use. Nothing is changed.
 * @throws OffshootError volume/no-pool
 */
export async function checkPool(place: PoolPlace, signal: AbortSignal): Promise<PoolFindings> {
  const { image, mountedAt } = await seePool(place);
  if (mountedAt !== null) return await scrub(mountedAt, signal);
  const structure = await problemsOf(['check', '--readonly', image], signal);
  if (structure.length > 0) return { bytesRead: 0, problems: structure };
  const pool = await openPool(place);
  try {
    return await scrub(pool.root, signal);
  } finally {
    await pool.close();
  }
}

/**
 * Puts the image into another directory, and a link to it where it was; without a copy when both are on one disk. The old one goes when
 * the new one is complete and on its disk.
 * @param name of the file there, unless it goes back to the data directory
 * @returns where it is now
 * @throws OffshootError volume/no-pool, volume/pool-in-use, volume/pool-place
 */
export async function movePool(
  place: PoolPlace,
  directory: string,
  name: string,
  signal: AbortSignal,
): Promise<string> {
  const { image, hostBytes } = await unused(place);
  const refuse = (why: string) => new OffshootError('volume/pool-place', { directory, why });
  const there = await realpath(directory).catch(() => undefined);
  if (there === undefined || !(await stat(there)).isDirectory()) throw refuse('there is no such directory');
  const home = await realpath(dirname(place.image));
  const target = there === home ? place.image : join(there, name);
  if (target === image || (there === home && !(await lstat(place.image)).isSymbolicLink()))
    throw refuse('it is there already');
  if (there !== home && isThere(target)) throw refuse(`it holds a file ${name}`);
  const partial = `${target}.partial`;
  await rm(partial, { force: true });
  try {
    await link(image, partial).catch(async error => {
      if (error.code !== 'EXDEV') throw error;
      const free = await freeBytesOf(there);
      if (free < hostBytes)
        throw refuse(`${bytesText(free)} are free there, and the pool takes ${bytesText(hostBytes)}`);
      await exec('cp', ['--sparse=always', '--', image, partial], { signal, deadlineMs: copyDeadlineMs });
      await using file = await open(partial, 'r');
      await file.sync();
    });
    await rename(partial, target);
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
  await syncDirectory(there);
  if (target !== place.image) await leadTo(target, place.image);
  if (dirname(image) !== home) await rm(image, { force: true }); // else it was replaced
  return target;
}

// --- internal ------------------------------------------------------------------------------------

const copyDeadlineMs = 24 * 3_600_000;

async function unused(place: PoolPlace): Promise<PoolSeen> {
  const seen = await seePool(place);
  const { image, mountedAt } = seen;
  if (mountedAt !== null) throw new OffshootError('volume/pool-in-use', { image, mountedAt });
  return seen;
}

async function usedIn(root: string): Promise<number> {
  const { blocks, bfree, bsize } = await statfs(root);
  return (blocks - bfree) * bsize;
}

/** Takes the place of what is at `path`, at once. */
async function leadTo(target: string, path: string): Promise<void> {
  await rm(`${path}.new`, { force: true });
  await symlink(target, `${path}.new`);
  await rename(`${path}.new`, path);
  await syncDirectory(dirname(path));
}

/** btrfs-scrub(8): with -R it prints each counter as `name: number`; it exits with 3 when there were errors. */
async function scrub(root: string, signal: AbortSignal): Promise<PoolFindings> {
  const args = ['scrub', 'start', '-B', '-R', root];
  const options = { signal, deadlineMs: copyDeadlineMs };
  const { stdout } = await exec('btrfs', args, options).catch(error => {
    if (error instanceof ExecError && error.exitCode === 3) return error;
    throw error;
  });
  const counters = [...stdout.matchAll(/^\s*(\w+): (\d+)$/gm)].map(
    ([, what, n]) => [what!, Number(n)] as const,
  );
  const bytesRead = counters.reduce((sum, [what, n]) => sum + (what.endsWith('bytes_scrubbed') ? n : 0), 0);
  const problems = counters.flatMap(([what, n]) =>
    n > 0 && what.endsWith('_errors') ? [`${what.replaceAll('_', ' ')}: ${n}`] : [],
  );
  return { bytesRead, problems };
}

async function problemsOf(args: readonly string[], signal: AbortSignal): Promise<readonly string[]> {
  try {
    await exec('btrfs', args, { signal, deadlineMs: copyDeadlineMs });
    return [];
  } catch (error) {
    if (!(error instanceof ExecError) || error.exitCode === null) throw error;
    const said = error.stderr.split('\n').filter(line => /error|mismatch|invalid|bad|fail/i.test(line));
    return said.length > 0 ? said.slice(0, 20) : [lastLine(error.stderr)];
  }
}

const lastLine = (text: string): string => text.trim().split('\n').at(-1) ?? '';
