/**
 * Volumes and servers in memory, under the real branch node. Data is words in a set, access is a verifier per role;
 * what they do and what they say is as the real ones do it: both pass test/conformance.
 */
import { openBranchNode } from '../../src/drivers/branch/node.ts';
import type { LiveParent, ServerDriver, ServerSeen, VolumeDriver } from '../../src/drivers/branch-parts.ts';
import type { BranchNode, ServerExits } from '../../src/drivers/contract.ts';
import { Listeners } from '../../src/lib/listeners.ts';
import { silentLog } from '../../src/lib/log.ts';
import type { BranchRecord } from '../../src/model/branch.ts';
import { OffshootError } from '../../src/model/errors.ts';
import type { Trouble } from './trouble.ts';

/** What a data directory holds. */
export type Cluster = {
  /** Their passwords as verifiers; null: none opens them. */
  readonly roles: Map<string, string | null>;
  readonly databases: Set<string>;
  /** What clients wrote. */
  readonly words: Set<string>;
  /** Unlogged tables that somebody never stops writing to. */
  readonly busyTables: Set<string>;
  /** No server can run on it. */
  broken: boolean;
  /** The last server on it ended in order. */
  clean: boolean;
  /** Id of the branch that ended the passwords which came along. */
  adoptedBy?: string;
};

export type Volume = {
  record: BranchRecord;
  readonly dataDir: string;
  /** Visible under its id. */
  complete: boolean;
  cluster?: Cluster;
};

export type MemoryServer = Pick<ServerSeen, 'pid' | 'socket'> & {
  /** `role verifier` of what was granted last. */
  granted?: string;
  /** Sessions that are open. */
  users?: number;
  /** Milliseconds that it has lived; a test lets it grow old. */
  upMs: number;
};

export type MemoryBranches = {
  readonly branches: BranchNode;
  /** Another node on the same world, as the next process opens it. */
  reopen(): BranchNode;
  readonly volumes: VolumeDriver;
  readonly servers: ServerDriver;
  readonly disk: Map<string, Volume>;
  readonly running: Map<string, MemoryServer>;
  /** What the disk has; may be changed. */
  readonly room: { totalBytes: number; freeBytes: number; reserveBytes: number };
  /** Bytes of its own that each branch takes, 0 unless it is said here; and the limits that were set. */
  readonly taken: Map<string, number>;
  readonly limits: Map<string, number>;
  /** Ends a server as a crash does. */
  crash(id: string, livedMs?: number): void;
};

export function memoryBranches(trouble: Trouble, { startsAtOnce = 32 } = {}): MemoryBranches {
  const disk: MemoryBranches['disk'] = new Map();
  const running: MemoryBranches['running'] = new Map();
  const exits = new Map<string, ServerExits>();
  const ended = new Listeners<string>();
  const room = { totalBytes: 2 ** 40, freeBytes: 2 ** 39, reserveBytes: 2 ** 29 };
  const taken = new Map<string, number>();
  const limits = new Map<string, number>();
  const volumes = volumeDriver({ disk, room, taken, limits }, trouble);
  const servers = serverDriver({ disk, running, exits, ended }, trouble);
  const reopen = () => openBranchNode({ volumes, servers, startsAtOnce, log: silentLog });
  return {
    branches: reopen(),
    reopen,
    volumes,
    servers,
    disk,
    running,
    room,
    taken,
    limits,
    crash(id, livedMs = 100) {
      running.delete(id);
      exits.set(id, { count: (exits.get(id)?.count ?? 0) + 1, livedMs });
      ended.tell(id);
    },
  };
}

// --- internal -----------------------------------------------------------------------------------

const copyOf = (from: Cluster): Cluster => ({
  ...from,
  roles: new Map(from.roles),
  databases: new Set(from.databases),
  words: new Set(from.words),
  busyTables: new Set(),
});

