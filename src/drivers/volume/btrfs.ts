/** Volumes as btrfs subvolumes: a copy is a snapshot, atomic over all files, whatever their size and number. */
import { existsSync } from 'node:fs';
import { chmod, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { ExecError } from '../../lib/exec.ts';
import { system } from '../../lib/mounts.ts';
import type { Ctx } from '../contract.ts';
import type { Medium } from './directory.ts';

export const btrfs: Medium = {
  copyOnWrite: true,

  async make(path, ctx) {
    await run(['subvolume', 'create', path], ctx.signal);
    await chmod(path, 0o711);
  },

  async clone(from, to, live, ctx) {
    // The snapshot of a running server is what a power cut would leave: it recovers from the last checkpoint,
    // so one right before keeps that short. It also flushes what was committed asynchronously.
    await live?.checkpoint(ctx);
    const release = await live?.hold(ctx);
    try {
      await run(['subvolume', 'snapshot', from, to], ctx.signal);
    } finally {
      await release?.();
    }
  },

  cloneBytes: async () => 0,

  async destroy(path, ctx) {
    if (!existsSync(path)) return; // the usual case when a name is made free, and costs no program
    try {
      await run(['subvolume', 'delete', path], ctx.signal);
    } catch (error) {
      if (!(error instanceof ExecError)) throw error;
      // An ordinary user may delete a subvolume only file by file (btrfs(5), user_subvol_rm_allowed).
      await rm(path, { recursive: true, force: true });
    }
  },
};

/**
 * Really makes, snapshots and deletes a subvolume in `directory`.
 * @throws with the reason why that does not work here
 */
export async function probeBtrfs(directory: string, ctx: Ctx): Promise<void> {
  const BTRFS_SUPER_MAGIC = 0x9123683e; // statfs(2)
  if ((await statfs(directory)).type !== BTRFS_SUPER_MAGIC) throw new Error(`${directory} is not on btrfs`);
  const [first, second] = [join(directory, '.probe'), join(directory, '.probe-snapshot')];
  const clear = () => Promise.all([btrfs.destroy(first, ctx), btrfs.destroy(second, ctx)]);
  await clear();
  try {
    await btrfs.make(first, ctx);
    await btrfs.clone(first, second, undefined, ctx);
  } finally {
    await clear();
  }
}

// --- internal ------------------------------------------------------------------------------------

const run = (args: readonly string[], signal: AbortSignal) => system('btrfs', args, signal);
