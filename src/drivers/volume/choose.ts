/** Which kind of volumes this machine can have: tried in order, by really doing it, each miss kept with its reason. */
import { existsSync, lstatSync } from 'node:fs';
import { chmod, mkdir, readdir, readlink, realpath, rmdir, stat, symlink } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { ExecError } from '../../lib/exec.ts';
import type { Log } from '../../lib/log.ts';
import { bindMount, mayMount, unmount } from '../../lib/mounts.ts';
import { randomName } from '../../lib/random.ts';
import { blockedAt, type UserIds } from '../../lib/reach.ts';
import { shared } from '../../lib/shared.ts';
import { OffshootError } from '../../model/errors.ts';
import type { VolumeDriver } from '../branch-parts.ts';
import type { Capability, Ctx, NodeRoom } from '../contract.ts';
import { openBacking, type Standstill } from './backing.ts';
import { btrfsMedium, probeBtrfs } from './btrfs.ts';
import { type BtrfsCalls, btrfsCalls } from './btrfs-calls.ts';
import { copy, probeReflink, reflink } from './copy.ts';
import { clearFormer, type Medium, volumesIn } from './directory.ts';
import { keepPool } from './keep-pool.ts';
import { isThere, openPool } from './pool.ts';
import { quotaSizes } from './quotas.ts';
import { readRecord } from './record.ts';
import { type Sizes, walkedSizes } from './sizes.ts';
import { freeBytesOf, roomIn } from './space.ts';
import { ownUserPool } from './user-pool.ts';

export type VolumeKind = 'btrfs' | 'pool' | 'reflink' | 'copy';

export type VolumeOptions = {
  /** The data directory. It is made enterable (mode 0711) for the user that owns the volumes. */
  readonly home: string;
  /** Short-lived things, e.g. mount points. `owner` must be able to enter it. */
  readonly runtimeDir: string;
  /** Only this kind; otherwise the best that works, but always the one whose volumes are there already. */
  readonly force?: VolumeKind;
  /** Size of the pool; an older one grows to it. */
  readonly poolBytes?: number;
  /** Bytes that stay free when volumes are made. */
  readonly minFreeBytes: number;
  /** The last bytes, which only volumes without a parent may take. Default: a thirty-second part, 64 to 512 MiB. */
  readonly reserveBytes?: number;
  /** Keep the reserve, and give room back, from now until `close`. Not for those who only look. */
  readonly keep: boolean;
  /** Who runs the servers. */
  readonly owner: UserIds;
  /** Does something while nobody writes. Default: at once, whoever does. */
  readonly standstill?: Standstill;
  readonly log: Log;
};

export type OpenVolumes = {
  readonly driver: VolumeDriver;
  /** One sentence for people: what was chosen, and what it means. */
  readonly why: string;
  /** One line per kind that was tried. */
  readonly capabilities: readonly Capability[];
};

/** @throws OffshootError volume/driver-unusable when the forced kind, or the one that holds volumes, does not work */
export async function openVolumes(options: VolumeOptions): Promise<OpenVolumes> {
  const tried: Capability[] = [];
  const kinds = await candidates(options);
  for (const kind of kinds) {
    const name = `volume/${kind}`;
    try {
      const found = await openers[kind](options);
      tried.push({ name, ok: true, detail: found.why });
      const { owner, minFreeBytes } = options;
      tried.push(found.sizes.capability);
      const place = { name: kind, owner, minFreeBytes, capabilities: tried, ...found };
      if (options.keep) await clearFormer(place, found.medium, openingCtx(options));
      return { driver: volumesIn(place, found.medium), why: found.why, capabilities: tried };
    } catch (error) {
      const full = (await freeBytesOf(options.home)) === 0;
      const why = full ? `${reasonOf(error)} (the file system of ${options.home} is full)` : reasonOf(error);
      tried.push({ name, ok: false, detail: why });
      if (kind === kinds.at(-1))
        throw new OffshootError('volume/driver-unusable', { driver: kind, why }, { cause: error });
    }
  }
  throw new TypeError('no kind of volume to try');
}

// --- internal ------------------------------------------------------------------------------------

type Found = {
  readonly medium: Medium;
  readonly root: string;
  readonly sizes: Sizes;
  readonly why: string;
  room(): Promise<NodeRoom>;
  close(): Promise<void>;
};

