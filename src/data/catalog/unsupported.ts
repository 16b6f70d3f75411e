/** Kinds of object that are not made: what a source has of them is named, never passed over. */
import { type DbObject, ofNoExtension, RANK, type ReadKind } from './contract.ts';

export const readUnsupported: ReadKind = async ({ query }) => {
  const found: DbObject[] = [];
  const refuse = (key: DbObject['key'], what: string, refused: string) =>
    found.push({ key, what, sql: [], when: 'before', rank: RANK.operator, refused });
  for (const [catalog, why] of Object.entries(KINDS)) {
    const rows = await query<{ oid: string; what: string }>(
      `SELECT o.oid::text, pg_catalog.pg_describe_object('pg_catalog.${catalog}'::regclass, o.oid, 0) AS what
       FROM pg_catalog.${catalog} o WHERE o.oid >= 16384 AND ${ofNoExtension(catalog, 'o')}`,
    );
    for (const { oid, what } of rows) refuse(`${catalog}:${oid}`, what, why);
  }
  const mappings = await query<{ oid: string; what: string }>(
    `SELECT umid::text AS oid, format('user mapping for %s on %s', usename, srvname) AS what FROM pg_catalog.pg_user_mappings`,
  );
  for (const { oid, what } of mappings)
    refuse(`pg_user_mapping:${oid}`, what, 'it holds a password for another server');
  const subscriptions = await query<{ name: string }>(
    `SELECT quote_ident(subname) AS name FROM pg_catalog.pg_subscription WHERE subdbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())`,
  );
  for (const { name } of subscriptions)
    refuse(
      `pg_subscription:${name}`,
      `subscription ${name}`,
      'a branch must not read what its source subscribes to',
    );
  return found;
};

// --- internal -----------------------------------------------------------------------------------

const KINDS: Readonly<Record<string, string>> = {
  pg_opclass: 'operator classes come with extensions only',
  pg_opfamily: 'operator families come with extensions only',
  pg_conversion: 'conversions need functions in C',
  pg_foreign_data_wrapper: 'foreign data lead to other servers',
  pg_foreign_server: 'foreign data lead to other servers',
  pg_am: 'access methods need functions in C',
  pg_language: 'languages come with extensions only',
  pg_event_trigger:
    'event triggers belong to superusers, and run for what they do; nobody in a project is one',
  pg_transform: 'transforms come with extensions only',
  pg_ts_parser: 'parsers of text search need functions in C',
  pg_ts_template: 'templates of text search need functions in C',
};
