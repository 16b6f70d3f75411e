/**
 * Volumes of branches: empty ones, copies of a parent or of a clean base of it, and what was imported; new, or in the place
 * of the one that is there. What others hold is never waited for here: the answer says so.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Log } from '../../lib/log.ts';
import type { Slots } from '../../lib/slots.ts';
import type { BranchRecord } from '../../model/branch.ts';
import type { ServerDriver, VolumeDriver, VolumeSeen, VolumeSpec } from '../branch-parts.ts';
import type { BranchWish, Ctx } from '../contract.ts';
import { keepBases } from './bases.ts';
import type { History } from './history.ts';
import { hiddenOf, type Imports } from './imports.ts';
import { isStop, type Stop, waitsFor } from './phases.ts';

export type BranchVolumes = {
  /** Makes the one that is asked for, be there none or an older one. @param found what is there */
  make(id: string, wish: BranchWish, found: VolumeSeen | undefined, ctx: Ctx): Promise<VolumeSeen | Stop>;
  /** What has come takes the place of what was there, as it does in a reset. */
  takeImport(
    id: string,
    wish: BranchWish,
    found: VolumeSeen | undefined,
    ctx: Ctx,
  ): Promise<VolumeSeen | Stop>;
  /** Runs `work`, which copies the files of `id`, if a copy of them may be made now. @returns whether it did */
  copying(id: string, work: () => Promise<unknown>): Promise<boolean>;
  /** Names and owners change; a branch without the newest record is no worse a branch. */
  keepRecord(id: string, wish: BranchWish, found: VolumeSeen, ctx: Ctx): Promise<VolumeSeen>;
  /** What its server is about to recover from is what many are waiting to be copied from: they need not wait for it. */
  copyForMany(id: string, found: VolumeSeen, ctx: Ctx): Promise<void>;
  /** While no copy is made of it. @returns undefined when one is; `work` is not done then */
  alone<T>(id: string, work: () => Promise<T>): Promise<T | undefined>;
  /** @returns the way to give back a place for a copy of `parent`; undefined: none is free, or it changes */
  copyPlace(parent: string): (() => void) | undefined;
  /** A copy of its files is being made: no server may start on them. */
  isCopied(id: string): boolean;
  /** The base that it is a copy of, until access was granted on it. */
  copyOf(id: string): string | undefined;
  granted(id: string): void;
  /** Whether the volume `id` is no branch's. */
  isBase(id: string): boolean;
  /** Gives the room of all bases back. */
  clear(): Promise<void>;
  /** When it returns, no base of it is left. */
  dropBase(id: string): Promise<void>;
  /** It is removed. */
  forget(id: string): void;
};

export type BranchVolumesOptions = {
  readonly volumes: VolumeDriver;
  readonly servers: ServerDriver;
  readonly imports?: Imports | undefined;
  /** Where moments that are over come from. */
  readonly history: Pick<History, 'source'>;
  /** Of copies. */
  readonly slots: Slots;
  /** Its server is being started, or its last start has failed: its files are no source of a copy. */
  readonly isUnsound: (id: string) => boolean;
  /** Ends what runs on a volume that is about to be replaced. */
  readonly leave: (id: string, ctx: Ctx) => Promise<void>;
  /** Tells those who wait for a topic. */
  readonly free: (topic: string) => void;
  readonly log: Log;
};

