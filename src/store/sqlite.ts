/**
 * The store's journal in one SQLite file (node:sqlite, WAL): one table of objects and one of history (ends of objects,
 * and events), numbered by the same counter. It is read once, when it is opened.
 *
 * Nothing here waits for the disk on the event loop. SQLite itself never syncs (`synchronous=OFF`): it only writes into
 * the page cache, which survives our own death. The syncs are ours, in libuv's threads: of the log after a batch that
 * holds intent, and around checkpoints in the order that keeps the file whole in a power cut (see `#checkpoint`).
 */
import { chmodSync, closeSync, existsSync, fstatSync, fsync, openSync, renameSync, rmSync } from 'node:fs';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { promisify } from 'node:util';
import type { Log } from '../lib/log.ts';
import { OffshootError } from '../model/errors.ts';
import type { Kind, Store, Stored, StoreEvent } from './contract.ts';
import type { Batch, Entry, HistoryEntry, Journal, Kept } from './journal.ts';
import { memoryStore } from './memory.ts';
import { migrate, migrations, schemaVersion } from './migrations.ts';

/** Bytes of log from which it is copied into the file: so much is written in one go then, about 1 ms. */
const checkpointBytes = 1024 * 1024;

export type SqliteOptions = {
  readonly now?: () => Date;
  readonly log?: Log;
  /** Makes room, e.g. by giving up a file kept for that. @returns whether the write should be tried again */
  readonly onNoSpace?: () => Promise<boolean>;
};

/**
 * Opens (or makes, mode 0600) the store in `file`, and brings it to the newest schema; a back-up of the file is kept
 * beside it as `<file>.v<old version>` before each step.
 * @throws OffshootError store/newer, store/unreadable, store/no-space
 */
export function openStore(file: string, options: SqliteOptions = {}): Store {
  if (!existsSync(file)) closeSync(openSync(file, 'a', 0o600));
  chmodSync(file, 0o600); // its -wal and -shm files take over this mode
  let db: DatabaseSync | undefined;
  try {
    db = new DatabaseSync(file, { timeout: 5_000 });
    db.exec(settings);
    upgrade(db, file);
    const kept = read(db);
    return memoryStore({ ...options, kept, journal: new SqliteJournal(db, file, options.onNoSpace) });
  } catch (thrown) {
    db?.close();
    throw toStoreError(thrown, file, 'read');
  }
}

// The page cache is of little use to us: we read the file once.
const settings = `
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = OFF;
  PRAGMA wal_autocheckpoint = 0;
  PRAGMA cache_size = -512;
`;

// --- opening ------------------------------------------------------------------------------------

function upgrade(db: DatabaseSync, file: string): void {
  const found = schemaVersion(db);
  const known = migrations.length;
  if (found > known) throw new OffshootError('store/newer', { file, found, known });
  for (let version = found; version < known; version++) {
    if (version > 0) backUp(db, `${file}.v${version}`);
    migrate(db, version);
  }
}

function backUp(db: DatabaseSync, copy: string): void {
  const partial = `${copy}.partial`;
  rmSync(partial, { force: true });
  closeSync(openSync(partial, 'wx', 0o600));
  db.prepare('VACUUM INTO ?').run(partial);
  renameSync(partial, copy);
}

function read(db: DatabaseSync): Kept {
  const { version, forgotten } = db.prepare('SELECT version, forgotten FROM counter').get() as {
    version: number;
    forgotten: number;
  };
  const objects = db.prepare('SELECT * FROM objects ORDER BY rowid').all() as ObjectRow[];
  const history = db.prepare('SELECT * FROM history ORDER BY version').all() as HistoryRow[];
  return { version, forgotten, objects: objects.map(toStored), history: history.map(toHistory) };
}

// --- writing ------------------------------------------------------------------------------------

class SqliteJournal implements Journal {
  readonly #db: DatabaseSync;
  readonly #file: string;
  readonly #onNoSpace: SqliteOptions['onNoSpace'];
  readonly #statements = new Map<string, StatementSync>();
  readonly #main: number;
  readonly #log: number;
  /** What is done after a batch was answered; the next one waits for it. */
  #upkeep: Promise<void> = Promise.resolve();
  /** Entries whose sync failed: they do not count, but the file may hold them. */
  #doubtful: readonly Entry[] = [];

  constructor(db: DatabaseSync, file: string, onNoSpace: SqliteOptions['onNoSpace']) {
    this.#db = db;
    this.#file = file;
    this.#onNoSpace = onNoSpace;
    this.#main = openSync(file, 'r+');
    this.#log = openSync(`${file}-wal`, 'r+');
  }

