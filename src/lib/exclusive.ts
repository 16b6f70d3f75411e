/**
 * A lock between processes that the kernel releases when its holder dies, however it dies: an exclusive
 * transaction on an SQLite file (its locks are POSIX record locks, which forked children do not inherit).
 */
import { closeSync, existsSync, openSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';

/** @returns the way to release it; undefined when somebody else holds it. The file stays. */
export function tryExclusive(file: string): (() => void) | undefined {
  // Only a new file: closing one that is locked would release the locks of our own process (fcntl(2)).
  if (!existsSync(file)) closeSync(openSync(file, 'a', 0o600));
  const db = new DatabaseSync(file, { timeout: 0 });
  try {
    // Nothing is ever written: on a full disk "down" must still work. (Node refuses OFF, without a word.)
    db.exec('PRAGMA journal_mode = MEMORY; PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE');
    return () => db.close();
  } catch (error) {
    db.close();
    if (/locked/.test((error as Error).message)) return undefined;
    throw error;
  }
}
