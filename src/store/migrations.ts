/** The schema of `state.db`, as numbered steps; `PRAGMA user_version` says how many have been taken. */
import type { DatabaseSync } from 'node:sqlite';

/**
 * Step n leads from version n to n + 1 and is one transaction together with the new number. What was released is
 * never edited: another step is added.
 */
export const migrations: readonly string[] = [
  `CREATE TABLE counter (version INTEGER NOT NULL, forgotten INTEGER NOT NULL);
   INSERT INTO counter VALUES (0, 0);
   CREATE TABLE objects (
     kind TEXT NOT NULL, name TEXT NOT NULL,
     generation INTEGER NOT NULL, version INTEGER NOT NULL,
     spec TEXT NOT NULL, status TEXT NOT NULL, secret TEXT NOT NULL,
     created_at TEXT NOT NULL, updated_at TEXT NOT NULL, deleted_at TEXT,
     PRIMARY KEY (kind, name)
   ) STRICT;
   CREATE INDEX objects_version ON objects (version);
   CREATE TABLE history (
     version INTEGER PRIMARY KEY, at TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,
     severity TEXT, reason TEXT, message TEXT
   ) STRICT;`,
  // Questions are answered from memory: an index would only be written.
  'DROP INDEX objects_version;',
  // How images run was one table for all; now each folder has its own, and what is there already is of none.
  `INSERT INTO objects (kind, name, generation, version, spec, status, secret, created_at, updated_at)
     SELECT 'folder', '-', 1, max(version), json_object('images', json_group_object(name, json(spec))),
       'null', 'null', min(created_at), max(updated_at)
     FROM objects WHERE kind = 'image' HAVING count(*) > 0;
   DELETE FROM objects WHERE kind = 'image';`,
];

/** The version that a file has; 0: it is empty. */
export function schemaVersion(db: DatabaseSync): number {
  const { user_version } = db.prepare('PRAGMA user_version').get() as { user_version: number };
  if (user_version > 0) return user_version;
  // The first release did not number its files.
  const made = db.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'objects'").get() !== undefined;
  return made ? 1 : 0;
}

/** Takes one step. @param from the file's version */
export function migrate(db: DatabaseSync, from: number): void {
  db.exec('BEGIN IMMEDIATE');
  try {
    db.exec(migrations[from]!);
    db.exec(`PRAGMA user_version = ${from + 1}`);
    db.exec('COMMIT');
  } catch (error) {
    if (db.isTransaction) db.exec('ROLLBACK');
    throw error;
  }
}
