/** Indexes and constraints: after the rows, because that is quicker, and because what refers to each other comes in any order. */
import { type DbObject, type Key, ofNoExtension, RANK, type ReadKind, userSchema } from './contract.ts';

export const readIndexes: ReadKind = async source => [
  ...(await indexes(source)),
  ...(await constraints(source)),
];

// --- internal -----------------------------------------------------------------------------------

type Index = {
  readonly oid: string;
  readonly name: string;
  readonly table: string;
  readonly tableName: string;
  readonly definition: string;
  readonly constraint: string | null;
  readonly constraintName: string | null;
  readonly constraintText: string | null;
  readonly parent: string | null;
  readonly parentName: string | null;
  readonly clustered: boolean;
  readonly replica: boolean;
  readonly plain: string;
  readonly statistics: readonly string[];
};

const indexes: ReadKind = async ({ query }) => {
  const rows = await query<Index>(
    `SELECT c.oid::text, c.oid::regclass::text AS name, quote_ident(c.relname) AS plain, i.indrelid::text AS table, i.indrelid::regclass::text AS "tableName", pg_get_indexdef(c.oid) AS definition,
       k.oid::text AS constraint, quote_ident(conname) AS "constraintName", pg_get_constraintdef(k.oid) AS "constraintText",
       h.inhparent::text AS parent, h.inhparent::regclass::text AS "parentName", indisclustered AS clustered, indisreplident AS replica,
       ARRAY(SELECT format('%s SET STATISTICS %s', attnum, attstattarget) FROM pg_catalog.pg_attribute WHERE attrelid = c.oid AND attstattarget >= 0) AS statistics
     FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_class t ON t.oid = i.indrelid
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     LEFT JOIN pg_catalog.pg_constraint k ON k.conindid = c.oid AND contype IN ('p', 'u', 'x') AND k.conrelid = i.indrelid
     LEFT JOIN pg_catalog.pg_inherits h ON h.inhrelid = c.oid
     WHERE t.relkind IN ('r', 'p', 'm') AND (i.indisvalid OR t.relkind = 'p') AND i.indisready AND ${userSchema()} AND ${ofNoExtension('pg_class', 'c')} AND ${ofNoExtension('pg_class', 't')}`,
  );
  return rows.flatMap((row): DbObject[] => {
    const { name, tableName, constraint } = row;
    const also: Key[] = constraint === null ? [] : [`pg_constraint:${constraint}`];
    const index: DbObject = {
      key: `pg_class:${row.oid}`,
      what: constraint === null ? `index ${name}` : `constraint ${row.constraintName} of ${tableName}`,
      ident: constraint === null ? `INDEX ${name}` : `CONSTRAINT ${row.constraintName} ON ${tableName}`,
      sql: [
        constraint === null
          ? row.definition
          : `ALTER TABLE ONLY ${tableName} ADD CONSTRAINT ${row.constraintName} ${row.constraintText}`,
        ...row.statistics.map(text => `ALTER INDEX ${name} ALTER COLUMN ${text}`),
        ...(row.clustered ? [`ALTER TABLE ${tableName} CLUSTER ON ${row.plain}`] : []),
        ...(row.replica ? [`ALTER TABLE ONLY ${tableName} REPLICA IDENTITY USING INDEX ${row.plain}`] : []),
      ],
      when: 'after',
      rank: RANK.index,
      also,
      needs: [`pg_class:${row.table}`],
      parallel: 'index',
    };
    if (row.parent === null) return [index];
    const attached: DbObject = {
      key: `attached:${row.oid}`,
      what: `index ${name} of a partition`,
      sql: [`ALTER INDEX ${row.parentName} ATTACH PARTITION ${name}`],
      when: 'after',
      rank: RANK.constraint,
      needs: [`pg_class:${row.oid}`, `pg_class:${row.parent}`],
    };
    return [index, attached];
  });
};

/** Checks and foreign keys. What a partition or a child has from its parent comes with the parent's. */
const constraints: ReadKind = async ({ query }) => {
  const rows = await query<{
    oid: string;
    name: string;
    type: string;
    table: string;
    tableName: string;
    refers: string;
    index: string;
    text: string;
    partitioned: boolean;
  }>(
    `SELECT k.oid::text, quote_ident(conname) AS name, contype AS type, conrelid::text AS table, conrelid::regclass::text AS "tableName",
       confrelid::text AS refers, conindid::text AS index, pg_get_constraintdef(k.oid) AS text, t.relkind = 'p' AS partitioned
     FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class t ON t.oid = conrelid JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
     WHERE contype IN ('c', 'f') AND conparentid = 0 AND (contype = 'f' OR conislocal) AND t.relkind IN ('r', 'p') AND ${userSchema()} AND ${ofNoExtension('pg_class', 't')}`,
  );
  return rows.map((row): DbObject => {
    const isKey = row.type === 'f';
    const only = isKey && !row.partitioned ? 'ONLY ' : '';
    return {
      key: `pg_constraint:${row.oid}`,
      what: `constraint ${row.name} of ${row.tableName}`,
      ident: `CONSTRAINT ${row.name} ON ${row.tableName}`,
      sql: [`ALTER TABLE ${only}${row.tableName} ADD CONSTRAINT ${row.name} ${row.text}`],
      when: 'after',
      rank: isKey ? RANK.foreignKey : RANK.constraint,
      needs: [
        `pg_class:${row.table}`,
        ...(isKey ? ([`pg_class:${row.refers}`, `pg_class:${row.index}`] as const) : []),
      ],
      ...(isKey && { parallel: 'foreign key' }),
    };
  });
};
