/** Types that users have made: enums, composites, domains, ranges. Row types come with their tables. */
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

export const readTypes: ReadKind = async source => [
  ...(await enums(source)),
  ...(await composites(source)),
  ...(await domains(source)),
  ...(await ranges(source)),
  ...(await baseTypes(source)),
];

// --- internal -----------------------------------------------------------------------------------

const COLUMNS = `t.oid::text, format('%I.%I', n.nspname, t.typname) AS name, ${roleName('typowner')} AS owner, t.typarray::text AS array`;
const FROM = `pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = typnamespace`;
const WHERE = `${userSchema()} AND ${ofNoExtension('pg_type', 't')}`;

/** That of a column or domain, where it is not its type's own. */
const collate = (collation: string, type: string): string =>
  `CASE WHEN ${collation} <> 0 AND ${collation} <> (SELECT typcollation FROM pg_catalog.pg_type WHERE oid = ${type})
   THEN (SELECT format(' COLLATE %I.%I', cn.nspname, co.collname) FROM pg_catalog.pg_collation co JOIN pg_catalog.pg_namespace cn ON cn.oid = collnamespace WHERE co.oid = ${collation}) ELSE '' END`;

type TypeRow = {
  readonly oid: string;
  readonly name: string;
  readonly owner: string;
  readonly array: string;
};

const typeObject = (row: TypeRow, sql: string, kind = 'TYPE', also: readonly Key[] = []): DbObject => ({
  key: `pg_type:${row.oid}`,
  what: `${kind.toLowerCase()} ${row.name}`,
  ident: `${kind} ${row.name}`,
  sql: [sql],
  when: 'before',
  rank: RANK.type,
  owner: row.owner,
  also: [...(row.array === '0' ? [] : [`pg_type:${row.array}` as const]), ...also],
});

const enums: ReadKind = async ({ query }) => {
  const rows = await query<TypeRow & { labels: string[] }>(
    `SELECT ${COLUMNS}, ARRAY(SELECT enumlabel::text FROM pg_catalog.pg_enum WHERE enumtypid = t.oid ORDER BY enumsortorder) AS labels
     FROM ${FROM} WHERE typtype = 'e' AND ${WHERE}`,
  );
  return rows.map(row =>
    typeObject(row, `CREATE TYPE ${row.name} AS ENUM (${row.labels.map(escapeLiteral).join(', ')})`),
  );
};

const composites: ReadKind = async ({ query }) => {
  const rows = await query<TypeRow & { fields: string[]; relation: string }>(
    `SELECT ${COLUMNS}, typrelid::text AS relation, ARRAY(
       SELECT quote_ident(attname) || ' ' || format_type(atttypid, atttypmod) || ${collate('attcollation', 'atttypid')}
       FROM pg_catalog.pg_attribute WHERE attrelid = typrelid AND attnum > 0 AND NOT attisdropped ORDER BY attnum) AS fields
     FROM ${FROM} JOIN pg_catalog.pg_class c ON c.oid = typrelid AND relkind = 'c' WHERE typtype = 'c' AND ${WHERE}`,
  );
  return rows.map(row =>
    typeObject(row, `CREATE TYPE ${row.name} AS (${row.fields.join(', ')})`, 'TYPE', [
      `pg_class:${row.relation}`,
    ]),
  );
};

const domains: ReadKind = async ({ query }) => {
  const rows = await query<
    TypeRow & { base: string; notnull: boolean; default: string | null; checks: string[]; keys: string[] }
  >(
    `SELECT ${COLUMNS}, format_type(typbasetype, typtypmod) || ${collate('t.typcollation', 'typbasetype')} AS base,
       typnotnull AS notnull, pg_get_expr(typdefaultbin, 0) AS default,
       ARRAY(SELECT format('CONSTRAINT %I %s', conname, pg_get_constraintdef(k.oid)) FROM pg_catalog.pg_constraint k WHERE contypid = t.oid AND contype = 'c' AND convalidated ORDER BY conname) AS checks,
       ARRAY(SELECT k.oid::text FROM pg_catalog.pg_constraint k WHERE contypid = t.oid) AS keys
     FROM ${FROM} WHERE typtype = 'd' AND ${WHERE}`,
  );
  return rows.map(row => {
    const parts = [
      `CREATE DOMAIN ${row.name} AS ${row.base}`,
      ...(row.default === null ? [] : [`DEFAULT ${row.default}`]),
      ...(row.notnull ? ['NOT NULL'] : []),
      ...row.checks,
    ];
    return typeObject(
      row,
      parts.join(' '),
      'DOMAIN',
      row.keys.map(oid => `pg_constraint:${oid}` as const),
    );
  });
};

const ranges: ReadKind = async ({ query, major }) => {
  const multi =
    major >= 14
      ? `(SELECT format('%I.%I', mn.nspname, m.typname) FROM pg_catalog.pg_type m JOIN pg_catalog.pg_namespace mn ON mn.oid = m.typnamespace WHERE m.oid = rngmultitypid)`
      : 'NULL';
  const more =
    major >= 14
      ? `ARRAY[rngmultitypid, (SELECT typarray FROM pg_catalog.pg_type m WHERE m.oid = rngmultitypid)]`
      : `ARRAY[]::oid[]`;
  const rows = await query<
    TypeRow & {
      subtype: string;
      opclass: string | null;
      collation: string | null;
      canonical: string | null;
      diff: string | null;
      multi: string | null;
      more: string[];
    }
  >(
    `SELECT ${COLUMNS}, format_type(rngsubtype, NULL) AS subtype,
       (SELECT format('%I.%I', ocn.nspname, opcname) FROM pg_catalog.pg_opclass oc JOIN pg_catalog.pg_namespace ocn ON ocn.oid = opcnamespace WHERE oc.oid = rngsubopc AND NOT opcdefault) AS opclass,
       (SELECT format('%I.%I', cn.nspname, collname) FROM pg_catalog.pg_collation co JOIN pg_catalog.pg_namespace cn ON cn.oid = collnamespace WHERE co.oid = rngcollation AND collname <> 'default') AS collation,
       NULLIF(rngcanonical, 0)::regproc::text AS canonical, NULLIF(rngsubdiff, 0)::regproc::text AS diff,
       ${multi} AS multi, (${more})::text[] AS more
     FROM pg_catalog.pg_range r JOIN ${FROM} ON t.oid = rngtypid WHERE ${WHERE}`,
  );
  return rows.map(row => {
    const options = Object.entries({
      SUBTYPE: row.subtype,
      SUBTYPE_OPCLASS: row.opclass,
      COLLATION: row.collation,
      SUBTYPE_DIFF: row.diff,
      MULTIRANGE_TYPE_NAME: row.multi,
    }).flatMap(([name, value]) => (value === null ? [] : [`${name} = ${value}`]));
    const made = typeObject(
      row,
      `CREATE TYPE ${row.name} AS RANGE (${options.join(', ')})`,
      'TYPE',
      row.more.map(oid => `pg_type:${oid}` as const),
    );
    return row.canonical === null
      ? made
      : { ...made, refused: `its function ${row.canonical} would have to be there before it` };
  });
};

/** Their functions are written in C. */
const baseTypes: ReadKind = async ({ query }) => {
  const rows = await query<TypeRow>(
    `SELECT ${COLUMNS} FROM ${FROM} WHERE typtype = 'b' AND typcategory <> 'A' AND typelem = 0 AND typisdefined AND ${WHERE}`,
  );
  return rows.map(row => ({
    ...typeObject(row, ''),
    refused: 'base types need functions in C, which only extensions may bring',
  }));
};