export function openBranchVolumes({
  volumes,
  servers,
  imports,
  history,
  slots,
  isUnsound,
  leave,
  free,
  log,
}: BranchVolumesOptions): BranchVolumes {
  // Snapshots share a checkpoint and the disk's flushes; a second backup beside the first would only slow both.
  const copiesAtOnce = volumes.copyOnWrite ? SNAPSHOTS_AT_ONCE : 1;
  /** When the branches that have no volume yet, or are to have another, were first asked for that. */
  const asked = new Map<string, Asked>();
  /** Those of them that had to go away, and come back to be copied. */
  const waiting = new Set<string>();
  const bases = keepBases({ volumes, servers, log });
  /** Bases that branches are copies of on which nobody has access yet. */
  const copiesOf = new Map<string, string>();
  /** Branches whose volume is being replaced, or whose server ends: nobody begins to copy from them. */
  const changing = new Set<string>();

  return {
    keepRecord,
    copying,
    copyForMany,
    alone,
    copyPlace,
    isCopied: id => slots.taken(copyTopic(id)) > 0,
    copyOf: id => copiesOf.get(id),
    granted: id => void copiesOf.delete(id),
    isBase: bases.has,
    clear: bases.clear,
    dropBase: bases.drop,

    make: (id, wish, found, ctx) =>
      found === undefined
        ? makeVolume(id, wish, ctx)
        : inPlace(id, replace => makeVolume(id, wish, ctx, replace)),

    takeImport(id, wish, found, ctx) {
      const record = { ...recordOf(id, wish, found?.record.resets), imports: wish.import!.count };
      const prepare = (dir: string, c: Ctx) => servers.adopt(dir, c);
      const source = { id: hiddenOf(id) };
      return inPlace(id, async replace => {
        const spec = { record, source, prepare, ...(found !== undefined && { replace }) };
        const made = await volumes.ensure(id, spec, ctx);
        await imports?.taken(id, ctx);
        return made;
      });
    },

    forget(id) {
      asked.delete(id);
      waiting.delete(id);
      copiesOf.delete(id);
    },
  };

  /** What is there stays, with the server on it, until the new one is complete. Who copies from it is waited for. */
  async function inPlace(
    id: string,
    make: (replace: (ctx: Ctx) => Promise<void>) => Promise<VolumeSeen | Stop>,
  ): Promise<VolumeSeen | Stop> {
    const made = await alone(id, async () => {
      await bases.drop(id);
      return await make(c => leave(id, c));
    });
    return made ?? waitsFor('volume', copyTopic(id), 'WaitsForCopy', 'waits until copies of it are complete');
  }

  async function alone<T>(id: string, work: () => Promise<T>): Promise<T | undefined> {
    const release = slots.take(copyTopic(id), 1);
    if (release === undefined) return undefined;
    changing.add(id);
    try {
      return await work();
    } finally {
      changing.delete(id);
      release();
    }
  }

  async function copying(id: string, work: () => Promise<unknown>): Promise<boolean> {
    const release = changing.has(id) ? undefined : slots.take(copyTopic(id), copiesAtOnce);
    if (release === undefined) return false;
    try {
      await work();
      return true;
    } finally {
      release();
    }
  }

  /** What `from` held then: no server of it is needed, and it may even be `id` itself. */
  async function makeOfMoment(
    id: string,
    from: string,
    moment: string,
    spec: Pick<VolumeSpec, 'record' | 'replace'>,
    ctx: Ctx,
  ): Promise<VolumeSeen> {
    const name = (await volumes.observe(from, ctx))?.record.branch ?? from;
    const { release, ...source } = await history.source(from, name, moment, ctx);
    try {
      return await volumes.ensure(id, { ...spec, ...source }, ctx);
    } finally {
      release();
    }
  }

  async function makeVolume(
    id: string,
    wish: BranchWish,
    ctx: Ctx,
    replace?: (ctx: Ctx) => Promise<void>,
  ): Promise<VolumeSeen | Stop> {
    const { branch: name, reset } = wish;
    const record = recordOf(id, wish, reset?.count);
    const parent = reset?.from ?? wish.parent;
    if (parent === undefined) {
      return await volumes.ensure(
        id,
        { record, prepare: (dir, c) => servers.initialise(dir, c, wish.postgres) },
        ctx,
      );
    }
    const moment = reset === undefined ? wish.moment : reset.moment;
    if (moment !== undefined)
      return await makeOfMoment(id, parent, moment, { record, ...(replace && { replace }) }, ctx);
    const topic = copyTopic(parent);
    const since = askedAt(id, parent, reset?.count ?? 0);
    const release = copyPlace(parent);
    if (release === undefined) {
      waiting.add(id);
      return waitsFor('volume', topic, 'WaitsForCopy', 'waits until other copies of its parent are complete');
    }
    try {
      const found = await sourceFor(parent, record, since, ctx);
      if (isStop(found)) {
        waiting.add(id);
        return found;
      }
      waiting.delete(id);
      const { source, held, emptied } = found;
      try {
        if (replace === undefined) servers.prepare?.(id, { name, settings: wish.settings, like: parent }); // while the copy is made
        const prepare = (dir: string, c: Ctx) => servers.adopt(dir, c, held());
        const made = await volumes.ensure(
          id,
          {
            record: { ...record, ...(emptied && { emptied }) },
            source,
            prepare,
            ...(replace ? { replace } : { soon: true }),
          },
          ctx,
        );
        asked.delete(id);
        if (source.live === undefined && source.id !== parent) copiesOf.set(id, source.id);
        return made;
      } finally {
        found.release();
      }
    } finally {
      release();
    }
  }

  function copyPlace(parent: string): (() => void) | undefined {
    return changing.has(parent) ? undefined : slots.take(copyTopic(parent), copiesAtOnce);
  }

  /** When it was first asked for. */
  function askedAt(id: string, parent: string, resets: number): number {
    const before = asked.get(id);
    const at = before?.resets === resets ? before.at : performance.now();
    asked.set(id, { at, resets, parent });
    return at;
  }

  /** What a branch is copied from that is to hold all that was committed until `since`. */
  async function sourceFor(
    parent: string,
    record: BranchRecord,
    since: number,
    ctx: Ctx,
  ): Promise<Source | Stop> {
    const topic = baseTopic(parent);
    const sourceOfBase = async (): Promise<Source | undefined> => {
      const taken = await bases.take(parent, since, ctx);
      return (
        taken && {
          source: { id: taken.base.id },
          held: () => [],
          emptied: taken.base.emptied,
          release: taken.release,
        }
      );
    };
    const found = await sourceOfBase();
    if (found !== undefined) return found;
    const live = await servers.live(parent, ctx, since);
    if (live === undefined && !(await isAsleep(parent, ctx)))
      return waitsFor(
        'volume',
        serverTopic(parent),
        'BranchParentNotReady',
        'the server of its parent does not run',
      );
    const newest = live && newestOfMany(parent);
    if (newest !== undefined) {
      if (bases.isMaking(parent))
        return waitsFor('volume', topic, 'WaitsForCopy', 'waits for what all of them are copied from');
      const isMade = await bases.make(parent, record, newest, ctx);
      free(topic);
      const made = isMade ? await sourceOfBase() : undefined;
      if (made !== undefined) return made;
    }
    return {
      source: { id: parent, ...(live && { live }) },
      held: () => live?.unlogged.held ?? [],
      release: () => {},
    };
  }

  /** Its server ended in order and nobody starts it: its files alone are all of it. While a copy runs it is not started. */
  async function isAsleep(id: string, ctx: Ctx): Promise<boolean> {
    if (isUnsound(id)) return false;
    const volume = await volumes.observe(id, ctx);
    return volume !== undefined && (await servers.isClean(volume.dataDir));
  }

  async function copyForMany(id: string, { record }: VolumeSeen, ctx: Ctx): Promise<void> {
    const moment = newestOfMany(id);
    if (moment === undefined || bases.isMaking(id)) return;
    const { promise: copied, resolve } = Promise.withResolvers<void>();
    void bases.makeOfFiles(id, record, resolve, moment, ctx).then(isMade => {
      free(baseTopic(id));
      // Who waits for its server to be copied from it has what it needs before that is there.
      if (isMade) free(serverTopic(id));
    });
    await copied;
  }

  /** When the last of those was asked for that wait to be copied from it, if a base is worth its making. */
  function newestOfMany(parent: string): number | undefined {
    const moments = [...waiting].flatMap(id => {
      const one = asked.get(id);
      return one?.parent === parent ? [one.at] : [];
    });
    return volumes.copyOnWrite && moments.length >= MANY ? Math.max(...moments) : undefined;
  }

  async function keepRecord(id: string, wish: BranchWish, found: VolumeSeen, ctx: Ctx): Promise<VolumeSeen> {
    const { emptied: _, ...kept } = found.record;
    const record = { ...recordOf(id, wish, found.record.resets), ...importsOf(found.record) };
    if (isDeepStrictEqual(record, kept)) return found;
    const prepare = () => Promise.reject(new TypeError('the volume is there'));
    try {
      return await volumes.ensure(id, { record, prepare }, ctx);
    } catch (err) {
      ctx.signal.throwIfAborted();
      ctx.log.warn({ err }, 'the record of a branch is not what it should be');
      return found;
    }
  }
}

