/** What clients get to see of each kind: the API's answers, and so the command line's `-o json`. Never a secret. */

import type { BranchStatus, ChosenPostgres, RolePasswords } from './branch.ts';
import type { Disk } from './claims.ts';
import type { PreviewSite } from './endpoint.ts';
import type { HistorySpec, Reach } from './history.ts';
import type { ImportOptions, ImportStatus } from './import.ts';
import type { BranchInsight } from './insight.ts';
import type { Manifest } from './kubernetes.ts';
import type { PluginSpec } from './plugin.ts';
import type { Room } from './room.ts';
import type { Address, Speaks } from './route.ts';
import type { ResourceStatus, SandboxSpec, SandboxStatus } from './sandbox.ts';
import type { ServerSettings } from './server-settings.ts';
import type { Trashed, TrashedProject } from './trash.ts';

export type ProjectView = {
  readonly name: string;
  readonly database: string;
  readonly role: string;
  /** Those in the trash do not count. */
  readonly branches: number;
  /** Of its branches that have no limit of their own; null: half of everything. */
  readonly branchLimitBytes: number | null;
  /** Beside its root; null: as many as there is room for. */
  readonly maxBranches: number | null;
  /** Of its branches that say nothing of their own; 0: never. */
  readonly sleepAfterSeconds: number;
  /** Of roles that a team has made, in its branches. */
  readonly rolePasswords: RolePasswords;
  /** Of the servers of its branches; absent: none of its own. */
  readonly settings?: ServerSettings;
  /** By which `main` is made; absent: the usual one. */
  readonly postgres?: ChosenPostgres;
  readonly createdAt: string;
  /** Of one whose root is filled from elsewhere. */
  readonly import?: ProjectImportView;
  readonly trashed?: TrashedProject;
};

/** The newest import into a project. */
export type ProjectImportView = Omit<ImportStatus, 'state'> & {
  readonly state: ImportStatus['state'] | 'waiting';
  /** `user@host:port/database`; never with its password. */
  readonly source: string;
  readonly options: ImportOptions;
  /** RFC 3339; when it was asked for. */
  readonly at: string;
};

/** What a branch takes beyond what it shared with its parent when it was made. */
export type BranchSize = {
  readonly bytes: number;
  /** false: estimated, or not counted from the beginning. */
  readonly exact: boolean;
  /** Of one branch that is asked for: the sum of its files, whoever has written them. */
  readonly logicalBytes?: number;
  /** And what of that it has from its parent still, at least. */
  readonly sharedBytes?: number;
  /** At which it is stopped, or a little before; null: none. */
  readonly limitBytes: number | null;
};

export type BranchView = Pick<
  BranchStatus,
  'state' | 'reason' | 'message' | 'hint' | 'restarts' | 'emptied' | 'passwordless' | 'conditions' | 'import'
> & {
  readonly id: string;
  readonly name: string;
  readonly project: string;
  /** Name of the parent; null for the root. */
  readonly parent: string | null;
  /** `sandbox/NAME`, or null. */
  readonly owner: string | null;
  readonly createdAt: string;
  /** Its own limit; null: as its project says. */
  readonly limitBytes: number | null;
  /** So long without use, and it sleeps; 0: never; null: as its project says. */
  readonly sleepAfterSeconds: number | null;
  /** So long one of its sessions is silent, and it may lose its server; null: never. */
  readonly silentAfterSeconds: number | null;
  /** Of its own; null: it has none. */
  readonly port: number | null;
  /** Of one branch that is asked for: why nobody is reached there. */
  readonly portProblem?: string;
  /** Of its own server, before those of its project; absent: none. */
  readonly settings?: ServerSettings;
  /** RFC 3339; since when its server runs, or does not. */
  readonly since?: string;
  /** It is not deleted, not reset, and does not expire. */
  readonly protected: boolean;
  /** RFC 3339: then it goes into the trash; null: it stays. */
  readonly scheduledDeleteTime: string | null;
  /** RFC 3339: it began as what its parent, or itself, held then; absent: as what that held when it was asked for. */
  readonly moment?: string;
  /** In answers to questions, not in what is watched: it changes all the time. */
  readonly size?: BranchSize;
  readonly trashed?: Trashed;
};

