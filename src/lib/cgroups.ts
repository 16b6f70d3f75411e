/**
 * Control groups (cgroups(7)): who belongs together is known to the kernel, and all of it ends by one write. The
 * unified hierarchy keeps members, also where no controller is bound to it; limits are kept by its controllers or by
 * those of version 1. All of this waits for a lock of the kernel for some milliseconds at times: never synchronously.
 */
import { constants, existsSync, type FSWatcher, watch } from 'node:fs';
import { access, mkdir, readdir, readFile, rmdir, stat, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { until } from './wait.ts';

/** What a group may use at most. */
export type Limits = { readonly memoryBytes?: number; readonly cpus?: number };

/** The controller that keeps a limit. */
export type Controller = 'memory' | 'cpu';

/** Directories of one group, that in the unified hierarchy first. Plain data, good for a file. */
export type Group = { readonly dirs: readonly string[] };

export type Groups = {
  /** The directories that ours are made in, that in the unified hierarchy first; others may not be there. */
  readonly homes: readonly string[];
  /** Limits that are kept here. */
  readonly keeps: readonly Controller[];
  /** Makes an empty group. @param key a file name; the same one gives the same group */
  make(key: string, limits?: Limits): Promise<Group>;
};

/**
 * Finds a place for groups and makes a directory `name` there.
 *
 * That is the directory `given`. Without one, below our own group, so that limits on us hold for all; or, as root,
 * at the top of the hierarchy, when groups below our own cannot have limits because it has members itself
 * (cgroup-v2.rst, "No Internal Process Constraint").
 * @returns the place, or why there is none
 */
export async function findGroups(
  name: string,
  given: string | undefined,
  uid: number,
): Promise<Groups | { readonly why: string }> {
  if (process.platform !== 'linux') return { why: `not on ${process.platform}` };
  const own = await ownGroups();
  const unified = own.get('');
  if (unified === undefined) return { why: 'the unified hierarchy is not mounted' };
  if (given === undefined && uid !== 0)
    return { why: 'an ordinary user needs one that is given, by OFFSHOOT_CGROUP' };
  const v1 = { memory: own.get('memory')?.dir, cpu: own.get('cpu')?.dir };
  const places = given === undefined ? [...new Set([unified.dir, unified.top])] : [given];
  const found: Groups[] = [];
  let why = '';
  for (const place of places) {
    try {
      await mayEnter(unified.dir, place, uid);
      found.push(await groupsIn(place, name, v1));
    } catch (error) {
      why ||= (error as Error).message;
    }
    if (found.at(-1)?.keeps.length === 2) break;
  }
  const best = found.toSorted((a, b) => b.keeps.length - a.keeps.length)[0];
  for (const other of found) if (other !== best) await removeDir(other.homes[0]!);
  return best ?? { why };
}

/** Moves a process into a group; what it starts from now on is born there. */
export async function enter(group: Group, pid: number): Promise<void> {
  for (const dir of group.dirs) await writeFile(join(dir, 'cgroup.procs'), String(pid));
}

/** Whether a process lives in the group; zombies do not count. A group that is not there has none. */
export async function isPopulated({ dirs: [unified] }: Group): Promise<boolean> {
  const events = await readFile(join(unified!, 'cgroup.events'), 'utf8').catch(absent);
  return /^populated 1$/m.test(events ?? '');
}

export async function membersOf({ dirs: [unified] }: Group): Promise<readonly number[]> {
  const procs = await readFile(join(unified!, 'cgroup.procs'), 'utf8').catch(absent);
  return (procs ?? '').split('\n').filter(Boolean).map(Number);
}

/** Kills all members, also such as are just being born. Returns when none is left. */
export async function killMembers(group: Group): Promise<void> {
  if (!(await isPopulated(group))) return;
  await writeFile(join(group.dirs[0]!, 'cgroup.kill'), '1').catch(absent);
  await until(async () => ((await isPopulated(group)) ? undefined : true), {
    what: `the processes of ${group.dirs[0]} end`,
    deadlineMs: 10_000,
    intervalMs: 1,
  });
}

/** Removes an empty group. One that is not there is a success. */
export async function removeGroup({ dirs }: Group): Promise<void> {
  for (const dir of dirs.toReversed()) await removeDir(dir);
}

/** How often the kernel has killed a member for want of memory. */
export async function memoryKills({ dirs }: Group): Promise<number> {
  for (const dir of dirs) {
    for (const file of ['memory.events', 'memory.oom_control']) {
      const [, count] =
        /^oom_kill (\d+)$/m.exec(await readFile(join(dir, file), 'utf8').catch(() => '')) ?? [];
      if (count !== undefined) return Number(count);
    }
  }
  return 0;
}

/**
 * Calls `changed` whenever the last member has left, or the first has come.
 * @returns undefined when the system has no watch left (inotify(7), max_user_watches)
 */
export function watchGroup({ dirs: [unified] }: Group, changed: () => void): FSWatcher | undefined {
  try {
    const watcher = watch(join(unified!, 'cgroup.events'), { persistent: false }, changed);
    watcher.on('error', () => {}); // the group is gone
    return watcher;
  } catch {
    return undefined;
  }
}

/** The keys of the groups in a home. */
export const groupsOf = async (home: string): Promise<readonly string[]> =>
  (await readdir(home, { withFileTypes: true }).catch(() => []))
    .filter(entry => entry.isDirectory())
    .map(entry => entry.name);

/** Directories that `findGroups` may make ours in, when none is given: at most two for each hierarchy. */
export async function placesForGroups(): Promise<readonly string[]> {
  const own = process.platform === 'linux' ? await ownGroups() : new Map<string, Own>();
  return [...new Set([...own.values()].flatMap(({ dir, top }) => [dir, top]))];
}

/**
 * Removes what is left of groups in `place` whose owner was killed: named `prefix…`, of our user, without a process in
 * all of it, and older than an hour. Whoever uses a group has processes in it within moments, and the kernel removes none
 * that has some.
 * @returns their names
 */
export async function removeAbandoned(
  place: string,
  prefix: string,
  { olderThanMs = 3_600_000 } = {},
): Promise<readonly string[]> {
  const removed: string[] = [];
  for (const name of await groupsOf(place)) {
    if (!name.startsWith(prefix)) continue;
    const dir = join(place, name);
    const { uid, mtimeMs } = await stat(dir).catch(() => ({ uid: -1, mtimeMs: 0 }));
    if (uid !== process.getuid?.() || Date.now() - mtimeMs < olderThanMs) continue;
    if (await hasProcesses(dir)) continue;
    try {
      for (const inner of await groupsOf(dir)) await rmdir(join(dir, inner));
      await rmdir(dir);
      removed.push(name);
    } catch {
      // It is used after all, or somebody else was quicker.
    }
  }
  return removed;
}

// --- internal -----------------------------------------------------------------------------------

/** Also in the groups below it. Only the unified hierarchy knows at once; what cannot be read counts as used. */
async function hasProcesses(dir: string): Promise<boolean> {
  const events = await readFile(join(dir, 'cgroup.events'), 'utf8').catch(() => undefined);
  if (events !== undefined) return !/^populated 0$/m.test(events);
  const dirs = [dir, ...(await groupsOf(dir)).map(inner => join(dir, inner))];
  const procs = await Promise.all(dirs.map(d => readFile(join(d, 'cgroup.procs'), 'utf8').catch(() => '?')));
  return procs.some(text => text !== '');
}

type Own = {
  /** Directory of our own group. */
  readonly dir: string;
  /** Directory of the topmost group that we see. */
  readonly top: string;
};

/** By controller; that of the unified hierarchy under the empty name. */
async function ownGroups(): Promise<ReadonlyMap<string, Own>> {
  const mounted = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n').flatMap(line => {
    // proc_pid_mountinfo(5): (4) root, (5) mount point … "-" type, source, options of the file system.
    const [before = '', after = ''] = line.split(' - ');
    const [type = '', , options = ''] = after.split(' ');
    if (type !== 'cgroup' && type !== 'cgroup2') return [];
    const [, , , root = '', point = ''] = before.split(' ');
    return [{ root, point, controllers: type === 'cgroup2' ? [''] : options.split(',') }];
  });
  const found = new Map<string, Own>();
  for (const line of (await readFile('/proc/self/cgroup', 'utf8')).split('\n')) {
    const [, controllers, path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? [];
    if (path === undefined) continue;
    for (const controller of controllers!.split(',')) {
      const mount = mounted.find(m => m.controllers.includes(controller));
      if (mount === undefined || found.has(controller)) continue;
      const below = relative(mount.root, path);
      // What lies above the mount is out of our sight: then its top is all that we have.
      found.set(controller, {
        dir: below.startsWith('..') ? mount.point : join(mount.point, below),
        top: mount.point,
      });
    }
  }
  return found;
}

