import { escapeLiteral } from 'pg';
import { type DbObject, ofNoExtension, RANK, type ReadKind, roleName, userSchema } from './contract.ts';

export const readCollations: ReadKind = async ({ query, major }) => {
  const locale = major >= 17 ? 'colllocale' : major >= 15 ? 'colliculocale' : 'NULL::text';
  const rules = major >= 16 ? 'collicurules' : 'NULL::text';
  const rows = await query<{
    oid: string;
    name: string;
    owner: string;
    provider: string;
    locale: string | null;
    collate: string | null;
    ctype: string | null;
    deterministic: boolean;
    rules: string | null;
  }>(
    `SELECT c.oid::text, format('%I.%I', nspname, collname) AS name, ${roleName('collowner')} AS owner, collprovider AS provider,
       COALESCE(${locale}, CASE WHEN collprovider <> 'c' THEN collcollate::text END) AS locale, collcollate::text AS collate, collctype::text AS ctype,
       collisdeterministic AS deterministic, ${rules} AS rules
     FROM pg_catalog.pg_collation c JOIN pg_catalog.pg_namespace n ON n.oid = collnamespace WHERE ${userSchema()} AND ${ofNoExtension('pg_collation', 'c')}`,
  );
  return rows.map((row): DbObject => {
    const provider = { c: 'libc', i: 'icu', b: 'builtin', d: 'default' }[row.provider] ?? 'libc';
    const options = [
      `provider = ${provider}`,
      ...(row.provider === 'c'
        ? [
            `lc_collate = ${escapeLiteral(row.collate ?? 'C')}`,
            `lc_ctype = ${escapeLiteral(row.ctype ?? 'C')}`,
          ]
        : [`locale = ${escapeLiteral(row.locale ?? 'und')}`]),
      ...(row.deterministic ? [] : ['deterministic = false']),
      ...(row.rules === null ? [] : [`rules = ${escapeLiteral(row.rules)}`]),
    ];
    return {
      key: `pg_collation:${row.oid}`,
      what: `collation ${row.name}`,
      ident: `COLLATION ${row.name}`,
      sql: [`CREATE COLLATION ${row.name} (${options.join(', ')})`],
      when: 'before',
      rank: RANK.collation,
      owner: row.owner,
    };
  });
};
