/**
 * The store in one SQLite file (node:sqlite, WAL). One table of objects, one of tombstones and one of
 * events, all numbered by the same counter.
 *
 * Commits survive our own death (`synchronous=NORMAL`), which is all that a status needs. Writes of intent
 * also sync the write-ahead log before they return, so that what was acknowledged survives a power cut.
 */
import { chmodSync, closeSync, existsSync, fsyncSync, openSync } from 'node:fs';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { isDeepStrictEqual } from 'node:util';
import { OffshootError } from '../model/errors.ts';
import type { Change, Kind, Store, Stored, StoreEvent } from './contract.ts';

/** Rows of history kept; older ones make `since` answer "too long ago". */
const historyRows = 5_000;

type Row = {
  kind: Kind;
  name: string;
  generation: number;
  version: number;
  spec: string;
  status: string;
  secret: string;
  created_at: string;
  updated_at: string;
  deleted_at: string | null;
};

/** Opens (or makes, mode 0600) the store in `file`; `:memory:` for tests. */
export function openStore(file: string, now: () => Date = () => new Date()): Store {
  const fresh = file === ':memory:' || !existsSync(file);
  if (file !== ':memory:') {
    if (fresh) closeSync(openSync(file, 'a', 0o600));
    chmodSync(file, 0o600); // its -wal and -shm files take over this mode
  }
  const db = new DatabaseSync(file, { timeout: 5_000 });
  db.exec(schema);
  return new SqliteStore(db, file === ':memory:' ? undefined : `${file}-wal`, now);
}

const schema = `
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = NORMAL;
  CREATE TABLE IF NOT EXISTS counter (version INTEGER NOT NULL, forgotten INTEGER NOT NULL);
  INSERT INTO counter SELECT 0, 0 WHERE NOT EXISTS (SELECT 1 FROM counter);
  CREATE TABLE IF NOT EXISTS objects (
    kind TEXT NOT NULL, name TEXT NOT NULL,
    generation INTEGER NOT NULL, version INTEGER NOT NULL,
    spec TEXT NOT NULL, status TEXT NOT NULL, secret TEXT NOT NULL,
    created_at TEXT NOT NULL, updated_at TEXT NOT NULL, deleted_at TEXT,
    PRIMARY KEY (kind, name)
  ) STRICT;
  CREATE INDEX IF NOT EXISTS objects_version ON objects (version);
  CREATE TABLE IF NOT EXISTS history (
    version INTEGER PRIMARY KEY, at TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,
    severity TEXT, reason TEXT, message TEXT
  ) STRICT;
`;

class SqliteStore implements Store {
  readonly #db: DatabaseSync;
  readonly #walFile: string | undefined;
  readonly #now: () => Date;
  readonly #statements = new Map<string, StatementSync>();
  readonly #listeners = new Set<(change: Change) => void>();
  /** Changes of the open transaction; listeners hear of them when it is committed. */
  #pending: Change[] | undefined;
  /** Committed changes that listeners have still to hear of. */
  readonly #untold: Change[] = [];
  #telling = false;
  /** Whether the open transaction writes intent. */
  #durable = false;
  #wal: number | undefined;

  constructor(db: DatabaseSync, walFile: string | undefined, now: () => Date) {
    this.#db = db;
    this.#walFile = walFile;
    this.#now = now;
  }

  get<K extends Kind>(kind: K, name: string): Stored<K> | undefined {
    const row = this.#sql('SELECT * FROM objects WHERE kind = ? AND name = ?').get(kind, name);
    return row === undefined ? undefined : (toStored(row as Row) as Stored<K>);
  }

  list<K extends Kind>(kind: K): readonly Stored<K>[] {
    const rows = this.#sql('SELECT * FROM objects WHERE kind = ? ORDER BY rowid').all(kind);
    return rows.map(row => toStored(row as Row) as Stored<K>);
  }

