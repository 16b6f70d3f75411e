/**
 * What a store knows: decoded, frozen objects in maps and indexes, the newest history, and who wants to hear of changes.
 * Reads cost what they return. Where a change is kept, and when it counts, is the store's business.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Log } from '../lib/log.ts';
import { Table } from '../lib/ordered-table.ts';
import type { Change, Changes, Kind, Store, Stored, StoreEvent } from './contract.ts';
import { type Index, indexesOf, type KindOf } from './indexes.ts';
import type { Entry, HistoryEntry, Kept } from './journal.ts';

/** Versions of history kept; older ones make `since` answer "too long ago". */
const historyVersions = 5_000;
/** Characters of an event's message. */
const maxMessage = 4_000;

export class Known {
  /** The counter. */
  version: number;
  readonly #log: Log;
  readonly #objects = new Map<Kind, Table<Stored<Kind>>>();
  readonly #indexes = new Map<Index, Map<string, Table<Stored<Kind>>>>();
  #history: HistoryEntry[] = [];
  #forgotten: number;
  readonly #listeners = new Set<(change: Change) => void>();
  readonly #watchers = new Map<string, Set<() => void>>();

  constructor(log: Log, kept: Kept = { objects: [], history: [], version: 0, forgotten: 0 }) {
    this.#log = log;
    for (const object of kept.objects) this.#put(freeze(object), undefined);
    this.#history = [...kept.history];
    this.version = kept.version;
    this.#forgotten = kept.forgotten;
  }

  get: Store['get'] = (kind, name) => this.#objects.get(kind)?.get(name) as never;

