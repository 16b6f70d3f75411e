/**
 * The contract of everything that touches the world. Types only.
 *
 * Every driver has the same verbs. `ensure` may be repeated and may be killed at any instant; `remove` of
 * something absent succeeds; `observe` looks at the world and never answers from memory; `list` finds what
 * is there, so that the collector can compare it with what should be. Locks per key, deadlines, timing and
 * error mapping are added once, by drivers/guarded.ts, so drivers stay naive.
 */

import type { Log } from '../lib/log.ts';
import type {
  BranchEndpoint,
  BranchLike,
  BranchRecord,
  BranchReset,
  RolePasswords,
} from '../model/branch.ts';
import type { Disk } from '../model/claims.ts';
import type { ConditionStatus } from '../model/conditions.ts';
import type { EnvRefs } from '../model/container-env.ts';
import type { OffshootError } from '../model/errors.ts';
import type { HistorySpec, Reach } from '../model/history.ts';
import type { ImageMap } from '../model/image.ts';
import type { ImportSpec, ImportStatus } from '../model/import.ts';
import type { BranchInsight } from '../model/insight.ts';
import type { Workload } from '../model/kubernetes.ts';
import type { LogLine, LogQuery, ServerLogQuery } from '../model/log.ts';
import type { Migration } from '../model/migration.ts';
import type { PluginSpec, StepInput, StepOutput } from '../model/plugin.ts';
import type { Room } from '../model/room.ts';
import type { ServerSettings } from '../model/server-settings.ts';
import type { Surroundings } from '../model/surroundings.ts';
import type { Trashed } from '../model/trash.ts';

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

// --- branches ------------------------------------------------------------------------------------

/**
 * What a branch is to be: data only, so that it can be made on another machine than the one that asks.
 * Nothing in it is a secret: the verifier does not let anybody in.
 */
export type BranchWish = {
  readonly project: string;
  /** Unique in the project; clients read it with `current_setting('offshoot.branch_name')`. */
  readonly branch: string;
  /** Id of the branch as whose copy it begins; absent: it begins empty. */
  readonly parent?: string;
  /** e.g. `sandbox/NAME`. */
  readonly owner?: string;
  readonly createdAt: string;
  /** Role that clients log in as, and the database that it owns. */
  readonly role: string;
  readonly database: string;
  /** Of the role's password, in PostgreSQL's stored form (lib/scram.ts). */
  readonly verifier: string;
  /** What becomes of those of other roles; absent: they end. */
  readonly rolePasswords?: RolePasswords;
  /** Of its server; absent: ours. */
  readonly settings?: ServerSettings;
  /** Directory of the programs by which it is made, where it is no copy; absent: ours. */
  readonly postgres?: string;
  /** The most bytes of its own that it may take; see model/room.ts for who has none. */
  readonly limitBytes?: number;
  /** In the trash: its volume stays, and nothing else is made of it. */
  readonly trashed?: Trashed;
  /** It has had a volume: where there is none now, it is lost, and an empty one must not take its place. */
  readonly made?: true;
  /** Once made anew from what another branch holds, for the `count`th time; see `BranchRecord.resets`. */
  readonly reset?: Pick<BranchReset, 'count' | 'from' | 'moment'>;
  /** RFC 3339: it begins as what its parent held then; absent: as what it holds now. */
  readonly moment?: string;
  /** What is kept of it that is over; absent: nothing. */
  readonly history?: HistorySpec;
  /** What it is filled from, for the `count`th time; see `BranchRecord.imports`. The password is sealed. */
  readonly import?: ImportSpec & {
    readonly sealed: readonly string[];
    readonly maskSecret?: readonly string[];
  };
};

/** One of the three things that make a branch, in the order in which they are made; see model/conditions.ts. */
export type BranchPhase = {
  readonly status: ConditionStatus;
  readonly reason: string;
  readonly message: string;
};

/** An error as data; `new OffshootError(code, params)` makes one of it. */
export type Failure = Pick<OffshootError, 'code' | 'params' | 'output'>;

/** Room on the disk for all branches of a node. */
export type NodeRoom = Room & {
  /** Path on the file system that has the least. */
  readonly where: string;
};

/** Servers of a branch that ended by themselves, in a row; milliseconds. */
export type ServerExits = {
  /** One that had lived for a minute is counted as the first. */
  readonly count: number;
  /** How long the last of them had lived. */
  readonly livedMs?: number;
  /** How long the one that runs now has lived, as far as is known. */
  readonly upMs?: number;
};

