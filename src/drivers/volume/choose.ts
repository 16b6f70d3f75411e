/** Which kind of volumes this machine can have: tried in order, by really doing it, each miss kept with its reason. */
import { existsSync } from 'node:fs';
import { chmod, mkdir, readdir, rmdir, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { ExecError } from '../../lib/exec.ts';
import type { Log } from '../../lib/log.ts';
import { bindMount, mayMount, unmount } from '../../lib/mounts.ts';
import { blockedAt, type UserIds } from '../../lib/reach.ts';
import { OffshootError } from '../../model/errors.ts';
import type { VolumeDriver } from '../branch-parts.ts';
import type { Capability, Ctx } from '../contract.ts';
import { btrfs, probeBtrfs } from './btrfs.ts';
import { copy } from './copy.ts';
import { type Medium, volumesIn } from './directory.ts';
import { openPool } from './pool.ts';
import { leastRoom } from './space.ts';

export type VolumeKind = 'btrfs' | 'pool' | 'copy';

export type VolumeOptions = {
  /** The data directory. It is made enterable (mode 0711) for the user that owns the volumes. */
  readonly home: string;
  /** Short-lived things, e.g. mount points. `owner` must be able to enter it. */
  readonly runtimeDir: string;
  /** Only this kind; otherwise the best that works, but always the one whose volumes are there already. */
  readonly force?: VolumeKind;
  /** Size of the pool; an older one grows to it. */
  readonly poolBytes?: number;
  /** Bytes that stay free on the host when volumes are made. */
  readonly minFreeBytes: number;
  /** Who runs the servers. */
  readonly owner: UserIds;
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
      const place = { name: kind, owner, minFreeBytes, capabilities: tried, ...found };
      return { driver: volumesIn(place, found.medium), why: found.why, capabilities: tried };
    } catch (error) {
      const full = (await leastRoom([options.home])).freeBytes === 0;
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
  readonly roomIn: readonly string[];
  readonly why: string;
  close(): Promise<void>;
};

const imageIn = (home: string): string => join(home, 'pool.img');
const folderIn = (home: string): string => join(home, 'volumes');

/** Where volumes are, they stay in use: another kind would not find them, and every branch would seem lost. */
async function candidates({ home, force }: VolumeOptions): Promise<readonly VolumeKind[]> {
  if (force !== undefined) return [force];
  if (existsSync(imageIn(home))) return ['pool'];
  if (existsSync(folderIn(home)) && (await readdir(folderIn(home))).length > 0) return ['btrfs', 'copy'];
  return ['btrfs', 'pool', 'copy'];
}

const openers: Record<VolumeKind, (options: VolumeOptions) => Promise<Found>> = {
  async btrfs(options) {
    const folder = await makeFolder(options);
    const ctx: Ctx = { signal: AbortSignal.timeout(30_000), log: options.log };
    await probeBtrfs(folder, ctx);
    const why = `${folder} is on btrfs: a branch is a snapshot, at once and whatever its size`;
    return { medium: btrfs, ...(await reachable(folder, options)), why };
  },

  async pool({ home, runtimeDir, poolBytes, owner }) {
    const pool = await openPool({
      image: imageIn(home),
      mountPoint: join(runtimeDir, 'pool'),
      ...(poolBytes === undefined ? {} : { bytes: poolBytes }),
    });
    const blocked = await blockedAt(pool.root, owner);
    if (blocked !== undefined) {
      await pool.close();
      throw new Error(`the user of the servers (uid ${owner.uid}) may not enter ${blocked}`);
    }
    const why = `${imageIn(home)} holds a btrfs file system of up to ${Math.round(pool.bytes / 2 ** 30)} GiB: a branch is a snapshot, at once and whatever its size`;
    // When the host is full the file cannot grow, whatever the file system inside believes.
    return { medium: btrfs, root: pool.root, roomIn: [pool.root, home], why, close: () => pool.close() };
  },

  async copy(options) {
    const folder = await makeFolder(options);
    const why = `a branch is a FULL COPY in ${folder}: it takes the time and the room of all its data`;
    return { medium: copy, ...(await reachable(folder, options)), why };
  },
};

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
async function reachable(folder: string, options: VolumeOptions): Promise<Omit<Found, 'medium' | 'why'>> {
  const { runtimeDir, owner } = options;
  const home = resolve(options.home);
  if ((await blockedAt(folder, owner)) === home) await chmod(home, (await stat(home)).mode | 0o111);
  const blocked = await blockedAt(folder, owner);
  if (blocked === undefined) return { root: folder, roomIn: [folder], close: async () => {} };
  if (!(await mayMount()))
    throw new Error(`the user of the servers (uid ${owner.uid}) may not enter ${blocked}`);
  const root = join(runtimeDir, 'volumes');
  await mkdir(root, { recursive: true });
  await bindMount(folder, root, { readOnly: false });
  const close = async () => {
    await unmount(root, 5_000);
    await rmdir(root);
  };
  return { root, roomIn: [folder], close };
}

/** One line that says why something did not work. */
function reasonOf(error: unknown): string {
  if (!(error instanceof ExecError)) return error instanceof Error ? error.message : String(error);
  if (error.errno === 'ENOENT') return `the program ${error.argv[0]} is missing (package btrfs-progs)`;
  return error.stderr.trim().split('\n')[0] || error.message;
}
