/**
 * PostgreSQL servers, one per branch, each on a unix socket of its own. They outlive the daemon: what runs is
 * found again by lock files and labels, never from memory.
 */
import { existsSync } from 'node:fs';
import { chmod, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import type { Log } from '../../lib/log.ts';
import { identify, type ProcessId } from '../../lib/process.ts';
import { OffshootError } from '../../model/errors.ts';
import type { ServerDriver, ServerSeen, ServerSpec } from '../branch-parts.ts';
import type { Ctx } from '../contract.ts';
import { grant, markOf, readMark, writeMark } from './access.ts';
import { adopt, initialise, killOrphans } from './cluster.ts';
import { wasShutDown } from './control-file.ts';
import { watchExits } from './exits.ts';
import { liveParent } from './live.ts';
import { type LockFile, readLockFile } from './lock-file.ts';
import { endStrays, holderOf, isServerOf, serversOf, workingDirOf } from './processes.ts';
import { withSession } from './session.ts';
import { HBA, PORT } from './settings.ts';
import { freeSharedMemory } from './shared-memory.ts';
import { launch, untilReady } from './start.ts';
import { stop } from './stop.ts';
import { putBack, setAside } from './unlogged.ts';
import type { ServerUser } from './user.ts';

export type ServerOptions = {
  /** Label that tells our servers from those of another data directory. */
  readonly instance: string;
  /** Logs go to `<home>/logs/postgres`. */
  readonly home: string;
  /** Sockets go to `<runtimeDir>/s`. `user` must be able to enter it. */
  readonly runtimeDir: string;
  /** Directory of `postgres` and `initdb`. */
  readonly bin: string;
  readonly version: string;
  readonly user: ServerUser;
  /** Password of the superuser, the same for all clusters of the instance. */
  readonly adminSecret: string;
  readonly log: Log;
};

export async function openServers(options: ServerOptions): Promise<ServerDriver> {
  const { instance, home, runtimeDir, bin, user, adminSecret, log } = options;
  const sockets = join(runtimeDir, 's');
  const hbaFile = join(runtimeDir, 'pg_hba.conf');
  await mkdir(sockets, { recursive: true });
  await chmod(sockets, 0o711);
  await writeFile(hbaFile, HBA);
  await chmod(hbaFile, 0o644);
  const orphans = await killOrphans(instance);
  if (orphans.length > 0) await freeMemory(orphans);
  const exits = watchExits();

  const socketDirOf = (id: string): string => join(sockets, checkedId(id));
  const socketOf = (id: string): string => join(socketDirOf(id), `.s.PGSQL.${PORT}`);
  const logFileOf = (id: string): string => join(home, 'logs', 'postgres', `${checkedId(id)}.log`);
  const addressOf = (id: string, database: string) => ({
    id,
    database,
    socketDir: socketDirOf(id),
    adminSecret,
  });

  const driver: ServerDriver = {
    name: 'postgres',
    capabilities: async () => [
      { name: 'postgres', ok: true, detail: `PostgreSQL ${options.version} in ${bin}, run as ${user.name}` },
    ],
    initialise: (dataDir, ctx) => initialise({ dataDir, bin, user, instance, adminSecret }, ctx),
    exits: exits.of,
    onExit: exits.onExit,
    admin: (id, database, body, ctx) => withSession(addressOf(id, database), body, ctx),

    async adopt(dataDir, _ctx, held = []) {
      await adopt(dataDir);
      await setAside(dataDir, held);
    },

    async isClean(dataDir) {
      return !existsSync(join(dataDir, 'postmaster.pid')) && (await wasShutDown(dataDir));
    },

    async observe(id) {
      const found = await running(id);
      return found && seen(id, found.server);
    },

    async ensure(id, spec, ctx) {
      checkLength(socketOf(id));
      return (await takeOver(id, spec.dataDir, ctx)) ?? (await start(id, spec, ctx));
    },

    async grant(id, access, ctx) {
      const server = (await running(id))?.server;
      if (server === undefined) throw new OffshootError('postgres/not-running', { id });
      if ((await readMark(socketDirOf(id), server)) === markOf(access)) return;
      await withSession(addressOf(id, 'postgres'), query => grant(query, id, access), ctx);
      await writeMark(socketDirOf(id), server, access);
    },

    stop: end,

    async remove(id, ctx) {
      await end(id, ctx);
      for (const path of [logFileOf(id), `${logFileOf(id)}.1`]) await rm(path, { force: true });
    },

    async list() {
      const directories = existsSync(sockets) ? await readdir(sockets) : [];
      return [...new Set([...(await serversOf(instance)).keys(), ...directories])];
    },

    async live(id) {
      const found = await running(id);
      return found && liveParent(addressOf(id, 'postgres'), found.dataDir);
    },

    async close() {
      const ctx = { signal: AbortSignal.timeout(60_000), log };
      await Promise.all((await driver.list(ctx)).map(id => end(id, ctx)));
      exits.close();
      for (const path of [sockets, hbaFile]) await rm(path, { recursive: true, force: true });
    },
  };
  return driver;

  /** The server of `id` that accepts connections. */
  async function running(id: string): Promise<{ server: ProcessId; dataDir: string } | undefined> {
    const socketLock = await readLockFile(`${socketOf(id)}.lock`);
    if (socketLock === undefined) return undefined;
    const lock = await readLockFile(join(socketLock.dataDir, 'postmaster.pid'));
    const server = lock?.ready ? await serverHolding(lock, id) : undefined;
    return server && lock && { server, dataDir: lock.dataDir };
  }

  async function seen(id: string, server: ProcessId): Promise<ServerSeen> {
    const granted = (await readMark(socketDirOf(id), server)) !== undefined;
    return { pid: server.pid, socket: socketOf(id), granted };
  }

  /** The server that runs on `dataDir` already, started by us or by an earlier process, once it accepts connections. */
  async function takeOver(id: string, dataDir: string, ctx: Ctx): Promise<ServerSeen | undefined> {
    const lock = await readLockFile(join(dataDir, 'postmaster.pid'));
    if (lock === undefined) return undefined;
    const holder = await holderOf(lock);
    if (holder === undefined) {
      await clearAfterKill(dataDir, ctx);
      return undefined;
    }
    if (!(await isServerOf(id, holder))) return undefined; // somebody else's: the start fails and says so
    if (exits.watches(id, holder) && existsSync(socketOf(id))) return seen(id, holder);
    await untilReady({ id, dataDir, logFile: logFileOf(id) }, holder, ctx);
    await putBack(dataDir);
    if (await answers(socketOf(id))) return watched(id, holder, false);
    ctx.log.warn({ id, pid: holder.pid }, 'server has lost its socket and is started again');
    exits.forget(id);
    await stop(holder, ctx.signal);
    return undefined;
  }

  async function start(id: string, spec: ServerSpec, ctx: Ctx): Promise<ServerSeen> {
    const [socketDir, logFile] = [socketDirOf(id), logFileOf(id)];
    const { child, logStart } = await launch({
      ...spec,
      id,
      instance,
      bin,
      user,
      socketDir,
      hbaFile,
      logFile,
    });
    const server = identify(child.pid!) ?? { pid: child.pid!, startTime: '' };
    await untilReady({ id, dataDir: spec.dataDir, logFile, logStart }, server, ctx);
    await putBack(spec.dataDir);
    child.once('exit', () => exits.check(id));
    const seen = await watched(id, server, true);
    exits.check(id); // it may have ended before it was watched
    return seen;
  }

  function watched(id: string, server: ProcessId, child: boolean): Promise<ServerSeen> {
    exits.watch(id, server, child);
    return seen(id, server);
  }

  /** Ends the server of `id` with all its processes, and removes its socket. */
  async function end(id: string, ctx: Ctx): Promise<void> {
    exits.forget(id);
    const lock = await readLockFile(`${socketOf(id)}.lock`);
    const server = (lock && (await serverHolding(lock, id))) ?? (await serversOf(instance)).get(id);
    const dataDir = lock?.dataDir ?? (server && (await workingDirOf(server.pid)));
    const inOrder = server !== undefined && (await stop(server, ctx.signal));
    if (!inOrder && dataDir !== undefined) await clearAfterKill(dataDir, ctx);
    await rm(socketDirOf(id), { recursive: true, force: true });
  }

  /** Removes what a killed server has left of itself: processes, shared memory and lock file. */
  async function clearAfterKill(dataDir: string, ctx: Ctx): Promise<void> {
    await endStrays(dataDir, ctx.signal);
    const lockFile = join(dataDir, 'postmaster.pid');
    const lock = await readLockFile(lockFile);
    if (lock === undefined) return;
    await freeMemory([lock]);
    // PostgreSQL would refuse to start if its pid were in use again.
    await rm(lockFile, { force: true });
  }

  async function freeMemory(makers: readonly { readonly pid: number }[]): Promise<void> {
    await freeSharedMemory(makers, user).catch(error =>
      log.warn({ error }, 'shared memory of a killed server is left'),
    );
  }
}

// --- internal ------------------------------------------------------------------------------------

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

/** The process that holds a lock file, if it is the server of `id`. */
async function serverHolding(lock: LockFile, id: string): Promise<ProcessId | undefined> {
  const holder = await holderOf(lock);
  return holder !== undefined && (await isServerOf(id, holder)) ? holder : undefined;
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
