/** Tables with their columns; partitions are attached, and defaults set, when both sides are there. */
import { escapeLiteral } from 'pg';
import {
  type DbObject,
  type Key,
  ofNoExtension,
  RANK,
  type ReadKind,
  roleName,
  userSchema,
} from './contract.ts';
import { sequenceOptions } from './sequences.ts';

export const readTables: ReadKind = async source => {
  const columns = new Map<string, Column[]>();
  for (const column of await source.query<Column>(columnsQuery(source.major)))
    columns.set(column.table, [...(columns.get(column.table) ?? []), column]);
  const tables = await source.query<Table>(TABLES);
  return tables.flatMap(table => objectsOf(table, columns.get(table.oid) ?? []));
};

// --- internal -----------------------------------------------------------------------------------

type Table = {
  readonly oid: string;
  readonly name: string;
  readonly owner: string;
  readonly kind: 'r' | 'p' | 'f';
  readonly unlogged: boolean;
  readonly options: readonly string[] | null;
  readonly method: string | null;
  readonly partitionKey: string | null;
  readonly bound: string | null;
  readonly parents: readonly string[];
  readonly parentOids: readonly string[];
  readonly ofType: string | null;
  readonly rowSecurity: boolean;
  readonly forced: boolean;
  readonly identity: string;
  readonly types: readonly string[];
};

const TABLES = `SELECT c.oid::text, c.oid::regclass::text AS name, ${roleName('relowner')} AS owner, relkind AS kind, relpersistence = 'u' AS unlogged,
    (SELECT array_agg(o) FROM (SELECT unnest(c.reloptions) AS o UNION ALL SELECT 'toast.' || unnest(t.reloptions) FROM pg_catalog.pg_class t WHERE t.oid = c.reltoastrelid) all_options) AS options,
    (SELECT quote_ident(amname) FROM pg_catalog.pg_am WHERE oid = c.relam AND amname <> 'heap') AS method,
    CASE WHEN relkind = 'p' THEN pg_get_partkeydef(c.oid) END AS "partitionKey", pg_get_expr(relpartbound, c.oid) AS bound,
    ARRAY(SELECT inhparent::regclass::text FROM pg_catalog.pg_inherits WHERE inhrelid = c.oid ORDER BY inhseqno) AS parents,
    ARRAY(SELECT inhparent::text FROM pg_catalog.pg_inherits WHERE inhrelid = c.oid ORDER BY inhseqno) AS "parentOids",
    CASE WHEN reloftype <> 0 THEN format_type(reloftype, NULL) END AS "ofType", relrowsecurity AS "rowSecurity", relforcerowsecurity AS forced,
    CASE relreplident WHEN 'f' THEN 'FULL' WHEN 'n' THEN 'NOTHING' ELSE '' END AS identity,
    ARRAY(SELECT t.oid::text FROM pg_catalog.pg_type t WHERE t.typrelid = c.oid UNION ALL SELECT t.typarray::text FROM pg_catalog.pg_type t WHERE t.typrelid = c.oid AND t.typarray <> 0) AS types
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace
  WHERE relkind IN ('r', 'p', 'f') AND ${userSchema()} AND ${ofNoExtension('pg_class', 'c')}`;

type Column = {
  readonly table: string;
  readonly name: string;
  readonly type: string;
  readonly collation: string | null;
  readonly notNull: boolean;
  readonly identity: '' | 'a' | 'd';
  readonly identityOptions: string | null;
  readonly generated: '' | 's' | 'v';
  readonly default: string | null;
  readonly defaultOid: string | null;
  readonly local: boolean;
  readonly storage: string | null;
  readonly compression: string | null;
  readonly statistics: number | null;
  readonly options: readonly string[] | null;
};

const columnsQuery = (major: number): string =>
  `SELECT attrelid::text AS table, quote_ident(attname) AS name, format_type(atttypid, atttypmod) AS type,
    CASE WHEN attcollation <> t.typcollation THEN (SELECT format('%I.%I', cn.nspname, collname) FROM pg_catalog.pg_collation co JOIN pg_catalog.pg_namespace cn ON cn.oid = collnamespace WHERE co.oid = attcollation) END AS collation,
    attnotnull AS "notNull", attidentity AS identity, attgenerated AS generated, pg_get_expr(adbin, adrelid) AS default, d.oid::text AS "defaultOid", attislocal AS local,
    CASE WHEN attstorage <> t.typstorage THEN CASE attstorage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END END AS storage,
    ${major >= 14 ? `CASE attcompression WHEN 'p' THEN 'pglz' WHEN 'l' THEN 'lz4' END` : 'NULL'} AS compression,
    NULLIF(attstattarget, -1) AS statistics, attoptions AS options,
    CASE WHEN attidentity <> '' THEN (SELECT format('SEQUENCE NAME %s %s', s.seqrelid::regclass, ${sequenceOptions('s', 'false')}) FROM pg_catalog.pg_depend i JOIN pg_catalog.pg_sequence s ON s.seqrelid = i.objid
      WHERE i.classid = 'pg_catalog.pg_class'::regclass AND i.refclassid = 'pg_catalog.pg_class'::regclass AND i.refobjid = attrelid AND i.refobjsubid = attnum AND i.deptype = 'i') END AS "identityOptions"
  FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = attrelid JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace
  JOIN pg_catalog.pg_type t ON t.oid = atttypid LEFT JOIN pg_catalog.pg_attrdef d ON adrelid = attrelid AND adnum = attnum
  WHERE relkind IN ('r', 'p') AND attnum > 0 AND NOT attisdropped AND ${userSchema()} AND ${ofNoExtension('pg_class', 'c')}
  ORDER BY attrelid, attnum`;

