import { type DbObject, ofNoExtension, RANK, type ReadKind, roleName, userSchema } from './contract.ts';

export const readSchemas: ReadKind = async ({ query }) => {
  const rows = await query<{ oid: string; name: string; plain: string; owner: string }>(
    `SELECT n.oid::text, quote_ident(nspname) AS name, nspname AS plain, ${roleName('nspowner')} AS owner
     FROM pg_catalog.pg_namespace n WHERE ${userSchema()} AND ${ofNoExtension('pg_namespace', 'n')}`,
  );
  return rows.map(
    ({ oid, name, plain, owner }): DbObject => ({
      key: `pg_namespace:${oid}`,
      what: `schema ${name}`,
      ident: `SCHEMA ${name}`,
      sql: plain === 'public' ? [] : [`CREATE SCHEMA ${name}`],
      when: 'before',
      rank: RANK.schema,
      owner,
    }),
  );
};