/** Bytes of its own: what a branch takes beyond what it shared with its parent when it was made. */
export type BranchUsage = {
  readonly bytes: number;
  /** false: estimated, or not counted from the beginning. */
  readonly exact: boolean;
};

export type BranchSeen = {
  /** Absent while the volume is not complete. */
  readonly record?: BranchRecord;
  readonly volume: BranchPhase;
  readonly server: BranchPhase;
  readonly access: BranchPhase;
  /** Where the role's sessions are accepted; only when all three are True. */
  readonly endpoint?: BranchEndpoint;
  /**
   * What must happen before `ensure` can go on; nothing is wrong. `copy/<parent>`, `start`, `restart`: a place becomes
   * free, told by `onFree`; `import/<id>`: its data come; `base/<parent>`: what many are copied from is made;
   * `branch/<parent>`: the parent's server is needed and does not run. With a `failure`
   * something is wrong, and will be until then: `room/<id>`.
   */
  readonly waits?: string;
  /** As of the last look at it; `near`: it comes near its limit. */
  readonly room?: BranchUsage & { readonly limitBytes?: number; readonly near: boolean };
  /** Why a phase is False. */
  readonly failure?: Failure;
  readonly exits: ServerExits;
  /** How many of its roles may log in and have no password; absent: none. */
  readonly passwordless?: number;
  /** Of one that is filled from elsewhere. */
  readonly import?: ImportStatus;
};

/** What there is of it then; `busy`: its server runs on, and why. */
export type BranchSleep = { readonly seen: BranchSeen; readonly busy?: string };

/** What somebody waits for, and how many of them may go on; absent: all. */
export type Free = { readonly topic: string; readonly places?: number };

/**
 * Branches on one node. `ensure` looks at volume, server and access, takes the first step that is missing and says
 * what is there then: it is called again until the branch has an endpoint, waits or has failed. To wait and to
 * fail are answers; it throws only when it is aborted.
 */
export type BranchNode = Driver<BranchWish, BranchSeen> & {
  /** false: a new branch is a full copy, which takes the time and the room of all its data. */
  readonly copyOnWrite: boolean;
  /**
   * Id of a branch that is prepared: a copy of `parent` with all that is committed there until now, whose server runs. It is
   * the caller's, who makes a branch of that id, or gives it back. Undefined: there is none.
   */
  reserve(parent: string, like: BranchLike): Promise<string | undefined>;
  giveBack(id: string): void;
  /** Stops the server and keeps the data; absent is success. */
  stop(id: string, ctx: Ctx): Promise<void>;
  /**
   * Ends the server in order if nobody needs it, and writes down what is asked for; may be repeated. Nobody may be on the
   * way to the server any more whom the caller does not know of.
   * @param force also when sessions are open
   */
  sleep(id: string, wish: BranchWish, force: boolean, ctx: Ctx): Promise<BranchSleep>;
  /** Writes down beside the data what is asked for, so that it can be known without us; absent is success. */
  note(id: string, wish: BranchWish, ctx: Ctx): Promise<void>;
  /** The newest lines of its server's log, oldest first, and with `follow` each that comes until the signal aborts. */
  logs(id: string, query: ServerLogQuery, ctx: Ctx): AsyncIterable<string>;
  /** Whether the password is still that of the role, as far as its server says; undefined when none runs. */
  opens(id: string, wish: Pick<BranchWish, 'role' | 'verifier'>, ctx: Ctx): Promise<boolean | undefined>;
  /** What its server knows of its work; undefined when none runs. */
  insight(id: string, ctx: Ctx): Promise<BranchInsight | undefined>;
  /** Calls `listener` with the id of a branch whose server has ended by itself. @returns the way to stop that */
  onChange(listener: (id: string) => void): () => void;
  /** Calls `listener` with the id of a branch of which `room` or what follows from it has changed. @returns the way to stop that */
  onRoom(listener: (id: string) => void): () => void;
  /**
   * Calls `listener` with the id of a branch that was stopped, ended or failed while room was missing, when there is
   * some again: what went wrong before says nothing any more. @returns the way to stop that
   */
  onRelief(listener: (id: string) => void): () => void;
  /** Calls `listener` again and again while room is short: there may be something to give up. @returns the way to stop that */
  onShort(listener: () => void): () => void;
  /** Calls `listener` with the id of a branch whose import is further than before. @returns the way to stop that */
  onImport(listener: (id: string) => void): () => void;
  /** The sum of its files, whoever has written them; undefined when there is none. It takes as long as they are many. */
  logicalBytes(id: string, ctx: Ctx): Promise<number | undefined>;
  /** Which moments of it that are over can be reached; undefined when no history of it is kept. */
  history(id: string, ctx: Ctx): Promise<Reach | undefined>;
  /** What all branches take; it may be half a minute old. */
  usages(): Promise<ReadonlyMap<string, BranchUsage>>;
  room(): Promise<NodeRoom>;
  /** Calls `listener` when those who wait for a topic may try again. @returns the way to stop that */
  onFree(listener: (free: Free) => void): () => void;
  /** Stops all servers. Data stays. */
  close(): Promise<void>;
};

