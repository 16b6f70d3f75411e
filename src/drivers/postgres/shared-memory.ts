/**
 * What a killed server leaves in shared memory: Linux keeps it until the machine restarts. PostgreSQL itself finds it
 * again only by luck, because snapshots have the inode numbers from which it makes its keys (PGSharedMemoryCreate).
 */
import { readFile, readlink, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { system } from '../../lib/mounts.ts';
import type { UserIds } from '../../lib/reach.ts';

/** What frees the memory of one server: known while it runs, needed when it is dead. Plain words, good for a note. */
export type SharedMemory = {
  /** Makers of System V segments: postmasters, or servers that initdb runs. */
  readonly pids: readonly number[];
  /** Names of files in /dev/shm that list others. */
  readonly lists: readonly string[];
};

/** What processes that run have mapped. */
export async function sharedMemoryOf(pids: readonly number[]): Promise<SharedMemory> {
  const lists = new Set<string>();
  for (const pid of pids) {
    const maps = await readFile(`/proc/${pid}/maps`, 'utf8').catch(() => '');
    for (const [, name] of maps.matchAll(/\/dev\/shm\/(PostgreSQL\.\d+)/g)) lists.add(name!);
  }
  return { pids, lists: [...lists] };
}

/** Whose processes we see, e.g. `pid:[4026531836]` (pid_namespaces(7)): what is dead there is dead. */
export const pidNamespace = (): Promise<string> => readlink('/proc/self/ns/pid').catch(() => '');

/** Frees what killed servers of this user have left. All of them must be dead. */
export async function freeSharedMemory({ pids, lists }: SharedMemory, user: UserIds): Promise<void> {
  if (process.platform !== 'linux') return;
  for (const id of await deadSegments(pids, user.uid)) await system('ipcrm', ['--shmem-id', id]);
  for (const list of lists) {
    const listed = await filesListedBy(list, user.uid).catch(ignoreGone);
    if (listed === undefined) continue;
    for (const name of [...listed, list]) await rm(join(FOLDER, name), { force: true });
  }
}

// --- internal ------------------------------------------------------------------------------------

/** Ids of System V segments, by which PostgreSQL knows that a data directory is in use. */
async function deadSegments(makers: readonly number[], uid: number): Promise<readonly string[]> {
  const rows = (await readFile('/proc/sysvipc/shm', 'utf8')).trim().split('\n').slice(1);
  return rows
    .map(row => row.trim().split(/\s+/)) // proc_sysvipc(5): key, shmid, perms, size, cpid, lpid, nattch, uid, …
    .filter(row => makers.includes(Number(row[4])) && row[6] === '0' && row[7] === `${uid}`)
    .map(row => row[1]!);
}

const FOLDER = '/dev/shm'; // shm_overview(7)

/** dsm.c: struct dsm_control_header is magic, number of items, capacity; struct dsm_control_item begins with handle, refcnt. */
const MAGIC = 0x9a503d32;
const [HEADER_BYTES, ITEM_BYTES] = [16, 40];

/** Dynamic shared memory is files, of which one lists the others. Undefined when this is none of this user's. */
async function filesListedBy(name: string, uid: number): Promise<readonly string[] | undefined> {
  const path = join(FOLDER, name);
  if (!/^PostgreSQL\.\d+$/.test(name) || (await stat(path)).uid !== uid) return undefined;
  const bytes = await readFile(path);
  if (bytes.length < HEADER_BYTES || bytes.readUInt32LE(0) !== MAGIC) return undefined;
  const listed: string[] = [];
  const end = Math.min(bytes.length, HEADER_BYTES + bytes.readUInt32LE(4) * ITEM_BYTES);
  for (let at = HEADER_BYTES; at + ITEM_BYTES <= end; at += ITEM_BYTES)
    if (bytes.readUInt32LE(at + 4) > 0) listed.push(`PostgreSQL.${bytes.readUInt32LE(at)}`);
  return listed;
}

function ignoreGone(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT' && error.code !== 'ESRCH') throw error;
}
