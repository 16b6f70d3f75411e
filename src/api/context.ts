/** What the API's routes may use. It decides nothing: HTTP in, store out. */

import type { Baseline } from '../baseline/contract.ts';
import type { Log } from '../lib/log.ts';
import type { ChosenPostgres } from '../model/branch.ts';
import type { Disk } from '../model/claims.ts';
import type { Kept } from '../model/document/manifest-warnings.ts';
import type { Reach } from '../model/history.ts';
import type { ImportFrom, ImportOptions, ImportSource, SourceServer } from '../model/import.ts';
import type { BranchInsight } from '../model/insight.ts';
import type { LogLine, LogQuery, ServerLogQuery } from '../model/log.ts';
import type { SuggestedRule } from '../model/mask.ts';
import type { Address } from '../model/route.ts';
import type { WorkloadKey } from '../model/sandbox.ts';
import type { SourceAddress } from '../model/source-address.ts';
import type { Surroundings } from '../model/surroundings.ts';
import type { BranchSize, CheckView, DaemonView, EngineView, MetricsView, RoomView } from '../model/view.ts';
import type { BranchStock } from '../rules/branches.ts';
import type { UnclaimedVolume } from '../rules/repair.ts';
import type { Visits } from '../rules/visits.ts';
import type { Store, Stored } from '../store/contract.ts';
import type { Keyring } from './keys.ts';

/**
 * All that is asked of whoever holds branches, beside what the store says of them. They may live in another process
 * than this one, or in several: everything here is data, or a stream of it.
 */
export type BranchesAtHand = {
  /** Those that begin at once; absent where there are none. */
  readonly stock?: BranchStock;
  /**
   * The PostgreSQL that is meant by a path or a version; undefined: the usual one. Absent where there is no other.
   * @throws OffshootError postgres/missing, postgres/unusable
   */
  choosePostgres?(wanted: string): Promise<ChosenPostgres | undefined>;
  /** How new ones are made, and why so. */
  volumes(): DaemonView['volumes'];
  /** What there is for branches, and what each takes. */
  space(): Promise<{
    /** Absent: it is not known. */
    readonly room?: RoomView;
    readonly sizes: ReadonlyMap<string, Pick<BranchSize, 'bytes' | 'exact'>>;
  }>;
  /** The sum of a branch's files; undefined when it cannot be counted in time, absent where nobody counts. */
  logicalBytes?(id: string): Promise<number | undefined>;
  /** Which moments of a branch that are over can be reached; undefined: none. Absent where no history is kept. */
  history?(id: string): Promise<Reach | undefined>;
  /** Complete volumes that no branch claims. */
  unclaimed(): Promise<readonly UnclaimedVolume[]>;
  /** Ids of those, as of the last collection. */
  orphans(): readonly string[];
  /** Of the server of the branch with this id; without an end while `follow` is asked for and the signal does not abort. */
  logs(id: string, query: ServerLogQuery, signal: AbortSignal): AsyncIterable<string>;
  /** Whether that is still the password of the role there; undefined: nobody knows. Absent where nobody can say. */
  opens?(
    id: string,
    wish: { readonly role: string; readonly verifier: string },
  ): Promise<boolean | undefined>;
  /** What the server of the branch with this id knows of its work; undefined when none runs. */
  insight(id: string, signal: AbortSignal): Promise<BranchInsight | undefined>;
};

/** Where dumps are put that are sent here. */
export type UploadsAtHand = {
  /** @param bytes that will come @throws OffshootError import/no-room */
  begin(bytes: number | undefined): Promise<string>;
  /** @returns bytes that the file has now @throws OffshootError api/not-found, api/bad-request, import/full */
  append(id: string, file: string, offset: number, bytes: Buffer): Promise<number>;
  /** A project waits for it. */
  keep(id: string): void;
  remove(id: string): Promise<void>;
};

/** What is asked before data come from elsewhere. */
export type ImportsAtHand = {
  /**
   * Looks at a source, and at all that can be known to be in its way.
   * @throws OffshootError import/*
   */
  look(
    from: { readonly server: SourceServer; readonly sealed: readonly string[] } | ImportFrom,
    options: ImportOptions,
  ): Promise<{
    readonly source: ImportSource;
    /** Of the source; absent: it does not say. */
    readonly database?: string;
    readonly owner?: string;
    readonly version?: string;
  }>;
  readonly uploads: UploadsAtHand;
  /** A source's password as the store may hold it. */
  seal(password: string): readonly string[];
  /** What masks draw from, for one project, as the store may hold it. */
  newMaskSecret(): readonly string[];
  /**
   * Rules to begin with for a source.
   * @throws OffshootError import/*
   */
  suggest(from: SourceAddress, options: ImportOptions): Promise<readonly SuggestedRule[]>;
};