// --- workloads -----------------------------------------------------------------------------------

export type WorkloadSpec = {
  /** `baseline` or `sandbox/NAME`. */
  readonly owner: string;
  /** Complete: env of forks already resolved to values or to references into `refs`. */
  readonly workload: Workload;
  /** What variables and volumes point to, by `namespace/name`. A runtime with its own ConfigMaps ignores it. */
  readonly refs: EnvRefs & {
    /** The same objects' keys whose bytes are no text, in base64: files only. An object without such keys is absent. */
    readonly binary: EnvRefs;
  };
  /** How the images of its containers run here, as far as anybody has said. A runtime with a registry ignores it. */
  readonly images: ImageMap;
  /** Where the services of the baseline answer. A runtime with its own service discovery ignores it. */
  readonly network: {
    /** `<SVC>_SERVICE_HOST`, `<SVC>_SERVICE_PORT`, … */
    readonly env: Readonly<Record<string, string>>;
    readonly hosts: readonly { readonly ip: string; readonly names: readonly string[] }[];
    /** Ports that are sent to although no container declares them; see model/workload-ports.ts. */
    readonly ports: readonly number[];
  };
  /**
   * What the pods of a fork see of what is not theirs; a fork never writes to a disk of the baseline. `disks`: its own
   * begin as a copy that shares its blocks with the baseline's where the file system can (the default), else empty.
   * `hostPath`: paths of the machine are read-only (the default), or may be written to.
   */
  readonly forkVolumes?: {
    readonly disks?: 'copy' | 'empty';
    readonly hostPath?: 'read' | 'write';
    /** Claims of the baseline, which a runtime without copies of them refuses to share. */
    readonly shared?: readonly string[];
  };
  /** Variables of a fork with values of plugins: a runtime that shows its objects to others keeps them apart. */
  readonly secretEnv?: readonly {
    readonly container: string;
    readonly name: string;
    readonly value: string;
  }[];
  /**
   * Another value whenever somebody has asked for this again, be it the same: what pauses after a failure is then tried
   * at once, and nothing of the failure is shown any more.
   */
  readonly wish?: string;
  /** Another value whenever its pods are to be replaced although nothing else has changed. */
  readonly restart?: string;
};

export type WorkloadSeen = {
  readonly owner: string;
  /** Equal hashes mean equal specs. */
  readonly specHash: string;
  /** All is as asked for: every pod is of the newest kind and ready, and nobody is led to an older one. */
  readonly ready: boolean;
  /** At least one pod is ready, be it an older one: `ports` lead to it. */
  readonly serving: boolean;
  /** e.g. Running, Starting, CrashLoopBackOff, OOMKilled, ProbeFailing, CommandNotFound, ConfigError. */
  readonly reason: string;
  readonly message: string;
  readonly restarts: number;
  /** Of what runs to its end (Jobs, bare Pods that are not started again): how it ended. Nothing of it runs any more, or ever again. */
  readonly ended?: 'succeeded' | 'failed';
  /** containerPort → where it answers, one entry per pod that is ready; while none is, where they will. */
  readonly ports: Readonly<Record<number, readonly { readonly host: string; readonly port: number }[]>>;
  /** Of the same pods, those that have a network of their own: there any port is theirs. */
  readonly ips?: readonly string[];
  /** All pods that stay and have a network of their own, ready or not, in their order. */
  readonly pods?: readonly { readonly name: string; readonly ip: string }[];
  /** Pods that are in `ports` no more, and end when nobody is led to them any more: see `release`. */
  readonly leaving: readonly string[];
  /** Last lines of the log, for status. */
  readonly log: readonly string[];
  /** Of a fork with disks of its own, by claim: what they began as. */
  readonly disks?: Readonly<Record<string, 'copy' | 'empty'>>;
};

