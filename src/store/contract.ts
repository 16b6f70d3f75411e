/**
 * What the store remembers: intent (spec, secret, deletedAt) and the last known status, which is only a
 * cache. Types only.
 *
 * **Reads are synchronous, from memory; writes are asynchronous, and compare-and-swap on `version`.** No write is
 * about two objects: what needs several is a sequence that the loop can take up after any of them.
 *
 * Every write moves one counter; an object's `version` is the counter's value at its last write, so
 * "what changed since version n" is a question that watchers can ask after a gap. What a read shows has been
 * written: intent survives a power cut, a status only our own death. After an awaited write, reads show it or
 * something newer.
 */
import type { BranchSecret, BranchSpec, BranchStatus, ProjectSecret, ProjectSpec } from '../model/branch.ts';
import type { FolderSpec, FolderStatus, Origin } from '../model/folder.ts';
import type { Manifest } from '../model/kubernetes.ts';
import type { FolderCode } from '../model/migration.ts';
import type { PluginSpec } from '../model/plugin.ts';
import type { ResourceRecord } from '../model/resource-record.ts';
import type { Run, Schedules } from '../model/run.ts';
import type { SandboxSpec, SandboxStatus, WorkloadKey } from '../model/sandbox.ts';
import type { Visit } from '../model/visit.ts';
import type { ManifestStatus } from '../model/workload-status.ts';
import type { Index, KindOf } from './indexes.ts';

/** Per kind: what is asked for, what was last seen, and what must never leave through the API. */
export type Kinds = {
  project: { spec: ProjectSpec; status: null; secret: ProjectSecret | null };
  /** Name: the branch id. */
  branch: { spec: BranchSpec; status: BranchStatus | null; secret: BranchSecret };
  sandbox: {
    /** With what the project file beside the document says; its images come before those of the baseline's folder. */
    spec: SandboxSpec & FolderCode;
    status: SandboxStatus | null;
    secret: {
      readonly routingKey: string;
      /** What each resource's plugin did so far, outputs included; by resource name. */
      readonly resources: Readonly<Record<string, ResourceRecord>>;
      /** How often a failed sandbox was applied again, its migrations were due again, or forks of it were started anew on request. */
      readonly tries?: number;
      /** How often forks were started anew on request, by workloadPath. */
      readonly restarts?: Readonly<Record<string, number>>;
      /** For which wish each branch was brought up to date, by id; see reconcile/migrations.ts. */
      readonly migrated?: Readonly<Record<string, string>>;
      /** Tokens that opened previews of it, by hash, oldest first; see rules/visits.ts. */
      readonly visits?: Readonly<Record<string, Visit>>;
      /** Delete without running the plugins' delete workflows. */
      readonly force?: boolean;
      /** Delete what grows from its branches, too. */
      readonly recursive?: boolean;
    };
  };
  /** A sandbox that was deleted. Name: the routing key that was its own; it leads nowhere while this is here. */
  tombstone: {
    spec: { readonly sandbox: string; readonly forks: readonly WorkloadKey[] };
    status: null;
    secret: null;
  };
  /** Name: `bare@version`. */
  plugin: { spec: PluginSpec; status: null; secret: null };
  /** Name: `Kind/namespace/name`. */
  manifest: {
    spec: Manifest;
    status: ManifestStatus | null;
    secret: {
      /** How often one that had failed was deployed again, or was started anew on request. */
      readonly tries?: number;
      /** How often its pods were started anew on request. */
      readonly restarts?: number;
      /** Absent: nobody said where it came from. */
      readonly from?: Origin;
      /** Job: its newest run. */
      readonly run?: Run;
      /** CronJob. */
      readonly schedules?: Schedules;
    } | null;
  };
  /** A folder of which manifests were deployed. Name: its absolute path, or `nowhere`. */
  folder: { spec: FolderSpec; status: FolderStatus | null; secret: null };
  /** Whose a namespace of the baseline is, as long as there are manifests in it. Name: the namespace. */
  namespace: { spec: { readonly folder: string }; status: null; secret: null };
  /** API keys. Name: a short id; the key itself is only known as a hash. */
  key: {
    spec: { readonly label: string; readonly hash: string; readonly preview: string };
    status: null;
    secret: null;
  };
};

