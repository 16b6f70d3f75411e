/** Who may log in to a branch's server. Told as data, done by statements in one session. */
import { createHash } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ProcessId } from '../../lib/process.ts';
import { adminRole } from '../../model/branch.ts';
import type { Access } from '../branch-parts.ts';
import type { AdminQuery } from './session.ts';

/** Makes the role and its database where they lack, and gives the role its password; may be repeated. */
export async function grant(query: AdminQuery, id: string, access: Access): Promise<void> {
  const role = quoteName(access.role);
  const known = await query('SELECT 1 FROM pg_roles WHERE rolname = $1', [access.role]);
  if (known.rows.length === 0) await query(`CREATE ROLE ${role} LOGIN CREATEDB CREATEROLE`);
  // What an owner may know of his own server; extensions that look at tables ask for it too.
  await query(`GRANT pg_monitor TO ${role}`);
  if (access.inherited) await endInheritedPasswords(query, id, access.role);
  await query(`ALTER ROLE ${role} PASSWORD ${quoteText(access.verifier)}`);
  const database = await query('SELECT 1 FROM pg_database WHERE datname = $1', [access.database]);
  if (database.rows.length === 0) await query(`CREATE DATABASE ${quoteName(access.database)} OWNER ${role}`);
}

/**
 * What was granted on the server that runs now, told by a file beside its socket: so that neither a look nor the
 * next daemon needs a session to know it. It says nothing about another server process.
 * @returns undefined when nothing was
 */
export async function readMark(socketDir: string, server: ProcessId): Promise<string | undefined> {
  const text = await readFile(join(socketDir, FILE), 'utf8').catch(() => '');
  const [pid, startTime, mark] = text.split(' ');
  return pid === `${server.pid}` && startTime === server.startTime ? mark : undefined;
}

export async function writeMark(socketDir: string, server: ProcessId, access: Access): Promise<void> {
  const path = join(socketDir, FILE);
  await writeFile(`${path}.new`, `${server.pid} ${server.startTime} ${markOf(access)}`, { mode: 0o600 });
  await rename(`${path}.new`, path);
}

/** Differs when the access does. */
export const markOf = ({ role, database, verifier }: Access): string =>
  createHash('sha256')
    .update(JSON.stringify([role, database, verifier]))
    .digest('hex');

// --- internal ------------------------------------------------------------------------------------

const FILE = 'access';

/**
 * A child begins with its parent's roles. Their passwords end here, also those of roles that users made; once,
 * because from then on the roles are the child's own. The mark is a setting of our role in the child's catalogue:
 * a grandchild inherits it with another id, and so is not taken for marked.
 */
async function endInheritedPasswords(query: AdminQuery, id: string, role: string): Promise<void> {
  const { rows } = await query("SELECT current_setting('offshoot.adopted', true) AS id");
  if (rows[0]?.id === id) return;
  await query(`DO $do$ DECLARE r record; BEGIN
      FOR r IN SELECT rolname FROM pg_authid WHERE rolpassword IS NOT NULL
        AND rolname NOT IN (${quoteText(adminRole)}, ${quoteText(role)}) LOOP
        EXECUTE format('ALTER ROLE %I PASSWORD NULL', r.rolname);
      END LOOP;
      ALTER ROLE ${quoteName(adminRole)} SET offshoot.adopted = ${quoteText(id)};
    END $do$`);
}

/** SQL identifier (PostgreSQL §4.1.1). */
const quoteName = (name: string): string => `"${name.replaceAll('"', '""')}"`;

/** SQL string constant (PostgreSQL §4.1.2.1); standard_conforming_strings is on. */
const quoteText = (text: string): string => `'${text.replaceAll("'", "''")}'`;