function volumeDriver(
  { disk, room, taken, limits }: Pick<MemoryBranches, 'disk' | 'room' | 'taken' | 'limits'>,
  trouble: Trouble,
): VolumeDriver {
  const usage = (id: string) => ({ bytes: taken.get(id) ?? 0, exact: true });
  const complete = (id: string) => {
    const found = disk.get(id);
    return found?.complete ? { dataDir: found.dataDir, record: found.record } : undefined;
  };
  return {
    name: 'memory',
    copyOnWrite: true,
    capabilities: async () => [],
    room: async () => ({ where: '/memory', ...room }),
    usage: async id => (complete(id) === undefined ? undefined : usage(id)),
    logicalBytes: async id => (complete(id) === undefined ? undefined : usage(id).bytes),
    usages: async () => new Map([...disk.keys()].map(id => [id, usage(id)])),
    async setLimit(id, bytes) {
      if (bytes === undefined) limits.delete(id);
      else limits.set(id, bytes);
    },
    settled: (id, ctx) => trouble.meet('volumes.settled', id, ctx),
    close: async () => {},
    async observe(id, ctx) {
      await trouble.meet('volumes.observe', id, ctx);
      return complete(id);
    },
    async ensure(id, { record, source, prepare, replace }, ctx) {
      const there = disk.get(id);
      if (there?.complete && replace === undefined) {
        const { emptied } = there.record;
        there.record = { ...record, ...(emptied && { emptied }) };
        return complete(id)!;
      }
      const key = there?.complete ? `${id}.partial` : id;
      const volume: Volume = { record, dataDir: `/memory/${key}`, complete: false };
      disk.set(key, volume);
      await source?.live?.checkpoint(ctx);
      const release = await source?.live?.hold(ctx);
      if (source !== undefined) {
        const from = disk.get(source.id);
        if (!from?.complete || from.cluster === undefined)
          throw new OffshootError('volume/source-missing', { id, source: source.id });
        volume.cluster = copyOf(from.cluster);
      }
      await trouble.meet('volumes.ensure', id, ctx);
      await release?.();
      await prepare(volume.dataDir, ctx);
      const emptied = source?.live?.unlogged.emptied ?? [];
      if (emptied.length > 0) volume.record = { ...record, emptied };
      if (key !== id) {
        await replace!(ctx);
        disk.delete(key);
        disk.set(id, { ...volume, dataDir: `/memory/${id}` });
      }
      disk.get(id)!.complete = true;
      return complete(id)!;
    },
    async remove(id, ctx) {
      await trouble.meet('volumes.remove', id, ctx);
      disk.delete(id);
      disk.delete(`${id}.partial`);
    },
    async list(ctx) {
      await trouble.meet('volumes.list', '', ctx);
      return [...new Set([...disk.keys()].map(key => key.replace('.partial', '')))];
    },
  };
}

type ServerWorld = Pick<MemoryBranches, 'disk' | 'running'> & {
  readonly exits: Map<string, ServerExits>;
  readonly ended: Listeners<string>;
};