export type WorkloadDriver = Driver<WorkloadSpec, WorkloadSeen> & {
  /** Of claims of the baseline. */
  readonly disks: {
    list(ctx: Ctx): Promise<readonly Disk[]>;
    /** That one takes on its file system; undefined: it could not be counted in time. */
    bytes(disk: Disk, ctx: Ctx): Promise<number | undefined>;
    /** With all that is on it. Absent is success. */
    remove(namespace: string, claim: string, ctx: Ctx): Promise<void>;
  };
  /** Calls `listener` whenever what `observe` would say may have changed. @returns the way to stop that. */
  onChange(listener: (id: string) => void): () => void;
  /** Where programs run from folders that people edit; absent: they come in images. */
  readonly code?: {
    /** Calls `listener` with a workload that wants another start because its code has changed. @returns the way to stop that */
    onChange(listener: (id: string) => void): () => void;
    /** Those whose code has changed since they were started, whether they watch it or not. */
    changed(ids: readonly string[]): Promise<readonly string[]>;
  };
  /** The same: what those folders bring databases up to date with. */
  readonly migrations?: MigrationDriver;
  /** Says that nobody is led to these pods, of `WorkloadSeen.leaving`, any more. Without it they end after a while. */
  release(id: string, pods: readonly string[]): void;
  /**
   * What a workload has said: of each container the newest lines, oldest first, one container after the other; with
   * `follow` then every line as it comes, also of pods that come later, until the signal aborts, which is no error.
   */
  logs(id: string, query: LogQuery, ctx: Ctx): AsyncIterable<LogLine>;
  /**
   * The way to where a container runs; absent: there is none by us. @param container default: the first that runs
   * @returns why there is none at the moment, in words
   */
  inside?(id: string, container: string | undefined): Promise<Surroundings | { readonly why: string }>;
  /** Stops all workloads. */
  close(): Promise<void>;
};

// --- migrations -----------------------------------------------------------------------------------

export type MigrationSpec = {
  readonly migration: Migration;
  /** What has to be done in its folder first. */
  readonly images: ImageMap;
  /** Another one whenever the database has begun anew. */
  readonly era: string;
  /** How it is found. Secrets. */
  readonly variables: Readonly<Record<string, string>>;
};

/** e.g. MigrationFailed, SetupFailed, CommandNotFound, a sentence, and the last lines of the log. */
export type MigrationFailure = StepCause & { readonly log: readonly string[] };

/** Ids are those of databases. One that was interrupted runs again from its beginning. */
export type MigrationDriver = {
  /**
   * Returns when it has run for what the folder holds; at once when it has.
   * @param since when that was asked for, in milliseconds since 1970: what has failed after that is not tried again for it
   * @param tell called with what is going on
   */
  ensure(
    id: string,
    spec: MigrationSpec,
    since: number,
    tell: (now: StepCause) => void,
    ctx: Ctx,
  ): Promise<MigrationFailure | undefined>;
  /** Whether `ensure` would run something. */
  due(id: string, spec: MigrationSpec): Promise<boolean>;
  /** See WorkloadDriver. */
  logs(id: string, spec: MigrationSpec, query: LogQuery, ctx: Ctx): AsyncIterable<LogLine>;
  /** Those of which something is on record. */
  list(): Promise<readonly string[]>;
  /** Ends what runs, and forgets what was done. */
  remove(id: string, ctx: Ctx): Promise<void>;
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
  /** Where it wants to run. */
  readonly runner?: NonNullable<PluginSpec['runner']>;
  /** How the image of `runner` runs on this machine, as far as anybody has said. A runtime with a registry ignores it. */
  readonly images?: ImageMap;
};

/** e.g. ErrImagePull, Unschedulable, QuotaExceeded, and a sentence. */
export type StepCause = { readonly reason: string; readonly message: string };

export type StepDone = {
  readonly outputs: Readonly<Record<string, string>>;
  /** The last lines of what it said, without its secrets; absent: nothing. */
  readonly said?: readonly string[];
};

/**
 * Runs one step of a plugin to its end. The id names sandbox, resource, workflow and step.
 * A step that was interrupted runs again from its beginning, so steps must be repeatable. One that runs apart from us goes
 * on when its signal aborts by `Stopping` or when we are killed, and the next `run` with the same spec takes it up.
 */
export type StepDriver = {
  readonly name: string;
  capabilities(): Promise<readonly Capability[]>;
  /** Why a script cannot have a file of an input or output at `path` here; undefined when it can. */
  pathProblem(path: string): Promise<string | undefined>;
  /**
   * @param tell called with why it does not run yet, whenever that changes
   * @throws OffshootError step/* with the last lines of output; step/not-started when nothing of it has run
   */
  run(id: string, spec: StepSpec, ctx: Ctx, tell?: (cause: StepCause) => void): Promise<StepDone>;
  /** Ends whatever still runs under `id` and removes its files. */
  remove(id: string, ctx: Ctx): Promise<void>;
  list(ctx: Ctx): Promise<readonly string[]>;
};