const openingCtx = ({ log }: VolumeOptions): Ctx => ({ signal: AbortSignal.timeout(30_000), log });

/** The pool's file, or a link to it. */
export const imageIn = (home: string): string => join(home, 'pool.img');
export const folderIn = (home: string): string => join(home, 'volumes');

/** Where volumes are, they stay in use: another kind would not find them, and every branch would seem lost. */
async function candidates({ home, force }: VolumeOptions): Promise<readonly VolumeKind[]> {
  if (force !== undefined) return [force];
  if (isThere(imageIn(home))) return ['pool'];
  if (isLink(folderIn(home))) return ['btrfs']; // into a user's pool, be it that this is not mounted now
  const [first] = existsSync(folderIn(home)) ? await readdir(folderIn(home)) : [];
  if (first === undefined) return ['btrfs', 'pool', 'reflink', 'copy'];
  const { ino } = await stat(join(folderIn(home), first));
  return ino === SUBVOLUME ? ['btrfs', 'reflink', 'copy'] : ['reflink', 'copy'];
}

/** The inode of the top of any subvolume of btrfs; a snapshot can be made of nothing else. */
const SUBVOLUME = 256;

const openers: Record<VolumeKind, (options: VolumeOptions) => Promise<Found>> = {
  async btrfs(options) {
    const ctx = openingCtx(options);
    const { calls } = await kernel();
    const medium = btrfsMedium(calls);
    const folder = await btrfsFolder(options, medium, ctx);
    // Quotas would change a file system that is not ours alone.
    const sizes = walkedSizes(folder, true, 'its file system holds other things too');
    const why = `${folder} is on btrfs: a branch is a snapshot, at once and whatever its size`;
    return { medium, sizes, ...(await reachable(folder, options)), why };
  },

  async pool(options) {
    const { home, runtimeDir, poolBytes, owner, log } = options;
    await using opened = new AsyncDisposableStack();
    const pool = await openPool({
      image: imageIn(home),
      mountPoint: join(runtimeDir, 'pool'),
      ...(poolBytes === undefined ? {} : { bytes: poolBytes }),
    });
    opened.defer(() => pool.close());
    const { root } = pool;
    const blocked = await blockedAt(root, owner);
    if (blocked !== undefined)
      throw new Error(`the user of the servers (uid ${owner.uid}) may not enter ${blocked}`);
    const why = `${imageIn(home)} holds a btrfs file system of up to ${Math.round(pool.bytes / 2 ** 30)} GiB: a branch is a snapshot, at once and whatever its size`;
    const reserveBytes = options.reserveBytes ?? reserveOf(pool.bytes);
    const { calls, missing } = await kernel();
    const sizes = await poolSizes(root, calls, missing);
    const image = await realpath(imageIn(home)); // it may have been moved to another disk
    const host = dirname(image);
    const roomOf = {
      root,
      image,
      home: host,
      reserveBytes,
      minFreeBytes: options.minFreeBytes,
      ...(options.standstill && { standstill: options.standstill }),
      log,
    };
    const backing = calls === undefined ? undefined : await openBacking({ ...roomOf, calls });
    const keeper =
      options.keep && calls && backing
        ? keepPool({ root, calls, backing, sizes, reserveBytes, log })
        : undefined;
    if (keeper) opened.defer(() => keeper.stop());
    const medium = btrfsMedium(calls, keeper?.removed);
    const room = shared(backing?.room ?? (() => lessRoom(root, host, reserveBytes)));
    const closing = opened.move();
    return { medium, root, sizes, why, room, close: () => closing.disposeAsync() };
  },

  async reflink(options) {
    const folder = await makeFolder(options);
    await probeReflink(folder, openingCtx(options));
    const why = `a branch shares the blocks of its parent's files in ${folder}: it takes a moment for each file, and the room of what it changes`;
    const sizes = walkedSizes(folder, true, 'its file system does not count what files share');
    return { medium: reflink, sizes, ...(await reachable(folder, options)), why };
  },

  async copy(options) {
    const folder = await makeFolder(options);
    const cure =
      process.platform === 'linux' && options.owner.uid === process.getuid?.()
        ? '; "sudo offshoot pool init --user", once, gives an ordinary user snapshots'
        : '';
    const why = `a branch is a FULL COPY in ${folder}: it takes the time and the room of all its data${cure}`;
    const sizes = walkedSizes(folder, false, 'they are sums over files');
    return { medium: copy, sizes, ...(await reachable(folder, options)), why };
  },
};

