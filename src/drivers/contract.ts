/**
 * The contract of everything that touches the world. Types only.
 *
 * Every driver has the same verbs. `ensure` may be repeated and may be killed at any instant; `remove` of
 * something absent succeeds; `observe` looks at the world and never answers from memory; `list` finds what
 * is there, so that the collector can compare it with what should be. Locks per key, deadlines, timing and
 * error mapping are added once, by drivers/guarded.ts, so drivers stay naive.
 */
import type { Log } from '../lib/log.ts';
import type { Deployment } from '../model/kubernetes.ts';
import type { StepInput, StepOutput } from '../model/plugin.ts';

export type Ctx = {
  /** Aborts at the deadline or when the daemon stops. */
  readonly signal: AbortSignal;
  readonly log: Log;
};

/** One line of `offshoot doctor`: what this machine can do, and why or why not. */
export type Capability = { readonly name: string; readonly ok: boolean; readonly detail: string };

export type Driver<Spec, Seen> = {
  readonly name: string;
  capabilities(): Promise<readonly Capability[]>;
  /** @returns undefined when there is no such thing. */
  observe(id: string, ctx: Ctx): Promise<Seen | undefined>;
  ensure(id: string, spec: Spec, ctx: Ctx): Promise<Seen>;
  remove(id: string, ctx: Ctx): Promise<void>;
  /** Ids of all that exists, half-made things included. */
  list(ctx: Ctx): Promise<readonly string[]>;
};

// --- volumes -------------------------------------------------------------------------------------

/** A running server on the parent volume, as far as a volume driver needs it to copy consistently. */
export type LiveParent = {
  /** Flushes everything committed so far to the files; an atomic snapshot then replays little. */
  checkpoint(ctx: Ctx): Promise<void>;
  /** PostgreSQL's backup protocol, for drivers that copy file by file (Continuous Archiving, "Making a Base Backup Using the Low Level API"). */
  beginBackup(ctx: Ctx): Promise<BackupSession>;
};

export type FinishedBackup = {
  /** Contents for the files `backup_label` and `tablespace_map`. */
  readonly backupLabel: string;
  readonly tablespaceMap: string;
  /** The last file in pg_wal that the copy needs. Later ones hold the parent's future and must not be copied. */
  readonly lastWalFile: string;
};

export type BackupSession = {
  /** Ends the backup. Its WAL stays in pg_wal until `close`. */
  finish(): Promise<FinishedBackup>;
  /** Gives up the session and whatever it held; always called, also after `finish`. */
  close(): Promise<void>;
};

/** Written beside each volume's data: enough to rebuild the branch table from the disk. */
export type VolumeRecord = {
  readonly id: string;
  readonly project: string;
  readonly branch: string;
  readonly parent?: string;
  readonly createdAt: string;
};

export type VolumeSpec = {
  readonly record: VolumeRecord;
  /** Absent: the volume starts empty. */
  readonly source?: { readonly id: string; readonly live?: LiveParent };
  /** Runs on the new data directory before the volume becomes visible under its id. */
  prepare(dataDir: string, ctx: Ctx): Promise<void>;
};

export type VolumeSeen = { readonly dataDir: string; readonly record: VolumeRecord };

export type VolumeDriver = Driver<VolumeSpec, VolumeSeen> & {
  /** false: creating a branch copies every byte, and the caller says so. */
  readonly copyOnWrite: boolean;
  /** Bytes free for new data, of the file system that holds the volumes. */
  freeBytes(): Promise<number>;
  /** Releases what `open` took (mounts, loop devices). Volumes stay. */
  close(): Promise<void>;
};

// --- PostgreSQL servers --------------------------------------------------------------------------

export type ServerSpec = {
  readonly dataDir: string;
  /** Name of the branch; clients read it with `current_setting('offshoot.branch_name')`. */
  readonly name: string;
};

export type ServerSeen = {
  readonly pid: number;
  /** Path of the unix socket itself. */
  readonly socket: string;
};

export type AdminQuery = (
  sql: string,
  params?: readonly unknown[],
) => Promise<{ readonly rows: readonly Record<string, unknown>[] }>;

