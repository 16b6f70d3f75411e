/** A running server as the source of a copy. */
import type { BackupSession, LiveParent, Position, Unlogged } from '../branch-parts.ts';
import type { Ctx } from '../contract.ts';
import { type AdminQuery, openSession, type SessionAddress, withSession } from './session.ts';
import { FLUSH_WAL, holdUnlogged, listUnlogged, type UnloggedList } from './unlogged.ts';

/** What is known of a server's checkpoints; moments are of performance.now(). */
export type Flushed = {
  /** When the newest one began that is complete. */
  since?: number;
  /** One of ours that goes on; resolves at its end, also when it fails. */
  running?: Promise<void> | undefined;
};

export type Ask = <T>(body: (query: AdminQuery) => Promise<T>, ctx: Ctx) => Promise<T>;

/**
 * Whatever changes what a copy would hold has a transaction with a number, also what writes to unlogged tables only, or
 * takes the next value of a sequence from the WAL (xact.c, varsup.c, nextval_internal): while no such transaction ends, the
 * snapshot stays the same. Positions of the WAL would say less: PostgreSQL writes there for itself, a quarter of a minute
 * after each checkpoint. ALTER SYSTEM has no number, so what its file holds counts too. After a crash numbers begin
 * again, so it must be the same server.
 * @param query of a session in any database
 */
export async function readPosition(query: AdminQuery): Promise<Position> {
  const { rows } = await query(POSITION);
  const { server, seen, settings, flushed } = rows[0] as Record<string, unknown>;
  return { at: `${server} ${seen} ${settings}`, flushed: flushed === true };
}

/**
 * Sessions beside ours, and what works for others without one: WAL senders, and the workers of subscriptions. What PostgreSQL
 * does for itself can be done later, and launchers of extensions are there for as long as the server is.
 */
export async function usersOf(address: SessionAddress, ctx: Ctx): Promise<number> {
  const { rows } = await withSession(address, query => query(USERS), ctx);
  return Number(rows[0]?.users);
}

/**
 * For one copy: what is listed before its checkpoint is what may be held after it.
 * @param ask asks the server something in a session in any database
 * @param since what was committed before this moment must be flushed
 * @param flushed of the server; shared by its copies, so that many that are asked for together cost one checkpoint
 */
export function liveParent(
  address: SessionAddress,
  dataDir: string,
  { ask, since, flushed }: { readonly ask: Ask; readonly since: number; readonly flushed: Flushed },
): LiveParent {
  let list: UnloggedList = new Map();
  let unlogged: Unlogged = { held: [], emptied: [] };
  return {
    async checkpoint(ctx) {
      list = await listUnlogged(address, dataDir, ctx);
      if (list.size === 0 && (await ask(hasLittleToRecover, ctx))) return;
      await checkpointSince(list.size === 0 ? since : performance.now(), ask, flushed, ctx);
    },
    async beginBackup(ctx) {
      list = await listUnlogged(address, dataDir, ctx);
      return await beginBackup(address, ctx);
    },
    async hold(ctx) {
      const { release, ...found } = await holdUnlogged(address, list, ctx);
      unlogged = found;
      return release;
    },
    get unlogged() {
      return unlogged;
    },
  };
}

// --- internal ------------------------------------------------------------------------------------

/** The snapshot is that with which the statement begins, so what is flushed later holds all of it. */
const POSITION = `SELECT extract(epoch FROM pg_postmaster_start_time())::text AS server, pg_current_snapshot()::text AS seen,
  md5(pg_read_binary_file('postgresql.auto.conf', 0, 1048576, true)) AS settings,
  pg_current_wal_insert_lsn() = pg_current_wal_flush_lsn() AS flushed`;

/** What a copy made now would have to recover, and whether all that was said to be committed is in the log's files. */
const LOG = `SELECT pg_current_wal_insert_lsn() - redo_lsn AS bytes,
  pg_current_wal_flush_lsn() >= pg_current_wal_insert_lsn() AS flushed FROM pg_control_checkpoint()`;

/** Bytes of log that a copy recovers from about as quickly as its parent makes a checkpoint that spares it that. */
const LITTLE_LOG = 512 * 1024;

/**
 * A copy is then what a power cut would leave, with nothing missing that was committed, and a checkpoint is not worth its waits
 * for the disk: each file that was changed is one, here or there, but the log and the state of transactions are one each time.
 */
async function hasLittleToRecover(query: AdminQuery): Promise<boolean> {
  const { bytes, flushed } = (await query(LOG)).rows[0] as Record<string, unknown>;
  if (Number(bytes) > LITTLE_LOG) return false;
  if (flushed === true) return true;
  return await query(FLUSH_WAL).then(
    () => true,
    () => false, // PostgreSQL has that since 17; before, a checkpoint does
  );
}

/** As pg_stat_activity has them ("The Cumulative Statistics System"); versions name the workers of subscriptions differently. */
const USERS = `SELECT count(*) AS users FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND (
  backend_type IN ('client backend', 'walsender', 'parallel worker')
  OR backend_type LIKE 'logical replication%' AND backend_type <> 'logical replication launcher')`;

/** Returns when a checkpoint is complete that began at `moment` or later. One at a time, for all who need one. */
async function checkpointSince(moment: number, ask: Ask, flushed: Flushed, ctx: Ctx): Promise<void> {
  while ((flushed.since ?? -1) < moment) {
    ctx.signal.throwIfAborted();
    if (flushed.running !== undefined) {
      await flushed.running; // it may have begun too early, or fail
      continue;
    }
    const begun = performance.now();
    const work = ask(query => query('CHECKPOINT'), ctx);
    const ended = (since?: number) => {
      flushed.running = undefined;
      if (since !== undefined) flushed.since = since;
    };
    flushed.running = work.then(
      () => ended(begun),
      () => ended(),
    );
    await work;
    await flushed.running;
  }
}

/**
 * The low-level backup protocol. The session must stay open from start to stop. Its temporary slot keeps the
 * WAL from the start on until the session ends, however much is written meanwhile.
 */
async function beginBackup(address: SessionAddress, ctx: Ctx): Promise<BackupSession> {
  const { query, close } = await openSession(address, ctx);
  try {
    const slot = `offshoot_copy_${crypto.randomUUID().replaceAll('-', '')}`;
    await query('SELECT pg_create_physical_replication_slot($1, true, true)', [slot]);
    await query('SELECT pg_backup_start($1, true)', ['offshoot']);
  } catch (error) {
    await close();
    throw error;
  }
  return {
    close,
    async finish() {
      const { rows } = await query(
        'SELECT labelfile, spcmapfile, pg_walfile_name(lsn) AS last FROM pg_backup_stop(false)',
      );
      const { labelfile, spcmapfile, last } = rows[0] as Record<string, string>;
      return { backupLabel: labelfile!, tablespaceMap: spcmapfile!, lastWalFile: last! };
    },
  };
}
