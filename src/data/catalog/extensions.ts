import { escapeLiteral } from 'pg';
import { type DbObject, RANK, type ReadKind } from './contract.ts';

/** @param offered extensions that may be had at the target */
export const readExtensions =
  (offered: ReadonlySet<string>): ReadKind =>
  async ({ query }) => {
    const rows = await query<{ oid: string; name: string; plain: string; schema: string }>(
      `SELECT e.oid::text, quote_ident(extname) AS name, extname AS plain, quote_ident(nspname) AS schema
       FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = extnamespace
       WHERE extname <> 'plpgsql'`,
    );
    return rows.map(
      ({ oid, name, plain, schema }): DbObject => ({
        key: `pg_extension:${oid}`,
        what: `extension ${name}`,
        ident: `EXTENSION ${name}`,
        sql: [`CREATE EXTENSION IF NOT EXISTS ${name} SCHEMA ${schema} CASCADE`],
        when: 'before',
        rank: RANK.extension,
        ...(!offered.has(plain) && {
          refused: 'this PostgreSQL does not have it, or it is not allowed in projects',
        }),
      }),
    );
  };

/** Extensions that a project's owner may create: others could be a way out of the database. */
export const OFFERED = `SELECT DISTINCT name FROM pg_catalog.pg_available_extension_versions WHERE trusted OR NOT superuser`;

/** Keys of all that extensions have made, and of which one. */
export const MEMBERS = `SELECT classid::regclass::text || ':' || objid AS member, 'pg_extension:' || refobjid AS extension
  FROM pg_catalog.pg_depend WHERE refclassid = 'pg_catalog.pg_extension'::regclass AND deptype = 'e'`;

/** Rows in tables of extensions that belong to the user (`pg_extension_config_dump`), with the condition that says which. */
export const CONFIG_TABLES = `SELECT 'pg_extension:' || e.oid AS extension, c.oid::text, c.oid::regclass::text AS name, t.condition
  FROM pg_catalog.pg_extension e, unnest(extconfig, extcondition) AS t(oid, condition)
  JOIN pg_catalog.pg_class c ON c.oid = t.oid AND c.relkind = 'r'
  WHERE extname <> ${escapeLiteral('plpgsql')}`;
