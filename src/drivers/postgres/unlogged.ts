/**
 * Unlogged tables in a copy of a running server. No WAL tells what is in them, so after a recovery, and a copy of a
 * running server begins with one, PostgreSQL empties every relation that has an init fork (ResetUnloggedRelations,
 * storage/file/reinit.c). Their rows come along nevertheless:
 *
 * 1. before the checkpoint their files are listed: what is on the list needs nothing from the WAL after it;
 * 2. right before the copy their writers are kept out by a lock, their pages written to the files by
 *    pg_buffercache's function, because a checkpoint leaves them out (CHECKPOINT (FLUSH_UNLOGGED) is PostgreSQL 19's),
 *    and the WAL written down, which says who has committed;
 * 3. in the copy the init forks are put aside until its recovery is over.
 *
 * A table that cannot be had whole (somebody writes to it for long, or made it anew meanwhile) is empty in the copy,
 * with all its indexes, and named.
 */
import { open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { exists } from '../../lib/exists.ts';
import { syncDirectory } from '../../lib/sync.ts';
import type { Unlogged } from '../branch-parts.ts';
import type { Ctx } from '../contract.ts';
import { type AdminQuery, openSession, type Session, type SessionAddress, withSession } from './session.ts';

/** By database. */
export type UnloggedList = ReadonlyMap<string, Listed>;

type Listed = {
  /** As `schema.table`. */
  readonly tables: readonly string[];
  /** Of all relations, as `base/5/16384`. */
  readonly files: ReadonlySet<string>;
};

/** Writes down all that was said to be committed, also without a wait for the disk. */
export const FLUSH_WAL = `SELECT pg_logical_emit_message(false, 'offshoot', '', true)`;

export type Hold = Unlogged & {
  /** Lets the writers go on. */
  release(): Promise<void>;
};

/** Costs no session when there are none. */
export async function listUnlogged(
  address: SessionAddress,
  dataDir: string,
  ctx: Ctx,
): Promise<UnloggedList> {
  const oids: string[] = [];
  for (const oid of await readdir(join(dataDir, 'base'))) {
    const names = await readdir(join(dataDir, 'base', oid)).catch(() => []); // a database may be dropped
    if (names.some(name => name.endsWith(INIT))) oids.push(oid);
  }
  if (oids.length === 0) return new Map();
  const databases = await withSession(
    address,
    query => query('SELECT datname FROM pg_database WHERE oid = ANY ($1::oid[]) AND datallowconn', [oids]),
    ctx,
  );
  const list = new Map<string, Listed>();
  for (const { datname } of databases.rows) {
    const database = String(datname);
    const { rows } = await withSession({ ...address, database }, query => query(RELATIONS), ctx);
    const tables = rows.filter(isTable).map(row => String(row.name));
    list.set(database, { tables, files: new Set(rows.map(row => String(row.path))) });
  }
  return list;
}

/** Holds all tables of which every file is listed. Its sessions end with `release`, or when `ctx.signal` aborts. */
export async function holdUnlogged(address: SessionAddress, list: UnloggedList, ctx: Ctx): Promise<Hold> {
  const sessions: Session[] = [];
  const release = async (): Promise<void> => {
    for (const session of sessions.splice(0)) await session.close(); // and with it its transaction
  };
  const held: string[] = [];
  const emptied: string[] = [];
  const end = performance.now() + PATIENCE_MS;
  for (const [database, { tables, files }] of list) {
    try {
      const session = await openSession({ ...address, database }, ctx);
      sessions.push(session);
      const found = await holdAll(session.query, files, end, ctx);
      held.push(...found.held);
      emptied.push(...found.emptied.map(name => `${database}: ${name}`));
    } catch (error) {
      if (ctx.signal.aborted) await release();
      ctx.signal.throwIfAborted();
      // No reason to have no branch at all: there may be no session free, or this PostgreSQL lacks pg_buffercache.
      ctx.log.warn({ database, error }, 'unlogged tables cannot be held');
      emptied.push(...tables.map(name => `${database}: ${name}`));
    }
  }
  try {
    // A commit that wrote to such tables only is not waited for, and unless it is written down it never was.
    if (held.length > 0) await sessions[0]!.query(FLUSH_WAL);
  } catch (error) {
    await release();
    throw error;
  }
  return { held, emptied, release };
}

/** Puts the init forks of held files aside, in a copy on which no server has run yet. */
export async function setAside(dataDir: string, held: readonly string[]): Promise<void> {
  if (held.length === 0) return;
  const list = join(dataDir, LIST);
  const before = (await exists(list)) ? await readList(list) : []; // of a parent that was quick to have children
  // First and durably: a file without its init fork must never be forgotten.
  await using file = await open(list, 'w', 0o600);
  await file.writeFile(JSON.stringify([...before, ...held]));
  await file.sync();
  await syncDirectory(dataDir);
  for (const path of held) await rename(join(dataDir, path + INIT), join(dataDir, path + INIT + ASIDE));
}

/** Puts them back: to be called when the recovery is over, and before anybody may write. */
export async function putBack(dataDir: string): Promise<void> {
  const list = join(dataDir, LIST);
  if (!(await exists(list))) return;
  const held = await readList(list);
  for (const path of held) {
    const aside = join(dataDir, path + INIT + ASIDE);
    if (!(await exists(aside))) continue;
    if (await exists(join(dataDir, path))) await rename(aside, join(dataDir, path + INIT));
    else await rm(aside); // the table was dropped while the files were copied
  }
  for (const directory of new Set(held.map(path => dirname(path))))
    await syncDirectory(join(dataDir, directory));
  await rm(list);
}

// --- internal ------------------------------------------------------------------------------------

const INIT = '_init';
/** PostgreSQL does not take such a file for one of its own. */
const ASIDE = '.aside';
const LIST = 'offshoot.unlogged';

const readList = async (path: string): Promise<readonly string[]> =>
  JSON.parse(await readFile(path, 'utf8')) as readonly string[];

/** Milliseconds that writers may be kept waiting because others do not let go. */
const PATIENCE_MS = 1_000;
/** Shorter than deadlock_timeout, so that a deadlock is ended by our giving up and not by cancelling a client. */
const LOCK_MS = 200;

/** Tables and what belongs to them; sequences too, which cannot be locked and come along as they are when written. */
const RELATIONS = `SELECT c.oid, c.relkind AS kind, n.nspname || '.' || c.relname AS name,
    format('%I.%I', n.nspname, c.relname) AS quoted, pg_relation_filepath(c.oid) AS path
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relpersistence = 'u' AND c.relkind IN ('r', 't', 'i', 'S') ORDER BY c.oid`;

type Row = Readonly<Record<string, unknown>>;

const isTable = ({ kind }: Row): boolean => kind === 'r' || kind === 'S';

/** The function is temporary, and never committed. */
const PREPARE = [
  'BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE',
  `SET LOCAL lock_timeout = ${LOCK_MS}`,
  `CREATE FUNCTION pg_temp.offshoot_flush(regclass, OUT evicted int4, OUT flushed int4, OUT skipped int4)
     AS '$libdir/pg_buffercache', 'pg_buffercache_evict_relation' LANGUAGE c VOLATILE STRICT`,
];

/** All files of one table, their pages written. Skipped are pages that somebody looks at in this moment. */
const FLUSH = `WITH heap AS (SELECT oid, reltoastrelid FROM pg_class WHERE oid = $1::oid),
    tables AS (SELECT oid FROM heap UNION SELECT reltoastrelid FROM heap WHERE reltoastrelid <> 0),
    files AS (SELECT oid FROM tables UNION SELECT indexrelid FROM pg_index WHERE indrelid IN (SELECT oid FROM tables))
  SELECT pg_relation_filepath(f.oid) AS path, flush.skipped
  FROM files f, LATERAL pg_temp.offshoot_flush(f.oid::regclass) flush`;

/** All tables of one database that are listed with every file, in the session's transaction. */
async function holdAll(
  query: AdminQuery,
  listed: ReadonlySet<string>,
  end: number,
  ctx: Ctx,
): Promise<Unlogged> {
  for (const statement of PREPARE) await query(statement);
  const held: string[] = [];
  const emptied: string[] = [];
  let left = (await query(RELATIONS)).rows.filter(isTable);
  // First all that nobody holds, then those that may soon be let go.
  for (let wait = false; left.length > 0 && (!wait || performance.now() < end); wait = true) {
    const refused: Row[] = [];
    for (const row of left) {
      const late = wait && performance.now() > end;
      const found = late ? undefined : await holdOne(query, row, wait, ctx);
      if (found === undefined) refused.push(row);
      else if (found.every(path => listed.has(path))) held.push(...found);
      else emptied.push(String(row.name));
    }
    left = refused;
  }
  return { held, emptied: [...emptied, ...left.map(({ name }) => String(name))] };
}

/**
 * One try.
 * @param wait for whoever holds the table, for a short while
 * @returns the files of the table; undefined when somebody does not let go of it
 */
async function holdOne(
  query: AdminQuery,
  { oid, kind, quoted }: Row,
  wait: boolean,
  { signal }: Ctx,
): Promise<readonly string[] | undefined> {
  await query('SAVEPOINT one');
  try {
    // Not SHARE: an index that is being made would be missing on our list.
    const lock = `LOCK TABLE ONLY ${quoted} IN SHARE ROW EXCLUSIVE MODE`;
    if (kind === 'r') await query(wait ? lock : `${lock} NOWAIT`);
    const { rows } = await query(FLUSH, [oid]);
    if (rows.every(row => row.skipped === 0)) return rows.map(row => String(row.path));
  } catch {
    signal.throwIfAborted(); // else somebody holds it, or it is gone
  }
  await query('ROLLBACK TO SAVEPOINT one');
  return undefined;
}
