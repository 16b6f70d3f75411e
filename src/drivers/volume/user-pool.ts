/**
 * A pool for an ordinary user, whom the kernel lets make, copy and remove subvolumes of btrfs but not mount it. Root makes it once:
 * an image, and a line of fstab(5) by which the system mounts it at each start, or the user himself. All in it is the user's; the image
 * stays root's, for who could write to it could let the kernel read whatever he likes for a file system. It takes its room of the
 * disk at once: what he runs could not watch over a disk that fills below it.
 */
import { appendFile, chmod, chown, mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ExecError, exec } from '../../lib/exec.ts';
import { libc } from '../../lib/libc.ts';
import { growLoopDevice, isMounted, loopDevicesOf, mayMount, system } from '../../lib/mounts.ts';
import { isNoSpace } from '../../lib/no-space.ts';
import type { UserIds } from '../../lib/reach.ts';
import { syncDirectory } from '../../lib/sync.ts';
import { bytesText } from '../../model/bytes.ts';
import { OffshootError } from '../../model/errors.ts';
import { freeBytesOf } from './space.ts';

export type UserPool = {
  /** Where it is mounted; the user's. */
  readonly root: string;
  readonly image: string;
};

/** Where the pool of a user is, or would be. */
export const userPoolOf = (uid: number): UserPool => {
  const root = join(DIRECTORY, String(uid));
  return { root, image: `${root}.img` };
};

/**
 * Makes the pool of an ordinary user, or lets it grow. May be repeated, also after it was interrupted.
 * @param who by name or ids; undefined: nobody has said who
 * @param bytes default: a quarter of what is free, 32 GiB at most
 * @throws OffshootError volume/user-pool
 */
export async function initUserPool(
  who: string | UserIds | undefined,
  bytes: number | undefined,
): Promise<UserPool & { readonly owner: UserIds }> {
  if (who === undefined) throw refused('nobody called sudo; name the user');
  const owner = typeof who === 'string' ? await idsOf(who) : who;
  if (owner === undefined) throw refused(`there is no user ${who}`);
  if (owner.uid === 0) throw refused('root has a pool without that');
  return { ...(await makeUserPool(owner, bytes)), owner };
}

/**
 * The pool that root has made for the user of this process, mounted if it is not.
 * @returns undefined when there is none
 * @throws with the reason why it is not mounted
 */
export async function ownUserPool(uid = process.getuid?.() ?? 0): Promise<UserPool | undefined> {
  const pool = userPoolOf(uid);
  if (uid === 0 || !(await isDirectory(pool.root))) return undefined;
  if (await isMounted(pool.root)) return pool;
  try {
    await system('mount', ['--', pool.root]); // which fstab lets him
  } catch (error) {
    throw new Error(`the pool ${pool.root} is not mounted: ${reasonOf(error)}`);
  }
  return pool;
}

// --- internal ------------------------------------------------------------------------------------

const DIRECTORY = '/var/lib/offshoot-pools';
const TABLE = '/etc/fstab';

const GIB = 2 ** 30;
const MIB = 2 ** 20;

/** What stays free for others when its room is taken. */
const LEFT_BYTES = GIB;

const refused = (why: string, cause?: unknown) =>
  new OffshootError('volume/user-pool', { why }, cause === undefined ? {} : { cause });

/** One that is there is mounted, and grows when it is to have more. */
async function makeUserPool({ uid, gid }: UserIds, bytes: number | undefined): Promise<UserPool> {
  if (!(await mayMount())) throw refused('that takes root, once: repeat it with sudo');
  const pool = userPoolOf(uid);
  await mkdir(DIRECTORY, { recursive: true, mode: 0o755 });
  await giveRoom(pool.image, bytes);
  await mkdir(pool.root, { recursive: true, mode: 0o755 }); // root's: nothing can be written beside what is mounted there
  await enterInTable(pool);
  try {
    if (!(await isMounted(pool.root))) await system('mount', ['--', pool.root]);
    for (const device of await loopDevicesOf(pool.image)) await growLoopDevice(device);
    await system('btrfs', ['filesystem', 'resize', 'max', pool.root]);
  } catch (error) {
    throw refused(reasonOf(error), error);
  }
  await chown(pool.root, uid, gid);
  await chmod(pool.root, 0o711);
  return pool;
}

/** A failing boot would be a high price: without it (`nofail`) only its user has nothing. What it frees stays its own (`nodiscard`). */
const OPTIONS = 'loop,user,nofail,noatime,nodiscard,user_subvol_rm_allowed';

async function enterInTable({ image, root }: UserPool): Promise<void> {
  const table = await readFile(TABLE, 'utf8').catch(() => '');
  const lines = table.split('\n').filter(line => !line.trim().startsWith('#'));
  if (lines.some(line => line.trim().split(/\s+/)[1] === root)) return; // perhaps changed by who runs the machine
  const line = `${image} ${root} btrfs ${OPTIONS} 0 0\n`;
  await appendFile(TABLE, table === '' || table.endsWith('\n') ? line : `\n${line}`, { flush: true });
}

/** The image exists under its name only when its file system is complete, and has all its room. */
async function giveRoom(image: string, wanted: number | undefined): Promise<void> {
  const there = await stat(image).catch(() => undefined);
  const free = await freeBytesOf(DIRECTORY);
  const bytes = wanted ?? there?.size ?? Math.min(32 * GIB, Math.floor(free / 4));
  const whole = Math.floor(bytes / MIB) * MIB;
  const more = whole - (there === undefined ? 0 : 512 * there.blocks);
  if (there !== undefined && more <= 0) return;
  if (more > free - LEFT_BYTES)
    throw refused(`${bytesText(free)} are free in ${DIRECTORY}, of which 1 GiB is left to others`);
  if (there !== undefined) return await take(image, whole);
  const partial = `${image}.partial`;
  await rm(partial, { force: true });
  try {
    await take(partial, whole);
    await system('mkfs.btrfs', ['-q', '-K', '-m', 'single', '-d', 'single', '-L', 'offshoot', partial]);
    await rename(partial, image);
    await syncDirectory(DIRECTORY);
  } catch (error) {
    await rm(partial, { force: true });
    throw error instanceof OffshootError ? error : refused(reasonOf(error), error);
  }
}

async function take(image: string, bytes: number): Promise<void> {
  await using file = await open(image, 'a', 0o600);
  try {
    await (await libc()).allocate(file.fd, 0, bytes);
  } catch (error) {
    const why = isNoSpace(error) ? 'its disk is full' : `its disk gives no room ahead: ${reasonOf(error)}`;
    throw refused(why, error);
  }
  await file.truncate(bytes);
  await file.sync();
}

/** Also of users that are known elsewhere (nsswitch.conf(5)). */
async function idsOf(name: string): Promise<UserIds | undefined> {
  try {
    const [uid, gid] = await Promise.all(['-u', '-g'].map(async flag => exec('id', [flag, '--', name])));
    return { uid: Number(uid!.stdout), gid: Number(gid!.stdout) };
  } catch (error) {
    if (error instanceof ExecError && error.exitCode === 1) return undefined;
    throw error;
  }
}

const isDirectory = async (path: string): Promise<boolean> =>
  (await stat(path).catch(() => undefined))?.isDirectory() ?? false;

function reasonOf(error: unknown): string {
  if (!(error instanceof ExecError)) return error instanceof Error ? error.message : String(error);
  if (error.errno === 'ENOENT') return `the program ${error.argv[0]} is missing (package btrfs-progs)`;
  return error.stderr.trim().split('\n').at(-1) || error.message;
}
