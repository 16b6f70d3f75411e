/**
 * Branches on this machine: a volume, the PostgreSQL server on it, and who may log in. What a step needs and others
 * hold (a copy of the parent, a place for a start) is never waited for here: the answer says so, and `onFree` when.
 */
import { Listeners } from '../../lib/listeners.ts';
import { KeyedLock } from '../../lib/lock.ts';
import type { Log } from '../../lib/log.ts';
import { createSlots } from '../../lib/slots.ts';
import type { BranchLike } from '../../model/branch.ts';
import { OffshootError, toOffshootError } from '../../model/errors.ts';
import { progressText } from '../../model/import.ts';
import { settingsKey } from '../../model/server-settings.ts';
import type { ServerDriver, ServerSeen, ServerSpec, VolumeDriver, VolumeSeen } from '../branch-parts.ts';
import type { BranchNode, BranchSeen, BranchSleep, BranchWish, Ctx, Free } from '../contract.ts';
import { historyOf, openHistory } from './history.ts';
import { branchOf, type Filled, type Imports } from './imports.ts';
import { branchSeen, failed, isStop, outOfRoom, type Stop, type World, waitsFor } from './phases.ts';
import { keepPrepared } from './prepared.ts';
import { watchRoom } from './room-watch.ts';
import { openBranchVolumes } from './volumes.ts';

export type BranchNodeOptions = {
  readonly volumes: VolumeDriver;
  readonly servers: ServerDriver;
  /** Absent: nothing comes from elsewhere. */
  readonly imports?: Imports;
  /** Servers that may be starting at the same time; as many again of those that ended by themselves. */
  readonly startsAtOnce: number;
  /** The most that are prepared before anybody asks; default 0. */
  readonly preparedServers?: number;
  /** Milliseconds between two looks at what is to be kept of a branch, see history.ts. */
  readonly historyMs?: number;
  readonly log: Log;
};