  async write(batch: Batch): Promise<void> {
    await this.#upkeep;
    try {
      await this.#try(batch);
    } catch (thrown) {
      const error = toStoreError(thrown, this.#file, 'written');
      if (error.code !== 'store/no-space' || !(await this.#onNoSpace?.())) throw error;
      await this.#try(batch).catch(again => {
        throw toStoreError(again, this.#file, 'written');
      });
    }
    if (fstatSync(this.#log).size > checkpointBytes) this.#upkeep = this.#checkpoint().catch(() => {});
  }

  async close(): Promise<void> {
    await this.#upkeep;
    await this.#checkpoint().catch(() => {}); // the log stays then, and the next one reads it
    this.#db.close();
    closeSync(this.#main);
    closeSync(this.#log);
  }

  // --- internal ---------------------------------------------------------------------------------

  async #try(batch: Batch): Promise<void> {
    const doubtful = this.#doubtful;
    // Parts of the log may be lost then: everything goes into the file before more is written behind them.
    if (doubtful.length > 0) await this.#checkpoint();
    this.#db.exec('BEGIN IMMEDIATE');
    try {
      for (const entry of doubtful.toReversed()) this.#undo(entry);
      for (const entry of batch.entries) this.#keep(entry);
      if (batch.forgotten > 0) this.#sql('DELETE FROM history WHERE version <= ?').run(batch.forgotten);
      this.#sql('UPDATE counter SET version = ?, forgotten = ?').run(batch.version, batch.forgotten);
      this.#db.exec('COMMIT');
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
      throw error;
    }
    if (!batch.durable && doubtful.length === 0) return;
    this.#doubtful = [...doubtful, ...batch.entries];
    await sync(this.#log);
    this.#doubtful = [];
  }

  /**
   * Copies the log into the file and empties it. The file is synced before the log is cut, and the cut before anything
   * new is written: at no moment could a power cut leave neither, or old log over newer pages.
   */
  async #checkpoint(): Promise<void> {
    this.#db.exec('PRAGMA wal_checkpoint(PASSIVE)');
    await sync(this.#main);
    this.#db.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    await sync(this.#log);
  }

  #keep(entry: Entry): void {
    if (entry.type === 'put') this.#put(entry.object, entry.before);
    else if (entry.type === 'event') this.#history(entry.event);
    else {
      const { kind, name } = entry.before;
      this.#delete(kind, name);
      this.#history({ version: entry.version, at: entry.at, kind, name });
    }
  }

  #undo(entry: Entry): void {
    if (entry.type === 'put') {
      const { kind, name } = entry.object;
      if (entry.before === undefined) this.#delete(kind, name);
      else this.#put(entry.before, undefined);
      return;
    }
    if (entry.type === 'gone') this.#put(entry.before, undefined);
    const version = entry.type === 'gone' ? entry.version : entry.event.version;
    this.#sql('DELETE FROM history WHERE version = ?').run(version);
  }

  /** @param before only what differs from it is written */
  #put(object: Stored<Kind>, before: Stored<Kind> | undefined): void {
    const columns: Record<string, string | number | null> = {
      generation: object.generation,
      version: object.version,
      updated_at: object.updatedAt,
      deleted_at: object.deletedAt ?? null,
    };
    for (const field of ['spec', 'status', 'secret'] as const) {
      if (object[field] !== before?.[field] || before === undefined)
        columns[field] = JSON.stringify(object[field]);
    }
    const names = Object.keys(columns);
    if (before !== undefined) {
      const set = names.map(name => `${name} = ?`).join(', ');
      const update = this.#sql(`UPDATE objects SET ${set} WHERE kind = ? AND name = ?`);
      update.run(...Object.values(columns), object.kind, object.name);
      return;
    }
    const all = ['kind', 'name', 'created_at', ...names];
    const set = names.map(name => `${name} = excluded.${name}`).join(', ');
    this.#sql(
      `INSERT INTO objects (${all.join(', ')}) VALUES (${all.map(() => '?').join(', ')})
       ON CONFLICT (kind, name) DO UPDATE SET ${set}, created_at = excluded.created_at`,
    ).run(object.kind, object.name, object.createdAt, ...Object.values(columns));
  }

  #delete(kind: Kind, name: string): void {
    this.#sql('DELETE FROM objects WHERE kind = ? AND name = ?').run(kind, name);
  }

  #history({
    version,
    at,
    kind,
    name,
    ...event
  }: Pick<StoreEvent, 'version' | 'at' | 'kind' | 'name'> & Partial<StoreEvent>): void {
    const { severity = null, reason = null, message = null } = event;
    this.#sql(
      `INSERT OR REPLACE INTO history (version, at, kind, name, severity, reason, message)
       VALUES (?, ?, ?, ?, ?, ?, ?)`,
    ).run(version, at, kind, name, severity, reason, message);
  }

  #sql(text: string): StatementSync {
    let statement = this.#statements.get(text);
    if (statement === undefined) {
      statement = this.#db.prepare(text);
      this.#statements.set(text, statement);
    }
    return statement;
  }
}

const sync = promisify(fsync);

// --- rows ---------------------------------------------------------------------------------------

type ObjectRow = {
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

type HistoryRow = {
  version: number;
  at: string;
  kind: Kind;
  name: string;
  severity: StoreEvent['severity'] | null;
  reason: string | null;
  message: string | null;
};

const toStored = (row: ObjectRow): Stored<Kind> => ({
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
});

function toHistory({ version, at, kind, name, severity, reason, message }: HistoryRow): HistoryEntry {
  if (severity === null || reason === null || message === null) return { version, kind, name };
  return { version, kind, name, event: { version, at, kind, name, severity, reason, message } };
}

/** SQLite's primary result codes (sqlite.org/rescode.html). */
const sqliteFull = 13;

function toStoreError(thrown: unknown, file: string, what: 'read' | 'written'): OffshootError {
  if (thrown instanceof OffshootError) return thrown;
  const { code, errcode, message } = thrown as NodeJS.ErrnoException & { errcode?: number };
  const full =
    (errcode !== undefined && (errcode & 0xff) === sqliteFull) || code === 'ENOSPC' || code === 'EDQUOT';
  if (full) return new OffshootError('store/no-space', { file }, { cause: thrown });
  const row = what === 'read' ? 'store/unreadable' : 'store/write-failed';
  return new OffshootError(row, { file, why: message }, { cause: thrown });
}