type V1 = Readonly<Record<Controller, string | undefined>>;

async function groupsIn(place: string, name: string, v1: V1): Promise<Groups> {
  if (!existsSync(join(place, 'cgroup.procs'))) throw new Error(`${place} is no control group`);
  const unified = join(place, name);
  await mkdir(unified, { recursive: true });
  if (!existsSync(join(unified, 'cgroup.kill'))) {
    await removeDir(unified);
    throw new Error(`${place} has no cgroup.kill, which the unified hierarchy has since Linux 5.14`);
  }
  const homes: string[] = [unified];
  const keepers: Keeper[] = [];
  for (const controller of ['memory', 'cpu'] as const) {
    if (await delegate(place, unified, controller)) {
      keepers.push({ controller, home: unified, files: V2_FILES[controller] });
    } else if (v1[controller] !== undefined && (await isWritable(v1[controller]))) {
      const home = join(v1[controller], name);
      homes.push(home);
      keepers.push({ controller, home, files: V1_FILES[controller] });
    }
  }
  return {
    homes: [...new Set(homes)],
    keeps: keepers.map(({ controller }) => controller),
    async make(key, limits = {}) {
      const dirs = new Set([join(unified, key)]);
      await mkdir(join(unified, key), { recursive: true });
      for (const { controller, home, files } of keepers) {
        const limit = controller === 'memory' ? limits.memoryBytes : limits.cpus;
        if (limit === undefined) continue;
        const dir = join(home, key);
        await mkdir(dir, { recursive: true });
        await write(dir, files(limit));
        dirs.add(dir);
      }
      return { dirs: [...dirs] };
    },
  };
}

