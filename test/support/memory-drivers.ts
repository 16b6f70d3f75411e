/**
 * Drivers whose world is in memory: they keep the contract (repeatable, absent is success, half-made things are
 * listed), share one small world, and can be told to fail or to hang at a call. `memoryWorld()` makes them all.
 */
import type {
  BranchRecord,
  LiveParent,
  ServerDriver,
  ServerSeen,
  VolumeDriver,
} from '../../src/drivers/contract.ts';
import { Listeners } from '../../src/lib/listeners.ts';
import { OffshootError } from '../../src/model/errors.ts';
import { type MemorySteps, memorySteps } from './memory-steps.ts';
import { type MemoryWorkloads, memoryWorkloads } from './memory-workloads.ts';
import { Trouble } from './trouble.ts';

/** What a data directory holds. */
export type Cluster = {
  readonly roles: Set<string>;
  readonly databases: Set<string>;
  /** All statements that a superuser ran here, with its parents' ones before the copy. */
  readonly sql: string[];
};

export type Volume = {
  readonly record: BranchRecord;
  readonly dataDir: string;
  /** Visible under its id. */
  complete: boolean;
  cluster?: Cluster;
};

export type MemoryWorld = MemoryWorkloads &
  MemorySteps & {
    readonly volumes: VolumeDriver;
    readonly servers: ServerDriver;
    readonly trouble: Trouble;
    readonly disk: Map<string, Volume>;
    readonly running: Map<string, ServerSeen>;
    /** Ends a server as a crash does. */
    crash(id: string): void;
  };

export function memoryWorld(): MemoryWorld {
  const trouble = new Trouble();
  const disk: MemoryWorld['disk'] = new Map();
  const running: MemoryWorld['running'] = new Map();
  const exits = new Listeners<string>();
  return {
    volumes: volumeDriver(disk, trouble),
    servers: serverDriver(disk, running, exits, trouble),
    ...memoryWorkloads(trouble),
    ...memorySteps(trouble),
    trouble,
    disk,
    running,
    crash(id) {
      running.delete(id);
      exits.tell(id);
    },
  };
}

// --- internal -----------------------------------------------------------------------------------

function volumeDriver(disk: MemoryWorld['disk'], trouble: Trouble): VolumeDriver {
  const complete = (id: string) => {
    const found = disk.get(id);
    return found?.complete ? found : undefined;
  };
  return {
    name: 'memory',
    copyOnWrite: true,
    capabilities: async () => [],
    room: async () => ({ where: '/', totalBytes: 2 ** 40, freeBytes: 2 ** 40, reserveBytes: 0 }),
    usage: async id => (disk.has(id) ? { bytes: 0, exact: true } : undefined),
    usages: async () => new Map([...disk.keys()].map(id => [id, { bytes: 0, exact: true }])),
    setLimit: async () => {},
    close: async () => {},
    async observe(id, ctx) {
      await trouble.meet('volumes.observe', id, ctx);
      return complete(id);
    },
    async ensure(id, { record, source, prepare }, ctx) {
      const there = complete(id);
      if (there !== undefined) return there;
      const volume: Volume = { record, dataDir: `/memory/${id}`, complete: false };
      disk.set(id, volume);
      await source?.live?.checkpoint(ctx);
      if (source !== undefined) {
        const from = complete(source.id)?.cluster;
        if (from === undefined) throw new OffshootError('volume/source-missing', { id, source: source.id });
        volume.cluster = {
          roles: new Set(from.roles),
          databases: new Set(from.databases),
          sql: [...from.sql],
        };
      }
      await trouble.meet('volumes.ensure', id, ctx);
      await prepare(volume.dataDir, ctx);
      volume.complete = true;
      return volume;
    },
    async remove(id, ctx) {
      await trouble.meet('volumes.remove', id, ctx);
      disk.delete(id);
    },
    async list(ctx) {
      await trouble.meet('volumes.list', '', ctx);
      return [...disk.keys()];
    },
  };
}

function serverDriver(
  disk: MemoryWorld['disk'],
  running: MemoryWorld['running'],
  exits: Listeners<string>,
  trouble: Trouble,
): ServerDriver {
  let pid = 1000;
  const volumeAt = (dataDir: string) => [...disk.values()].find(v => v.dataDir === dataDir)!;
  const down = (id: string) => new OffshootError('postgres/not-running', { id });
  return {
    name: 'memory',
    capabilities: async () => [],
    onExit: exits.add,
    close: async () => running.clear(),
    async initialise(dataDir) {
      volumeAt(dataDir).cluster = { roles: new Set(), databases: new Set(['postgres']), sql: [] };
    },
    async adopt(dataDir) {
      if (volumeAt(dataDir).cluster === undefined) throw new Error(`there is no cluster in ${dataDir}`);
    },
    async observe(id, ctx) {
      await trouble.meet('servers.observe', id, ctx);
      return running.get(id);
    },
    async ensure(id, { dataDir }, ctx) {
      await trouble.meet('servers.ensure', id, ctx);
      if (volumeAt(dataDir).cluster === undefined) throw new Error(`there is no cluster in ${dataDir}`);
      const seen = running.get(id) ?? { pid: ++pid, socket: `/memory/${id}.s.${pid}`, granted: false };
      running.set(id, seen);
      return seen;
    },
    isClean: async () => false,
    exits: () => ({ count: 0 }),
    grant: () => Promise.reject(new Error('see memory-branches.ts')),
    async stop(id) {
      running.delete(id);
    },
    async remove(id, ctx) {
      await trouble.meet('servers.remove', id, ctx);
      running.delete(id);
    },
    async list(ctx) {
      await trouble.meet('servers.list', '', ctx);
      return [...running.keys()];
    },
    async admin(id, _database, body, ctx) {
      await trouble.meet('servers.admin', id, ctx);
      if (!running.has(id)) throw down(id);
      const cluster = disk.get(id)!.cluster!;
      return body(async (sql, params = []) => ({ rows: execute(cluster, sql, params) }));
    },
    async live(id, ctx): Promise<LiveParent | undefined> {
      if (!running.has(id)) return undefined;
      await trouble.meet('servers.live', id, ctx);
      return {
        async checkpoint() {
          if (!running.has(id)) throw down(id);
        },
        beginBackup: () => Promise.reject(new Error('memory volumes are copied at once')),
        hold: async () => async () => {},
        unlogged: { held: [], emptied: [] },
      };
    },
  };
}

/** As much SQL as setting up a branch takes: roles, databases, and whether they exist. */
function execute(cluster: Cluster, sql: string, params: readonly unknown[]): Record<string, unknown>[] {
  cluster.sql.push(sql);
  const [, created, name] = /^CREATE (ROLE|DATABASE) "(\w+)"/.exec(sql) ?? [];
  if (created === 'ROLE') cluster.roles.add(name!);
  if (created === 'DATABASE') cluster.databases.add(name!);
  const asked = /FROM pg_(roles|database) /.exec(sql)?.[1];
  const known = asked === 'roles' ? cluster.roles : cluster.databases;
  return asked !== undefined && known.has(String(params[0])) ? [{ '?column?': 1 }] : [];
}
