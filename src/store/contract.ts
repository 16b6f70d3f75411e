/**
 * What the store remembers: intent (spec, secret, deletedAt) and the last known status, which is only a
 * cache. Types only.
 *
 * Every write moves one counter; an object's `version` is the counter's value at its last write, so
 * "what changed since version n" is a question that watchers can ask after a gap. Reads and writes are
 * synchronous: a read-modify-write inside `modify` cannot be interleaved.
 */
import type { BranchSpec, BranchStatus, ProjectSpec } from '../model/branch.ts';
import type { ImageSpec } from '../model/image.ts';
import type { Manifest } from '../model/kubernetes.ts';
import type { PluginSpec } from '../model/plugin.ts';
import type { ResourceRecord } from '../model/resource-record.ts';
import type { SandboxSpec, SandboxStatus } from '../model/sandbox.ts';
import type { ManifestStatus } from '../model/workload-status.ts';

/** Per kind: what is asked for, what was last seen, and what must never leave through the API. */
export type Kinds = {
  project: { spec: ProjectSpec; status: null; secret: null };
  /** Name: the branch id. */
  branch: { spec: BranchSpec; status: BranchStatus | null; secret: { readonly password: string } };
  sandbox: {
    spec: SandboxSpec;
    status: SandboxStatus | null;
    secret: {
      readonly routingKey: string;
      /** What each resource's plugin did so far, outputs included; by resource name. */
      readonly resources: Readonly<Record<string, ResourceRecord>>;
      /** How often a failed sandbox was applied again. */
      readonly tries?: number;
      /** Delete without running the plugins' delete workflows. */
      readonly force?: boolean;
    };
  };
  /** Name: `bare@version`. */
  plugin: { spec: PluginSpec; status: null; secret: null };
  /** Name: `Kind/namespace/name`. */
  manifest: { spec: Manifest; status: ManifestStatus | null; secret: null };
  /** How an image runs on this machine. Name: the key in offshoot.yaml. */
  image: { spec: ImageSpec; status: null; secret: null };
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

export type Store = {
  get<K extends Kind>(kind: K, name: string): Stored<K> | undefined;
  /** In order of creation. */
  list<K extends Kind>(kind: K): readonly Stored<K>[];
  /** @throws OffshootError api/conflict when the name is taken. */
  create<K extends Kind>(
    kind: K,
    name: string,
    fields: {
      readonly spec: Kinds[K]['spec'];
      readonly status: Kinds[K]['status'];
      readonly secret: Kinds[K]['secret'];
    },
  ): Stored<K>;
  /**
   * Reads the object, asks `change` what to write, and writes it, all at once. Fields that are absent stay;
   * equal ones are not written. @returns the object afterwards; undefined when it does not exist.
   */
  modify<K extends Kind>(
    kind: K,
    name: string,
    change: (object: Stored<K>) => Changes<K> | undefined,
  ): Stored<K> | undefined;
  /** The object's very end. Absent is success. */
  remove(kind: Kind, name: string): void;
  /**
   * Several writes as one: all or none are kept, and listeners hear of them afterwards. One inside another is a
   * part of it.
   */
  transaction<T>(body: () => T): T;
  record(event: Omit<StoreEvent, 'version' | 'at'>): void;
  /** The newest `limit` events, oldest first. */
  events(filter: {
    readonly kind?: Kind;
    readonly name?: string;
    readonly limit: number;
  }): readonly StoreEvent[];
  /** Everything after `version`, oldest first; undefined when that is too long ago to be known completely. */
  since(version: number): readonly Change[] | undefined;
  /** The counter. */
  version(): number;
  /** Calls `listener` after each write, in the order of versions. @returns the way to stop that. */
  onChange(listener: (change: Change) => void): () => void;
  close(): void;
};
