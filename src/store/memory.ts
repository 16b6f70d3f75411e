/**
 * The store itself: decoded, frozen objects in maps, changed only after its journal has kept the change. Without a
 * journal it is a store for tests.
 *
 * Writes are evaluated in the order in which they were asked for, when their batch is put together: everything that
 * arrives while one batch is being written becomes the next one (group commit), so that many writers share one sync.
 */
import { isDeepStrictEqual } from 'node:util';
import { type Log, silentLog } from '../lib/log.ts';
import { OffshootError } from '../model/errors.ts';
import type { Change, Changes, Fields, Kind, Store, Stored, StoreEvent } from './contract.ts';
import { type Index, indexesOf, type KindOf } from './indexes.ts';
import type { Entry, HistoryEntry, Journal, Kept } from './journal.ts';

/** Versions of history kept; older ones make `since` answer "too long ago". */
const historyVersions = 5_000;
/** Writes in one batch; a batch is written in one go, which others wait for. */
const maxBatch = 500;
/** Characters of an event's message. */
const maxMessage = 4_000;

export type MemoryOptions = {
  readonly now?: () => Date;
  readonly log?: Log;
  readonly journal?: Journal;
  readonly kept?: Kept;
};

export const memoryStore = (options: MemoryOptions = {}): Store => new MemoryStore(options);

class MemoryStore implements Store {
  readonly #now: () => Date;
  readonly #log: Log;
  readonly #journal: Journal;
  readonly #objects = new Map<Kind, Table>();
  readonly #indexes = new Map<Index, Map<string, Table>>();
  #history: HistoryEntry[] = [];
  #version: number;
  #forgotten: number;
  readonly #queue: Write[] = [];
  /** How many writes are queued or under way, by object. */
  readonly #pending = new Map<string, number>();
  /** The writer at work; resolves when nothing is left to write. */
  #working: Promise<void> | undefined;
  #closed = false;
  readonly #listeners = new Set<(change: Change) => void>();
  readonly #watchers = new Map<string, Set<() => void>>();

  constructor({ now = () => new Date(), log = silentLog, journal = noJournal, kept }: MemoryOptions) {
    this.#now = now;
    this.#log = log;
    this.#journal = journal;
    for (const object of kept?.objects ?? []) this.#put(freeze(object), undefined);
    this.#history = [...(kept?.history ?? [])];
    this.#version = kept?.version ?? 0;
    this.#forgotten = kept?.forgotten ?? 0;
  }

  get: Store['get'] = (kind, name) => this.#objects.get(kind)?.get(name) as never;

  list: Store['list'] = kind => (this.#objects.get(kind)?.list() ?? none) as never;

  by<I extends Index>(index: I, key: string): readonly Stored<KindOf<I>>[] {
    return (this.#indexes.get(index)?.get(key)?.list() ?? none) as never;
  }

  create<K extends Kind>(kind: K, name: string, fields: Fields<K>): Promise<Stored<K>> {
    return this.#write(keyOf(kind, name), draft => {
      if (draft.get(kind, name) !== undefined) throw new OffshootError('api/conflict', { kind, name });
      const at = this.#now().toISOString();
      const object = { kind, name, generation: 1, version: draft.next(), ...plain(fields) };
      return draft.put(freeze({ createdAt: at, ...object, updatedAt: at }) as Stored<K>, undefined, true);
    });
  }

