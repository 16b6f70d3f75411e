/**
 * PostgreSQL servers, one per branch, each on a unix socket of its own. They outlive the daemon: the registry of
 * processes knows which run, lock files say how far they are.
 */
import { existsSync } from 'node:fs';
import { chmod, chown, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { exists } from '../../lib/exists.ts';
import type { Log } from '../../lib/log.ts';
import { tail } from '../../lib/log-file.ts';
import { tailAndFollow } from '../../lib/log-follow.ts';
import { logRotation } from '../../lib/log-rotation.ts';
import { besideLog } from '../../lib/log-times.ts';
import { signal } from '../../lib/process.ts';
import { randomSecret } from '../../lib/random.ts';
import { scramVerifier } from '../../lib/scram.ts';
import { OffshootError } from '../../model/errors.ts';
import { settingsKey } from '../../model/server-settings.ts';
import type { Access, ServerDriver, ServerSeen, ServerSpec } from '../branch-parts.ts';
import type { Ctx } from '../contract.ts';
import type { Notes, Processes, Running, Stage } from '../processes/contract.ts';
import { grant, isStored, type Mark, markOf, readMark, rememberFindings, writeMark } from './access.ts';
import { adopt, initialise, killOrphans, recover } from './cluster.ts';
import { wasShutDown } from './control-file.ts';
import { watchExits } from './exits.ts';
import { readInsight } from './insight.ts';
import { openInstallations } from './installations.ts';
import { dropSlots, flushWal, freeWal, holdWal, recoverTo, removeSlots } from './kept-wal.ts';
import { writeName } from './late-name.ts';
import { type Ask, type Flushed, liveParent, readPosition, usersOf } from './live.ts';
import { readLockFile } from './lock-file.ts';
import { endOrphans, isHeld, SERVERS, serverPart } from './parts.ts';
import { openLasting, type Session, withSession } from './session.ts';
import { fillingSettings, HBA, PORT } from './settings.ts';
import { freeSharedMemory, pidNamespace, type SharedMemory, sharedMemoryOf } from './shared-memory.ts';
import { standingSessions } from './standing.ts';
import { type HeldServer, holdServer, untilReady } from './start.ts';
import { putBack, setAside } from './unlogged.ts';
import { runAs, type ServerUser } from './user.ts';

export type ServerOptions = {
  /** Tells people our servers from those of another data directory. */
  readonly instance: string;
  readonly processes: Processes;
  /** Logs go to `<home>/logs/postgres`. */
  readonly home: string;
  /** Sockets go to `<runtimeDir>/s`. `user` must be able to enter it. */
  readonly runtimeDir: string;
  /** Directory of `postgres` and `initdb`, where no other installation is named. */
  readonly bin: string;
  readonly version: string;
  readonly user: ServerUser;
  /** Password of the superuser, the same for all clusters of the instance. */
  readonly adminSecret: string;
  /** The most of its log that a server keeps for whoever reads it by a slot; default: no bound. */
  readonly keptWalBytes?: number;
  readonly log: Log;
};

export async function openServers(options: ServerOptions): Promise<ServerDriver> {
  const { instance, processes, home, runtimeDir, user, adminSecret, log } = options;
  const sockets = join(runtimeDir, 's');
  const hbaFile = join(runtimeDir, 'pg_hba.conf');
  await mkdir(sockets, { recursive: true });
  await chmod(sockets, 0o711);
  await writeFile(hbaFile, HBA);
  await chmod(hbaFile, 0o644);
  const installations = openInstallations({ ours: options, user, runtimeDir });
  await installations.at(undefined);
  const orphaned: SharedMemory[] = [];
  await killOrphans(processes, async pids => void orphaned.push(await sharedMemoryOf(pids)));
  for (const memory of orphaned) await freeMemory(memory);
  const exits = watchExits(err => log.error({ err }, 'who is told that a server ended has failed'));
  const pidSpace = await pidNamespace();
  const prepared = new Map<string, Prepared>();
  const findings = rememberFindings();
  /** Sessions in the owner's database, of servers that are prepared. */
  const waiting = new Map<string, Session>();
  const checkpoints = new WeakMap<Running, Flushed>();
  /** Of servers of which this process knows: it has started them, or read what the one before has written. */
  const marks = new WeakMap<Running, Mark | undefined>();
  /** Of servers that were ended to rest. */
  const rested = new Map<string, Mark>();

  const socketDirOf = (id: string): string => join(sockets, checkedId(id));
  const socketOf = (id: string): string => join(socketDirOf(id), `.s.PGSQL.${PORT}`);
  const rotation = logRotation(MAX_LOGS_BYTES, err => log.warn({ err }, 'cannot rotate logs of servers'));
  const logs = join(home, 'logs', 'postgres');
  const logFileOf = (id: string): string => join(logs, `${checkedId(id)}.log`);
  // Those of servers that do not run take room, too.
  for (const file of existsSync(logs) ? await readdir(logs) : [])
    if (file.endsWith('.log')) rotation.add(join(logs, file), MAX_LOG_BYTES);
  const addressOf = (id: string, database: string) => ({
    id,
    database,
    socketDir: socketDirOf(id),
    adminSecret,
    ...majorIn(processes.notes(serverPart(id))),
  });
  /** Of servers that are copied. */
  const standing = standingSessions<Running>((id, ctx) => openLasting(addressOf(id, 'postgres'), ctx));
  const askOf =
    (id: string, server: Running): Ask =>
    (body, ctx) =>
      standing.ask(id, server, body, ctx);

  const driver: ServerDriver = {
    name: 'postgres',
    capabilities: async () => [
      {
        name: 'postgres',
        ok: true,
        detail: `PostgreSQL ${options.version} in ${options.bin}, run as ${user.name}`,
      },
    ],
    async initialise(dataDir, ctx, postgres) {
      const { bin, major } = await installations.at(postgres);
      await initialise({ dataDir, bin, major, user, instance, processes, adminSecret }, ctx);
      await installations.note(dataDir, postgres);
    },
    exits: exits.of,
    forgive: exits.forgive,
    onExit: exits.onExit,

    async adopt(dataDir, _ctx, held = []) {
      await adopt(dataDir);
      await setAside(dataDir, held);
    },

    async filling(id, dataDir) {
      const socketDir = socketDirOf(id);
      checkLength(socketOf(id));
      await mkdir(socketDir, { recursive: true });
      await chmod(socketDir, 0o700);
      await chown(socketDir, user.uid, user.gid);
      const { bin, ...installation } = await installations.of(dataDir);
      const values = fillingSettings({ id, name: id, socketDir, hbaFile, ...installation });
      const options = Object.entries(values).flatMap(([key, value]) => ['-c', `${key}=${value}`]);
      return { argv: [join(bin, 'postgres'), ...options, '-D', dataDir], ...runAs(user), socketDir };
    },

    isClean,

    async recover(id, dataDir, ctx) {
      await recover(await recovering(id, dataDir), ctx);
      await putBack(dataDir);
      if (!(await isClean(dataDir))) throw new Error(`the recovery of ${id} did not end in order`);
    },

    async recoverTo(id, dataDir, to, ctx) {
      await recoverTo(await recovering(id, dataDir), to, ctx);
      if (!(await isClean(dataDir))) throw new Error(`the recovery of ${id} did not end in order`);
    },

    wal: {
      hold: async (id, key, ctx) => (await ready(id)) && (await holdWal(addressOf(id, 'postgres'), key, ctx)),
      free: async (id, key, segment, ctx) =>
        (await ready(id)) && (await freeWal(addressOf(id, 'postgres'), key, segment, ctx)),
      flush: async (id, ctx) => (await ready(id)) && (await flushWal(addressOf(id, 'postgres'), ctx)),
      async drop(id, dataDir, ctx) {
        if ((await ready(id)) !== undefined) await dropSlots(addressOf(id, 'postgres'), ctx);
        else if (processes.find(serverPart(id)) === undefined) await removeSlots(dataDir);
      },
    },

    async observe(id) {
      const server = await ready(id);
      return server && seen(id, server);
    },

    prepare(id, spec) {
      // Only for what is new here: it would take the place of whatever is there.
      if (prepared.has(id) || processes.list(serverPart(id)).length > 0) return;
      const held = hold(id, spec, spec.like === undefined ? '' : dataDirOf(spec.like));
      const timer = setTimeout(() => void unprepare(id), PREPARED_MS).unref();
      prepared.set(id, { held, timer });
      held.catch(() => {}); // `ensure` will see
    },

    async ensure(id, spec, ctx) {
      checkLength(socketOf(id));
      const server = await takeOver(id, spec.dataDir, ctx);
      if (server === undefined) return await start(id, spec, ctx);
      if (spec.name !== undefined && processes.notes(serverPart(id)).name === LATE)
        await nameLate(id, spec.dataDir, spec.name);
      return server;
    },

    async grant(id, access, ctx) {
      const server = await ready(id);
      if (server === undefined) throw new OffshootError('postgres/not-running', { id });
      const before = await markOn(id, server);
      if (before?.of === markOf(access)) return before.passwordless;
      const mark = { of: markOf(access), passwordless: await granted(id, access, ctx) };
      await writeMark(socketDirOf(id), server.leader, mark);
      marks.set(server, mark);
      return mark.passwordless;
    },

    async grantAhead(id, access, ctx) {
      const verifier = await scramVerifier(randomSecret(32));
      const session = await openLasting(addressOf(id, access.database), ctx);
      waiting.set(id, session);
      await grant(session.query, id, { ...access, verifier }, findings);
    },

    stop: end,

    async rest(id, ctx) {
      const running = processes.find(serverPart(id));
      const mark = running && (await markOn(id, running));
      const dataDir = dataDirOf(id);
      await end(id, ctx);
      // Ended in order: what was granted is on the disk.
      if (mark !== undefined && (await isClean(dataDir))) rested.set(id, mark);
    },

    async remove(id, ctx) {
      await end(id, ctx);
      rotation.remove(logFileOf(id));
      for (const path of [logFileOf(id), ...besideLog(logFileOf(id))]) await rm(path, { force: true });
    },

    async *logs(id, { lines, follow }, { signal }) {
      const file = logFileOf(id);
      if (follow && existsSync(file)) yield* tailAndFollow(file, lines, signal);
      else yield* await tail(file, lines);
    },

    async list() {
      const directories = existsSync(sockets) ? await readdir(sockets) : [];
      const running = processes.list(SERVERS).map(part => part.slice(SERVERS.length + 1));
      return [...new Set([...running, ...directories])];
    },

    async live(id, ctx, since = performance.now()) {
      const server = await ready(id);
      if (server === undefined) return undefined;
      const flushed = checkpoints.get(server) ?? {};
      checkpoints.set(server, flushed);
      const ask = askOf(id, server);
      void ask(async () => {}, ctx).catch(() => {}); // it opens while the copy's place is made
      return liveParent(addressOf(id, 'postgres'), dataDirOf(id), { ask, since, flushed });
    },

    async users(id, ctx) {
      await standing.drop(id);
      return await usersOf(addressOf(id, 'postgres'), ctx);
    },

    async opens(id, access, ctx) {
      if ((await ready(id)) === undefined) return undefined;
      return await withSession(addressOf(id, 'postgres'), query => isStored(query, access), ctx);
    },

    async insight(id, ctx) {
      return (await ready(id)) && (await readInsight(addressOf(id, 'postgres'), ctx));
    },

    async position(id, ctx) {
      const server = await ready(id);
      return server && (await askOf(id, server)(readPosition, ctx));
    },

    async positions(id, ctx) {
      if ((await ready(id)) === undefined) return undefined;
      const { query, close } = await openLasting(addressOf(id, 'postgres'), ctx);
      return { read: () => readPosition(query), close };
    },

    async close() {
      const ctx = { signal: AbortSignal.timeout(60_000), log };
      await Promise.all((await driver.list(ctx)).map(id => end(id, ctx)));
      await rotation.stop();
      for (const path of [sockets, hbaFile]) await rm(path, { recursive: true, force: true });
      await installations.close();
    },
  };
  return driver;

  async function isClean(dataDir: string): Promise<boolean> {
    return !(await exists(join(dataDir, 'postmaster.pid'))) && (await wasShutDown(dataDir));
  }

  /** How a data directory is recovered without a server for anybody. */
  async function recovering(id: string, dataDir: string) {
    const socketDir = socketDirOf(id); // named, never made: nothing listens
    const server = { id, name: id, socketDir, hbaFile, ...(await installations.of(dataDir)) };
    return { ...server, dataDir, user, instance, processes };
  }

  /** The server of `id` that accepts connections. */
  async function ready(id: string): Promise<Running | undefined> {
    const running = processes.find(serverPart(id));
    if (running === undefined || !existsSync(socketOf(id))) return undefined;
    if (exits.watches(id, running)) return running;
    const lock = await readLockFile(join(dataDirOf(id), 'postmaster.pid'));
    return lock?.ready && lock.pid === running.leader.pid ? running : undefined;
  }

  async function seen(id: string, server: Running): Promise<ServerSeen> {
    const mark = await markOn(id, server);
    return {
      ...{ pid: server.leader.pid, socket: socketOf(id), granted: mark !== undefined },
      ...settingsIn(processes.notes(serverPart(id))),
      ...(mark !== undefined && mark.passwordless > 0 && { passwordless: mark.passwordless }),
    };
  }

  async function markOn(id: string, server: Running): Promise<Mark | undefined> {
    if (!marks.has(server)) marks.set(server, await readMark(socketDirOf(id), server.leader));
    return marks.get(server);
  }

  /** The server of `id` that runs already, started by us or by an earlier process, once it accepts connections. */
  async function takeOver(id: string, dataDir: string, ctx: Ctx): Promise<ServerSeen | undefined> {
    const running = processes.find(serverPart(id));
    if (running === undefined) {
      await clearAfterKill(id, dataDir);
      return undefined;
    }
    if (dataDirOf(id) === dataDir) {
      if (exits.watches(id, running) && existsSync(socketOf(id))) return seen(id, running);
      await untilReady({ id, dataDir, logFile: logFileOf(id) }, running, ctx);
      await putBack(dataDir);
      if (await answers(socketOf(id))) return watched(id, running);
      ctx.log.warn({ id, pid: running.leader.pid }, 'server has lost its socket and is started again');
    }
    await end(id, ctx);
    return undefined;
  }

  async function start(id: string, { dataDir, ...spec }: ServerSpec, ctx: Ctx): Promise<ServerSeen> {
    const { part, logStart, major } = await heldFor(id, spec, dataDir);
    const begun = performance.now();
    if (spec.name === undefined) await writeName(socketDirOf(id), dataDir, '');
    const notes = {
      settings: settingsKey(spec.settings),
      major: `${major}`,
      ...(spec.name === undefined && { name: LATE }),
    };
    const running = part.go([dataDir], { dataDir, ...exits.notes(id), ...notes });
    await untilReady({ id, dataDir, logFile: logFileOf(id), logStart }, running, ctx);
    await putBack(dataDir);
    const mark = rested.get(id);
    rested.delete(id);
    if (mark !== undefined) await writeMark(socketDirOf(id), running.leader, mark);
    marks.set(running, mark);
    checkpoints.set(running, { since: begun }); // a recovery ends with one, and without a recovery all is in the files
    void noteMemory(id, running);
    return watched(id, running);
  }

  /** PostgreSQL reads its configuration anew before it lets the next one in (process_pm_reload_request in postmaster.c). */
  async function nameLate(id: string, dataDir: string, name: string): Promise<void> {
    await writeName(socketDirOf(id), dataDir, name);
    signal(processes.find(serverPart(id))!.leader, 'SIGHUP');
    await processes.note(serverPart(id), { name: '' });
  }

  /** In the owner's database where there should be one: what the first session of a database has to find out is there for him, then. */
  async function granted(id: string, access: Access, ctx: Ctx): Promise<number> {
    const session = waiting.get(id);
    waiting.delete(id);
    try {
      if (session !== undefined) return await grant(session.query, id, access, findings);
    } catch (err) {
      ctx.log.warn({ err }, 'the session that has waited for access is lost');
    } finally {
      void session?.close().catch(() => {}); // it may be lost
    }
    const within = (database: string) =>
      withSession(addressOf(id, database), query => grant(query, id, access, findings), ctx);
    if (!access.inherited) return within('postgres');
    try {
      return await within(access.database);
    } catch (err) {
      ctx.signal.throwIfAborted();
      ctx.log.warn({ err }, 'access is not granted from the database itself'); // it may be gone, or take no sessions
      return await within('postgres');
    }
  }

  /** @param dataDir whose programs it is to be run by; empty: ours */
  async function hold(
    id: string,
    { name, settings: chosen }: Omit<ServerSpec, 'dataDir'>,
    dataDir: string,
  ): Promise<HeldServer> {
    const [socketDir, logFile] = [socketDirOf(id), logFileOf(id)];
    const { keptWalBytes } = options;
    rotation.add(logFile, MAX_LOG_BYTES);
    const installation = await (dataDir === '' ? installations.at(undefined) : installations.of(dataDir));
    const files = { socketDir, hbaFile, ...installation, keptWalBytes, logFile, chosen };
    return await holdServer({ id, name, instance, processes, user, ...files });
  }

  /** The one that was prepared, if it fits. */
  async function heldFor(
    id: string,
    spec: Omit<ServerSpec, 'dataDir'>,
    dataDir: string,
  ): Promise<HeldServer> {
    const { held, timer } = prepared.get(id) ?? {};
    clearTimeout(timer);
    prepared.delete(id);
    const ready = await held?.catch(() => undefined);
    const { bin } = await installations.of(dataDir);
    const fits =
      ready?.bin === bin && ready.name === spec.name && ready.settings === settingsKey(spec.settings);
    return fits ? ready : await hold(id, spec, dataDir); // which ends another one first
  }

  async function unprepare(id: string): Promise<void> {
    const { held, timer } = prepared.get(id) ?? {};
    clearTimeout(timer);
    prepared.delete(id);
    await held?.then(({ part }) => part.drop()).catch(() => {});
  }

  function watched(id: string, running: Running): Promise<ServerSeen> {
    exits.watch(id, running, processes.notes(serverPart(id)));
    return seen(id, running);
  }

  function dataDirOf(id: string): string {
    return processes.notes(serverPart(id)).dataDir ?? '';
  }

  /** Ends the server of `id` with all its processes, and removes its socket. */
  async function end(id: string, ctx: Ctx): Promise<void> {
    rested.delete(id);
    exits.forget(id);
    void waiting
      .get(id)
      ?.close()
      .catch(() => {});
    waiting.delete(id);
    void standing.drop(id);
    await unprepare(id);
    const running = processes.find(serverPart(id));
    const dataDir = dataDirOf(id);
    if (running !== undefined) await noteMemory(id, running); // the last chance: it may have to be killed
    const memory = memoryOf(id);
    const options = { to: 'process', signal: ctx.signal } as const;
    await processes.end(serverPart(id), STAGES, options);
    if (dataDir !== '') await clearAfterKill(id, dataDir, memory);
    await rm(socketDirOf(id), { recursive: true, force: true });
  }

  /** Removes what a killed server has left of itself: processes, shared memory and lock file. One that ended in order left nothing. */
  async function clearAfterKill(id: string, dataDir: string, memory = memoryOf(id)): Promise<void> {
    // PostgreSQL would refuse to start if a pid in one of its lock files were in use again.
    const socketLock = `${socketOf(id)}.lock`;
    const listens = await readLockFile(socketLock);
    if (listens !== undefined && !(await isHeld(listens))) await rm(socketLock, { force: true });
    const lockFile = join(dataDir, 'postmaster.pid');
    const lock = await readLockFile(lockFile);
    if (lock === undefined || (await isHeld(lock))) return; // somebody else's: the start fails and says so
    await unprepare(id);
    // Its backends notice its death only when they next wait, and while one lives no new server can start there.
    await processes.kill(serverPart(id));
    if (!processes.grouped) await endOrphans(dataDir);
    await freeMemory({ ...memory, pids: [lock.pid] });
    await rm(lockFile, { force: true });
  }

  /** Written down while it runs, for when it is dead. */
  async function noteMemory(id: string, { leader }: Running): Promise<void> {
    const { lists } = await sharedMemoryOf([leader.pid]);
    try {
      if (lists.length > 0) await processes.note(serverPart(id), { memory: lists.join(' '), pidSpace });
    } catch (error) {
      log.warn({ id, error }, 'the shared memory of a server is not on record');
    }
  }

  function memoryOf(id: string): SharedMemory {
    const { memory = '', pidSpace: where } = processes.notes(serverPart(id));
    // A server whose processes we cannot see may be alive, whatever its record says.
    return { pids: [], lists: where === pidSpace ? memory.split(' ').filter(Boolean) : [] };
  }

  async function freeMemory(memory: SharedMemory): Promise<void> {
    await freeSharedMemory(memory, user).catch(error =>
      log.warn({ error }, 'shared memory of a killed server is left'),
    );
  }
}

// --- internal ------------------------------------------------------------------------------------

/** Of one server's log, and of all of them together. */
const MAX_LOG_BYTES = 10 * 2 ** 20;
const MAX_LOGS_BYTES = 512 * 2 ** 20;

/** Politely, then less so (postgres(1), "Shutdown": SIGINT is fast, SIGQUIT immediate); what is left after that is killed. */
const STAGES: readonly Stage[] = [
  ['SIGINT', 20_000],
  ['SIGQUIT', 5_000],
];

/** In the notes of a server: its name is still to be told. */
const LATE = 'late';

/** With which settings a server was started, as its note says. */
const settingsIn = ({ settings = '' }: Notes) => (settings === '' ? {} : { settings });

/** The version of its programs. */
const majorIn = ({ major = '' }: Notes) => (major === '' ? {} : { major: Number(major) });

type Prepared = { readonly held: Promise<HeldServer>; readonly timer: NodeJS.Timeout };

/** So long a prepared server waits for `ensure`. */
const PREPARED_MS = 30_000;

/** sun_path has 104 bytes on macOS and 108 on Linux, with a zero at its end (unix(7)). */
const MOST_BYTES = 100;

function checkLength(path: string): void {
  const bytes = Buffer.byteLength(path);
  if (bytes > MOST_BYTES) throw new OffshootError('postgres/socket-path', { path, bytes, most: MOST_BYTES });
}

/** Ids become file names: one that could name another place is a bug of the caller. */
function checkedId(id: string): string {
  if (!/^[a-z0-9][a-z0-9-]*$/.test(id)) throw new TypeError(`"${id}" cannot be the id of a server`);
  return id;
}

/** Whether something accepts connections at a unix socket; the kernel answers at once. */
function answers(socket: string): Promise<boolean> {
  return new Promise(resolve => {
    const probe = connect(socket);
    probe.once('error', () => resolve(false));
    probe.once('connect', () => {
      resolve(true);
      probe.destroy();
    });
  });
}
