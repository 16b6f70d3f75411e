/** Policies of row security. That a table has any stands with the table. */
import { ofNoExtension, RANK, type ReadKind, roleName, userSchema } from './contract.ts';

export const readPolicies: ReadKind = async ({ query }) => {
  const rows = await query<{
    oid: string;
    name: string;
    table: string;
    tableName: string;
    permissive: boolean;
    command: string;
    roles: string[];
    using: string | null;
    check: string | null;
  }>(
    `SELECT p.oid::text, quote_ident(polname) AS name, polrelid::text AS table, polrelid::regclass::text AS "tableName", polpermissive AS permissive,
       CASE polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END AS command,
       ARRAY(SELECT CASE WHEN o = 0 THEN 'PUBLIC' ELSE quote_ident(${roleName('o')}) END FROM unnest(polroles) o) AS roles,
       pg_get_expr(polqual, polrelid) AS using, pg_get_expr(polwithcheck, polrelid) AS check
     FROM pg_catalog.pg_policy p JOIN pg_catalog.pg_class t ON t.oid = polrelid JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
     WHERE ${userSchema()} AND ${ofNoExtension('pg_class', 't')}`,
  );
  return rows.map(row => ({
    key: `pg_policy:${row.oid}`,
    what: `policy ${row.name} of ${row.tableName}`,
    ident: `POLICY ${row.name} ON ${row.tableName}`,
    sql: [
      `CREATE POLICY ${row.name} ON ${row.tableName} AS ${row.permissive ? 'PERMISSIVE' : 'RESTRICTIVE'} FOR ${row.command} TO ${row.roles.join(', ')}${row.using === null ? '' : ` USING (${row.using})`}${row.check === null ? '' : ` WITH CHECK (${row.check})`}`,
    ],
    when: 'after',
    rank: RANK.attached,
    needs: [`pg_class:${row.table}`],
  }));
};