  update<K extends Kind>(kind: K, name: string, version: number, changes: Changes<K>): Promise<Stored<K>> {
    return this.#write(keyOf(kind, name), draft => {
      const before = expect(draft, kind, name, version);
      return this.#change(draft, before, compare(before, changes));
    });
  }

  async modify<K extends Kind>(
    kind: K,
    name: string,
    change: (object: Stored<K>) => Changes<K> | undefined,
  ): Promise<Stored<K> | undefined> {
    const seen = this.get(kind, name);
    const later = (draft: Draft) => this.#modify(draft, draft.get(kind, name), change);
    if (this.#pending.has(keyOf(kind, name))) return this.#write(keyOf(kind, name), later);
    // What changes nothing has nothing to wait for.
    const difference = seen === undefined ? undefined : compare(seen, change(seen) ?? {});
    if (seen === undefined || difference === undefined) return seen;
    return this.#write(keyOf(kind, name), draft =>
      draft.get(kind, name) === seen ? this.#change(draft, seen, difference) : later(draft),
    );
  }

  async remove(kind: Kind, name: string, version?: number): Promise<void> {
    await this.#write(keyOf(kind, name), draft => {
      const object =
        version === undefined
          ? draft.get(kind, name)
          : expect(draft, kind, name, version, 'absent is success');
      if (object !== undefined) draft.gone(object, this.#now().toISOString());
    });
  }

  async record(event: Omit<StoreEvent, 'version' | 'at'>): Promise<void> {
    await this.#write(undefined, draft => {
      const message =
        event.message.length > maxMessage ? `${event.message.slice(0, maxMessage)}…` : event.message;
      draft.event({ ...event, message, version: draft.next(), at: this.#now().toISOString() });
    });
  }

  async events({ kind, name, limit }: { kind?: Kind; name?: string; limit: number }) {
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
    if (version < this.#forgotten || version > this.#version) return undefined;
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

  version = (): number => this.#version;

  onChange(listener: (change: Change) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
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

  async close(): Promise<void> {
    this.#closed = true;
    this.#listeners.clear();
    await this.#working;
    await this.#journal.close();
  }

  // --- writing ----------------------------------------------------------------------------------

  /** @param key of the object that it is about */
  #write<T>(key: string | undefined, evaluate: (draft: Draft) => T): Promise<T> {
    if (this.#closed) return Promise.reject(new Error('the store is closed'));
    if (key !== undefined) this.#pending.set(key, (this.#pending.get(key) ?? 0) + 1);
    return new Promise<T>((resolve, reject) => {
      this.#queue.push({ key, evaluate, resolve: resolve as (value: unknown) => void, reject });
      this.#working ??= this.#work();
    });
  }

  #settled({ key }: Write): void {
    if (key === undefined) return;
    const left = this.#pending.get(key)! - 1;
    if (left === 0) this.#pending.delete(key);
    else this.#pending.set(key, left);
  }

  async #work(): Promise<void> {
    // Whatever else is asked for in this turn of the event loop shares the batch.
    await new Promise(setImmediate);
    while (this.#queue.length > 0) await this.#commit(this.#queue.splice(0, maxBatch));
    this.#working = undefined;
  }

  async #commit(writes: readonly Write[]): Promise<void> {
    const draft = new Draft(this.#version, (kind, name) => this.get(kind, name) as never);
    const answers = writes.map(write => {
      try {
        const value = write.evaluate(draft);
        return () => write.resolve(value);
      } catch (error) {
        return () => write.reject(error);
      }
    });
    const { entries, version, durable } = draft;
    if (entries.length > 0) {
      const forgotten = this.#toForget(version);
      try {
        await this.#journal.write({ entries, version, durable, forgotten });
      } catch (error) {
        // Also those that would have changed nothing: they may have looked at what was not kept.
        for (const write of writes) {
          this.#settled(write);
          write.reject(error);
        }
        return;
      }
      this.#version = version;
      this.#take(entries);
      if (forgotten > this.#forgotten) {
        this.#forgotten = forgotten;
        this.#history = this.#history.filter(entry => entry.version > forgotten);
      }
    }
    for (const write of writes) this.#settled(write);
    this.#tell(entries);
    for (const answer of answers) answer();
  }

  #modify<K extends Kind>(
    draft: Draft,
    object: Stored<K> | undefined,
    change: (object: Stored<K>) => Changes<K> | undefined,
  ): Stored<K> | undefined {
    return object === undefined
      ? undefined
      : this.#change(draft, object, compare(object, change(object) ?? {}));
  }

  #change<K extends Kind>(draft: Draft, before: Stored<K>, difference: Difference<K> | undefined): Stored<K> {
    if (difference === undefined) return before;
    const { deleted, ...fields } = difference;
    const at = this.#now().toISOString();
    const object: Stored<K> = {
      ...before,
      ...fields,
      version: draft.next(),
      ...('spec' in fields && { generation: before.generation + 1, updatedAt: at }),
      ...(deleted && { deletedAt: at }),
    };
    return draft.put(freeze(object), before, deleted === true || 'spec' in fields || 'secret' in fields);
  }

  /** History is cut now and then, not with every write. */
  #toForget(version: number): number {
    const due = Math.floor(version / 500) * 500 - historyVersions;
    return Math.max(this.#forgotten, due, 0);
  }

  // --- memory -----------------------------------------------------------------------------------

  #take(entries: readonly Entry[]): void {
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

  #put(object: Stored<Kind> | undefined, before: Stored<Kind> | undefined): void {
    const { kind, name } = (object ?? before)!;
    const table = this.#objects.get(kind) ?? new Table();
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

  #bucket(index: Index, key: string): Table {
    const buckets = this.#indexes.get(index) ?? new Map<string, Table>();
    this.#indexes.set(index, buckets);
    const bucket = buckets.get(key) ?? new Table(() => buckets.delete(key));
    buckets.set(key, bucket);
    return bucket;
  }

  #tell(entries: readonly Entry[]): void {
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
}