function objectsOf(table: Table, columns: readonly Column[]): readonly DbObject[] {
  const { oid, name, parents, bound } = table;
  const isPartition = bound !== null;
  const also: Key[] = table.types.map(type => `pg_type:${type}` as const);
  const common = { what: `table ${name}`, when: 'before', rank: RANK.table, owner: table.owner } as const;
  if (table.kind === 'f')
    return [
      {
        ...common,
        key: `pg_class:${oid}`,
        what: `foreign table ${name}`,
        sql: [],
        also,
        refused: 'foreign tables lead to other servers',
      },
    ];
  const own = columns.filter(({ local }) => isPartition || local);
  const inline = own.map(column => columnText(column, isPartition));
  for (const { generated, defaultOid } of columns)
    if (generated !== '' && defaultOid !== null) also.push(`pg_attrdef:${defaultOid}`);
  const create = [
    `CREATE ${table.unlogged && table.kind === 'r' ? 'UNLOGGED ' : ''}TABLE ${name} (${inline.join(', ')})`,
    ...(!isPartition && parents.length > 0 ? [`INHERITS (${parents.join(', ')})`] : []),
    ...(table.partitionKey === null ? [] : [`PARTITION BY ${table.partitionKey}`]),
    ...(table.method === null || table.kind === 'p' ? [] : [`USING ${table.method}`]),
    ...(table.options === null ? [] : [`WITH (${table.options.map(optionText).join(', ')})`]),
  ];
  const made: DbObject = {
    ...common,
    key: `pg_class:${oid}`,
    ident: `TABLE ${name}`,
    sql: [
      create.join(' '),
      ...own.flatMap(column => settingsOf(name, column)),
      ...(table.ofType === null ? [] : [`ALTER TABLE ${name} OF ${table.ofType}`]),
    ],
    also,
  };
  const further: DbObject[] = [];
  if (isPartition)
    further.push({
      key: `attached:${oid}`,
      what: `partition ${name}`,
      sql: [`ALTER TABLE ONLY ${parents[0]} ATTACH PARTITION ${name} ${bound}`],
      when: 'before',
      rank: RANK.attach,
      needs: [`pg_class:${oid}`, `pg_class:${table.parentOids[0]}`],
    });
  for (const column of columns) {
    if (column.default === null || column.generated !== '') continue;
    further.push({
      key: `pg_attrdef:${column.defaultOid}`,
      what: `default of ${name}.${column.name}`,
      sql: [`ALTER TABLE ONLY ${name} ALTER COLUMN ${column.name} SET DEFAULT ${column.default}`],
      when: 'before',
      rank: RANK.default,
      needs: [`pg_class:${oid}`],
    });
  }
  const after = [
    ...(table.rowSecurity ? [`ALTER TABLE ${name} ENABLE ROW LEVEL SECURITY`] : []),
    ...(table.forced ? [`ALTER TABLE ONLY ${name} FORCE ROW LEVEL SECURITY`] : []),
    ...(table.identity === '' ? [] : [`ALTER TABLE ONLY ${name} REPLICA IDENTITY ${table.identity}`]),
  ];
  if (after.length > 0)
    further.push({
      key: `settings:${oid}`,
      what: `settings of ${name}`,
      sql: after,
      when: 'after',
      rank: RANK.attached,
      needs: [`pg_class:${oid}`],
    });
  return [made, ...further];
}

/** Those of a partition get their identity from its parent, where it is attached. */
function columnText(column: Column, isPartition: boolean): string {
  const { name, type, collation, generated, identity } = column;
  const parts = [name, type];
  if (collation !== null) parts.push(`COLLATE ${collation}`);
  if (generated !== '')
    parts.push(`GENERATED ALWAYS AS (${column.default}) ${generated === 's' ? 'STORED' : 'VIRTUAL'}`);
  if (identity !== '' && !isPartition)
    parts.push(
      `GENERATED ${identity === 'a' ? 'ALWAYS' : 'BY DEFAULT'} AS IDENTITY (${column.identityOptions})`,
    );
  if (column.notNull) parts.push('NOT NULL');
  return parts.join(' ');
}

function settingsOf(table: string, { name, ...column }: Column): readonly string[] {
  const alter = `ALTER TABLE ONLY ${table} ALTER COLUMN ${name}`;
  return [
    ...(column.storage === null ? [] : [`${alter} SET STORAGE ${column.storage}`]),
    ...(column.compression === null ? [] : [`${alter} SET COMPRESSION ${column.compression}`]),
    ...(column.statistics === null ? [] : [`${alter} SET STATISTICS ${column.statistics}`]),
    ...(column.options === null ? [] : [`${alter} SET (${column.options.map(optionText).join(', ')})`]),
  ];
}

/** `fillfactor=70`, as the catalogue has it. */
export const optionText = (option: string): string => {
  const at = option.indexOf('=');
  return `${option.slice(0, at)} = ${escapeLiteral(option.slice(at + 1))}`;
};
