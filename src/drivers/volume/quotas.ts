/**
 * Sizes by simple quotas of btrfs (Linux 6.7): the kernel counts what each subvolume has written since it was made and
 * still exists, and refuses what is over its limit. Unlike the older kind they cost nothing when snapshots are made.
 * What a parent has written counts for the parent as long as a child shares it.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isNoSpace } from '../../lib/no-space.ts';
import type { BranchUsage } from '../contract.ts';
import { type BtrfsCalls, type QuotaState, qgroupId, qgroupName } from './btrfs-calls.ts';
import type { Sizes } from './sizes.ts';

/**
 * @param root top directory of a file system of its own: one that counts cannot be mounted by older kernels any more
 * @param children the volumes in it that have a parent
 * @throws with the reason why this kernel does not count
 */
export async function quotaSizes(
  root: string,
  calls: BtrfsCalls,
  children: readonly string[],
): Promise<Sizes> {
  const { since } = await enabled(root, calls);
  await calls.makeQgroup(root, CHILDREN);
  const ids = await calls.subvolumes(root);
  const joined = await calls.membersOf(root, CHILDREN);
  for (const id of children.map(name => ids.get(name)))
    if (id !== undefined && !joined.has(id)) await calls.joinQgroup(root, id, CHILDREN);
  await removeUnused(root, calls);
  const uuid = await calls.uuid(root);
  /** By path; asking for it takes longer than reading its count. */
  const known = new Map<string, { readonly id: bigint; readonly exact: boolean }>();
  let mostOfChildren = Number.POSITIVE_INFINITY;

  return {
    capability: {
      name: 'volume/sizes',
      ok: true,
      detail: 'the kernel counts what each branch takes and keeps its limit (simple quotas of btrfs)',
    },

    async made(path, child) {
      if (!child) return;
      const { id } = await calls.subvolume(path);
      try {
        await calls.joinQgroup(root, id, CHILDREN);
      } catch (error) {
        if (!isNoSpace(error)) throw error;
        // What was deleted from a full file system is free for its own tables with the next transaction only.
        await calls.commit(root);
        await calls.joinQgroup(root, id, CHILDREN);
      }
    },

    removed: path => void known.delete(path),

    async of(path, settled) {
      if (settled) await calls.commit(root);
      const { id, exact } = await lookUp(path);
      return { bytes: bytesNow(uuid, id) ?? (await committed(root, calls)).get(id) ?? 0, exact };
    },

    async all(names) {
      const wanted = new Set(names);
      const bytes = await committed(root, calls);
      const found = new Map<string, BranchUsage>();
      for (const [name, id] of await calls.subvolumes(root)) {
        if (!wanted.has(name)) continue;
        const seen = await lookUp(join(root, name)).catch(ignoreGone);
        if (seen !== undefined) found.set(name, { bytes: bytes.get(id) ?? 0, exact: seen.exact });
      }
      return found;
    },

    async limit(path, bytes) {
      await calls.limit(root, (await lookUp(path)).id, bytes);
    },

    async limitChildren(more) {
      // In this order: what is written meanwhile then makes it less, never more.
      const bytes = bytesNow(uuid, CHILDREN) ?? (await committed(root, calls)).get(CHILDREN) ?? 0;
      const moreBytes = await more();
      const most = bytes + Math.max(0, moreBytes);
      // Every change is written to the disk; where there is plenty, it need not be exact.
      if (Math.abs(most - mostOfChildren) < Math.max(MIB, moreBytes / 100)) return;
      await calls.limit(root, CHILDREN, most);
      mostOfChildren = most;
    },

    tidy: () => removeUnused(root, calls),
  };

  async function lookUp(path: string): Promise<{ readonly id: bigint; readonly exact: boolean }> {
    const there = known.get(path);
    if (there !== undefined) return there;
    const { id, madeAt } = await calls.subvolume(path);
    const found = { id, exact: madeAt >= since };
    known.set(path, found);
    return found;
  }
}

// --- internal ------------------------------------------------------------------------------------

/** All volumes with a parent are members. */
const CHILDREN = qgroupId(1, 1n);

const MIB = 2 ** 20;

/** Ids of subvolumes begin here (BTRFS_FIRST_FREE_OBJECTID). */
const FIRST = 256n;

async function enabled(root: string, calls: BtrfsCalls): Promise<QuotaState> {
  const state = await calls.quotas(root);
  if (state.mode === 'simple') return state;
  if (state.mode === 'full') throw new Error('its file system counts by the older kind of quotas');
  try {
    await calls.enableSimpleQuotas(root);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new Error(code === 'EINVAL' ? 'simple quotas of btrfs need Linux 6.7' : (cause as Error).message, {
      cause,
    });
  }
  return await calls.quotas(root);
}

const committed = async (root: string, calls: BtrfsCalls): Promise<ReadonlyMap<bigint, number>> =>
  new Map((await calls.qgroups(root)).map(({ id, bytes }) => [id, bytes]));

function ignoreGone(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
}

/** What the kernel counts, and what is written but has no place on the disk yet; undefined without sysfs. */
function bytesNow(uuid: string, id: bigint): number | undefined {
  const read = (name: string) =>
    Number(readFileSync(`/sys/fs/btrfs/${uuid}/qgroups/${qgroupName(id)}/${name}`, 'utf8'));
  try {
    return read('referenced') + read('rsv_data');
  } catch {
    return undefined;
  }
}

/** A subvolume that others shared data with when it was deleted leaves its count behind. */
async function removeUnused(root: string, calls: BtrfsCalls): Promise<void> {
  const groups = await calls.qgroups(root); // first: what is made meanwhile is present then
  const present = new Set((await calls.subvolumes(root)).values());
  for (const { id, bytes } of groups)
    if (id >= FIRST && id < CHILDREN && bytes === 0 && !present.has(id)) await calls.removeQgroup(root, id);
}