// --- internal -----------------------------------------------------------------------------------

const none: readonly never[] = Object.freeze([]);
const noJournal: Journal = { write: async () => {}, close: async () => {} };

type Write = {
  readonly key: string | undefined;
  readonly evaluate: (draft: Draft) => unknown;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
};

/** A batch in the making; sees its own writes. */
class Draft {
  readonly entries: Entry[] = [];
  version: number;
  durable = false;
  readonly #read: (kind: Kind, name: string) => Stored<Kind> | undefined;
  readonly #written = new Map<string, Stored<Kind> | undefined>();

  constructor(version: number, read: Draft['get']) {
    this.version = version;
    this.#read = read;
  }

  get<K extends Kind>(kind: K, name: string): Stored<K> | undefined {
    const key = keyOf(kind, name);
    return (this.#written.has(key) ? this.#written.get(key) : this.#read(kind, name)) as
      | Stored<K>
      | undefined;
  }

  next(): number {
    this.version += 1;
    return this.version;
  }

  put<K extends Kind>(object: Stored<K>, before: Stored<K> | undefined, durable: boolean): Stored<K> {
    this.entries.push({ type: 'put', object, before } as Entry);
    this.#written.set(keyOf(object.kind, object.name), object as Stored<Kind>);
    this.durable ||= durable;
    return object;
  }

  gone(before: Stored<Kind>, at: string): void {
    this.entries.push({ type: 'gone', before, version: this.next(), at });
    this.#written.set(keyOf(before.kind, before.name), undefined);
    this.durable = true;
  }

  event(event: StoreEvent): void {
    this.entries.push({ type: 'event', event });
  }
}

/** Objects by name, in order of creation. */
class Table {
  readonly #seats = new Map<string, { seat: number; object: Stored<Kind> }>();
  readonly #onEmpty: (() => void) | undefined;
  #next = 0;
  /** Until something changes. */
  #list: readonly Stored<Kind>[] | undefined;

  constructor(onEmpty?: () => void) {
    this.#onEmpty = onEmpty;
  }

  get(name: string): Stored<Kind> | undefined {
    return this.#seats.get(name)?.object;
  }

  list(): readonly Stored<Kind>[] {
    this.#list ??= Object.freeze(
      [...this.#seats.values()].sort((a, b) => a.seat - b.seat).map(({ object }) => object),
    );
    return this.#list;
  }

  /** @param seat its place in the order; default: the one it has, or the last */
  set(
    name: string,
    object: Stored<Kind> | undefined,
    seat = this.#seats.get(name)?.seat ?? this.#next,
  ): number {
    this.#list = undefined;
    if (object !== undefined) this.#seats.set(name, { seat, object });
    else if (this.#seats.delete(name) && this.#seats.size === 0) this.#onEmpty?.();
    this.#next = Math.max(this.#next, seat + 1);
    return seat;
  }
}

const keyOf = (kind: Kind, name: string): string => `${kind}/${name}`;

function expect<K extends Kind>(draft: Draft, kind: K, name: string, version: number): Stored<K>;
function expect<K extends Kind>(
  draft: Draft,
  kind: K,
  name: string,
  version: number,
  absent: 'absent is success',
): Stored<K> | undefined;
function expect(draft: Draft, kind: Kind, name: string, version: number, absent?: 'absent is success') {
  const object = draft.get(kind, name);
  if (object?.version === version || (object === undefined && absent !== undefined)) return object;
  const why = object === undefined ? 'it is gone' : `it is at version ${object.version}, not ${version}`;
  throw new OffshootError('store/conflict', { kind, name, why });
}

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

/** As it will be read back: no prototypes, nothing undefined, nothing shared with the caller. */
const plain = <T>(value: T): T => JSON.parse(JSON.stringify(value)) as T;

/** What would be read back differently; fields that stay are absent. */
type Difference<K extends Kind> = Changes<K>;

/** @returns undefined when nothing changes */
function compare<K extends Kind>(before: Stored<K>, changes: Changes<K>): Difference<K> | undefined {
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
function freeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  for (const part of Object.values(value)) freeze(part);
  return Object.freeze(value);
}
