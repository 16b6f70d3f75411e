/**
 * What the embedded branch node is made of: a volume and the PostgreSQL server on it. Types only, and only for
 * drivers: paths, sockets and closures pass between these two, and none of them leaves the node.
 */

import type { BranchRecord, RolePasswords } from '../model/branch.ts';
import type { BranchInsight } from '../model/insight.ts';
import type { ServerLogQuery } from '../model/log.ts';
import type { ServerSettings } from '../model/server-settings.ts';
import type { BranchUsage, Ctx, Driver, NodeRoom, ServerExits } from './contract.ts';

// --- volumes -------------------------------------------------------------------------------------

/**
 * A running server on the parent volume, as far as a volume driver needs it to copy consistently; for one copy.
 * First `checkpoint` or `beginBackup`, then `hold`, then the copy.
 */
export type LiveParent = {
  /** Flushes everything committed so far to the files; an atomic snapshot then replays little. */
  checkpoint(ctx: Ctx): Promise<void>;
  /** PostgreSQL's backup protocol, for drivers that copy file by file (Continuous Archiving, "Making a Base Backup Using the Low Level API"). */
  beginBackup(ctx: Ctx): Promise<BackupSession>;
  /**
   * Makes the files of unlogged tables complete, and keeps whoever writes to these tables waiting: no WAL would mend
   * a copy of them.
   * @returns the way to let them go on; always called
   */
  hold(ctx: Ctx): Promise<() => Promise<void>>;
  /** What came of `hold`. */
  readonly unlogged: Unlogged;
};

