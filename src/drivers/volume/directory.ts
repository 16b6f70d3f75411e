/**
 * What all volume drivers have in common: a volume is the directory `<root>/<id>` with `volume.json` and
 * `pgdata`. It is made as `<id>.partial/volume` and renamed when complete, and renamed to `<id>.removing` before
 * it is destroyed: the name `<id>` stands for a whole volume at every instant. One that is replaced is `<id>.former` while
 * the new one takes its name; where nobody came so far as to do that, it is the volume still. A directory of its own while it is made,
 * because the kernel locks the one in which it makes a snapshot until that is on the disk: for all others, and for
 * whoever opens it.
 */
import { access, chmod, chown, mkdir, readdir, rename, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { isNoSpace, isReadOnly } from '../../lib/no-space.ts';
import type { UserIds } from '../../lib/reach.ts';
import { syncDirectory } from '../../lib/sync.ts';
import { orAborted } from '../../lib/wait.ts';
import type { BranchRecord } from '../../model/branch.ts';
import { OffshootError } from '../../model/errors.ts';
import type { LiveParent, VolumeDriver, VolumeSeen, VolumeSpec } from '../branch-parts.ts';
import type { Capability, Ctx, NodeRoom } from '../contract.ts';
import { treeBytes } from './copy-tree.ts';
import { forgetRecord, readRecord, writeRecord } from './record.ts';
import type { Sizes } from './sizes.ts';
import { noSpace } from './space.ts';

/** How directories are made, copied and destroyed: the only part in which the drivers differ. */
export type Medium = {
  readonly copyOnWrite: boolean;
  /**
   * Where what is done to names, and to files by `place`, is written down in the order in which it was done: then one commit
   * at the end does for all of it, and whatever a power cut leaves is a beginning of it. Absent: each is synced by itself.
   */
  readonly commits?: {
    place(file: string): Promise<void>;
    commit(directory: string): Promise<void>;
  };
  /** Makes the empty volume directory `path`. */
  make(path: string, ctx: Ctx): Promise<void>;
  /** Makes `to` a copy of the volume directory `from`, durably. `live` is the server on it, if one runs. */
  clone(from: string, to: string, live: LiveParent | undefined, ctx: Ctx): Promise<void>;
  /** Bytes that cloning `from` takes at once. */
  cloneBytes(from: string): Promise<number>;
  /** Removes a volume directory, whatever state it is in. */
  destroy(path: string, ctx: Ctx): Promise<void>;
};

export type Place = {
  /** Name of the driver. */
  readonly name: string;
  /** The directory that holds the volumes, as the servers reach it. */
  readonly root: string;
  /** Who owns the data. */
  readonly owner: UserIds;
  /** Bytes that must stay free. */
  readonly minFreeBytes: number;
  room(): Promise<NodeRoom>;
  readonly sizes: Sizes;
  readonly capabilities: readonly Capability[];
  close(): Promise<void>;
};

/** Removes what replaced volumes have left, where the new one is there. For the one process that keeps the volumes. */
export async function clearFormer({ root }: Place, medium: Medium, ctx: Ctx): Promise<void> {
  for (const name of await readdir(root)) {
    const id = /^(.+)\.former$/.exec(name)?.[1];
    if (id === undefined || (await readRecord(join(root, id))) === undefined) continue;
    await medium
      .destroy(join(root, name), ctx)
      .catch(error => ctx.log.warn({ volume: id, error }, 'what was replaced could not be removed'));
  }
}

export function volumesIn(place: Place, medium: Medium): VolumeDriver {
  const { root, owner, minFreeBytes, sizes } = place;
  const pathOf = (id: string): string => join(root, checkedId(id));
  const formerOf = (id: string): string => `${pathOf(id)}.former`;
  /** Volumes that are just changing places. */
  const changing = new Set<string>();
  /** Of those that were made a moment ago. */
  const settling = new Map<string, Promise<void>>();
  /** What an earlier process has made may still be in memory alone. */
  const inherited = medium.commits?.commit(root) ?? Promise.resolve();
  inherited.catch(() => {}); // heard of by those who ask

  const driver: VolumeDriver = {
    name: place.name,
    copyOnWrite: medium.copyOnWrite,
    capabilities: async () => place.capabilities,
    room: () => place.room(),
    usage: (id, settled = false) => orAbsent(sizes.of(pathOf(id), settled)),
    logicalBytes: (id, { signal }) => orAbsent(logicalSize(pathOf(id), signal)),
    usages: async () => sizes.all((await readdir(root)).filter(name => ID.test(name))),
    setLimit: (id, bytes) => sizes.limit(pathOf(id), bytes),
    async settled(id, { signal }) {
      await orAborted(settling.get(id) ?? inherited, signal).catch(error => Promise.reject(told(error)));
    },
    close: () => place.close(),

    async observe(id) {
      const record = (await readRecord(pathOf(id))) ?? (await putBack(id));
      return record === undefined ? undefined : { dataDir: join(pathOf(id), 'pgdata'), record };
    },

    async ensure(id, spec, ctx) {
      const found = await driver.observe(id, ctx);
      if (found !== undefined && spec.replace === undefined) return await recorded(id, found, spec.record);
      const partial = `${pathOf(id)}.partial`;
      await discard(partial, ctx);
      const source = spec.source === undefined ? undefined : pathOf(spec.source.id);
      if (source !== undefined && (await readRecord(source)) === undefined)
        throw new OffshootError('volume/source-missing', { id, source: spec.source!.id });
      const room = await place.room();
      const kept = minFreeBytes + (spec.record.parent === undefined ? 0 : room.reserveBytes);
      const need = kept + (source === undefined ? 0 : await medium.cloneBytes(source));
      if (room.freeBytes < need) throw noSpace(id, room, need);
      try {
        const made = await make(id, partial, source, found && spec.replace, spec, ctx);
        if (!spec.soon) await settling.get(id);
        return made;
      } catch (error) {
        const full = isNoSpace(error) ? await place.room() : undefined;
        await tryToDiscard(partial, ctx);
        throw full === undefined ? told(error) : noSpace(id, full, need, error);
      }
    },

    remove: (id, ctx) => remove(id, ctx).catch(error => Promise.reject(told(error))),

    async list() {
      const ids = (await readdir(root)).map(name => name.replace(/\.(partial|removing|former)$/, ''));
      return [...new Set(ids)].filter(id => ID.test(id));
    },
  };
  return driver;

  /** A file system that the kernel has made read-only is no fault of what was asked for. */
  function told(error: unknown): unknown {
    return isReadOnly(error)
      ? new OffshootError('volume/read-only', { where: root }, { cause: error })
      : error;
  }

  async function remove(id: string, ctx: Ctx): Promise<void> {
    const removing = `${pathOf(id)}.removing`;
    await medium.destroy(removing, ctx);
    await discard(`${pathOf(id)}.partial`, ctx);
    await medium.destroy(formerOf(id), ctx);
    try {
      await rename(pathOf(id), removing);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      throw error;
    }
    sizes.removed(pathOf(id));
    forgetRecord(pathOf(id));
    await medium.destroy(removing, ctx);
  }

  async function make(
    id: string,
    partial: string,
    source: string | undefined,
    replace: VolumeSpec['replace'],
    spec: VolumeSpec,
    ctx: Ctx,
  ): Promise<VolumeSeen> {
    const making = await makingPlace(partial);
    const dataDir = join(making, 'pgdata');
    if (source === undefined) {
      await medium.make(making, ctx);
      await mkdir(dataDir, { mode: 0o700 });
      await chown(dataDir, owner.uid, owner.gid);
    } else {
      await medium.clone(source, making, spec.source?.live, ctx);
    }
    await sizes.made(making, spec.record.parent !== undefined);
    await spec.prepare(dataDir, ctx);
    const record = withEmptied(spec.record, spec.source?.live?.unlogged.emptied);
    await writeRecord(making, record, medium.commits?.place);
    if (replace === undefined) await rename(making, pathOf(id));
    else await changePlaces(id, making, replace, ctx);
    if (making !== partial) await rmdir(partial);
    const settled = settle(id);
    if (replace !== undefined) {
      await settled;
      await tryToDestroy(formerOf(id), ctx);
    }
    return { dataDir: join(pathOf(id), 'pgdata'), record };
  }

  /** Writes down what was made, while others go on. What fails here fails for all who wait for it: the disk is lost. */
  function settle(id: string): Promise<void> {
    const settled = medium.commits?.commit(root) ?? syncDirectory(root);
    settling.set(id, settled);
    settled.then(
      () => settling.get(id) === settled && settling.delete(id),
      () => {},
    );
    return settled;
  }

  /** From the first rename to the second there is no `<id>`; whoever ends in between leaves it to `putBack`. */
  async function changePlaces(
    id: string,
    made: string,
    replace: NonNullable<VolumeSpec['replace']>,
    ctx: Ctx,
  ): Promise<void> {
    await medium.destroy(formerOf(id), ctx); // what an earlier time could not remove
    await replace(ctx);
    changing.add(id);
    try {
      await rename(pathOf(id), formerOf(id));
      await rename(made, pathOf(id));
    } finally {
      changing.delete(id);
    }
    for (const path of [pathOf(id), formerOf(id)]) forgetRecord(path);
    sizes.removed(pathOf(id));
  }

  /** The volume that was to be replaced by one that never came. */
  async function putBack(id: string): Promise<BranchRecord | undefined> {
    if (changing.has(id)) return undefined;
    const record = await readRecord(formerOf(id));
    if (record === undefined) return undefined;
    await rename(formerOf(id), pathOf(id));
    forgetRecord(formerOf(id));
    await syncDirectory(root);
    return record;
  }

  async function discard(partial: string, ctx: Ctx): Promise<void> {
    await medium.destroy(join(partial, MAKING), ctx);
    await medium.destroy(partial, ctx);
  }

  /** What is there, with the record that it shall have now. */
  async function recorded(id: string, found: VolumeSeen, wanted: BranchRecord): Promise<VolumeSeen> {
    const record = withEmptied(wanted, found.record.emptied);
    if (isDeepStrictEqual(record, found.record)) return found;
    await writeRecord(pathOf(id), record);
    return { ...found, record };
  }

  /** Undoes a failed attempt, also when it failed because it was aborted. What stays is listed, and removed later. */
  async function tryToDiscard(partial: string, ctx: Ctx): Promise<void> {
    await tryToDestroy(join(partial, MAKING), ctx);
    await tryToDestroy(partial, ctx);
  }

  async function tryToDestroy(path: string, ctx: Ctx): Promise<void> {
    try {
      await medium.destroy(path, { ...ctx, signal: AbortSignal.timeout(30_000) });
    } catch (error) {
      ctx.log.warn({ path, error }, 'what is left of a volume could not be removed');
    }
  }
}

// --- internal ------------------------------------------------------------------------------------

/** What becomes the volume, in the directory where it is made. */
const MAKING = 'volume';

const ID = /^[a-z0-9][a-z0-9-]*$/;

const withEmptied = (record: BranchRecord, emptied: BranchRecord['emptied'] = []): BranchRecord =>
  emptied.length === 0 ? record : { ...record, emptied };

/** @returns where it is made; on a file system so full that it makes no directory, a volume may still find room */
async function makingPlace(partial: string): Promise<string> {
  try {
    await mkdir(partial);
    await chmod(partial, 0o711); // the servers' user works in it
    return join(partial, MAKING);
  } catch (error) {
    if (!isNoSpace(error)) throw error;
    return partial;
  }
}

/** Ids become file names: one that could name another place is a bug of the caller. */
function checkedId(id: string): string {
  if (!ID.test(id)) throw new TypeError(`"${id}" cannot be the id of a volume`);
  return id;
}

async function logicalSize(path: string, signal: AbortSignal): Promise<number> {
  await access(path);
  return await treeBytes(join(path, 'pgdata'), signal);
}

/** What comes of `look`, or undefined when there is nothing to look at. */
async function orAbsent<T>(look: Promise<T>): Promise<T | undefined> {
  try {
    return await look;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