  list: Store['list'] = kind => (this.#objects.get(kind)?.list() ?? none) as never;

  by<I extends Index>(index: I, key: string): readonly Stored<KindOf<I>>[] {
    return (this.#indexes.get(index)?.get(key)?.list() ?? none) as never;
  }

  events({ kind, name, limit }: { kind?: Kind; name?: string; limit: number }): readonly StoreEvent[] {
    const found: StoreEvent[] = [];
    for (let i = this.#history.length - 1; i >= 0 && found.length < limit; i--) {
      const { event } = this.#history[i]!;
      if (event === undefined || (kind ?? event.kind) !== event.kind || (name ?? event.name) !== event.name)
        continue;
      found.push(event);
    }
    return found.reverse();
  }

  since(version: number): readonly Change[] | undefined {
    if (version < this.#forgotten || version > this.version) return undefined;
    const changes: [number, Change][] = [];
    for (const table of this.#objects.values()) {
      for (const object of table.list()) {
        const { kind, name } = object;
        if (object.version > version) changes.push([object.version, { type: 'put', kind, name, object }]);
      }
    }
    for (let i = this.#history.length - 1; i >= 0 && this.#history[i]!.version > version; i--) {
      const { version: at, kind, name, event } = this.#history[i]!;
      changes.push([
        at,
        event === undefined
          ? { type: 'gone', kind, name, version: at }
          : { type: 'event', kind, name, event },
      ]);
    }
    return changes.sort(([a], [b]) => a - b).map(([, change]) => change);
  }

  onChange(listener: (change: Change) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Nobody hears any more. */
  deafen(): void {
    this.#listeners.clear();
  }

  onObject(kind: Kind, name: string, listener: () => void): () => void {
    const key = keyOf(kind, name);
    const own = () => listener(); // the same function may listen twice
    const watchers = this.#watchers.get(key) ?? new Set();
    this.#watchers.set(key, watchers.add(own));
    return () => {
      if (watchers.delete(own) && watchers.size === 0) this.#watchers.delete(key);
    };
  }

  /** Up to which version history may go when the counter is at `version`: it is cut now and then, not with every write. */
  toForget(version: number): number {
    const due = Math.floor(version / 500) * 500 - historyVersions;
    return Math.max(this.#forgotten, due, 0);
  }

  /** Knows what a batch has brought. @param version the counter after it. @param forgotten see `toForget` */
  take(entries: readonly Entry[], version: number, forgotten: number): void {
    this.version = version;
    this.#forget(forgotten);
    for (const entry of entries) {
      if (entry.type === 'put') {
        this.#put(entry.object, entry.before);
      } else if (entry.type === 'gone') {
        const { kind, name } = entry.before;
        this.#put(undefined, entry.before);
        this.#history.push({ version: entry.version, kind, name });
      } else {
        const { version, kind, name } = entry.event;
        this.#history.push({ version, kind, name, event: entry.event });
      }
    }
  }

  /** Tells those who listen. */
  tell(entries: readonly Entry[]): void {
    for (const entry of entries) {
      const change = toChange(entry);
      const watchers =
        change.type === 'event' ? undefined : this.#watchers.get(keyOf(change.kind, change.name));
      for (const listener of [...this.#listeners, ...(watchers ?? [])]) {
        try {
          listener(change);
        } catch (err) {
          this.#log.error({ err, kind: change.kind, name: change.name }, 'a listener of the store failed');
        }
      }
    }
  }

  // --- internal ---------------------------------------------------------------------------------

  #forget(version: number): void {
    if (version <= this.#forgotten) return;
    this.#forgotten = version;
    this.#history = this.#history.filter(entry => entry.version > version);
  }

  #put(object: Stored<Kind> | undefined, before: Stored<Kind> | undefined): void {
    const { kind, name } = (object ?? before)!;
    const table = this.#objects.get(kind) ?? new Table<Stored<Kind>>();
    this.#objects.set(kind, table);
    const seat = table.set(name, object);
    for (const [index, keysOf] of indexesOf(kind)) {
      const keys = object === undefined ? [] : keysOf(object as never);
      for (const key of before === undefined ? [] : keysOf(before as never)) {
        if (!keys.includes(key)) this.#bucket(index, key).set(name, undefined);
      }
      for (const key of keys) this.#bucket(index, key).set(name, object, seat);
    }
  }

  #bucket(index: Index, key: string): Table<Stored<Kind>> {
    const buckets = this.#indexes.get(index) ?? new Map<string, Table<Stored<Kind>>>();
    this.#indexes.set(index, buckets);
    const bucket = buckets.get(key) ?? new Table<Stored<Kind>>(() => buckets.delete(key));
    buckets.set(key, bucket);
    return bucket;
  }
}

export const keyOf = (kind: Kind, name: string): string => `${kind}/${name}`;

/** A message of a sane length. */
export const shortened = (message: string): string =>
  message.length > maxMessage ? `${message.slice(0, maxMessage)}…` : message;

/** As it will be read back: no prototypes, nothing undefined, nothing shared with the caller. */
export const plain = <T>(value: T): T => JSON.parse(JSON.stringify(value)) as T;

/** What would be read back differently; fields that stay are absent. */
export type Difference<K extends Kind> = Changes<K>;

/** @returns undefined when nothing changes */
export function compare<K extends Kind>(before: Stored<K>, changes: Changes<K>): Difference<K> | undefined {
  const difference: Record<string, unknown> = {};
  for (const field of ['spec', 'status', 'secret'] as const) {
    const next = changes[field];
    if (next === undefined || next === before[field]) continue;
    const value = plain(next);
    if (!isDeepStrictEqual(value, before[field])) difference[field] = value;
  }
  if (changes.deleted === true && before.deletedAt === undefined) difference.deleted = true;
  return Object.keys(difference).length === 0 ? undefined : difference;
}

/** What is frozen already was frozen by us, all the way down. */
export function freeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  for (const part of Object.values(value)) freeze(part);
  return Object.freeze(value);
}

// --- internal -----------------------------------------------------------------------------------

const none: readonly never[] = Object.freeze([]);

function toChange(entry: Entry): Change {
  if (entry.type === 'event') {
    const { event } = entry;
    return { type: 'event', kind: event.kind, name: event.name, event };
  }
  if (entry.type === 'put') {
    const { object } = entry;
    return { type: 'put', kind: object.kind, name: object.name, object };
  }
  const { kind, name } = entry.before;
  return { type: 'gone', kind, name, version: entry.version };
}
