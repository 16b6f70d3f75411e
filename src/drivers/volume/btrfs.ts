/** Volumes as btrfs subvolumes: a copy is a snapshot, atomic over all files, whatever their size and number. */
import { chmod, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { exists } from '../../lib/exists.ts';
import { system } from '../../lib/mounts.ts';
import type { Ctx } from '../contract.ts';
import type { BtrfsCalls } from './btrfs-calls.ts';
import type { Medium } from './directory.ts';

/**
 * @param calls undefined: everything is done by the program `btrfs`
 * @param removed told of each subvolume that was removed with `calls`; its room is free only later
 */
export function btrfsMedium(calls: BtrfsCalls | undefined, removed?: (subvolume: bigint) => void): Medium {
  const { make, snapshot, remove } = calls === undefined ? byProgram : byCalls(calls, removed);
  return {
    copyOnWrite: true,
    ...(calls && { commits: { place: calls.place, commit: calls.commitNames } }),

    async make(path, ctx) {
      await make(path, ctx.signal);
      await chmod(path, 0o711);
    },

    async clone(from, to, live, ctx) {
      // The snapshot of a running server is what a power cut would leave: it recovers from the last checkpoint,
      // so one right before keeps that short. It also flushes what was committed asynchronously.
      await live?.checkpoint(ctx);
      const release = await live?.hold(ctx);
      try {
        await snapshot(from, to, ctx.signal);
      } finally {
        await release?.();
      }
    },

    cloneBytes: async () => 0,

    async destroy(path, ctx) {
      if (!(await exists(path))) return; // the usual case when a name is made free, and costs no program
      try {
        await remove(path, ctx.signal);
      } catch {
        ctx.signal.throwIfAborted();
        // An ordinary user may delete a subvolume only file by file (btrfs(5), user_subvol_rm_allowed).
        await rm(path, { recursive: true, force: true });
      }
    },
  };
}

/**
 * Really makes, snapshots and deletes a subvolume in `directory`.
 * @throws with the reason why that does not work here
 */
export async function probeBtrfs(directory: string, btrfs: Medium, ctx: Ctx): Promise<void> {
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

type Verbs = {
  make(path: string, signal: AbortSignal): Promise<unknown>;
  snapshot(from: string, to: string, signal: AbortSignal): Promise<unknown>;
  remove(path: string, signal: AbortSignal): Promise<unknown>;
};

const byCalls = (calls: BtrfsCalls, removed: (subvolume: bigint) => void = () => {}): Verbs => ({
  make: path => calls.create(path),
  snapshot: (from, to) => calls.snapshot(from, to),
  async remove(path) {
    const { id } = await calls.subvolume(path);
    await calls.remove(path);
    removed(id);
  },
});

const byProgram: Verbs = {
  make: (path, signal) => system('btrfs', ['subvolume', 'create', path], signal),
  snapshot: (from, to, signal) => system('btrfs', ['subvolume', 'snapshot', from, to], signal),
  remove: (path, signal) => system('btrfs', ['subvolume', 'delete', path], signal),
};