type Keeper = {
  readonly controller: Controller;
  readonly home: string;
  readonly files: (limit: number) => Files;
};

/** File → content, in the order of writing; a file with "?" may be missing. */
type Files = Readonly<Record<string, string>>;

const PERIOD_US = 100_000;
/** The kernel refuses less than a millisecond. */
const quotaOf = (cpus: number): number => Math.max(1_000, Math.round(cpus * PERIOD_US));

const V2_FILES: Readonly<Record<Controller, (limit: number) => Files>> = {
  // All members of a container end together, and swap is no way around the limit, as a kubelet has it.
  memory: bytes => ({ 'memory.max': `${bytes}`, 'memory.swap.max?': '0', 'memory.oom.group?': '1' }),
  cpu: cpus => ({ 'cpu.max': `${quotaOf(cpus)} ${PERIOD_US}` }),
};

const V1_FILES: Readonly<Record<Controller, (limit: number) => Files>> = {
  memory: bytes => ({ 'memory.limit_in_bytes': `${bytes}`, 'memory.memsw.limit_in_bytes?': `${bytes}` }),
  cpu: cpus => ({ 'cpu.cfs_period_us': `${PERIOD_US}`, 'cpu.cfs_quota_us': `${quotaOf(cpus)}` }),
};

async function write(dir: string, files: Files): Promise<void> {
  for (const [file, content] of Object.entries(files)) {
    const path = join(dir, file.replace('?', ''));
    if (file.endsWith('?') && !existsSync(path)) continue;
    await writeFile(path, content);
  }
}

/** Makes a controller of the unified hierarchy available to the groups in `home`. @returns whether it is */
async function delegate(place: string, home: string, controller: string): Promise<boolean> {
  try {
    for (const dir of [place, home]) {
      const has = async (file: string) =>
        (await readFile(join(dir, file), 'utf8')).split(/\s+/).includes(controller);
      if (!(await has('cgroup.controllers'))) return false;
      if (!(await has('cgroup.subtree_control')))
        await writeFile(join(dir, 'cgroup.subtree_control'), `+${controller}`);
    }
    return true;
  } catch {
    return false; // it has members of its own, or is not ours to change
  }
}

/** Whoever moves a process must be allowed to write where both of its groups belong (cgroup-v2.rst, "Delegation Containment"). */
async function mayEnter(own: string, place: string, uid: number): Promise<void> {
  if (uid === 0) return;
  let common = place;
  while (relative(common, own).startsWith('..')) common = join(common, '..');
  await access(join(common, 'cgroup.procs'), constants.W_OK);
}

const isWritable = (path: string): Promise<boolean> =>
  access(path, constants.W_OK).then(
    () => true,
    () => false,
  );

/** Removes a directory that has no members; where they have just ended the kernel may need a moment. */
async function removeDir(dir: string): Promise<void> {
  await until(
    async () => {
      try {
        await rmdir(dir);
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code === 'EBUSY') return undefined;
        if (code !== 'ENOENT') throw error;
      }
      return true;
    },
    { what: `the group ${dir} is empty`, deadlineMs: 10_000, intervalMs: 2 },
  );
}

function absent(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT' && error.code !== 'ENODEV') throw error;
}