/** What is kept of a branch that is over; null: nothing, or nothing yet. */
export type HistoryView = {
  readonly name: string;
  readonly history: HistorySpec | null;
  readonly reach: Reach | null;
};

/** `branch top`; null while its server does not run. */
export type InsightView = BranchView & { readonly insight: BranchInsight | null };

/** What can be had back. */
export type TrashView = {
  readonly id: string;
  readonly kind: 'project' | 'branch';
  /** That it had. */
  readonly name: string;
  /** Of a branch: the project that it belongs to. */
  readonly project: string | null;
  /** RFC 3339: deleted, and gone for good. */
  readonly at: string;
  readonly until: string;
  /** That become free when it goes, where the volumes can be counted. */
  readonly bytes?: number;
};

export type DiskView = Disk & {
  /** On its file system; only when asked for, and absent when it could not be counted in time. */
  readonly bytes?: number;
  /** Manifests that it is there for, as `Kind/name`. */
  readonly users: readonly string[];
};

/** What a delete answers: null when it is for good. */
export type DeletedView = {
  readonly name: string;
  readonly trashed: { readonly id: string; readonly until: string } | null;
};

export type SandboxView = {
  readonly name: string;
  readonly spec: SandboxSpec;
  readonly routingKey: string;
  readonly endpoints: SandboxStatus['endpoints'];
  readonly status: Omit<SandboxStatus, 'endpoints'> & { readonly resources: readonly ResourceStatus[] };
  readonly generation: number;
  readonly createdAt: string;
  readonly updatedAt: string;
  readonly deletedAt?: string;
};

export type PluginView = {
  /** `bare@version` */
  readonly name: string;
  readonly spec: PluginSpec;
  readonly status: { readonly resources: readonly { readonly name: string; readonly sandbox: string }[] };
  readonly createdAt: string;
  readonly updatedAt: string;
};

export type ManifestView = {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly ready: boolean;
  readonly reason: string;
  readonly message: string;
  readonly restarts?: number;
  /** Services: where the baseline answers. */
  readonly addresses?: Readonly<Record<number, Address>>;
  /** Services: what each port speaks. HTTP is routed by key, the rest passes through; `unknown`: its first bytes say it. */
  readonly speaks?: Readonly<Record<number, Speaks | 'unknown'>>;
  readonly log?: readonly string[];
  readonly generation: number;
  readonly observedGeneration: number;
  /** Where it came from, if that was said. */
  readonly folder?: string;
  readonly file?: string;
  readonly deletedAt?: string;
};

/** An image that nothing says of how it runs here. */
export type MissingImageView = {
  readonly image: string;
  /** The key to give it in offshoot.yaml. */
  readonly key: string;
  /** Store names of the workloads that do not run for want of it. */
  readonly users: readonly string[];
};

/** What deploying would do to one object. */
export type PlannedManifestView = {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly outcome: 'created' | 'configured' | 'replaced' | 'unchanged';
  /** As it is kept now; absent when it is new, or stays as it is. Values of Secrets are masked. */
  readonly before?: Manifest;
  /** Absent when it stays as it is. */
  readonly after?: Manifest;
};

/** How one image of a folder runs. Its variables are not shown: they may hold secrets. */
export type ImageView = {
  readonly image: string;
  /** `-`: of what was deployed without a word of where it came from. */
  readonly folder: string;
  readonly dir: string;
  readonly command: readonly string[];
  readonly args?: readonly string[];
  /** `namespace/name` of workloads, `sandbox NAME`. */
  readonly users: readonly string[];
};

/** A line that a program has written. */
export type LogLineView = {
  /** The selector that finds the program: `deployment/users`, `sandbox/fix-42/users`, `resource/fix-42/usersDb`, `migration/fix-42`, `branch/main`. */
  readonly of: string;
  /** Of a workload of the baseline. */
  readonly namespace?: string;
  readonly pod?: string;
  readonly container?: string;
  /** When it was said, where that is asked for and known: RFC 3339. */
  readonly at?: string;
  readonly text: string;
};

export type EventView = {
  /** Grows from event to event. */
  readonly version: number;
  readonly at: string;
  readonly kind: string;
  readonly name: string;
  readonly severity: 'info' | 'warning';
  readonly reason: string;
  readonly message: string;
};