export type Kind = keyof Kinds;

export type Stored<K extends Kind> = {
  readonly kind: K;
  readonly name: string;
  /** Counts changes of the spec, from 1. */
  readonly generation: number;
  readonly version: number;
  readonly spec: Kinds[K]['spec'];
  readonly status: Kinds[K]['status'];
  readonly secret: Kinds[K]['secret'];
  readonly createdAt: string;
  readonly updatedAt: string;
  /** Set: the object is to go; it stays until everything that it stood for is gone. */
  readonly deletedAt?: string;
};

export type Changes<K extends Kind> = {
  readonly spec?: Kinds[K]['spec'];
  readonly status?: Kinds[K]['status'];
  readonly secret?: Kinds[K]['secret'];
  readonly deleted?: true;
};

/** One line of history for people: what happened to an object. */
export type StoreEvent = {
  readonly version: number;
  readonly at: string;
  readonly kind: Kind;
  readonly name: string;
  readonly severity: 'info' | 'warning';
  /** CamelCase. */
  readonly reason: string;
  readonly message: string;
};

export type Change =
  | { readonly type: 'put'; readonly kind: Kind; readonly name: string; readonly object: Stored<Kind> }
  | { readonly type: 'gone'; readonly kind: Kind; readonly name: string; readonly version: number }
  | { readonly type: 'event'; readonly kind: Kind; readonly name: string; readonly event: StoreEvent };

export type Fields<K extends Kind> = {
  readonly spec: Kinds[K]['spec'];
  readonly status: Kinds[K]['status'];
  readonly secret: Kinds[K]['secret'];
  /** Of what is older than its place in the store; default: now. */
  readonly createdAt?: string;
};

/** Objects are frozen, all the way down. Every write may throw store/no-space and store/write-failed. */
export type Store = {
  get<K extends Kind>(kind: K, name: string): Stored<K> | undefined;
  /** In order of creation. */
  list<K extends Kind>(kind: K): readonly Stored<K>[];
  /** The objects that `index` has under `key`, in order of creation; costs what it returns. */
  by<I extends Index>(index: I, key: string): readonly Stored<KindOf<I>>[];
  /** @throws OffshootError api/conflict when the name is taken. */
  create<K extends Kind>(kind: K, name: string, fields: Fields<K>): Promise<Stored<K>>;
  /**
   * Writes to the object as it was at `version`. Fields that are absent stay; equal ones are not written.
   * @throws OffshootError store/conflict when it has moved on; the newer one can be read by then
   */
  update<K extends Kind>(kind: K, name: string, version: number, changes: Changes<K>): Promise<Stored<K>>;
  /**
   * Reads the object, asks `change` what to write, and updates it; again when it has moved on meanwhile.
   * @param change may be called several times, and later: it must only look at the object that it is given
   * @returns the object afterwards; undefined when it does not exist
   */
  modify<K extends Kind>(
    kind: K,
    name: string,
    change: (object: Stored<K>) => Changes<K> | undefined,
  ): Promise<Stored<K> | undefined>;
  /**
   * The object's very end. Absent is success.
   * @param version only if it is still as it was then
   * @throws OffshootError store/conflict
   */
  remove(kind: Kind, name: string, version?: number): Promise<void>;
  record(event: Omit<StoreEvent, 'version' | 'at'>): Promise<void>;
  /** The newest `limit` events, oldest first. */
  events(filter: {
    readonly kind?: Kind;
    readonly name?: string;
    readonly limit: number;
  }): Promise<readonly StoreEvent[]>;
  /** Everything after `version`, oldest first; undefined when that is too long ago to be known completely. */
  since(version: number): readonly Change[] | undefined;
  /** The counter. */
  version(): number;
  /**
   * Calls `listener` after each write, in the order of versions. One that throws is logged and keeps nobody else from
   * hearing. @returns the way to stop that.
   */
  onChange(listener: (change: Change) => void): () => void;
  /** The same for one object (its events excepted); costs nothing when others change. */
  onObject(kind: Kind, name: string, listener: () => void): () => void;
  /** Finishes what was asked for; later writes are refused. */
  close(): Promise<void>;
};
