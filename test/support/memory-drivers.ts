/**
 * Drivers whose world is in memory: they keep the contract (repeatable, absent is success, half-made things are
 * listed), share one small world, and can be told to fail or to hang at a call. `memoryWorld()` makes them all.
 */
import type {
  BranchRecord,
  LiveParent,
  ServerDriver,
  ServerSeen,
  StepDriver,
  StepSpec,
  VolumeDriver,
  WorkloadDriver,
  WorkloadSeen,
  WorkloadSpec,
} from '../../src/drivers/contract.ts';
import { Listeners } from '../../src/lib/listeners.ts';
import { OffshootError } from '../../src/model/errors.ts';
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

export type MemoryWorld = {
  readonly volumes: VolumeDriver;
  readonly servers: ServerDriver;
  readonly workloads: WorkloadDriver;
  readonly steps: StepDriver;
  readonly trouble: Trouble;
  readonly disk: Map<string, Volume>;
  readonly running: Map<string, ServerSeen>;
  readonly workloadsOf: Map<string, MemoryWorkload>;
  /** Images that this machine cannot run yet. */
  readonly unknownImages: Set<string>;
  /** What scripts made and did not remove. */
  readonly things: Set<string>;
  /** Ids of the steps that came to their end, in that order. */
  readonly stepsDone: string[];
  /** Steps that run. */
  readonly stepsRunning: Set<string>;
  /** Ends a server as a crash does. */
  crash(id: string): void;
  /** Changes what is seen of a workload. */
  become(id: string, change: Partial<WorkloadSeen>): void;
  /** What workloads are like from now on when they have just been started; at first: ready. */
  startAs(seen: Born): void;
};

type Born = Pick<WorkloadSeen, 'ready' | 'reason' | 'message'>;

export type MemoryWorkload = { readonly spec: WorkloadSpec; seen: WorkloadSeen; readonly starts: number };

export function memoryWorld(): MemoryWorld {
  const trouble = new Trouble();
  const disk: MemoryWorld['disk'] = new Map();
  const running: MemoryWorld['running'] = new Map();
  const things = new Set<string>();
  const stepsDone: string[] = [];
  const stepsRunning = new Set<string>();
  const exits = new Listeners<string>();
  const changes = new Listeners<string>();
  const workloadsOf: MemoryWorld['workloadsOf'] = new Map();
  const unknownImages = new Set<string>();
  let born: Born = { ready: true, reason: 'Running', message: 'all containers are ready' };
  return {
    volumes: volumeDriver(disk, trouble),
    servers: serverDriver(disk, running, exits, trouble),
    workloads: workloadDriver({ workloadsOf, unknownImages }, () => born, changes, trouble),
    steps: stepDriver({ things, stepsDone, stepsRunning }, trouble),
    trouble,
    disk,
    running,
    workloadsOf,
    unknownImages,
    things,
    stepsDone,
    stepsRunning,
    crash(id) {
      running.delete(id);
      exits.tell(id);
    },
    become(id, change) {
      const workload = workloadsOf.get(id)!;
      workload.seen = { ...workload.seen, ...change };
      changes.tell(id);
    },
    startAs(seen) {
      born = seen;
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
    freeBytes: async () => 2 ** 40,
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

function workloadDriver(
  { workloadsOf: workloads, unknownImages }: Pick<MemoryWorld, 'workloadsOf' | 'unknownImages'>,
  born: () => Born,
  changes: Listeners<string>,
  trouble: Trouble,
): WorkloadDriver {
  let port = 20_000;
  return {
    name: 'memory',
    capabilities: async () => [],
    onChange: changes.add,
    logs: async () => [],
    close: async () => workloads.clear(),
    async observe(id, ctx) {
      await trouble.meet('workloads.observe', id, ctx);
      return workloads.get(id)?.seen;
    },
    async ensure(id, spec, ctx) {
      await trouble.meet('workloads.ensure', id, ctx);
      const { containers } = spec.deployment.spec.template.spec;
      const unknown = containers.map(c => c.image).filter(image => unknownImages.has(image));
      const specHash = JSON.stringify({ spec, unknown });
      const there = workloads.get(id);
      if (there?.seen.specHash === specHash) return there.seen;
      const declared = containers.flatMap(c => c.ports ?? []).map(p => p.containerPort);
      // A port stays the same over restarts.
      const ports = Object.fromEntries(
        declared.map(p => [p, there?.seen.ports[p] ?? [{ host: '127.0.0.1', port: ++port }]]),
      );
      const state =
        unknown.length === 0
          ? born()
          : { ready: false, reason: 'ImageUnknown', message: `nothing runs ${unknown}` };
      const seen = { owner: spec.owner, specHash, ...state, restarts: 0, ports, log: [] };
      workloads.set(id, { spec, seen, starts: (there?.starts ?? 0) + 1 });
      return seen;
    },
    async remove(id, ctx) {
      await trouble.meet('workloads.remove', id, ctx);
      workloads.delete(id);
    },
    async list(ctx) {
      await trouble.meet('workloads.list', '', ctx);
      return [...workloads.keys()];
    },
  };
}

/**
 * Runs scripts of lines `make THING`, `remove THING` and `output NAME VALUE`, where `$NAME` is an input or a
 * variable. A script that fails or hangs has made its things already.
 */
function stepDriver(
  { things, stepsDone, stepsRunning }: Pick<MemoryWorld, 'things' | 'stepsDone' | 'stepsRunning'>,
  trouble: Trouble,
): StepDriver {
  return {
    name: 'memory',
    capabilities: async () => [],
    async run(id, spec, ctx) {
      stepsRunning.add(id);
      try {
        const outputs = interpret(spec, things);
        await trouble.meet('steps.run', id, ctx);
        stepsDone.push(id);
        return { outputs };
      } finally {
        stepsRunning.delete(id);
      }
    },
    async remove(id, ctx) {
      await trouble.meet('steps.remove', id, ctx);
      stepsRunning.delete(id);
    },
    async list(ctx) {
      await trouble.meet('steps.list', '', ctx);
      return [...stepsRunning];
    },
  };
}

function interpret({ script, inputs, env }: StepSpec, things: Set<string>): Record<string, string> {
  const values: Record<string, string> = {
    ...env,
    ...Object.fromEntries(inputs.map(i => [i.name, i.value])),
  };
  const outputs: Record<string, string> = {};
  for (const line of script.split('\n')) {
    const [verb, name = '', value = ''] = line
      .split(' ')
      .map(word => word.replace(/\$(\w+)/g, (_, variable: string) => values[variable] ?? ''));
    if (verb === 'make') things.add(name);
    else if (verb === 'remove') things.delete(name);
    else if (verb === 'output') outputs[name] = value;
    else throw new Error(`the script says ${line}`);
  }
  return outputs;
}
