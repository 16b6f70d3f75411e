/**
 * What a killed server leaves in shared memory: Linux keeps it until the machine restarts. PostgreSQL itself finds it
 * again only by luck, because snapshots have the inode numbers from which it makes its keys (PGSharedMemoryCreate).
 */
import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { system } from '../../lib/mounts.ts';
import type { UserIds } from '../../lib/reach.ts';

/**
 * Frees the shared memory that processes of this user have made and left, and all files of his whose makers are dead.
 * @param makers processes that were killed: postmasters, or servers that initdb ran
 */
export async function freeSharedMemory(
  makers: readonly { readonly pid: number }[],
  user: UserIds,
): Promise<void> {
  if (process.platform !== 'linux') return;
  const pids = makers.map(({ pid }) => pid);
  for (const id of await deadSegments(pids, user.uid)) await system('ipcrm', ['--shmem-id', id]);
  await removeDeadFiles(user.uid);
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

/** Dynamic shared memory: files, of which one lists the others. */
async function removeDeadFiles(uid: number): Promise<void> {
  const lists = new Map<string, readonly string[]>();
  for (const name of await readdir(FOLDER)) {
    const listed = await filesListedBy(name, uid).catch(ignoreGone);
    if (listed !== undefined) lists.set(name, listed);
  }
  // Looked at after the lists: whoever makes one has mapped it before it can be recognised, until he dies.
  for (const name of await mappedFiles(uid)) lists.delete(name);
  for (const [list, listed] of lists)
    for (const name of [...listed, list]) await rm(join(FOLDER, name), { force: true });
}

/** dsm.c: struct dsm_control_header is magic, number of items, capacity; struct dsm_control_item begins with handle, refcnt. */
const MAGIC = 0x9a503d32;
const [HEADER_BYTES, ITEM_BYTES] = [16, 40];

/** Undefined when the file is no list of this user's. */
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

/** Names of the files that processes of this user have mapped. */
async function mappedFiles(uid: number): Promise<ReadonlySet<string>> {
  const found = new Set<string>();
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const maps = await mapsOf(entry, uid).catch(ignoreGone);
    for (const [, name] of maps?.matchAll(/\/dev\/shm\/(PostgreSQL\.\d+)/g) ?? []) found.add(name!);
  }
  return found;
}

const mapsOf = async (pid: string, uid: number): Promise<string> =>
  (await stat(`/proc/${pid}`)).uid === uid ? readFile(`/proc/${pid}/maps`, 'utf8') : '';

function ignoreGone(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT' && error.code !== 'ESRCH') throw error;
}