  create: Store['create'] = (kind, name, fields) =>
    this.transaction(() => {
      if (this.get(kind, name) !== undefined) throw new OffshootError('api/conflict', { kind, name });
      this.#durable = true;
      const at = this.#now().toISOString();
      this.#sql(`INSERT INTO objects (kind, name, generation, version, spec, status, secret, created_at, updated_at)
                 VALUES (?, ?, 1, ?, ?, ?, ?, ?, ?)`).run(
        kind,
        name,
        this.#next(),
        JSON.stringify(fields.spec),
        JSON.stringify(fields.status),
        JSON.stringify(fields.secret),
        at,
        at,
      );
      const object = this.get(kind, name)!;
      this.#pending!.push({ type: 'put', kind, name, object });
      return object;
    });

  modify: Store['modify'] = (kind, name, change) =>
    this.transaction(() => {
      const before = this.get(kind, name);
      if (before === undefined) return undefined;
      const changes = change(before);
      if (changes === undefined) return before;
      const specChanged = differs(changes.spec, before.spec);
      const statusChanged = differs(changes.status, before.status);
      const secretChanged = differs(changes.secret, before.secret);
      const deletedNow = changes.deleted === true && before.deletedAt === undefined;
      if (!specChanged && !statusChanged && !secretChanged && !deletedNow) return before;
      if (specChanged || secretChanged || deletedNow) this.#durable = true;
      const at = this.#now().toISOString();
      this.#sql(`UPDATE objects SET generation = ?, version = ?, spec = ?, status = ?, secret = ?, updated_at = ?, deleted_at = ?
                 WHERE kind = ? AND name = ?`).run(
        before.generation + (specChanged ? 1 : 0),
        this.#next(),
        JSON.stringify(changes.spec ?? before.spec),
        JSON.stringify(changes.status === undefined ? before.status : changes.status),
        JSON.stringify(changes.secret === undefined ? before.secret : changes.secret),
        specChanged ? at : before.updatedAt,
        deletedNow ? at : (before.deletedAt ?? null),
        kind,
        name,
      );
      const object = this.get(kind, name)!;
      this.#pending!.push({ type: 'put', kind, name, object });
      return object;
    });

  remove(kind: Kind, name: string): void {
    this.transaction(() => {
      const done = this.#sql('DELETE FROM objects WHERE kind = ? AND name = ?').run(kind, name);
      if (done.changes === 0) return;
      this.#durable = true;
      const version = this.#next();
      this.#sql('INSERT INTO history (version, at, kind, name) VALUES (?, ?, ?, ?)').run(
        version,
        this.#now().toISOString(),
        kind,
        name,
      );
      this.#pending!.push({ type: 'gone', kind, name, version });
    });
  }

  record(event: Omit<StoreEvent, 'version' | 'at'>): void {
    this.transaction(() => {
      const full: StoreEvent = { ...event, version: this.#next(), at: this.#now().toISOString() };
      this.#sql(
        'INSERT INTO history (version, at, kind, name, severity, reason, message) VALUES (?, ?, ?, ?, ?, ?, ?)',
      ).run(full.version, full.at, full.kind, full.name, full.severity, full.reason, full.message);
      this.#pending!.push({ type: 'event', kind: full.kind, name: full.name, event: full });
    });
  }

  events(filter: { kind?: Kind; name?: string; limit: number }): readonly StoreEvent[] {
    const rows = this.#sql(
      `SELECT * FROM history WHERE reason IS NOT NULL AND (?1 IS NULL OR kind = ?1) AND (?2 IS NULL OR name = ?2)
       ORDER BY version DESC LIMIT ?3`,
    ).all(filter.kind ?? null, filter.name ?? null, filter.limit);
    return rows.map(row => toEvent(row)).reverse();
  }

  since(version: number): readonly Change[] | undefined {
    const { forgotten } = this.#sql('SELECT forgotten FROM counter').get() as { forgotten: number };
    if (version < forgotten || version > this.version()) return undefined;
    const puts = this.#sql('SELECT * FROM objects WHERE version > ?').all(version);
    const rest = this.#sql('SELECT * FROM history WHERE version > ?').all(version);
    const changes: [number, Change][] = [];
    for (const row of puts as Row[]) {
      changes.push([row.version, { type: 'put', kind: row.kind, name: row.name, object: toStored(row) }]);
    }
    for (const row of rest) {
      const kind = row.kind as Kind;
      const name = String(row.name);
      const at = Number(row.version);
      changes.push([
        at,
        row.reason === null
          ? { type: 'gone', kind, name, version: at }
          : { type: 'event', kind, name, event: toEvent(row) },
      ]);
    }
    return changes.sort(([a], [b]) => a - b).map(([, change]) => change);
  }

  version(): number {
    return Number(this.#sql('SELECT version FROM counter').get()!.version);
  }

  transaction<T>(body: () => T): T {
    if (this.#pending !== undefined) return body(); // already inside one
    const changes: Change[] = [];
    this.#pending = changes;
    this.#durable = false;
    this.#db.exec('BEGIN IMMEDIATE');
    let result: T;
    try {
      result = body();
      this.#db.exec('COMMIT');
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
      throw error;
    } finally {
      this.#pending = undefined;
    }
    try {
      if (this.#durable) this.#syncLog();
    } finally {
      this.#tell(changes); // committed it is, even if a power cut could still take it back
    }
    return result;
  }

  onChange(listener: (change: Change) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): void {
    this.#listeners.clear();
    if (this.#wal !== undefined) closeSync(this.#wal);
    this.#db.close();
  }

  // --- internal ---------------------------------------------------------------------------------

  #sql(text: string): StatementSync {
    let statement = this.#statements.get(text);
    if (statement === undefined) {
      statement = this.#db.prepare(text);
      this.#statements.set(text, statement);
    }
    return statement;
  }

  /** A listener may write, too: what it writes is told after what it was told, to all in the same order. */
  #tell(changes: readonly Change[]): void {
    this.#untold.push(...changes);
    if (this.#telling) return;
    this.#telling = true;
    try {
      for (let change = this.#untold.shift(); change !== undefined; change = this.#untold.shift()) {
        for (const listener of [...this.#listeners]) listener(change);
      }
    } finally {
      this.#telling = false;
    }
  }

  #syncLog(): void {
    if (this.#walFile === undefined) return;
    this.#wal ??= openSync(this.#walFile, 'r+');
    fsyncSync(this.#wal);
  }

  #next(): number {
    this.#sql('UPDATE counter SET version = version + 1').run();
    const version = this.version();
    if (version % 500 === 0) this.#forget(version - historyRows);
    return version;
  }

  #forget(upTo: number): void {
    if (upTo <= 0) return;
    this.#sql('DELETE FROM history WHERE version <= ?').run(upTo);
    this.#sql('UPDATE counter SET forgotten = ?').run(upTo);
  }
}

/** Whether `next` is given and would be read back as something else than `before`. */
const differs = (next: unknown, before: unknown): boolean =>
  next !== undefined && !isDeepStrictEqual(JSON.parse(JSON.stringify(next)), before);

function toStored(row: Row): Stored<Kind> {
  return {
    kind: row.kind,
    name: row.name,
    generation: row.generation,
    version: row.version,
    spec: JSON.parse(row.spec),
    status: JSON.parse(row.status),
    secret: JSON.parse(row.secret),
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    ...(row.deleted_at === null ? {} : { deletedAt: row.deleted_at }),
  };
}

function toEvent(row: Record<string, unknown>): StoreEvent {
  return {
    version: Number(row.version),
    at: String(row.at),
    kind: row.kind as Kind,
    name: String(row.name),
    severity: row.severity as StoreEvent['severity'],
    reason: String(row.reason),
    message: String(row.message),
  };
}
