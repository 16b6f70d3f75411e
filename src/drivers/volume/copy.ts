/**
 * Volumes as plain directories, on file systems without snapshots: a copy shares the blocks of each file where the file system
 * can do that (XFS, APFS, bcachefs, ZFS from 2.2, btrfs for an ordinary user). Elsewhere it copies every byte: the last resort.
 */
import { chmod, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { exec } from '../../lib/exec.ts';
import type { FinishedBackup, LiveParent } from '../branch-parts.ts';
import type { Ctx } from '../contract.ts';
import { copyTree, type TreeOptions, treeBytes, writeLike } from './copy-tree.ts';
import type { Medium } from './directory.ts';
import { extentsOf } from './extents.ts';

export const copy: Medium = directories(undefined);

export const reflink: Medium = directories(async file => (await extentsOf(file)) <= MOST_SHARED);

/**
 * Really shares the blocks of a file in `directory`.
 * @throws with the reason why that does not work here
 */
export async function probeReflink(directory: string, ctx: Ctx): Promise<void> {
  const [first, second] = [join(directory, '.probe'), join(directory, '.probe-shared')];
  const clear = () => Promise.all([reflink.destroy(first, ctx), reflink.destroy(second, ctx)]);
  await clear();
  try {
    await mkdir(join(first, 'pgdata'), { recursive: true });
    await writeFile(join(first, 'pgdata', 'file'), Buffer.alloc(65_536, 1));
    await reflink.clone(first, second, undefined, ctx);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined || !/^(ENOTSUP|EOPNOTSUPP|ENOSYS|EINVAL|EXDEV|ENOTTY)$/.test(code)) throw error;
    throw new Error(`the file system of ${directory} cannot share blocks of files (${code})`);
  } finally {
    await clear();
  }
}

// --- internal ------------------------------------------------------------------------------------

/**
 * Sharing takes time with the number of pieces a file has come to lie in, and so does removing. One that lies in more of them is copied
 * byte by byte: its copy is in few pieces, and so are those of the branch.
 */
const MOST_SHARED = 20_000;

/** @param shares undefined: no file */
function directories(shares: TreeOptions['shares']): Medium {
  const how = shares === undefined ? {} : { shares };
  const medium: Medium = {
    copyOnWrite: shares !== undefined,

    async make(path) {
      await mkdir(path);
      await chmod(path, 0o711);
    },

    async clone(from, to, live, ctx) {
      await medium.make(to, ctx);
      const [source, target] = [join(from, 'pgdata'), join(to, 'pgdata')];
      if (live === undefined) await copyTree(source, target, { ...how, signal: ctx.signal });
      else await copyRunning(source, target, live, how, ctx);
      await flush(target, ctx);
    },

    cloneBytes: async from => (shares === undefined ? await treeBytes(join(from, 'pgdata')) : 0),

    destroy: path => rm(path, { recursive: true, force: true, maxRetries: 3 }),
  };
  return medium;
}

/**
 * Copies a data directory in use: PostgreSQL's "Making a Base Backup Using the Low Level API". Pages that
 * are torn or newer than others are mended by the WAL from the backup's start to its end, which comes last.
 */
async function copyRunning(
  source: string,
  target: string,
  live: LiveParent,
  how: Pick<TreeOptions, 'shares'>,
  ctx: Ctx,
): Promise<void> {
  const backup = await live.beginBackup(ctx);
  try {
    const isHeld = await copyHeld(source, target, live, how, ctx);
    const skip = (path: string) => isLeftOut(path) || isHeld(path);
    await copyTree(source, target, { ...how, skip, inUse: true, signal: ctx.signal });
    await copyControlFile(source, target, ctx);
    const done = await backup.finish();
    const needed = walRange(done);
    await copyTree(join(source, 'pg_wal'), join(target, 'pg_wal'), {
      skip: name => !needed(name),
      signal: ctx.signal,
    });
    const model = join(target, 'PG_VERSION');
    await writeLike(join(target, 'backup_label'), done.backupLabel, model);
    if (done.tablespaceMap !== '') await writeLike(join(target, 'tablespace_map'), done.tablespaceMap, model);
  } finally {
    await backup.close();
  }
}

/**
 * Unlogged files first, so that their writers wait no longer than needed.
 * @returns which files were copied
 */
async function copyHeld(
  source: string,
  target: string,
  live: LiveParent,
  how: Pick<TreeOptions, 'shares'>,
  ctx: Ctx,
): Promise<(path: string) => boolean> {
  const release = await live.hold(ctx);
  try {
    const held = new Set(live.unlogged.held);
    const isHeld = (path: string) => held.has(path.replace(/(_fsm|_vm)?(\.\d+)?$/, ''));
    const directories = new Set(
      [...held].flatMap(path => path.split('/').map((_, i, all) => all.slice(0, i).join('/'))),
    );
    const skip = (path: string) => !directories.has(path) && !isHeld(path);
    if (held.size > 0) await copyTree(source, target, { ...how, skip, signal: ctx.signal });
    return isHeld;
  } finally {
    await release();
  }
}

const CONTROL_FILE = 'global/pg_control';

/** Directories that start empty; the same list as pg_basebackup's. */
const emptied =
  /^pg_(wal|replslot|dynshmem|notify|serial|snapshots|stat_tmp|subtrans)\/|^(postmaster\.(pid|opts)|backup_label|tablespace_map)$|(^|\/)pgsql_tmp/;

const isLeftOut = (path: string): boolean => path === CONTROL_FILE || emptied.test(path);

/** pg_control is written in place, so a copy may be torn. Two equal reads in a row are not. */
async function copyControlFile(source: string, target: string, ctx: Ctx): Promise<void> {
  const path = join(source, CONTROL_FILE);
  let before = await readFile(path);
  for (;;) {
    ctx.signal.throwIfAborted();
    const now = await readFile(path);
    if (now.equals(before)) return writeLike(join(target, CONTROL_FILE), now, path);
    before = now;
  }
}

/**
 * Which files of pg_wal a backup needs. Later ones must stay behind: they are being written, and a half-copied
 * one holds pages of the parent's future, which the branch could take for its own after a crash.
 */
function walRange(done: FinishedBackup): (name: string) => boolean {
  const first = /^START WAL LOCATION: \S+ \(file ([0-9A-F]{24})\)/m.exec(done.backupLabel)?.[1];
  if (first === undefined) throw new Error('backup_label does not name its first WAL file');
  return name => /^[0-9A-F]{24}$/.test(name) && first <= name && name <= done.lastWalFile;
}

/** Makes all that was copied durable at once: far quicker than file by file. */
async function flush(path: string, ctx: Ctx): Promise<void> {
  const args = process.platform === 'linux' ? ['-f', path] : [];
  await exec('sync', args, { deadlineMs: 600_000, signal: ctx.signal });
}
