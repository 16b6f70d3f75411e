/** What comes, but not as it was at the source: said once for all of it. */
import type { ImportReport } from '../../model/import.ts';
import type { Source } from './contract.ts';

export async function readDifferences({ query }: Source): Promise<ImportReport['leftOut']> {
  const rows = await query<{ what: string; why: string }>(
    `SELECT 'locale ' || datcollate AS what, 'texts sort by code point here (C.UTF-8), unless a column says otherwise' AS why
       FROM pg_catalog.pg_database WHERE datname = current_database() AND datcollate NOT IN ('C', 'POSIX', 'C.UTF-8', 'C.utf8')
     UNION ALL SELECT 'encoding ' || pg_catalog.pg_encoding_to_char(encoding), 'here it is UTF8'
       FROM pg_catalog.pg_database WHERE datname = current_database() AND pg_catalog.pg_encoding_to_char(encoding) <> 'UTF8'
     UNION ALL SELECT 'passwords of ' || string_agg(rolname, ', ' ORDER BY rolname), 'only superusers may read them; the owner of the project may set others'
       FROM pg_catalog.pg_roles WHERE rolcanlogin AND rolname !~ '^pg_' HAVING count(*) > 0
     UNION ALL SELECT 'tablespaces ' || string_agg(spcname, ', ' ORDER BY spcname), 'all is in one place here'
       FROM pg_catalog.pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global') HAVING count(*) > 0
     UNION ALL SELECT count(*) || ' security labels', 'they mean something to a provider only, which is not here'
       FROM pg_catalog.pg_seclabel WHERE objoid >= 16384 HAVING count(*) > 0`,
  );
  return rows;
}
