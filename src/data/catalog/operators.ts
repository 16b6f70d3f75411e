/** Operators and casts. Their classes and families are in unsupported.ts: what is there of them is said. */
import { type DbObject, ofNoExtension, RANK, type ReadKind, roleName, userSchema } from './contract.ts';

export const readOperators: ReadKind = async source => [
  ...(await operators(source)),
  ...(await casts(source)),
];

// --- internal -----------------------------------------------------------------------------------

const operators: ReadKind = async ({ query }) => {
  const other = (column: string) =>
    `(SELECT format('OPERATOR(%I.%s)', xn.nspname, x.oprname) FROM pg_catalog.pg_operator x JOIN pg_catalog.pg_namespace xn ON xn.oid = x.oprnamespace WHERE x.oid = o.${column} AND x.oprcode <> 0)`;
  const type = (column: string) => `format_type(NULLIF(${column}, 0), NULL)`;
  const rows = await query<
    Record<string, string | null> & { oid: string; name: string; identity: string; owner: string }
  >(
    `SELECT o.oid::text, format('%I.%s', nspname, oprname) AS name, format('%I.%s (%s, %s)', nspname, oprname, COALESCE(${type('oprleft')}, 'NONE'), COALESCE(${type('oprright')}, 'NONE')) AS identity,
       ${roleName('oprowner')} AS owner, oprcode::regproc::text AS "FUNCTION", ${type('oprleft')} AS "LEFTARG", ${type('oprright')} AS "RIGHTARG",
       ${other('oprcom')} AS "COMMUTATOR", ${other('oprnegate')} AS "NEGATOR", NULLIF(oprrest, 0::oid)::regproc::text AS "RESTRICT", NULLIF(oprjoin, 0::oid)::regproc::text AS "JOIN",
       CASE WHEN oprcanhash THEN '' END AS "HASHES", CASE WHEN oprcanmerge THEN '' END AS "MERGES"
     FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_namespace n ON n.oid = oprnamespace
     WHERE oprcode <> 0 AND ${userSchema()} AND ${ofNoExtension('pg_operator', 'o')}`,
  );
  return rows.map((row): DbObject => {
    const options = Object.entries(row).flatMap(([name, value]) =>
      /^[A-Z]+$/.test(name) && value !== null ? [value === '' ? name : `${name} = ${value}`] : [],
    );
    return {
      key: `pg_operator:${row.oid}`,
      what: `operator ${row.identity}`,
      ident: `OPERATOR ${row.identity}`,
      sql: [`CREATE OPERATOR ${row.name} (${options.join(', ')})`],
      when: 'before',
      rank: RANK.operator,
      owner: row.owner,
    };
  });
};

const casts: ReadKind = async ({ query }) => {
  const rows = await query<{ oid: string; name: string; how: string; context: string }>(
    `SELECT c.oid::text, format('(%s AS %s)', format_type(castsource, NULL), format_type(casttarget, NULL)) AS name,
       CASE castmethod WHEN 'i' THEN 'WITH INOUT' WHEN 'b' THEN 'WITHOUT FUNCTION' ELSE 'WITH FUNCTION ' || castfunc::regprocedure::text END AS how,
       CASE castcontext WHEN 'a' THEN ' AS ASSIGNMENT' WHEN 'i' THEN ' AS IMPLICIT' ELSE '' END AS context
     FROM pg_catalog.pg_cast c WHERE c.oid >= 16384 AND ${ofNoExtension('pg_cast', 'c')}
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend i WHERE i.classid = 'pg_catalog.pg_cast'::regclass AND i.objid = c.oid AND i.deptype = 'i')`,
  );
  return rows.map(
    (row): DbObject => ({
      key: `pg_cast:${row.oid}`,
      what: `cast ${row.name}`,
      ident: `CAST ${row.name}`,
      sql: [`CREATE CAST ${row.name} ${row.how}${row.context}`],
      when: 'before',
      rank: RANK.operator,
    }),
  );
};
