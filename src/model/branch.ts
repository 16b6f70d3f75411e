/** Projects and branches: a project is one PostgreSQL cluster with the tree of branches grown from it. */
import type { Condition } from './conditions.ts';
import type { HistorySpec } from './history.ts';
import type { ImportSpec, ImportStatus } from './import.ts';
import type { Endpoint } from './route.ts';
import type { ServerSettings } from './server-settings.ts';
import type { Trashed, TrashedProject } from './trash.ts';

/** Superuser of every cluster. Only the daemon may be it: the gateway refuses it, projects cannot take its name. */
export const adminRole = 'offshoot';

/** What a branch id looks like; it is also a directory, a part of user names, and later a DNS label. */
export const branchIdPattern = /^[a-z][a-z0-9]{3,40}$/;

/** @param word that nobody has yet, of lowercase letters and digits */
export const branchIdOf = (word: string): string => `br${word}`;

/** Of roles that a team has made, in a branch: they end with the copy, come along, or become the branch's own. */
export type RolePasswords = 'ended' | 'kept' | 'branch';

export type ProjectSpec = {
  /** Database that connection strings point at. */
  readonly database: string;
  /** Role that owns it. */
  readonly role: string;
  /** Limit of branches that have none of their own; never of the root. */
  readonly branchLimitBytes?: number;
  /** The most branches that it may have beside its root; what is in the trash does not count. */
  readonly maxBranches?: number;
  /** Of branches that say nothing of their own; see `sleepAfter`. */
  readonly sleepAfterSeconds?: number;
  /** Default: `ended`. Never of its owner, who has one of his own in each branch. */
  readonly rolePasswords?: RolePasswords;
  /** Of the servers of all its branches; absent: ours. */
  readonly settings?: ServerSettings;
  /** By which `main` is made, now or when it is filled anew; branches are run by what they were copied from. Absent: ours. */
  readonly postgres?: ChosenPostgres;
  readonly trashed?: TrashedProject;
  /** In a cluster: the branch node that holds its branches. Chosen once, for volumes do not move; absent: none is yet. */
  readonly node?: string;
  /** Name of the project whose branches become this one's: how a project gets another name, step by step. */
  readonly takesOver?: string;
  /** What its root is filled from; absent: it begins empty. */
  readonly import?: ImportSpec;
};

/** An installation of PostgreSQL on the machine of the branches. */
export type ChosenPostgres = {
  /** Directory of its programs. */
  readonly bin: string;
  /** As it was when it was chosen, e.g. `15.14`. */
  readonly version: string;
};

export type ProjectSecret = {
  /** Password of the source, sealed with the key of the installation (lib/sealed.ts). */
  readonly sealed?: readonly string[];
  /** What masks draw from, sealed likewise: it stays, so that what was equal stays equal from one import to the next. */
  readonly maskSecret?: readonly string[];
};

export type BranchSpec = {
  readonly project: string;
  /** Unique in the project. */
  readonly name: string;
  /** Id of the parent; absent for the root, `main`. */
  readonly parent?: string;
  /** `sandbox/NAME` when a sandbox owns it; deleted with its owner. */
  readonly owner?: string;
  /** When its owner goes, it goes into the trash rather than for good, and what grows from it is not in the way. */
  readonly afterOwner?: 'trash';
  /** The most bytes of its own that it may take; absent: as its project says. */
  readonly limitBytes?: number;
  /** So long nobody uses it, and its server is stopped until somebody does; 0: never. Absent: as its project says. */
  readonly sleepAfterSeconds?: number;
  /**
   * So long one of its sessions says nothing, and it has no server until it does, if that has nothing of it which another
   * would not have; then it keeps nobody from sleeping. Absent: never.
   */
  readonly silentAfterSeconds?: number;
  /** At which clients reach it alone, see model/route.ts; absent: by the port of all branches only. */
  readonly port?: number;
  /** Of its own server, beside and before those of its project. What grows from it has none of them. */
  readonly settings?: ServerSettings;
  /** The newest word by hand. */
  readonly called?: SleepCall;
  /** RFC 3339: then it goes into the trash, unless something is in the way. Absent: it stays. */
  readonly scheduledDeleteTime?: string;
  /** It is not deleted, not reset, and does not expire. */
  readonly protected?: boolean;
  /** RFC 3339: it began as what its parent held then; absent: as what that held when it was asked for. */
  readonly moment?: string;
  /** What is kept of it that is over; absent: nothing. */
  readonly history?: HistorySpec;
  /** Begins anew from what another branch holds; absent: never asked for. */
  readonly reset?: BranchReset;
  /** In the trash: it keeps its volume, has no server, and nobody finds it by its name. */
  readonly trashed?: Trashed;
};

/** That it sleep, or wake, now. It is no state to stay in: who connects wakes it, and who is awake falls asleep. */
export type SleepCall = {
  /** How often one was given. */
  readonly count: number;
  readonly wanted: 'asleep' | 'awake';
  /** Sessions that are open end. */
  readonly force?: true;
};

/** Of the ports that a branch may have for its own: those below are the system's. */
export const [LEAST_PORT, MOST_PORT] = [1024, 65_535];

/** Seconds for those of whom nobody says anything. */
export const SLEEP_AFTER_SECONDS = 300;
export const MOST_SLEEP_AFTER_SECONDS = 7 * 86_400;

