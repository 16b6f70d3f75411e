/**
 * The store in one SQLite file (node:sqlite, WAL): one table of objects and one of history (ends of objects, and
 * events), numbered by the same counter. It is read once, here; from then on it is only written (sqlite-journal.ts).
 */
import { chmodSync, closeSync, existsSync, fsyncSync, openSync, renameSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { OffshootError } from '../model/errors.ts';
import type { Kind, Store, Stored, StoreEvent } from './contract.ts';
import type { HistoryEntry, Kept } from './journal.ts';
import { type MemoryOptions, memoryStore } from './memory.ts';
import { migrate, migrations, schemaVersion } from './migrations.ts';
import { type JournalOptions, sqliteJournal, toStoreError } from './sqlite-journal.ts';

export type SqliteOptions = Pick<MemoryOptions, 'now' | 'log'> & JournalOptions;

/**
 * Opens (or makes, mode 0600) the store in `file`, and brings it to the newest schema; a copy of the file is kept
 * beside it as `<file>.v<old version>` before each step.
 * @throws OffshootError store/newer, store/unreadable, store/no-space
 */
export function openStore(file: string, options: SqliteOptions = {}): Store {
  let db: DatabaseSync | undefined;
  try {
    if (!existsSync(file)) closeSync(openSync(file, 'a', 0o600));
    chmodSync(file, 0o600); // its log takes over this mode
    db = new DatabaseSync(file, { timeout: 5_000 });
    db.exec(settings);
    upgrade(db, file);
    const kept = read(db);
    return memoryStore({ ...options, kept, journal: sqliteJournal(db, file, options) });
  } catch (thrown) {
    db?.close();
    throw toStoreError(thrown, file, 'store/unreadable');
  }
}

// --- internal -----------------------------------------------------------------------------------

/**
 * Exclusive: nobody else may look into the file while we run, so that it needs no shared memory beside it, which could
 * not be made on a full disk. When anything is synced is the journal's business. A page cache is of little use to one
 * who reads once.
 */
const settings = `
  PRAGMA locking_mode = EXCLUSIVE;
  PRAGMA synchronous = OFF;
  PRAGMA journal_mode = WAL;
  PRAGMA wal_autocheckpoint = 0;
  PRAGMA cache_size = -512;
`;

function upgrade(db: DatabaseSync, file: string): void {
  const found = schemaVersion(db);
  const known = migrations.length;
  if (found > known) throw new OffshootError('store/newer', { file, found, known });
  for (let version = found; version < known; version++) {
    if (version > 0) backUp(db, `${file}.v${version}`);
    migrate(db, version);
  }
}

/** Whatever an interrupted one left is written anew. */
function backUp(db: DatabaseSync, copy: string): void {
  const partial = `${copy}.partial`;
  rmSync(partial, { force: true });
  closeSync(openSync(partial, 'wx', 0o600));
  db.prepare('VACUUM INTO ?').run(partial);
  syncFile(partial);
  renameSync(partial, copy);
  syncFile(dirname(copy));
}

function syncFile(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Row by row, so that the file is never in memory twice. */
function read(db: DatabaseSync): Kept {
  const { version, forgotten } = db.prepare('SELECT version, forgotten FROM counter').get() as {
    version: number;
    forgotten: number;
  };
  const objects = db.prepare('SELECT * FROM objects ORDER BY rowid').iterate() as Iterable<ObjectRow>;
  const history = db.prepare('SELECT * FROM history ORDER BY version').iterate() as Iterable<HistoryRow>;
  return { version, forgotten, objects: mapped(objects, toStored), history: mapped(history, toHistory) };
}

function* mapped<A, B>(items: Iterable<A>, change: (item: A) => B): Iterable<B> {
  for (const item of items) yield change(item);
}

type ObjectRow = {
  readonly kind: Kind;
  readonly name: string;
  readonly generation: number;
  readonly version: number;
  readonly spec: string;
  readonly status: string;
  readonly secret: string;
  readonly created_at: string;
  readonly updated_at: string;
  readonly deleted_at: string | null;
};

type HistoryRow = {
  readonly version: number;
  readonly at: string;
  readonly kind: Kind;
  readonly name: string;
  readonly severity: StoreEvent['severity'] | null;
  readonly reason: string | null;
  readonly message: string | null;
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
  ...(row.deleted_at !== null && { deletedAt: row.deleted_at }),
});

function toHistory({ version, at, kind, name, severity, reason, message }: HistoryRow): HistoryEntry {
  if (severity === null || reason === null || message === null) return { version, kind, name };
  return { version, kind, name, event: { version, at, kind, name, severity, reason, message } };
}