export function openBranchNode({
  volumes,
  servers,
  imports,
  startsAtOnce,
  preparedServers = 0,
  historyMs,
  log,
}: BranchNodeOptions): BranchNode {
  const unheard = (err: unknown) => log.error({ err }, 'who is told of a branch has failed');
  const free = new Listeners<Free>(unheard);
  const placeFree = (topic: string): void => {
    free.tell({ topic, places: 1 });
    prepared.goOn();
  };
  const roomChanged = new Listeners<string>(unheard);
  const relieved = new Listeners<string>(unheard);
  const roomShort = new Listeners<void>(unheard);
  const within = (ms: number): Ctx => ({ signal: AbortSignal.timeout(ms), log });
  const slots = createSlots(placeFree);
  const locks = new KeyedLock();
  /** Servers that are being started, and those whose last start failed: their files are no source of a copy. */
  const starting = new Set<string>();
  const broken = new Set<string>();
  const history = openHistory({
    ...{ volumes, servers, log },
    alone: (id, work) => locks.run(id, work),
    snapshot: (id, make) => branchVolumes.copying(id, make),
    ...(historyMs !== undefined && { lookMs: historyMs }),
  });
  const branchVolumes = openBranchVolumes({
    ...{ volumes, servers, imports, history, slots, log },
    isUnsound: id => starting.has(id) || broken.has(id),
    async leave(id, ctx) {
      room.forget(id);
      await prepared.drop(id);
      await servers.stop(id, ctx);
      await history.leave(id, ctx);
      broken.delete(id);
    },
    free: topic => free.tell({ topic }),
  });

  const prepared = keepPrepared({
    ...{ volumes, servers, log },
    most: preparedServers,
    copyPlace: branchVolumes.copyPlace,
    isBusy: () => slots.taken('start') + slots.taken('restart') > 0,
  });
  /** Branches on which nobody was given access yet since their volumes were made, or taken from what was prepared. */
  const fresh = new Map<string, 'made' | 'prepared'>();

  const room = watchRoom({
    volumes,
    stop: id => locks.run(id, () => servers.stop(id, within(STOP_MS))),
    changed: roomChanged.tell,
    free(id) {
      servers.forgive(id); // what it ended for is over
      relieved.tell(id);
      placeFree(roomTopic(id));
    },
    short() {
      void history.giveWay();
      void branchVolumes.clear();
      void prepared.clear();
      roomShort.tell();
    },
    log,
  });
  const suffered = (id: string): Promise<void> =>
    room.suffered(id).catch(err => log.warn({ branch: id, err }, 'room cannot be looked at'));
  servers.onExit(id => {
    prepared.lost(id);
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
    opens: (id, wish, ctx) => servers.opens(id, wish, ctx),
    insight: (id, ctx) => servers.insight(id, ctx),
    logicalBytes: volumes.logicalBytes,
    history: (id, ctx) => history.of(id, ctx),
    usages: () => volumes.usages(),
    room: () => volumes.room(),

    async close() {
      await room.close();
      await history.close();
      await Promise.all([branchVolumes.clear(), prepared.clear()]);
      await imports?.close();
      await servers.close();
    },

    async observe(id, ctx) {
      const world = await look(id, ctx);
      return world.volume === undefined && world.server === undefined ? undefined : say(id, world);
    },

    ensure: (id, wish, ctx) => locks.run(id, () => ensure(id, wish, ctx)),

    reserve: prepared.take,
    giveBack: prepared.giveBack,

    stop: (id, ctx) =>
      locks.run(id, async () => {
        room.ended(id);
        await prepared.drop(id);
        await imports?.stop(id);
        await servers.stop(id, ctx);
      }),

    sleep: (id, wish, force, ctx) => locks.run(id, () => sleep(id, wish, force, ctx)),

    note: (id, wish, ctx) =>
      locks.run(id, async () => {
        const volume = await volumes.observe(id, ctx);
        if (volume !== undefined) await branchVolumes.keepRecord(id, wish, volume, ctx);
      }),

    remove: (id, ctx) =>
      locks.run(id, async () => {
        room.forget(id);
        await Promise.all([branchVolumes.dropBase(id), prepared.drop(id)]);
        await imports?.remove(id, ctx);
        await history.remove(id, ctx);
        await servers.remove(id, ctx);
        await volumes.remove(id, ctx);
        broken.delete(id);
        fresh.delete(id);
        branchVolumes.forget(id);
      }),

    async list(ctx) {
      const lists = await Promise.all([volumes.list(ctx), servers.list(ctx)]);
      // What is filled still is a part of the branch that it is for.
      return [...new Set(lists.flat().map(id => historyOf(branchOf(id))))].filter(
        id => !branchVolumes.isBase(id) && !prepared.has(id),
      );
    },
  };

  async function ensure(id: string, wish: BranchWish, ctx: Ctx): Promise<BranchSeen> {
    let world: World = {};
    let phase: Stop['phase'] = 'volume';
    try {
      if (prepared.claim(id)) fresh.set(id, 'prepared');
      world = await look(id, ctx);
      const { volume: found, server } = world;
      const filled =
        wish.import === undefined ? undefined : await imports?.look(id, wish, found?.record.imports, ctx);
      if (filled?.ready) {
        const taken = await branchVolumes.takeImport(id, wish, found, ctx);
        return isStop(taken) ? say(id, world, taken) : say(id, { volume: taken }, undefined, filled.status);
      }
      if (found === undefined && filled !== undefined)
        return say(id, world, fillingStop(id, filled), filled.status);
      if (found === undefined && wish.made)
        throw new OffshootError('branch/volume-lost', { name: wish.branch, project: wish.project });
      if (found === undefined || isOutdated(found, wish)) {
        const done = await branchVolumes.make(id, wish, found, ctx);
        if (isStop(done)) return say(id, world, done);
        fresh.set(id, 'made');
        return say(id, { volume: done });
      }
      const isPrepared = fresh.get(id) === 'prepared';
      // Of one that was prepared its id alone says whose it is, until there is time for it.
      const volume = isPrepared ? found : await branchVolumes.keepRecord(id, wish, found, ctx);
      phase = 'server';
      const { limitBytes } = wish;
      const root = wish.parent === undefined;
      const limit = { root, ...(limitBytes !== undefined && { limitBytes }) };
      const full = await room.admit(id, limit, server !== undefined && !isPrepared);
      if (full !== undefined) return say(id, { volume, server }, outOfRoom(wish.branch, full, roomTopic(id)));
      if (server !== undefined && (server.settings ?? '') !== settingsKey(wish.settings)) {
        const ended = await branchVolumes.alone(id, async () => {
          await servers.rest(id, ctx);
          return true;
        });
        return say(id, { volume, ...(ended ? {} : { server }) }, ended ? undefined : beingCopied(id));
      }
      // Somebody else may have started it: from now on we know when it ends.
      const running = await (server === undefined
        ? startServer(id, wish, volume, ctx)
        : servers.ensure(id, serverOf(volume, wish), ctx));
      if (isStop(running)) return say(id, { volume, server }, running);
      room.runs(id);
      history.want(id, wish.history);
      // Who was asleep has its access still, and is there by one step.
      if (server === undefined && !running.granted) return say(id, { volume, server: running });
      phase = 'access';
      const { role, database, verifier, parent, rolePasswords: others } = wish;
      const copyOf = branchVolumes.copyOf(id);
      const access = {
        ...{ role, database, verifier, inherited: parent !== undefined },
        ...(others && { others }),
        ...(wish.settings?.wal_level === 'logical' && { replicates: true as const }),
        ...(copyOf && { copyOf }),
      };
      await volumes.settled(id, ctx);
      const passwordless = await servers.grant(id, access, ctx);
      branchVolumes.granted(id);
      if (fresh.delete(id) && parent !== undefined) prepared.made(parent, likeOf(wish));
      if (isPrepared)
        void locks.run(id, () => branchVolumes.keepRecord(id, wish, found, within(STOP_MS))).catch(unheard);
      return say(id, {
        volume,
        server: { ...running, granted: true, ...(passwordless > 0 && { passwordless }) },
      });
    } catch (thrown) {
      ctx.signal.throwIfAborted();
      const { code, params, output, message } = toOffshootError(thrown);
      ctx.log.warn({ phase, code, err: thrown }, 'a step of a branch failed');
      await suffered(id);
      return say(id, world, failed(phase, { code, params, output }, message));
    }
  }

  async function sleep(id: string, wish: BranchWish, force: boolean, ctx: Ctx): Promise<BranchSleep> {
    const { volume: found, server } = await look(id, ctx);
    const volume = found && (await branchVolumes.keepRecord(id, wish, found, ctx));
    history.want(id, wish.history);
    const asleep = () => ({ seen: say(id, { volume }, volume && ASLEEP) });
    if (server === undefined) return asleep();
    const slept = await branchVolumes.alone(id, async () => {
      await prepared.drop(id); // which has a session there
      const users = force ? 0 : await servers.users(id, ctx);
      if (users > 0) return { seen: say(id, { volume, server }), busy: usersText(users) };
      room.ended(id);
      await servers.rest(id, ctx);
      return asleep();
    });
    return slept ?? { seen: say(id, { volume, server }), busy: 'it is being copied' };
  }

  async function startServer(
    id: string,
    wish: BranchWish,
    volume: VolumeSeen,
    ctx: Ctx,
  ): Promise<ServerSeen | Stop> {
    if (branchVolumes.isCopied(id)) return beingCopied(id);
    // What was there before does not queue behind what is new.
    const topic = servers.exits(id).count > 0 ? 'restart' : 'start';
    const release = slots.take(topic, startsAtOnce);
    if (release === undefined)
      return waitsFor('server', topic, 'WaitsForStart', 'waits until fewer servers are starting');
    const timer = setTimeout(release, START_MS);
    starting.add(id);
    try {
      await branchVolumes.copyForMany(id, volume, ctx);
      const started = await servers.ensure(id, serverOf(volume, wish), ctx);
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
}

// --- internal ------------------------------------------------------------------------------------

/** A start that takes longer is one that recovers: it waits for the disk, and keeps nobody else from starting. */
const START_MS = 5_000;

/** For a server to end in order. */
const STOP_MS = 60_000;

const beingCopied = (id: string): Stop =>
  waitsFor('server', `copy/${id}`, 'WaitsForCopy', 'waits until a copy of its files is complete');

const ASLEEP: Stop = {
  phase: 'server',
  reason: 'Asleep',
  message: 'PostgreSQL starts as soon as somebody connects',
};

const likeOf = ({ project, role, database, rolePasswords, settings }: BranchWish): BranchLike => ({
  ...{ project, role, database },
  ...(rolePasswords && { rolePasswords }),
  ...(settings && { settings }),
});

const serverOf = ({ dataDir }: VolumeSeen, { branch, settings }: BranchWish): ServerSpec => ({
  ...{ dataDir, name: branch, settings },
});

const usersText = (users: number): string =>
  users === 1 ? 'a session is open' : `${users} sessions are open`;

const roomTopic = (id: string): string => `room/${id}`;

/** A reset was asked for that this volume is not made by. */
const isOutdated = ({ record }: VolumeSeen, { reset }: BranchWish): boolean =>
  (record.resets ?? 0) < (reset?.count ?? 0);

/** Why it has no volume yet: its data come, or did not. */
const fillingStop = (id: string, { status, failure }: Filled): Stop =>
  failure === undefined
    ? waitsFor('volume', `import/${id}`, 'Importing', progressText(status.progress))
    : failed('volume', failure, status.message ?? 'the import failed');