export type KeyView = {
  readonly id: string;
  readonly name: string;
  /** Its first and last letters. */
  readonly preview: string;
  readonly createdAt: string;
};

/** A gateway or a sidecar that was started apart, not by the daemon. */
export type FollowerView = {
  /** `gateway`, or `workload/PATH` of a sidecar. */
  readonly destination: string;
  /** Its address. */
  readonly peer: string;
  /** What it calls itself, to be told from others of its destination: of a sidecar in a cluster the uid of its pod. */
  readonly id?: string;
  readonly version: string;
  /** It knows all that it has been told. */
  readonly upToDate: boolean;
};

export type ProxyView = {
  readonly version: string;
  readonly pid: number;
  readonly startedAt: string;
  /** HTTP connections, those of WebSockets included, SQL sessions, and what passes through. */
  readonly connections: { readonly http: number; readonly sql: number; readonly tcp: number };
  /** Another one has taken over. */
  readonly drainingSince?: string;
};

/** PEM: certificate, key, and the certificate of the authority. */
export type IdentityView = { readonly name: string; readonly identity: string };

/** Whom clients have to trust. */
export type AuthorityView = {
  /** PEM. */
  readonly certificate: string;
};

export type DaemonView = {
  readonly version: string;
  readonly pid: number;
  readonly home: string;
  readonly startedAt: string;
  readonly volumes: { readonly driver: string; readonly copyOnWrite: boolean; readonly why: string };
  /** Address on which everything listens; the others are those under which clients come. */
  readonly listen: string;
  readonly api: Address & { readonly scheme: 'http' | 'https' };
  readonly preview: PreviewSite;
  /** `sslmode`: what clients on other machines have to ask for. */
  readonly postgres: Address & { readonly sslmode?: 'require' };
  /** The processes of the data path: the one that listens, and those that only serve what they have. */
  readonly proxies: readonly ProxyView[];
  /** Where gateways and sidecars that were started apart follow, and who does; absent: none may. */
  readonly feed?: Address & { readonly followers: readonly FollowerView[] };
  /** What runs images that have no entry; absent: nothing does, or a cluster. */
  readonly engine?: EngineView;
  readonly log: string;
  /** What belongs to nothing and was not removed, in words. */
  readonly leftovers: readonly string[];
};

/** A container engine of this machine. */
export type EngineView = {
  /** e.g. `Podman 4.3.1` */
  readonly title: string;
  readonly socket: string;
};

/** Room on the disk for branches. */
export type RoomView = Room & {
  /** Path on the file system that has the least. */
  readonly where: string;
  /** Branches that grow are stopped. */
  readonly low: boolean;
};

export type StatusView = DaemonView & { readonly room?: RoomView };

/** How the daemon itself is; for measuring, not for people. */
export type MetricsView = {
  /** RFC 3339; what is below counts from here. */
  readonly since: string;
  /** Milliseconds from one tick of a clock of 10 ms to the next: a `max` of 30 says that nothing blocked longer. */
  readonly loopDelay: { readonly p50: number; readonly p99: number; readonly max: number };
  /** CPU time that the daemon used, milliseconds. */
  readonly cpuMs: number;
  /** Per kind of object; `looks`, `failures` and `longestWaitMs` count from the start of the daemon. */
  readonly scheduler: Readonly<Record<string, KindCounts>>;
};

/** What the objects of a kind are doing now, and what was done with them since the start. */
export type KindCounts = {
  readonly queued: number;
  readonly running: number;
  /** For something that is not there yet. */
  readonly waiting: number;
  /** In the pause after a failure. */
  readonly paused: number;
  readonly looks: number;
  readonly failures: number;
  /** The longest time that one stood in the queue, milliseconds. */
  readonly longestWaitMs: number;
};

/** A volume that no branch claims, and what "offshoot repair" makes of it. */
export type RepairView = {
  /** Of the branch that it was, and is again. */
  readonly id: string;
  readonly project: string | null;
  readonly branch: string | null;
  /** Name of the parent, or its id when that is unknown; null for the root. */
  readonly parent: string | null;
  /** Why it stays as it is; absent: it is brought back. */
  readonly problem?: string;
  /** What will not be as it was. */
  readonly note?: string;
};

/** Something that this machine can or cannot do. */
export type CheckView = {
  readonly area: string;
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
};