/** When the host is full the file cannot grow, whatever the file system inside believes. */
async function lessRoom(root: string, home: string, reserveBytes: number): Promise<NodeRoom> {
  const [inside, host] = await Promise.all([roomIn(root, reserveBytes), roomIn(home, reserveBytes)]);
  return host.freeBytes < inside.freeBytes ? { ...host, totalBytes: inside.totalBytes } : inside;
}

/** The last bytes of `total`, which only volumes without a parent may take. */
const reserveOf = (total: number): number => Math.min(512 * MIB, Math.max(64 * MIB, Math.floor(total / 32)));

const MIB = 2 ** 20;

async function kernel(): Promise<{ readonly calls?: BtrfsCalls; readonly missing: string }> {
  try {
    return { calls: await btrfsCalls(), missing: '' };
  } catch (error) {
    return { missing: reasonOf(error) };
  }
}

async function poolSizes(root: string, calls: BtrfsCalls | undefined, missing: string): Promise<Sizes> {
  if (calls === undefined) return walkedSizes(root, true, missing);
  try {
    const names = (await readdir(root)).filter(name => !name.includes('.'));
    const records = await Promise.all(names.map(name => readRecord(join(root, name))));
    return await quotaSizes(
      root,
      calls,
      names.filter((_, i) => records[i]?.parent !== undefined),
    );
  } catch (error) {
    return walkedSizes(root, true, reasonOf(error));
  }
}

const isLink = (path: string): boolean =>
  lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() ?? false;

/** One in the data directory; or, where that is not on btrfs, in the pool that root has made for this user, with a link to it. */
async function btrfsFolder(options: VolumeOptions, medium: Medium, ctx: Ctx): Promise<string> {
  const folder = folderIn(options.home);
  if (isLink(folder)) {
    await ownUserPool();
    await stat(folder).catch(async () => {
      throw new Error(`${folder} leads to ${await readlink(folder)}, which is not there`);
    });
    return await realpath(folder);
  }
  await makeFolder(options);
  try {
    await probeBtrfs(folder, medium, ctx);
    return folder;
  } catch (missing) {
    const pool = await ownUserPool();
    if (pool === undefined) throw missing;
    const own = join(pool.root, randomName(10));
    await mkdir(own, { mode: 0o711 });
    await probeBtrfs(own, medium, ctx);
    await rmdir(folder);
    await symlink(own, folder);
    return own;
  }
}

async function makeFolder({ home }: VolumeOptions): Promise<string> {
  const folder = folderIn(home);
  await mkdir(folder, { recursive: true });
  await chmod(folder, 0o711);
  return folder;
}

/**
 * A way to `folder` that the owner of the volumes can go: the folder itself, or, when a directory above the
 * data directory is closed (a home below /root), the folder mounted a second time in the runtime directory.
 */
async function reachable(
  folder: string,
  options: VolumeOptions,
): Promise<Omit<Found, 'medium' | 'why' | 'sizes'>> {
  const { runtimeDir, owner } = options;
  const home = resolve(options.home);
  const room = async () => {
    const { totalBytes } = await roomIn(folder, 0);
    return await roomIn(folder, options.reserveBytes ?? reserveOf(totalBytes));
  };
  if ((await blockedAt(folder, owner)) === home) await chmod(home, (await stat(home)).mode | 0o111);
  const blocked = await blockedAt(folder, owner);
  if (blocked === undefined) return { root: folder, room, close: async () => {} };
  if (!(await mayMount()))
    throw new Error(`the user of the servers (uid ${owner.uid}) may not enter ${blocked}`);
  const root = join(runtimeDir, 'volumes');
  await mkdir(root, { recursive: true });
  await bindMount(folder, root, { readOnly: false });
  const close = async () => {
    await unmount(root, 5_000);
    await rmdir(root);
  };
  return { root, room, close };
}

/** One line that says why something did not work. */
function reasonOf(error: unknown): string {
  if (!(error instanceof ExecError)) return error instanceof Error ? error.message : String(error);
  if (error.errno === 'ENOENT') return `the program ${error.argv[0]} is missing (package btrfs-progs)`;
  return error.stderr.trim().split('\n')[0] || error.message;
}
