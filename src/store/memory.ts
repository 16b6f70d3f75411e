/**
 * The store itself: what it knows (known.ts) changes only after its journal has kept the change. Without a journal it is
 * a store for tests.
 *
 * Writes are evaluated in the order in which they were asked for, when their batch is put together: everything that
 * arrives while one batch is being written becomes the next one (group commit), so that many writers share one sync.
 */
import { type Log, silentLog } from '../lib/log.ts';
import { OffshootError } from '../model/errors.ts';
import type { Changes, Fields, Kind, Store, Stored, StoreEvent } from './contract.ts';
import type { Entry, Journal, Kept } from './journal.ts';
import { compare, type Difference, freeze, Known, keyOf, plain, shortened } from './known.ts';

/** Writes in one batch; a batch is written in one go, which others wait for. */
const maxBatch = 500;

export type MemoryOptions = {
  readonly now?: () => Date;
  readonly log?: Log;
  readonly journal?: Journal;
  readonly kept?: Kept;
};

export const memoryStore = (options: MemoryOptions = {}): Store => new MemoryStore(options);

class MemoryStore implements Store {
  readonly #now: () => Date;
  readonly #journal: Journal;
  readonly #known: Known;
  readonly #queue: Write[] = [];
  /** How many writes are queued or under way, by object. */
  readonly #pending = new Map<string, number>();
  /** The writer at work; resolves when nothing is left to write. */
  #working: Promise<void> | undefined;
  #closed = false;

  constructor({ now = () => new Date(), log = silentLog, journal = noJournal, kept }: MemoryOptions) {
    this.#now = now;
    this.#journal = journal;
    this.#known = new Known(log, kept);
  }

  get: Store['get'] = (kind, name) => this.#known.get(kind, name);
  list: Store['list'] = kind => this.#known.list(kind);
  by: Store['by'] = (index, key) => this.#known.by(index, key);
  events: Store['events'] = async filter => this.#known.events(filter);
  since: Store['since'] = version => this.#known.since(version);
  version: Store['version'] = () => this.#known.version;
  onChange: Store['onChange'] = listener => this.#known.onChange(listener);
  onObject: Store['onObject'] = (kind, name, listener) => this.#known.onObject(kind, name, listener);

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
      const message = shortened(event.message);
      draft.event({ ...event, message, version: draft.next(), at: this.#now().toISOString() });
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#known.deafen();
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
    const draft = new Draft(this.#known.version, (kind, name) => this.get(kind, name) as never);
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
      const forgotten = this.#known.toForget(version);
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
      this.#known.take(entries, version, forgotten);
    }
    for (const write of writes) this.#settled(write);
    this.#known.tell(entries);
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
}

// --- internal -----------------------------------------------------------------------------------

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
