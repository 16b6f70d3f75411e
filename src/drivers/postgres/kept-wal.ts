/**
 * WAL that is kept beside a server, and going back to a moment with it. A replication slot makes the server keep its
 * segments until they have been copied: nothing is asked of its settings, so history begins and ends without a restart, and
 * while nobody copies, nothing is missed. A copy of its volume loses the slot as it loses every other (`adopt`).
 */
import { existsSync } from 'node:fs';
import { chown, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ExecError, exec } from '../../lib/exec.ts';
import { OffshootError } from '../../model/errors.ts';
import type { HeldWal, ServerDriver } from '../branch-parts.ts';
import type { Ctx } from '../contract.ts';
import { type NewCluster, recoverWith } from './cluster.ts';
import { type SessionAddress, withSession } from './session.ts';
import type { settings } from './settings.ts';

/** Names of our slots; the rest says to which history they belong. */
const SLOT = 'offshoot_history_';

/**
 * Makes the server keep what it writes from now on, if it does not yet; any other slot of ours is dropped, and one that the server has
 * given up because it kept too much for it.
 * @param key of the history that it is for
 */
export async function holdWal(address: SessionAddress, key: string, ctx: Ctx): Promise<HeldWal> {
  const slot = SLOT + key;
  return await withSession(
    address,
    async query => {
      const { rows } = await query(SLOTS, [SLOT]);
      const held = rows.some(row => row.slot === slot && row.lost !== true);
      for (const row of rows)
        if (row.slot !== slot || row.lost === true)
          await query('SELECT pg_drop_replication_slot($1)', [row.slot]);
      if (!held) await query('SELECT pg_create_physical_replication_slot($1, true)', [slot]);
      const { kept, ...now } = (await query(POSITION, [slot])).rows[0] as Position;
      // Of a checkpoint that goes on a new slot keeps what that needs, and not what the one before it needed.
      return { held, ...now, ...(!held && { first: kept }) };
    },
    ctx,
  );
}

/** What comes before `segment` may go. */
export async function freeWal(
  address: SessionAddress,
  key: string,
  segment: string,
  ctx: Ctx,
): Promise<true> {
  await withSession(
    address,
    query => query(ADVANCE, [SLOT + key, halves(segment)[0], halves(segment)[1]]),
    ctx,
  );
  return true;
}

/** The server keeps nothing for us any more. */
export async function dropSlots(address: SessionAddress, ctx: Ctx): Promise<void> {
  await withSession(address, query => query(DROP, [SLOT]), ctx);
}

/** The same on the files of one that does not run. */
export async function removeSlots(dataDir: string): Promise<void> {
  const directory = join(dataDir, 'pg_replslot');
  for (const name of existsSync(directory) ? await readdir(directory) : [])
    if (name.startsWith(SLOT)) await rm(join(directory, name), { recursive: true, force: true });
}

/** All that was committed until now is in the files, also by those who did not wait for that; and there is a commit that is later. */
export async function flushWal(address: SessionAddress, ctx: Ctx): Promise<true> {
  await withSession(address, query => query(`SELECT pg_logical_emit_message(true, 'offshoot', '')`), ctx);
  return true;
}

type Recovered = Omit<NewCluster, 'adminSecret'> & Parameters<typeof settings>[0];

/**
 * Lets a copy with the WAL that it needs in the folder `wal` come to what it held at `moment`, and ends in order on a timeline of its
 * own, without that folder. Durable when it returns. Where the WAL ends before that moment, and really `ends` there, nothing was
 * committed in between, so its end is what is meant: PostgreSQL takes that for a mistake (recovery_target_time).
 * @throws OffshootError history/not-recovered
 */
export async function recoverTo(
  server: Recovered,
  { moment, wal, ends }: Parameters<ServerDriver['recoverTo']>[2],
  ctx: Ctx,
): Promise<void> {
  const { dataDir, user } = server;
  await writeFile(join(dataDir, 'recovery.signal'), '', { mode: 0o600 });
  await chown(join(dataDir, 'recovery.signal'), user.uid, user.gid);
  // What it needs is its own, and in a folder: what its pg_wal held when the copy was made says when it is consistent.
  // PostgreSQL runs this in the data directory; nothing of it depends on where that is.
  // One process alone could not serve readers meanwhile.
  const always = {
    ...{ restore_command: `cp ${wal}/%f %p`, recovery_target_timeline: 'current' },
    ...{ hot_standby: 'off', shared_buffers: '64MB' },
  };
  const target = {
    recovery_target_time: moment.replace('T', ' ').replace('Z', '+00'),
    recovery_target_action: 'promote',
  };
  try {
    try {
      await recoverWith(server, { ...always, ...target }, ctx);
    } catch (error) {
      if (!(ends && error instanceof ExecError && TOO_EARLY.test(error.stderr))) throw error;
      await recoverWith(server, always, ctx);
    }
  } catch (cause) {
    ctx.signal.throwIfAborted();
    if (!(cause instanceof ExecError)) throw cause;
    const why =
      cause.stderr
        .split('\n')
        .findLast(line => SEVERE.test(line))
        ?.replace(SEVERE, '') ?? cause.message;
    throw new OffshootError('history/not-recovered', { moment, why }, { cause, output: cause.stderr });
  }
  await rm(join(dataDir, wal), { recursive: true, force: true });
  const options = { signal: ctx.signal, deadlineMs: 600_000 };
  await exec('sync', process.platform === 'linux' ? ['-f', dataDir] : [], { cwd: '/', ...options });
}

// --- internal ------------------------------------------------------------------------------------

/** The two halves of a segment's number; before them stands its timeline. */
const halves = (segment: string) => [8, 16].map(at => Number.parseInt(segment.slice(at, at + 8), 16));

const SEVERE = /^.*?(FATAL|PANIC):\s*/;
const TOO_EARLY = /recovery ended before configured recovery target was reached/;

/** `wal_status` as pg_replication_slots has it: what a lost one was to keep is gone (max_slot_wal_keep_size). */
const SLOTS = `SELECT slot_name::text AS slot, wal_status = 'lost' AS lost FROM pg_replication_slots
  WHERE starts_with(slot_name::text, $1)`;

type Position = Readonly<Record<'first' | 'kept' | 'current' | 'lsn', string>>;

/** `first`: what a copy that is made now needs; `kept`: from where on the slot holds; `current`: the one that is being written. */
const POSITION = `SELECT redo_wal_file AS first, pg_walfile_name(restart_lsn) AS kept,
    pg_walfile_name(pg_current_wal_flush_lsn()) AS current, pg_current_wal_flush_lsn()::text AS lsn
  FROM pg_control_checkpoint(), pg_replication_slots WHERE slot_name = $1`;

/** A segment begins at its number times its size; a slot never goes back. */
const ADVANCE = `WITH wanted AS (SELECT '0/0'::pg_lsn + $2::numeric * 4294967296
    + $3::numeric * pg_size_bytes(current_setting('wal_segment_size')) AS lsn)
  SELECT pg_replication_slot_advance(slot_name, wanted.lsn) FROM pg_replication_slots, wanted
  WHERE slot_name = $1 AND restart_lsn < wanted.lsn`;

const DROP =
  'SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE starts_with(slot_name::text, $1)';
