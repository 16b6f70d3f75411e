/** A running server as the source of a copy. */
import type { BackupSession, Ctx, LiveParent } from '../contract.ts';
import { openSession, type SessionAddress, withSession } from './session.ts';

export const liveParent = (address: SessionAddress): LiveParent => ({
  async checkpoint(ctx) {
    await withSession(address, query => query('CHECKPOINT'), ctx);
  },
  beginBackup: ctx => beginBackup(address, ctx),
});

// --- internal ------------------------------------------------------------------------------------

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
