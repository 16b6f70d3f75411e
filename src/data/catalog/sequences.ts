/** Sequences, whom they belong to, and how far they are. Those of identity columns come with their tables. */
import {
  type DbObject,
  ofNoExtension,
  RANK,
  type ReadKind,
  roleName,
  type Source,
  userSchema,
} from './contract.ts';

export const readSequences: ReadKind = async ({ query }) => {
  const rows = await query<{
    oid: string;
    name: string;
    owner: string;
    options: string;
    unlogged: boolean;
    table: string | null;
    column: string | null;
    tableName: string | null;
  }>(
    `SELECT c.oid::text, c.oid::regclass::text AS name, ${roleName('relowner')} AS owner, ${sequenceOptions('s', 'true')} AS options, relpersistence = 'u' AS unlogged,
       d.refobjid::text AS table, quote_ident(attname) AS column, d.refobjid::regclass::text AS "tableName"
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace JOIN pg_catalog.pg_sequence s ON seqrelid = c.oid
     LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.deptype = 'a'
     LEFT JOIN pg_catalog.pg_attribute a ON attrelid = d.refobjid AND attnum = d.refobjsubid
     WHERE ${userSchema()} AND ${ofNoExtension('pg_class', 'c')} AND ${OF_NO_IDENTITY}`,
  );
  return rows.flatMap((row): DbObject[] => {
    const sequence: DbObject = {
      key: `pg_class:${row.oid}`,
      what: `sequence ${row.name}`,
      ident: `SEQUENCE ${row.name}`,
      sql: [`CREATE ${row.unlogged ? 'UNLOGGED ' : ''}SEQUENCE ${row.name} ${row.options}`],
      when: 'before',
      rank: RANK.sequence,
      owner: row.owner,
    };
    if (row.table === null) return [sequence];
    const owned: DbObject = {
      key: `owned:${row.oid}`,
      what: `owner of sequence ${row.name}`,
      sql: [`ALTER SEQUENCE ${row.name} OWNED BY ${row.tableName}.${row.column}`],
      when: 'before',
      rank: RANK.attach,
      needs: [`pg_class:${row.oid}`, `pg_class:${row.table}`],
    };
    return [sequence, owned];
  });
};

/** Where each sequence of the source is, those of identity columns included. A role that may not read one says so before. */
export async function readSequenceValues({
  query,
}: Source): Promise<readonly { readonly key: `pg_class:${string}`; readonly sql: string }[]> {
  const all = await query<{ oid: string; name: string; table: string | null }>(
    `SELECT c.oid::text, c.oid::regclass::text AS name, (SELECT d.refobjid::text FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.deptype = 'i') AS table
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace
     WHERE relkind = 'S' AND ${userSchema()} AND ${ofNoExtension('pg_class', 'c')}`,
  );
  const found: { readonly key: `pg_class:${string}`; readonly sql: string }[] = [];
  for (let at = 0; at < all.length; at += MANY) {
    const part = all.slice(at, at + MANY);
    const sql = part.map(
      ({ name }, i) => `SELECT ${i} AS i, last_value::text AS value, is_called AS called FROM ${name}`,
    );
    for (const { i, value, called } of await query<{ i: number; value: string; called: boolean }>(
      sql.join(' UNION ALL '),
    )) {
      const { oid, name, table } = part[i]!;
      found.push({
        key: `pg_class:${table ?? oid}`,
        sql: `SELECT pg_catalog.setval('${name.replaceAll("'", "''")}'::regclass, ${value}, ${called})`,
      });
    }
  }
  return found;
}

/** @param s alias of pg_sequence @param typed whether the type is said, too */
export const sequenceOptions = (s: string, typed: string): string =>
  `format('%sSTART WITH %s INCREMENT BY %s MINVALUE %s MAXVALUE %s CACHE %s%s', CASE WHEN ${typed} THEN format('AS %s ', format_type(${s}.seqtypid, NULL)) ELSE '' END,
    ${s}.seqstart, ${s}.seqincrement, ${s}.seqmin, ${s}.seqmax, ${s}.seqcache, CASE WHEN ${s}.seqcycle THEN ' CYCLE' ELSE '' END)`;

// --- internal -----------------------------------------------------------------------------------

/** Sequences that are asked for in one statement. */
const MANY = 200;

const OF_NO_IDENTITY = `NOT EXISTS (SELECT FROM pg_catalog.pg_depend i WHERE i.classid = 'pg_catalog.pg_class'::regclass AND i.objid = c.oid AND i.refclassid = 'pg_catalog.pg_class'::regclass AND i.deptype = 'i')`;