export type Unlogged = {
  /** Files whose copies are complete, as paths of main forks below the data directory: `base/5/16384`. */
  readonly held: readonly string[];
  /** Tables that could not be held: empty in the copy. As `database: schema.table`. */
  readonly emptied: readonly string[];
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

export type VolumeSpec = {
  /** Replaces the one of a volume that is there; `emptied` is added by the driver, and stays. */
  readonly record: BranchRecord;
  /** Absent: the volume starts empty. */
  readonly source?: { readonly id: string; readonly live?: LiveParent };
  /** Runs on the new data directory before the volume becomes visible under its id. */
  prepare(dataDir: string, ctx: Ctx): Promise<void>;
  /**
   * A volume that is there makes place for a new one, which may never happen: it stays until the new one is complete,
   * whatever fails. Called right before that; when it returns, nobody uses the old one any more.
   */
  readonly replace?: (ctx: Ctx) => Promise<void>;
  /** It may return before what it has made would survive a power cut: who relies on that asks `settled`. Default: not before. */
  readonly soon?: true;
};

export type VolumeSeen = { readonly dataDir: string; readonly record: BranchRecord };

export type VolumeDriver = Driver<VolumeSpec, VolumeSeen> & {
  /** false: creating a branch copies every byte, and the caller says so. */
  readonly copyOnWrite: boolean;
  /**
   * What a volume takes now; undefined when there is none.
   * @param settled everything is written down first: until then, what was written over is counted twice. Default false
   */
  usage(id: string, settled?: boolean): Promise<BranchUsage | undefined>;
  /** The sum of its data's files, whoever has written them; undefined when there is none. It looks at each file. */
  logicalBytes(id: string, ctx: Ctx): Promise<number | undefined>;
  /** What all volumes take, in one go; it may be half a minute old. */
  usages(): Promise<ReadonlyMap<string, BranchUsage>>;
  /**
   * The most that a volume may take, until another is set. Where the kernel counts (capability `volume/sizes`), it
   * refuses more; elsewhere nothing does, and whoever looks must act.
   * @param bytes undefined: no limit of its own
   */
  setLimit(id: string, bytes: number | undefined): Promise<void>;
  /** Resolves when the volume `id` would survive a power cut. @throws OffshootError volume/read-only */
  settled(id: string, ctx: Ctx): Promise<void>;
  room(): Promise<NodeRoom>;
  /** Releases what `open` took (mounts, loop devices). Volumes stay. */
  close(): Promise<void>;
};

// --- PostgreSQL servers --------------------------------------------------------------------------

export type ServerSpec = {
  readonly dataDir: string;
  /** Name of the branch; clients read it with `current_setting('offshoot.branch_name')`. Absent: it is told later. */
  readonly name?: string;
  /** Beside and before ours. One that runs already goes on with those that it has. */
  readonly settings?: ServerSettings | undefined;
};

/** Who may come in. */
export type Access = {
  readonly role: string;
  readonly database: string;
  /** Of the role's password, see lib/scram.ts. */
  readonly verifier: string;
  /** true: the cluster began as a copy, so all passwords that came along end before the first one is given. */
  readonly inherited: boolean;
  /** What becomes of those of other roles; absent: they end. */
  readonly others?: RolePasswords;
  /** The role may make slots for logical decoding; nobody may stream. */
  readonly replicates?: true;
  /** Id of a volume that stays as it is, and of which its cluster is a copy: what is found in one such copy holds for all. */
  readonly copyOf?: string;
};

export type ServerSeen = {
  readonly pid: number;
  /** Path of the unix socket itself. */
  readonly socket: string;
  /** Somebody was given access since this server started. */
  readonly granted: boolean;
  /** With which it was started, see `settingsKey`; absent: none but ours. */
  readonly settings?: string;
  /** How many other roles may log in and had no password then; absent: none. */
  readonly passwordless?: number;
};

export type FillingServer = {
  readonly argv: readonly string[];
  readonly uid?: number;
  readonly gid?: number;
  readonly socketDir: string;
};

export type Positions = {
  /** Rejects once the server has ended. */
  read(): Promise<Position>;
  close(): Promise<void>;
};

export type Position = { readonly at: string; readonly flushed: boolean };

/** Where a server is in its log, by names of segments ("WAL Internals"). */
export type HeldWal = {
  /** It kept all of it until now. */
  readonly held: boolean;
  /** The first that a copy of its volume needs which is made from now on. */
  readonly first: string;
  /** The one that is being written: all before it are complete. */
  readonly current: string;
  /** What has been flushed. */
  readonly lsn: string;
};

/** The id of a server is the id of its branch. */
export type ServerDriver = Driver<ServerSpec, ServerSeen> & {
  /**
   * Says that `ensure` will be asked for soon, for a branch that is just being made: what can be done without its data
   * is done meanwhile. If nobody comes, nothing is left of it. `like`: id of the one whose copy it will run on.
   */
  prepare?(id: string, spec: Omit<ServerSpec, 'dataDir'> & { readonly like?: string }): void;
  /**
   * Makes a new, empty cluster in `dataDir`.
   * @param postgres directory of the programs of another PostgreSQL, by which it, and all copies of it, are run; absent: ours
   * @throws OffshootError postgres/gone, postgres/initdb-failed
   */
  initialise(dataDir: string, ctx: Ctx, postgres?: string): Promise<void>;
  /**
   * Makes a copied data directory fit to be started as a server of its own.
   * @param held unlogged files whose copies are complete, and which keep their rows
   */
  adopt(dataDir: string, ctx: Ctx, held?: readonly string[]): Promise<void>;
  /** How a server is run alone on `dataDir` while somebody fills it: argument vector, user, and the directory of its socket. */
  filling(id: string, dataDir: string): Promise<FillingServer>;
  /**
   * Lets the data directory of a copy recover, and ends in order, without a server for anybody. Not durable when it
   * returns: for what is made anew after a crash.
   */
  recover(id: string, dataDir: string, ctx: Ctx): Promise<void>;
  /**
   * Lets the data directory of a copy come to what it held at `moment`, and ends in order. Durable when it returns.
   * @param wal folder in it with the log that it needs for that; it goes. Letters, digits and underscores
   * @param ends whether nothing was ever written after the end of that; otherwise something was, after the moment
   * @param moment as `inUtc` of model/history.ts writes it
   * @throws OffshootError history/not-recovered
   */
  recoverTo(
    id: string,
    dataDir: string,
    to: { readonly moment: string; readonly wal: string; readonly ends: boolean },
    ctx: Ctx,
  ): Promise<void>;
  /** Whether a server ended in order on `dataDir`, so that its files are complete without it. */
  isClean(dataDir: string): Promise<boolean>;
  /**
   * Makes role and database where they lack, and gives the role its password.
   * @returns how many other roles may log in and have none
   * @throws OffshootError postgres/not-running
   */
  grant(id: string, access: Access, ctx: Ctx): Promise<number>;
  /**
   * The same before anybody knows who it is for: all that takes time, and a password that nobody knows. `grant` then has
   * little left to do, on a session that waits for it.
   */
  grantAhead(id: string, access: Omit<Access, 'verifier' | 'copyOf'>, ctx: Ctx): Promise<void>;
  /** Ends the server; absent is success. `remove` takes its log away too. */
  stop(id: string, ctx: Ctx): Promise<void>;
  /** The same; but what was granted on it holds for the next one on the same files, as far as this process knows. */
  rest(id: string, ctx: Ctx): Promise<void>;
  /**
   * The running server seen as the source of one copy; undefined when it is stopped.
   * @param since moment (performance.now()) up to which all that was committed must be in the copy: a checkpoint that
   *   another copy began later than that is as good as one more. Default: now
   */
  live(id: string, ctx: Ctx, since?: number): Promise<LiveParent | undefined>;
  /**
   * How far the server of `id` has come: between two equal answers nothing was committed in it that a copy would hold.
   * `flushed`: all that it has written is in the files. Undefined when it does not run.
   */
  position(id: string, ctx: Ctx): Promise<Position | undefined>;
  /** The log of the server of `id`, for whoever keeps it; undefined when it does not run. */
  readonly wal: {
    /** It keeps its segments until they are freed: from now on, or since before when `held`. @param key of the history that it is for */
    hold(id: string, key: string, ctx: Ctx): Promise<HeldWal | undefined>;
    /** Those before `segment` have been copied. */
    free(id: string, key: string, segment: string, ctx: Ctx): Promise<true | undefined>;
    /** All that was committed until now is in its files. */
    flush(id: string, ctx: Ctx): Promise<true | undefined>;
    /** It keeps nothing any more; also one that does not run. */
    drop(id: string, dataDir: string, ctx: Ctx): Promise<void>;
  };
  /** Asks the same again and again, on a session of its own; undefined when it does not run. */
  positions(id: string, ctx: Ctx): Promise<Positions | undefined>;
  /** Whom the server of `id` serves beside us: clients, those who follow its log, and what it fetches for subscriptions. */
  users(id: string, ctx: Ctx): Promise<number>;
  /** How often the server of `id` ended by itself since it was last stopped on purpose. */
  exits(id: string): ServerExits;
  /** Its ends so far are not held against it. */
  forgive(id: string): void;
  /** Calls `listener` with the id of a server that ended by itself. @returns the way to stop that */
  onExit(listener: (id: string) => void): () => void;
  /** The newest lines of its log, oldest first, and with `follow` each that comes until the signal aborts. */
  logs(id: string, query: ServerLogQuery, ctx: Ctx): AsyncIterable<string>;
  /** Whether it has that verifier stored for the role; undefined when it does not run. */
  opens(id: string, access: Pick<Access, 'role' | 'verifier'>, ctx: Ctx): Promise<boolean | undefined>;
  /** What the server of `id` knows of its work; undefined when it does not run. */
  insight(id: string, ctx: Ctx): Promise<BranchInsight | undefined>;
  /** Stops all servers, fast. */
  close(): Promise<void>;
};
