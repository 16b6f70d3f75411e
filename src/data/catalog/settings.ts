/** Settings of the database, and of roles, as far as whoever sets them could have set them here. */
import { escapeIdentifier, escapeLiteral } from 'pg';
import type { Source } from './contract.ts';

export type Setting = { readonly what: string; readonly name: string; readonly sql: string };

/** @param database its name here */
export async function readSettings(
  { query }: Source,
  database: string,
  nameOf: (role: string) => string | undefined,
): Promise<readonly Setting[]> {
  const rows = await query<{ role: string | null; all: boolean; setting: string }>(
    `SELECT CASE WHEN setrole <> 0 THEN pg_catalog.pg_get_userbyid(setrole) END AS role, setdatabase = 0 AS all, unnest(setconfig) AS setting
     FROM pg_catalog.pg_db_role_setting WHERE setdatabase IN (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()))`,
  );
  return rows.flatMap(({ role, all, setting }) => {
    const who = role === null ? undefined : nameOf(role);
    if (role !== null && who === undefined) return [];
    const at = setting.indexOf('=');
    const [name, value] = [setting.slice(0, at), setting.slice(at + 1)];
    const db = `DATABASE ${escapeIdentifier(database)}`;
    const whom = who === undefined ? db : `ROLE ${escapeIdentifier(who)}${all ? '' : ` IN ${db}`}`;
    const text = LISTS.has(name) ? value : escapeLiteral(value);
    const quoted = name.split('.').map(escapeIdentifier).join('.');
    return [
      { what: `setting ${name}`, name, sql: `ALTER ${whom} SET ${quoted} TO ${text === '' ? "''" : text}` },
    ];
  });
}

/** Names that nobody but a superuser may set lead out of the database, e.g. to files. */
export const SETTABLE = `SELECT name FROM pg_catalog.pg_settings WHERE context = 'user'`;

// --- internal -----------------------------------------------------------------------------------

/** Kept as a list of quoted names, which is not to be quoted again. */
const LISTS = new Set(['search_path', 'temp_tablespaces', 'DateStyle'.toLowerCase()]);