// --- internal ------------------------------------------------------------------------------------

type Asked = { readonly at: number; readonly resets: number; readonly parent: string };

/** Of one copy. */
type Source = {
  readonly source: NonNullable<VolumeSpec['source']>;
  /** Unlogged files that are whole in the copy; known when it is made. */
  readonly held: () => readonly string[];
  readonly emptied?: BranchRecord['emptied'];
  /** To be called when it is made. */
  readonly release: () => void;
};

/** So many copies of one parent are worth a base: it takes as long as three of them, and each from it half as long. */
const MANY = 4;

/** Of one parent. Each is a few waits for the disk; more would keep all of our threads waiting. */
const SNAPSHOTS_AT_ONCE = 8;

const baseTopic = (parent: string): string => `base/${parent}`;

/** Told by the loop when a branch is ready. */
const serverTopic = (id: string): string => `branch/${id}`;

/** Told when a copy of the files of `id` is complete. */
const copyTopic = (id: string): string => `copy/${id}`;

const importsOf = ({ imports }: BranchRecord) => (imports === undefined ? {} : { imports });

/** @param resets the last one that the volume is made by */
const recordOf = (id: string, wish: BranchWish, resets: number | undefined): BranchRecord => {
  const { project, branch, parent, owner, createdAt, role, database, postgres, trashed, history } = wish;
  return {
    id,
    project,
    branch,
    ...(parent !== undefined && { parent }),
    ...(owner !== undefined && { owner }),
    createdAt,
    role,
    database,
    ...(postgres !== undefined && { postgres }),
    ...(trashed !== undefined && { trashed }),
    ...(history !== undefined && { history }),
    ...(resets !== undefined && { resets }),
  };
};
