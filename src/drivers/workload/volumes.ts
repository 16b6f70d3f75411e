/** The volumes of one pod on disk: made before its containers start, removed when it is gone. Disks stay. */
import { constants, type Stats } from 'node:fs';
import {
  chmod,
  copyFile,
  lchown,
  lstat,
  mkdir,
  readdir,
  readlink,
  rename,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { mayMount, mounts, system } from '../../lib/mounts.ts';
import { pathName } from '../labels.ts';
import type { Disks } from './disks.ts';
import { StartProblem } from './start-problem.ts';
import type { FilePlan, VolumePlan } from './volume-plan.ts';

/** Where the disks of one pod are. */
export type DisksOfPod = {
  /** Folder of the disk `claim` of the baseline. */
  baseline(claim: string): string;
  /** Folder of that of its owner's forks. */
  fork(claim: string): string;
  alone: Disks['alone'];
};

/** How a disk of a fork began. */
export type DiskStart = 'copy' | 'empty';

/** Where a volume is. @param folder of the pod's volumes */
export function placeOf(volume: VolumePlan, folder: string, disks: DisksOfPod): string {
  switch (volume.kind) {
    case 'host':
      return volume.path;
    case 'disk':
      return disks[volume.of](volume.claim);
    default:
      return join(folder, pathName(volume.name));
  }
}

/**
 * Makes what is missing; may be repeated.
 * @returns how disks of a fork began, by claim
 * @throws StartProblem when a path of this machine is not as it should be
 */
export async function makeVolumes(
  volumes: readonly VolumePlan[],
  folder: string,
  disks: DisksOfPod,
): Promise<Readonly<Record<string, DiskStart>>> {
  const began: Record<string, DiskStart> = {};
  for (const volume of volumes) {
    const place = placeOf(volume, folder, disks);
    if (volume.kind === 'files') await makeFiles(volume.files, place);
    else if (volume.kind === 'host') await makeHostPath(volume);
    else if (volume.kind === 'disk' && volume.of === 'fork')
      began[volume.claim] = await disks.alone(place, () =>
        makeForkDisk(place, volume.copy ? disks.baseline(volume.claim) : undefined),
      );
    else await makeFolder(place);
    if (volume.kind === 'empty' && volume.memoryBytes !== undefined)
      await inMemory(place, volume.memoryBytes);
  }
  return began;
}

/** Unmounts what is in memory, and removes all that is the pod's own. */
export async function removeVolumes(folder: string): Promise<void> {
  if (process.platform === 'linux')
    for (const { target } of await mounts())
      if (target.startsWith(`${folder}/`)) await system('umount', ['--lazy', '--', target]);
  // What ends there may write its last word (how it ended) while this goes on.
  await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 20 });
}

// --- internal -----------------------------------------------------------------------------------

/** Programs may run as any user, as in a pod. */
async function makeFolder(path: string): Promise<void> {
  if ((await mkdir(path, { recursive: true })) !== undefined) await chmod(path, 0o777);
}

/** Whole or not at all: what is there was made by a pod that goes on. */
async function makeFiles(files: readonly FilePlan[], place: string): Promise<void> {
  if (await stat(place).catch(() => undefined)) return;
  const half = `${place}.partial`;
  await rm(half, { recursive: true, force: true });
  await mkdir(half, { recursive: true });
  for (const { path, mode, text, base64 } of files) {
    const file = join(half, path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, base64 === undefined ? (text ?? '') : Buffer.from(base64, 'base64'));
    await chmod(file, mode & 0o777);
  }
  await chmod(half, 0o755);
  await rename(half, place);
}

/** API reference, HostPathVolumeSource. Without a type, container runtimes make a folder. */
async function makeHostPath({ name, path, type }: Extract<VolumePlan, { kind: 'host' }>): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  const is = found?.isDirectory() ? 'Directory' : found?.isSocket() ? 'Socket' : found ? 'File' : undefined;
  if (is === undefined && (type === '' || type === 'DirectoryOrCreate')) {
    await mkdir(path, { recursive: true });
  } else if (is === undefined && type === 'FileOrCreate') {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, '', { flag: 'a' });
  } else if (is === undefined || (type !== '' && !type.startsWith(is) && !/Device$/.test(type))) {
    const what = is === undefined ? 'is not there' : `is not what its type says (${type})`;
    throw new StartProblem('ConfigError', `volume "${name}": the hostPath ${path} ${what}`);
  }
}

/**
 * Begins once, as a copy that shares its blocks with the baseline's, or empty; after that the forks of one owner have it
 * alone.
 */
async function makeForkDisk(place: string, from: string | undefined): Promise<DiskStart> {
  // Beside it, by names that no claim has.
  const beside = (what: string) => join(dirname(place), `.${what}-${basename(place)}`);
  const mark = beside('copy');
  const exists = (path: string) =>
    stat(path).then(
      () => true,
      () => false,
    );
  if (await exists(place)) return (await exists(mark)) ? 'copy' : 'empty';
  const half = beside('partial');
  for (const path of [half, mark]) await rm(path, { recursive: true, force: true });
  await mkdir(half, { recursive: true });
  await chmod(half, 0o777);
  const isCopy = from !== undefined && (await exists(from)) && (await cloneTree(from, half));
  if (isCopy) {
    await likeTheOther(half, await lstat(from));
    await writeFile(mark, '');
  } else {
    await rm(half, { recursive: true, force: true });
    await mkdir(half, { recursive: true });
    await chmod(half, 0o777);
  }
  await rename(half, place);
  return isCopy ? 'copy' : 'empty';
}

/**
 * File by file: entries as they are, whose they are and of when; sockets and their like are of running programs.
 * @returns false when the file system has no copies that share blocks; then nothing of worth was made
 */
async function cloneTree(from: string, to: string): Promise<boolean> {
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)];
    try {
      if (entry.isDirectory()) {
        await mkdir(target);
        if (!(await cloneTree(source, target))) return false;
      } else if (entry.isSymbolicLink()) await symlink(await readlink(source), target);
      else if (entry.isFile()) await copyFile(source, target, constants.COPYFILE_FICLONE_FORCE);
      else continue;
      await likeTheOther(target, await lstat(source));
    } catch (error) {
      const { code = '' } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT') continue; // removed meanwhile: the baseline goes on
      return false;
    }
  }
  return true;
}

/** A server's files must be its user's, or it does not start. */
async function likeTheOther(path: string, { uid, gid, mode, atime, mtime }: Stats): Promise<void> {
  const found = await lstat(path);
  if (found.uid !== uid || found.gid !== gid) await lchown(path, uid, gid);
  if (found.isSymbolicLink()) return;
  await chmod(path, mode & 0o7777);
  await utimes(path, atime, mtime);
}

/** Where we may mount; elsewhere it is on the disk. */
async function inMemory(place: string, bytes: number): Promise<void> {
  if (!(await mayMount()) || (await mounts()).some(({ target }) => target === place)) return;
  await system('mount', ['-t', 'tmpfs', '-o', `size=${Math.ceil(bytes)},mode=0777`, '--', 'offshoot', place]);
}
