/**
 * Writing to the store's SQLite file. Nothing here waits for the disk on the event loop: SQLite itself never syncs
 * (`synchronous=OFF`), it only writes into the page cache, which survives our own death. The syncs are ours, in libuv's
 * threads: of the log after a batch that holds intent, and around checkpoints in an order that keeps the file whole
 * when the power is cut at any moment.
 */
import { closeSync, write as fsWrite, fsync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { promisify } from 'node:util';
import { type Log, silentLog } from '../lib/log.ts';
import { OffshootError } from '../model/errors.ts';
import type { Kind, Stored, StoreEvent } from './contract.ts';
import type { Batch, Entry, Journal } from './journal.ts';

export type JournalOptions = {
  readonly log?: Log;
  /** Makes room, e.g. by giving up a file that was kept for that. @returns whether to try once more */
  readonly onNoSpace?: () => Promise<boolean>;
  /** Makes what was written to an open file durable; tests have it fail. */
  readonly sync?: (fd: number) => Promise<void>;
};

/** Bytes of log from which it is copied into the file: that much is copied in one go, in less than a millisecond. */
const checkpointBytes = 512 * 1024;
/** Bytes that a row takes in the log besides its text: pages are written whole, also those of the index. */
const rowBytes = 3 * 4096;

/** @param db open, in WAL mode, with nothing that syncs or checkpoints by itself */
export function sqliteJournal(db: DatabaseSync, file: string, options: JournalOptions): Journal {
  const { log = silentLog, onNoSpace, sync = promisify(fsync) } = options;
  const fds = {
    main: openSync(file, 'r+'),
    log: openSync(`${file}-wal`, 'r+'),
    dir: openSync(dirname(file), 'r'),
  };
  const tables = writer(db);
  let begun = false;
  /** The log is in the file, but not safely: SQLite would begin the log anew, which must wait. */
  let copied = false;
  /** Bytes written to the log since it was last copied, about. */
  let length = 0;
  let checkpointAt = checkpointBytes;
  /** Entries whose sync failed: they do not count, but the file may hold them. */
  let doubtful: readonly Entry[] = [];

  const attempt = async (batch: Batch): Promise<void> => {
    if (!begun) await begin();
    // Parts of the log may be lost then: everything goes into the file before more is written behind them.
    if (doubtful.length > 0 || copied) await checkpoint();
    length += tables.write(batch, doubtful.toReversed());
    if (!batch.durable && doubtful.length === 0) return;
    doubtful = [...doubtful, ...batch.entries];
    await sync(fds.log);
    doubtful = [];
  };

  /** Before anything is written to a log that another process may have left in the middle of a checkpoint. */
  const begin = async (): Promise<void> => {
    await sync(fds.log);
    await sync(fds.main); // SQLite takes the log beside an empty file for a leftover
    await sync(fds.dir);
    begun = true;
  };

  /**
   * Copies the log into the file; SQLite then writes it anew from its beginning. What is on the disk is at every
   * moment the file with a whole log, or the whole file: the log is synced before the first page of it is copied, the
   * file before the log's header is cleared (sqlite.org/fileformat2.html#walformat: without one it holds nothing), and
   * that before anything new is written behind it, or old frames could be taken for newer ones. It is not cut, since
   * that would wait for the file system.
   */
  const checkpoint = async (): Promise<void> => {
    await sync(fds.log);
    const { log: frames, checkpointed } = copyLog.get() as { log: number; checkpointed: number };
    if (checkpointed !== frames) throw new Error(`${checkpointed} of ${frames} frames were copied`);
    copied = true;
    await sync(fds.main);
    await write(fds.log, Buffer.alloc(walHeaderBytes), 0, walHeaderBytes, 0);
    await sync(fds.log);
    copied = false;
    length = 0;
  };
  const copyLog = db.prepare('PRAGMA wal_checkpoint(PASSIVE)');

  const checkpointWhenLong = async (): Promise<void> => {
    if (length < checkpointAt) return;
    try {
      await checkpoint();
      checkpointAt = checkpointBytes;
    } catch (err) {
      // The log grows on, and is whole.
      checkpointAt = length + checkpointBytes;
      log.warn({ err }, 'the log of the state could not be copied into its file');
    }
  };

  /** What is done while nobody waits for it; the next batch does. */
  let upkeep: Promise<void> = begin().catch(() => {});
  return {
    async write(batch) {
      await upkeep;
      try {
        await attempt(batch).catch(async thrown => {
          const error = toStoreError(thrown, file, 'store/write-failed');
          if (error.code !== 'store/no-space' || !(await onNoSpace?.())) throw error;
          await attempt(batch);
        });
      } catch (thrown) {
        throw toStoreError(thrown, file, 'store/write-failed');
      }
      upkeep = checkpointWhenLong();
    },
    async close() {
      await upkeep;
      // When it fails the log stays, and the next one who opens the file reads it.
      await checkpoint().catch(err => log.warn({ err }, 'the state was closed with its log'));
      db.close();
      for (const fd of Object.values(fds)) closeSync(fd);
    },
  };
}

/** @returns an error of ours, with what SQLite or the system said as its cause */
export function toStoreError(
  thrown: unknown,
  file: string,
  otherwise: 'store/unreadable' | 'store/write-failed',
): OffshootError {
  if (thrown instanceof OffshootError) return thrown;
  const { code = '', errcode = 0, message } = thrown as NodeJS.ErrnoException & { errcode?: number };
  const full = (errcode & 0xff) === sqliteFull || code === 'ENOSPC' || code === 'EDQUOT';
  const params = full ? { file } : { file, why: message };
  return new OffshootError(full ? 'store/no-space' : otherwise, params, { cause: thrown });
}

// --- internal -----------------------------------------------------------------------------------

const write = promisify(fsWrite);
const walHeaderBytes = 32;

/** SQLITE_FULL, a primary result code (sqlite.org/rescode.html). */
const sqliteFull = 13;

/** Batches as transactions; `write` returns about how many bytes of log it took. */
function writer(db: DatabaseSync): { write(batch: Batch, undo: readonly Entry[]): number } {
  const statements = new Map<string, StatementSync>();
  const sql = (text: string): StatementSync => {
    const statement = statements.get(text) ?? db.prepare(text);
    statements.set(text, statement);
    return statement;
  };

  let bytes = 0;

  /** @param before only what differs from it is written */
  const put = (object: Stored<Kind>, before: Stored<Kind> | undefined): void => {
    const columns: Record<string, string | number | null> = {
      generation: object.generation,
      version: object.version,
      updated_at: object.updatedAt,
      deleted_at: object.deletedAt ?? null,
    };
    for (const field of ['spec', 'status', 'secret'] as const) {
      if (before === undefined || object[field] !== before[field])
        columns[field] = JSON.stringify(object[field]);
      bytes += String(columns[field] ?? '').length;
    }
    const names = Object.keys(columns);
    if (before !== undefined) {
      const set = names.map(name => `${name} = ?`).join(', ');
      const update = sql(`UPDATE objects SET ${set} WHERE kind = ? AND name = ?`);
      update.run(...Object.values(columns), object.kind, object.name);
      return;
    }
    const all = ['kind', 'name', 'created_at', ...names];
    const set = names.map(name => `${name} = excluded.${name}`).join(', ');
    sql(
      `INSERT INTO objects (${all.join(', ')}) VALUES (${all.map(() => '?').join(', ')})
       ON CONFLICT (kind, name) DO UPDATE SET ${set}, created_at = excluded.created_at`,
    ).run(object.kind, object.name, object.createdAt, ...Object.values(columns));
  };

  const remove = (kind: Kind, name: string): void =>
    void sql('DELETE FROM objects WHERE kind = ? AND name = ?').run(kind, name);

  const tell = (line: Pick<StoreEvent, 'version' | 'at' | 'kind' | 'name'> & Partial<StoreEvent>): void => {
    const { version, at, kind, name, severity = null, reason = null, message = null } = line;
    sql(
      `INSERT OR REPLACE INTO history (version, at, kind, name, severity, reason, message)
       VALUES (?, ?, ?, ?, ?, ?, ?)`,
    ).run(version, at, kind, name, severity, reason, message);
  };

  const keep = (entry: Entry): void => {
    if (entry.type === 'put') put(entry.object, entry.before);
    else if (entry.type === 'event') tell(entry.event);
    else {
      const { kind, name } = entry.before;
      remove(kind, name);
      tell({ version: entry.version, at: entry.at, kind, name });
    }
  };

  const undo = (entry: Entry): void => {
    if (entry.type === 'put') {
      if (entry.before === undefined) remove(entry.object.kind, entry.object.name);
      else put(entry.before, undefined);
      return;
    }
    if (entry.type === 'gone') put(entry.before, undefined);
    sql('DELETE FROM history WHERE version = ?').run(
      entry.type === 'gone' ? entry.version : entry.event.version,
    );
  };

  return {
    write(batch, undone) {
      bytes = (batch.entries.length + undone.length) * rowBytes;
      db.exec('BEGIN IMMEDIATE');
      try {
        for (const entry of undone) undo(entry);
        for (const entry of batch.entries) keep(entry);
        if (batch.forgotten > 0) sql('DELETE FROM history WHERE version <= ?').run(batch.forgotten);
        sql('UPDATE counter SET version = ?, forgotten = ?').run(batch.version, batch.forgotten);
        db.exec('COMMIT');
      } catch (error) {
        if (db.isTransaction) db.exec('ROLLBACK');
        throw error;
      }
      return bytes;
    },
  };
}
