/**
 * Branches on this machine: a volume, the PostgreSQL server on it, and who may log in. What a step needs and others
 * hold (a copy of the parent, a place for a start) is never waited for here: the answer says so, and `onFree` when.
 */
import { isDeepStrictEqual } from 'node:util';
import { Listeners } from '../../lib/listeners.ts';
import { KeyedLock } from '../../lib/lock.ts';
import type { Log } from '../../lib/log.ts';
import { createSlots } from '../../lib/slots.ts';
import type { BranchRecord } from '../../model/branch.ts';
import { OffshootError, toOffshootError } from '../../model/errors.ts';
import { progressText } from '../../model/import.ts';
import type { ServerDriver, ServerSeen, VolumeDriver, VolumeSeen, VolumeSpec } from '../branch-parts.ts';
import type { BranchNode, BranchSeen, BranchWish, Ctx, Free } from '../contract.ts';
import { keepBases } from './bases.ts';
import { baseOf, type Filled, type Imports, ofBase } from './imports.ts';
import { branchSeen, failed, outOfRoom, type Stop, type World } from './phases.ts';
import { watchRoom } from './room-watch.ts';

export type BranchNodeOptions = {
  readonly volumes: VolumeDriver;
  readonly servers: ServerDriver;
  /** Absent: nothing comes from elsewhere. */
  readonly imports?: Imports;
  /** Servers that may be starting at the same time; as many again of those that ended by themselves. */
  readonly startsAtOnce: number;
  readonly log: Log;
};

