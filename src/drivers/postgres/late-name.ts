/**
 * The name of a branch whose server runs before it has one: in a configuration file beside its socket instead of on the
 * command line, which cannot be changed. Its next start has it on the command line as all others.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

export const nameFileOf = (socketDir: string): string => join(socketDir, 'late.conf');

/** @param dataDir whose own configuration holds beside it */
export async function writeName(socketDir: string, dataDir: string, name: string): Promise<void> {
  const lines = [
    `include ${quoted(join(dataDir, 'postgresql.conf'))}`,
    `offshoot.branch_name = ${quoted(name)}`,
  ];
  await writeFile(nameFileOf(socketDir), `${lines.join('\n')}\n`, { mode: 0o644 });
}

// --- internal ------------------------------------------------------------------------------------

/** PostgreSQL, "Parameter Interaction via the Configuration File". Names of branches have neither line ends nor backslashes. */
const quoted = (text: string): string => `'${text.replaceAll("'", "''")}'`;
