/** `global/pg_control`: in which state a server left its data directory (catalog/pg_control.h, ControlFileData). */
import { open } from 'node:fs/promises';
import { join } from 'node:path';

/** Whether the last server on `dataDir` ended in order: its files are then complete without any WAL. */
export async function wasShutDown(dataDir: string): Promise<boolean> {
  await using file = await open(join(dataDir, 'global', 'pg_control'), 'r');
  // After the system identifier (8 bytes) and the versions of file and catalogue (4 each).
  const { buffer, bytesRead } = await file.read(Buffer.alloc(4), 0, 4, 16);
  return bytesRead === 4 && buffer.readUInt32LE(0) === DB_SHUTDOWNED;
}

// --- internal ------------------------------------------------------------------------------------

const DB_SHUTDOWNED = 1;