/** The same of whoever runs workloads and plugin steps. */
export type ProgramsAtHand = {
  /** What of containers is kept there. */
  readonly keeps: readonly Kept[];
  /**
   * Without an end while `follow` is asked for and the signal does not abort.
   * @param of with a sandbox: of the fork in it
   */
  logs(
    of: { readonly workload: WorkloadKey; readonly sandbox?: string },
    query: LogQuery,
    signal: AbortSignal,
  ): AsyncIterable<LogLine>;
  /**
   * Where a container runs; default: the first. @returns or why nobody can be let in
   * @param of as in `logs`
   */
  inside(
    of: { readonly workload: WorkloadKey; readonly sandbox?: string },
    container: string | undefined,
  ): Promise<Surroundings | { readonly why: string }>;
  /** Of these those that run, and whose code has changed since they were started. */
  changed<P extends { readonly workload: WorkloadKey; readonly sandbox?: string }>(
    of: readonly P[],
  ): Promise<readonly P[]>;
  /** Whether what brings the branches of a sandbox up to date has changed since it ran. */
  migrationDue(sandbox: Stored<'sandbox'>): Promise<boolean>;
  /** What that has said, of one branch after the other; see `logs`. */
  migrationLogs(sandbox: Stored<'sandbox'>, query: LogQuery, signal: AbortSignal): AsyncIterable<LogLine>;
  /** Of claims of the baseline. */
  readonly disks: {
    list(): Promise<readonly Disk[]>;
    /** That one takes; undefined: it could not be counted in time. */
    bytes(disk: Disk): Promise<number | undefined>;
    remove(namespace: string, claim: string): Promise<void>;
  };
  /** What runs images without an entry; undefined: nothing on this machine does, or it is a cluster. */
  engine(): EngineView | undefined;
  /** Why a step cannot have a file of an input or output at `path` there; undefined when it can. */
  stepPathProblem(path: string): Promise<string | undefined>;
};

export type ApiContext = {
  readonly store: Store;
  readonly baseline: Baseline;
  readonly keys: Keyring;
  /** Whether what is no key of ours opens the API all the same; absent: nothing does. */
  readonly admits?: (token: string) => Promise<boolean>;
  /** Absent: nothing comes from elsewhere here. */
  readonly imports?: ImportsAtHand;
  readonly info: () => DaemonView;
  readonly metrics: {
    read(): MetricsView;
    /** Lets them count from now on. */
    reset(): void;
  };
  /** Where clients reach the Postgres gateway, and how they have to. */
  readonly gateway: () => Address & { readonly sslmode?: 'require' };
  /** Certificate of our own authority, PEM; undefined where certificates were given. */
  readonly authority: () => string | undefined;
  /**
   * What a gateway or a sidecar that is started apart proves with who it is; PEM, with a key.
   * @param name `gateway`, or `workload/PATH`; see model/workload.ts
   * @returns undefined when nobody can be called so, or none may follow
   */
  readonly identity: (name: string) => string | undefined;
  readonly branches: BranchesAtHand;
  /** Of branches that have one of their own; absent: there are none here. */
  readonly ports?: {
    isFree(port: number): Promise<boolean>;
    /** Waits until a branch's is listened at. @throws OffshootError host/port-taken, proxy/listen-failed, api/timeout */
    opened(id: string): Promise<unknown>;
    /** Why a branch's is not; undefined: it is, or will be. */
    problem(id: string): string | undefined;
  };
  readonly programs: ProgramsAtHand;
  readonly visits: Pick<Visits, 'link'> & {
    /** Hash of a key of ours, for those who came without one. */
    readonly ownKey: string;
  };
  readonly trash: {
    /** Milliseconds that what was deleted by hand can be had back; 0 = there is no trash. */
    readonly keepMs: number;
  };
  readonly doctor: () => Promise<readonly CheckView[]>;
  /** What to tell whoever applies a sandbox. @throws OffshootError fork/*, when a fork of it cannot be derived */
  readonly warnings: (sandbox: Stored<'sandbox'>) => readonly string[];
  /** What a fork's main container has in its environment, secrets included. */
  readonly environment: (
    sandbox: Stored<'sandbox'>,
    workload: string | undefined,
  ) => Readonly<Record<string, string>>;
  /** Waits until the data path does what the store says now: nobody is told of what is not so yet. */
  readonly routed: () => Promise<unknown>;
  /** Watches go on when their key is revoked. */
  readonly keepRevoked: boolean;
  /** Starts the daemon's end; returns at once. */
  readonly shutdown: (end: 'stop' | 'leave') => void;
};

/** What the routes get of the server that they are part of. */
export type RouteContext = ApiContext & {
  /** For what does not leave as an answer's JSON, see masking.ts. */
  readonly mask: <T>(view: T) => T;
  readonly log: Log;
};
