/** Extended statistics: what of several columns the planner is to know. */
import { ofNoExtension, RANK, type ReadKind, roleName, userSchema } from './contract.ts';

export const readStatistics: ReadKind = async ({ query }) => {
  const rows = await query<{
    oid: string;
    name: string;
    owner: string;
    text: string;
    target: number | null;
    table: string;
  }>(
    `SELECT s.oid::text, format('%I.%I', nspname, stxname) AS name, ${roleName('stxowner')} AS owner, pg_get_statisticsobjdef(s.oid) AS text, NULLIF(stxstattarget, -1) AS target, stxrelid::text AS table
     FROM pg_catalog.pg_statistic_ext s JOIN pg_catalog.pg_namespace n ON n.oid = stxnamespace WHERE ${userSchema()} AND ${ofNoExtension('pg_statistic_ext', 's')}`,
  );
  return rows.map(row => ({
    key: `pg_statistic_ext:${row.oid}`,
    what: `statistics ${row.name}`,
    ident: `STATISTICS ${row.name}`,
    sql: [
      row.text,
      ...(row.target === null ? [] : [`ALTER STATISTICS ${row.name} SET STATISTICS ${row.target}`]),
    ],
    when: 'after',
    rank: RANK.attached,
    owner: row.owner,
    needs: [`pg_class:${row.table}`],
  }));
};