function serverDriver({ disk, running, exits, ended }: ServerWorld, trouble: Trouble): ServerDriver {
  let pid = 1000;
  const volumeAt = (dataDir: string) => [...disk.values()].find(v => v.dataDir === dataDir)!;
  const clusterOf = (id: string) => disk.get(id)!.cluster!;
  const down = (id: string) => new OffshootError('postgres/not-running', { id });
  const seen = (id: string): ServerSeen | undefined => {
    const found = running.get(id);
    return found && { pid: found.pid, socket: found.socket, granted: found.granted !== undefined };
  };
  const end = (id: string): void => {
    const cluster = disk.get(id)?.cluster;
    if (running.delete(id) && cluster !== undefined) cluster.clean = true;
    exits.delete(id);
  };
  return {
    name: 'memory',
    capabilities: async () => [],
    onExit: ended.add,
    exits(id) {
      const server = running.get(id);
      return { count: 0, ...exits.get(id), ...(server && { upMs: server.upMs }) };
    },
    forgive: id => void exits.delete(id),
    filling: () => Promise.reject(new Error('nothing can be filled in memory')),
    close: async () => [...running.keys()].forEach(end),
    async initialise(dataDir) {
      volumeAt(dataDir).cluster = {
        roles: new Map(),
        databases: new Set(['postgres']),
        words: new Set(),
        busyTables: new Set(),
        broken: false,
        clean: true,
      };
    },
    async adopt(dataDir) {
      if (volumeAt(dataDir).cluster === undefined) throw new Error(`there is no cluster in ${dataDir}`);
    },
    async *logs(id, { lines }) {
      if (lines > 0 && running.has(id)) yield 'database system is ready to accept connections';
    },
    async opens(id, { role, verifier }) {
      const volume = running.has(id) ? disk.get(id) : undefined;
      return volume && volume.cluster?.roles.get(role) === verifier;
    },
    insight: async () => undefined,
    async recover(_id, dataDir) {
      const { cluster } = volumeAt(dataDir);
      if (cluster === undefined || cluster.broken) throw new Error(`no server can run on ${dataDir}`);
      cluster.clean = true;
    },
    isClean: async dataDir => volumeAt(dataDir).cluster?.clean ?? false,
    async observe(id, ctx) {
      await trouble.meet('servers.observe', id, ctx);
      return seen(id);
    },
    async ensure(id, { dataDir }, ctx) {
      if (running.has(id)) return seen(id)!;
      await trouble.meet('servers.ensure', id, ctx);
      const { cluster } = volumeAt(dataDir);
      if (cluster === undefined) throw new Error(`there is no cluster in ${dataDir}`);
      if (cluster.broken)
        throw new OffshootError('postgres/start-failed', {
          id,
          why: 'its files are broken',
          logFile: '/log',
        });
      cluster.clean = false;
      running.set(id, { pid: ++pid, socket: `/memory/${id}.s.${pid}`, upMs: 0 });
      return seen(id)!;
    },
    async grant(id, { role, database, verifier, inherited }, ctx) {
      const server = running.get(id);
      if (server === undefined) throw down(id);
      const mark = `${role} ${verifier}`;
      if (server.granted === mark) return 0;
      await trouble.meet('servers.grant', id, ctx);
      if (!running.has(id)) throw down(id);
      const cluster = clusterOf(id);
      if (inherited && cluster.adoptedBy !== id) {
        for (const name of cluster.roles.keys()) cluster.roles.set(name, null);
        cluster.adoptedBy = id;
      }
      cluster.roles.set(role, verifier);
      cluster.databases.add(database);
      server.granted = mark;
      return 0;
    },
    async stop(id, ctx) {
      await trouble.meet('servers.stop', id, ctx);
      end(id);
    },
    async rest(id, ctx) {
      await trouble.meet('servers.stop', id, ctx);
      end(id);
    },
    async remove(id, ctx) {
      await trouble.meet('servers.remove', id, ctx);
      end(id);
    },
    async list(ctx) {
      await trouble.meet('servers.list', '', ctx);
      return [...running.keys()];
    },
    recoverTo: () => Promise.reject(new Error('there is no log in memory')),
    wal: {
      hold: async () => undefined,
      free: async () => undefined,
      flush: async () => undefined,
      drop: async () => {},
    },
    users: async id => running.get(id)?.users ?? 0,
    grantAhead: () => Promise.reject(new TypeError('nothing is prepared here')),
    positions: async () => undefined,
    position: async id =>
      running.has(id) ? { at: JSON.stringify([...clusterOf(id).words]), flushed: true } : undefined,
    async live(id, ctx): Promise<LiveParent | undefined> {
      if (!running.has(id)) return undefined;
      await trouble.meet('servers.live', id, ctx);
      let emptied: readonly string[] = [];
      return {
        async checkpoint() {
          if (!running.has(id)) throw down(id);
        },
        beginBackup: () => Promise.reject(new Error('memory volumes are copied at once')),
        async hold() {
          emptied = [...clusterOf(id).busyTables];
          return async () => {};
        },
        get unlogged() {
          return { held: [], emptied };
        },
      };
    },
  };
}
