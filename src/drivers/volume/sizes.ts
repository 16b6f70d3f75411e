/** What volumes take, and limits for that: counted by the kernel where it can, otherwise by walking through them. */
import { access, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { BranchUsage, Capability } from '../contract.ts';
import { treeBytes } from './copy-tree.ts';

/** `path` is the directory of a volume. */
export type Sizes = {
  /** `volume/sizes` for `offshoot doctor`. */
  readonly capability: Capability;
  /** Called when the volume `path` was made, before it is seen. @param child it has a parent */
  made(path: string, child: boolean): Promise<void>;
  /** Called when there is no volume `path` any more. */
  removed(path: string): void;
  /** As of now. @param settled everything is written down first */
  of(path: string, settled: boolean): Promise<BranchUsage>;
  /** Of volumes by name; where the kernel counts, as of its last commit, half a minute ago at most. */
  all(names: readonly string[]): Promise<ReadonlyMap<string, BranchUsage>>;
  /** @param bytes undefined: no limit */
  limit(path: string, bytes: number | undefined): Promise<void>;
  /** All volumes with a parent together may take as many bytes more than they do as `more` tells, negative ones counting as none. */
  limitChildren(more: () => Promise<number>): Promise<void>;
  /** Clears away what removed volumes have left. */
  tidy(): Promise<void>;
};

/**
 * Sizes as sums over all files: what a volume has grown by since it was made. Too small where it has rewritten what
 * it shared with its parent.
 * @param shares a new volume shares its data with its parent, and takes nothing
 * @param why the kernel does not count
 */
export function walkedSizes(root: string, shares: boolean, why: string): Sizes {
  const sizes: Sizes = {
    capability: {
      name: 'volume/sizes',
      ok: false,
      detail: `sizes of branches are approximate, and limits are kept by looking: ${why}`,
    },
    async made(path, child) {
      if (shares && child) await writeFile(join(path, BASE), `${await treeBytes(join(path, 'pgdata'))}\n`);
    },
    removed() {},
    async of(path) {
      await access(path);
      const [bytes, base] = await Promise.all([treeBytes(join(path, 'pgdata')), baseOf(path)]);
      return { bytes: Math.max(0, bytes - base), exact: false };
    },
    async all(names) {
      const found = new Map<string, BranchUsage>();
      for (const name of names) {
        const usage = await sizes.of(join(root, name), false).catch(orGone);
        if (usage !== undefined) found.set(name, usage);
      }
      return found;
    },
    limit: async () => {},
    limitChildren: async () => {},
    tidy: async () => {},
  };
  return sizes;
}

// --- internal ------------------------------------------------------------------------------------

/** Beside the data: how many bytes a new volume shared with its parent. */
const BASE = 'shared-bytes';

function orGone(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
}

async function baseOf(path: string): Promise<number> {
  const text = await readFile(join(path, BASE), 'utf8').catch(() => '0');
  return Number.parseInt(text, 10) || 0;
}