/** Milliseconds without use after which it sleeps; undefined: never. */
export function sleepAfter(branch: BranchSpec, project: ProjectSpec | undefined): number | undefined {
  const seconds = branch.sleepAfterSeconds ?? project?.sleepAfterSeconds ?? SLEEP_AFTER_SECONDS;
  return seconds === 0 ? undefined : seconds * 1000;
}

/** What a branch that is not asked for yet must have of what it is asked for; the rest is told when it is. */
export type BranchLike = Pick<ProjectSpec, 'role' | 'database' | 'rolePasswords' | 'settings'> & {
  readonly project: string;
};

/** The newest wish to begin anew. */
export type BranchReset = {
  /** How often that was asked for. */
  readonly count: number;
  /** Id of the ancestor whose data it begins with; with a `moment`, it may be the branch itself. */
  readonly from: string;
  /** RFC 3339: what that held then; absent: what it holds now. */
  readonly moment?: string;
  /** RFC 3339: what was asked for before sees what the branch held before. */
  readonly at: string;
};

/**
 * creating → ready → deleting, or ready → trashed and then back or on to deleting; ready → asleep → creating → ready; failed
 * when `reason` says why it is not ready. One that is asleep has no server, and gets one as soon as somebody logs in.
 */
export type BranchState = 'creating' | 'ready' | 'asleep' | 'failed' | 'trashed' | 'deleting';

export type BranchStatus = {
  readonly state: BranchState;
  readonly reason: string;
  readonly message: string;
  /** What to do about a failure. */
  readonly hint?: string;
  /** How often in a row its server ended by itself. */
  readonly restarts?: number;
  /** Unlogged tables that it has without their rows, see BranchRecord. */
  readonly emptied?: readonly string[];
  /** How many of its roles may log in and have no password; absent: none. */
  readonly passwordless?: number;
  /** It has had a volume; from then on none is made anew. */
  readonly made?: true;
  /** Of the secret: how often another start that was asked for has been begun. */
  readonly tries?: number;
  /** Of a root that is filled from elsewhere. */
  readonly import?: ImportStatus;
  /** How many of its resets are done. */
  readonly resets?: number;
  /** How many calls to sleep or to wake were heeded, and why it stayed awake at the last of them. */
  readonly called?: number;
  readonly staysAwake?: string;
  /** Where its server accepts sessions, and which password (`rotation` of its secret) opens one. */
  readonly open?: { readonly endpoint: BranchEndpoint; readonly rotation: number };
  readonly conditions: readonly Condition[];
  readonly observedGeneration: number;
};

export type BranchSecret = {
  readonly password: string;
  /** What the server stores of it (lib/scram.ts). Absent in what older versions wrote. */
  readonly verifier?: string;
  /** How often another start was asked for. */
  readonly tries?: number;
  /** How often the password was changed; absent: never. */
  readonly rotation?: number;
  /** The change that ended the sessions that were open; absent: none has. */
  readonly sessions?: number;
};

/** Written beside a branch's data: enough to make its intent again when that is lost. Older ones lack some of it. */
export type BranchRecord = {
  readonly id: string;
  readonly project: string;
  readonly branch: string;
  readonly parent?: string;
  readonly owner?: string;
  readonly createdAt: string;
  readonly role?: string;
  readonly database?: string;
  /** It was put into the trash. */
  readonly trashed?: Trashed;
  /** Unlogged tables that it has without their rows, as `database: schema.table`: the copy could not hold them. */
  readonly emptied?: readonly string[];
  /** Directory of the programs that its project has chosen; absent: ours. */
  readonly postgres?: string;
  /** Which of its resets made this volume; absent: none. */
  readonly resets?: number;
  /** Which import made it; absent: none. */
  readonly imports?: number;
  /** It is no branch, but kept by its node for branches to come. */
  readonly stock?: 'base' | 'prepared' | 'history';
  /** What is kept of it that is over. */
  readonly history?: HistorySpec;
};

/** Where a branch's server accepts sessions, for the gateway: its unix socket on the same machine, or the door of its node. */
export type BranchEndpoint = Endpoint;

/** As libpq has them; weaker ones than these ask for nothing. */
export type SslMode = 'require' | 'verify-ca' | 'verify-full';

/** What identifies a client's way in; the password is never part of a status. */
export type BranchAddress = {
  readonly host: string;
  readonly port: number;
  /** `role.branchId`, see the gateway. */
  readonly user: string;
  readonly password: string;
  readonly database: string;
  /** What libpq and others have to ask for, where clear text is not served. */
  readonly sslmode?: SslMode;
  /** File with the authorities that the client trusts. */
  readonly sslrootcert?: string;
};

/** libpq URL of a branch. Every part is percent-encoded. */
export function connectionString(
  a: Omit<BranchAddress, 'password'> & { readonly password?: string },
): string {
  const e = encodeURIComponent;
  const settings = Object.entries({ sslmode: a.sslmode, sslrootcert: a.sslrootcert });
  const query = settings.flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${e(value)}`]));
  const secret = a.password === undefined ? '' : `:${e(a.password)}`;
  return `postgresql://${e(a.user)}${secret}@${a.host}:${a.port}/${e(a.database)}${query.length === 0 ? '' : `?${query.join('&')}`}`;
}