export function openBranchNode({
  volumes,
  servers,
  imports,
  startsAtOnce,
  log,
}: BranchNodeOptions): BranchNode {
  const unheard = (err: unknown) => log.error({ err }, 'who is told of a branch has failed');
  const free = new Listeners<Free>(unheard);
  const placeFree = (topic: string): void => free.tell({ topic, places: 1 });
  const roomChanged = new Listeners<string>(unheard);
  const relieved = new Listeners<string>(unheard);
  const roomShort = new Listeners<void>(unheard);
  const slots = createSlots(placeFree);
  const locks = new KeyedLock();
  // Snapshots share a checkpoint and the disk's flushes; a second backup beside the first would only slow both.
  const copiesAtOnce = volumes.copyOnWrite ? SNAPSHOTS_AT_ONCE : 1;
  /** Servers that are being started, and those whose last start failed: their files are no source of a copy. */
  const starting = new Set<string>();
  const broken = new Set<string>();
  /** When the branches that have no volume yet, or are to have another, were first asked for that. */
  const asked = new Map<string, Asked>();
  /** Those of them that had to go away, and come back to be copied. */
  const waiting = new Set<string>();
  const bases = keepBases({ volumes, servers, log });
  /** Bases that branches are copies of on which nobody has access yet. */
  const copiesOf = new Map<string, string>();
  /** Branches whose volume is being replaced: nobody begins to copy from them. */
  const replacing = new Set<string>();

  const room = watchRoom({
    volumes,
    stop: id => locks.run(id, () => servers.stop(id, { signal: AbortSignal.timeout(STOP_MS), log })),
    changed: roomChanged.tell,
    free(id) {
      servers.forgive(id); // what it ended for is over
      relieved.tell(id);
      placeFree(roomTopic(id));
    },
    short() {
      void bases.clear();
      roomShort.tell();
    },
    log,
  });
  const suffered = (id: string): Promise<void> =>
    room.suffered(id).catch(err => log.warn({ branch: id, err }, 'room cannot be looked at'));
  servers.onExit(id => {
    room.ended(id);
    void suffered(id);
  });

  const look = async (id: string, ctx: Ctx): Promise<World> => {
    const [volume, server] = await Promise.all([volumes.observe(id, ctx), servers.observe(id, ctx)]);
    return { volume, server };
  };
  const say = (id: string, world: World, stop?: Stop, filling = imports?.of(id)): BranchSeen => ({
    ...branchSeen(volumes.name, world, { exits: servers.exits(id), room: room.of(id) }, stop),
    ...(filling !== undefined && { import: filling }),
  });

  return {
    name: volumes.name,
    copyOnWrite: volumes.copyOnWrite,
    capabilities: async () => [...(await volumes.capabilities()), ...(await servers.capabilities())],
    onChange: servers.onExit,
    onFree: free.add,
    onRoom: roomChanged.add,
    onRelief: relieved.add,
    onShort: roomShort.add,
    onImport: listener => imports?.onChange(listener) ?? (() => {}),
    logs: (id, query, ctx) => servers.logs(id, query, ctx),
    logicalBytes: volumes.logicalBytes,
    usages: () => volumes.usages(),
    room: () => volumes.room(),

    async close() {
      await room.close();
      await bases.clear();
      await imports?.close();
      await servers.close();
    },

    async observe(id, ctx) {
      const world = await look(id, ctx);
      return world.volume === undefined && world.server === undefined ? undefined : say(id, world);
    },

    ensure: (id, wish, ctx) => locks.run(id, () => ensure(id, wish, ctx)),

    stop: (id, ctx) =>
      locks.run(id, async () => {
        room.ended(id);
        await imports?.stop(id);
        await servers.stop(id, ctx);
      }),

    note: (id, wish, ctx) =>
      locks.run(id, async () => {
        const volume = await volumes.observe(id, ctx);
        if (volume !== undefined) await keepRecord(id, wish, volume, ctx);
      }),

    remove: (id, ctx) =>
      locks.run(id, async () => {
        room.forget(id);
        await bases.drop(id);
        await imports?.remove(id, ctx);
        await servers.remove(id, ctx);
        await volumes.remove(id, ctx);
        broken.delete(id);
        asked.delete(id);
        waiting.delete(id);
        copiesOf.delete(id);
      }),

    async list(ctx) {
      const lists = await Promise.all([volumes.list(ctx), servers.list(ctx)]);
      // What is filled still is a part of the branch that it is for.
      return [...new Set(lists.flat().map(ofBase))].filter(id => !bases.has(id));
    },
  };

  async function ensure(id: string, wish: BranchWish, ctx: Ctx): Promise<BranchSeen> {
    let world: World = {};
    let phase: Stop['phase'] = 'volume';
    try {
      world = await look(id, ctx);
      const { volume: found, server } = world;
      const filled =
        wish.import === undefined ? undefined : await imports?.look(id, wish, found?.record.imports, ctx);
      if (filled?.ready) {
        const record = { ...recordOf(id, wish, found?.record.resets), imports: wish.import!.count };
        const made = await takeBase(id, record, found !== undefined, ctx);
        return isStop(made) ? say(id, world, made) : say(id, { volume: made }, undefined, filled.status);
      }
      if (found === undefined && filled !== undefined)
        return say(id, world, fillingStop(id, filled), filled.status);
      if (found === undefined && wish.made)
        throw new OffshootError('branch/volume-lost', { name: wish.branch, project: wish.project });
      if (found === undefined || isOutdated(found, wish)) {
        const made =
          found === undefined ? await makeVolume(id, wish, ctx) : await replaceVolume(id, wish, ctx);
        return isStop(made) ? say(id, world, made) : say(id, { volume: made });
      }
      const volume = await keepRecord(id, wish, found, ctx);
      phase = 'server';
      const { limitBytes } = wish;
      const root = wish.parent === undefined;
      const limit = { root, ...(limitBytes !== undefined && { limitBytes }) };
      const full = await room.admit(id, limit, server !== undefined);
      if (full !== undefined) return say(id, { volume, server }, outOfRoom(wish.branch, full, roomTopic(id)));
      if (server === undefined) {
        const started = await startServer(id, wish, volume, ctx);
        if (isStop(started)) return say(id, { volume, server }, started);
        room.runs(id);
        return say(id, { volume, server: started });
      }
      // Somebody else may have started it: from now on we know when it ends.
      const running = await servers.ensure(id, { dataDir: volume.dataDir, name: wish.branch }, ctx);
      room.runs(id);
      phase = 'access';
      const { role, database, verifier, parent } = wish;
      const copyOf = copiesOf.get(id);
      const access = { role, database, verifier, inherited: parent !== undefined, ...(copyOf && { copyOf }) };
      await servers.grant(id, access, ctx);
      copiesOf.delete(id);
      return say(id, { volume, server: { ...running, granted: true } });
    } catch (thrown) {
      ctx.signal.throwIfAborted();
      const { code, params, output, message } = toOffshootError(thrown);
      ctx.log.warn({ phase, code, err: thrown }, 'a step of a branch failed');
      await suffered(id);
      return say(id, world, failed(phase, { code, params, output }, message));
    }
  }

  /** The old volume, and the server on it, stay until the new one is complete. Who copies from it is waited for. */
  async function replaceVolume(id: string, wish: BranchWish, ctx: Ctx): Promise<VolumeSeen | Stop> {
    const topic = `copy/${id}`;
    const release = slots.take(topic, 1);
    if (release === undefined)
      return waitsFor('volume', topic, 'WaitsForCopy', 'waits until copies of it are complete');
    replacing.add(id);
    try {
      await bases.drop(id);
      return await makeVolume(id, wish, ctx, async c => {
        room.forget(id);
        await servers.stop(id, c);
        broken.delete(id);
      });
    } finally {
      replacing.delete(id);
      release();
    }
  }

  /** What has come takes the place of what was there, as it does in a reset. */
  async function takeBase(
    id: string,
    record: BranchRecord,
    replaces: boolean,
    ctx: Ctx,
  ): Promise<VolumeSeen | Stop> {
    const topic = `copy/${id}`;
    const release = slots.take(topic, 1);
    if (release === undefined)
      return waitsFor('volume', topic, 'WaitsForCopy', 'waits until copies of it are complete');
    replacing.add(id);
    const replace = async (c: Ctx) => {
      room.forget(id);
      await servers.stop(id, c);
      broken.delete(id);
    };
    try {
      await bases.drop(id);
      const prepare = (dir: string, c: Ctx) => servers.adopt(dir, c);
      const spec = { record, source: { id: baseOf(id) }, prepare, ...(replaces && { replace }) };
      const made = await volumes.ensure(id, spec, ctx);
      await imports?.taken(id, ctx);
      return made;
    } finally {
      replacing.delete(id);
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
      return await volumes.ensure(id, { record, prepare: servers.initialise }, ctx);
    }
    const topic = `copy/${parent}`;
    const since = askedAt(id, parent, reset?.count ?? 0);
    const release = replacing.has(parent) ? undefined : slots.take(topic, copiesAtOnce);
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
        if (replace === undefined) servers.prepare?.(id, { name }); // while the copy is made
        const prepare = (dir: string, c: Ctx) => servers.adopt(dir, c, held());
        const made = await volumes.ensure(
          id,
          {
            record: { ...record, ...(emptied && { emptied }) },
            source,
            prepare,
            ...(replace && { replace }),
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
        `branch/${parent}`,
        'BranchParentNotReady',
        'the server of its parent does not run',
      );
    const newest = live && newestOfMany(parent);
    if (newest !== undefined) {
      if (bases.isMaking(parent))
        return waitsFor('volume', topic, 'WaitsForCopy', 'waits for what all of them are copied from');
      const isMade = await bases.make(parent, record, newest, ctx);
      free.tell({ topic });
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
    if (starting.has(id) || broken.has(id)) return false;
    const volume = await volumes.observe(id, ctx);
    return volume !== undefined && (await servers.isClean(volume.dataDir));
  }

  async function startServer(
    id: string,
    wish: BranchWish,
    volume: VolumeSeen,
    ctx: Ctx,
  ): Promise<ServerSeen | Stop> {
    const copied = `copy/${id}`;
    if (slots.taken(copied) > 0)
      return waitsFor('server', copied, 'WaitsForCopy', 'waits until a copy of its files is complete');
    // What was there before does not queue behind what is new.
    const topic = servers.exits(id).count > 0 ? 'restart' : 'start';
    const release = slots.take(topic, startsAtOnce);
    if (release === undefined)
      return waitsFor('server', topic, 'WaitsForStart', 'waits until fewer servers are starting');
    const timer = setTimeout(release, START_MS);
    starting.add(id);
    try {
      await copyForMany(id, volume, ctx);
      const started = await servers.ensure(id, { dataDir: volume.dataDir, name: wish.branch }, ctx);
      broken.delete(id);
      return started;
    } catch (error) {
      if (!ctx.signal.aborted) broken.add(id);
      throw error;
    } finally {
      starting.delete(id);
      clearTimeout(timer);
      release();
    }
  }

  /** What its server is about to recover from is what many are waiting to be copied from: they need not wait for it. */
  async function copyForMany(id: string, { record }: VolumeSeen, ctx: Ctx): Promise<void> {
    const moment = newestOfMany(id);
    if (moment === undefined || bases.isMaking(id)) return;
    const { promise: copied, resolve } = Promise.withResolvers<void>();
    void bases.makeOfFiles(id, record, resolve, moment, ctx).then(() => free.tell({ topic: baseTopic(id) }));
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

  /** Names and owners change; a branch without the newest record is no worse a branch. */
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

/** A start that takes longer is one that recovers: it waits for the disk, and keeps nobody else from starting. */
const START_MS = 5_000;

/** Of one parent. Each is a few waits for the disk; more would keep all of our threads waiting. */
const SNAPSHOTS_AT_ONCE = 8;

/** For a server to end in order. */
const STOP_MS = 60_000;

const isStop = (outcome: VolumeSeen | ServerSeen | Source | Stop): outcome is Stop => 'phase' in outcome;

const baseTopic = (parent: string): string => `base/${parent}`;

const roomTopic = (id: string): string => `room/${id}`;

const waitsFor = (phase: Stop['phase'], waits: string, reason: string, message: string): Stop => ({
  phase,
  reason,
  message,
  waits,
});

/** A reset was asked for that this volume is not made by. */
const isOutdated = ({ record }: VolumeSeen, { reset }: BranchWish): boolean =>
  (record.resets ?? 0) < (reset?.count ?? 0);

const importsOf = ({ imports }: BranchRecord) => (imports === undefined ? {} : { imports });

/** Why it has no volume yet: its data come, or did not. */
const fillingStop = (id: string, { status, failure }: Filled): Stop =>
  failure === undefined
    ? waitsFor('volume', `import/${id}`, 'Importing', progressText(status.progress))
    : failed('volume', failure, status.message ?? 'the import failed');

/** @param resets the last one that the volume is made by */
const recordOf = (id: string, wish: BranchWish, resets: number | undefined): BranchRecord => {
  const { project, branch, parent, owner, createdAt, role, database, trashed } = wish;
  return {
    id,
    project,
    branch,
    ...(parent !== undefined && { parent }),
    ...(owner !== undefined && { owner }),
    createdAt,
    role,
    database,
    ...(trashed !== undefined && { trashed }),
    ...(resets !== undefined && { resets }),
  };
};