/** The id of a server is the id of its branch. */
export type ServerDriver = Driver<ServerSpec, ServerSeen> & {
  /** Makes a new, empty cluster in `dataDir`. */
  initialise(dataDir: string, ctx: Ctx): Promise<void>;
  /** Makes a copied data directory fit to be started as a server of its own. */
  adopt(dataDir: string, ctx: Ctx): Promise<void>;
  /** Runs `body` with a superuser session on a running server. */
  admin<T>(id: string, database: string, body: (query: AdminQuery) => Promise<T>, ctx: Ctx): Promise<T>;
  /** The running server seen as a copy source; undefined when it is stopped. */
  live(id: string, ctx: Ctx): Promise<LiveParent | undefined>;
  /** Calls `listener` with the id of a server that ended by itself. @returns the way to stop that. */
  onExit(listener: (id: string) => void): () => void;
  /** Stops all servers, fast. */
  close(): Promise<void>;
};

// --- workloads -----------------------------------------------------------------------------------

export type WorkloadSpec = {
  /** `baseline` or `sandbox/NAME`. */
  readonly owner: string;
  /** Complete: env of forks already resolved to values or to references into `refs`. */
  readonly deployment: Deployment;
  /** What env references point to, by `namespace/name`. A runtime with its own ConfigMaps ignores it. */
  readonly refs: {
    readonly configMaps: Readonly<Record<string, Readonly<Record<string, string>>>>;
    readonly secrets: Readonly<Record<string, Readonly<Record<string, string>>>>;
  };
  /** Where the services of the baseline answer. A runtime with its own service discovery ignores it. */
  readonly network: {
    /** `<SVC>_SERVICE_HOST`, `<SVC>_SERVICE_PORT`, … */
    readonly env: Readonly<Record<string, string>>;
    readonly hosts: readonly { readonly ip: string; readonly names: readonly string[] }[];
  };
};

export type WorkloadSeen = {
  readonly owner: string;
  /** Equal hashes mean equal specs. */
  readonly specHash: string;
  readonly ready: boolean;
  /** e.g. Running, Starting, CrashLoopBackOff, ProbeFailing, CommandNotFound, ConfigError. */
  readonly reason: string;
  readonly message: string;
  readonly restarts: number;
  /** containerPort → where it answers, one entry per replica. */
  readonly ports: Readonly<Record<number, readonly { readonly host: string; readonly port: number }[]>>;
  /** Last lines of the log, for status. */
  readonly log: readonly string[];
};

export type WorkloadDriver = Driver<WorkloadSpec, WorkloadSeen> & {
  /** Calls `listener` whenever what `observe` would say may have changed. @returns the way to stop that. */
  onChange(listener: (id: string) => void): () => void;
  /** The newest `lines` lines of a workload's log, oldest first. */
  logs(id: string, lines: number, ctx: Ctx): Promise<readonly string[]>;
  /** Stops all workloads. */
  close(): Promise<void>;
};

// --- plugin steps --------------------------------------------------------------------------------

export type StepSpec = {
  readonly script: string;
  /** Declared inputs with their values; a value that nobody gave is the empty string. */
  readonly inputs: readonly (StepInput & { readonly value: string })[];
  readonly outputs: readonly StepOutput[];
  /** SIGNADOT_* and OFFSHOOT_* variables. */
  readonly env: Readonly<Record<string, string>>;
  /** Directories that must stay visible when the step gets a /tmp of its own. */
  readonly keep: readonly string[];
};

export type StepDone = { readonly outputs: Readonly<Record<string, string>> };

/**
 * Runs one step of a plugin to its end. The id names sandbox, resource, workflow and step.
 * A step that was interrupted runs again from its beginning, so steps must be repeatable.
 */
export type StepDriver = {
  readonly name: string;
  capabilities(): Promise<readonly Capability[]>;
  /** @throws OffshootError step/* with the last lines of output. */
  run(id: string, spec: StepSpec, ctx: Ctx): Promise<StepDone>;
  /** Ends whatever still runs under `id` and removes its files. */
  remove(id: string, ctx: Ctx): Promise<void>;
  list(ctx: Ctx): Promise<readonly string[]>;
};
