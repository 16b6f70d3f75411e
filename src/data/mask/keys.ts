/** What of a table a masked column may be part of: keys, unique indexes, exclusions, and what decides on a row's partition. */
import { type Source, userSchema } from '../catalog/contract.ts';

export type UniqueIndex = {
  readonly table: string;
  readonly name: string;
  readonly columns: readonly number[];
  /** Rows of the table, as a guess. */
  readonly rows: number;
  /** NULLs are the same, too. */
  readonly nullsSame: boolean;
  readonly exclusion: boolean;
};

export type ForeignKey = {
  readonly name: string;
  readonly table: string;
  readonly refers: string;
  readonly columns: readonly number[];
  readonly referred: readonly number[];
};

export type Keys = {
  readonly unique: readonly UniqueIndex[];
  readonly foreign: readonly ForeignKey[];
  /** Columns that decide on a row's partition, by partitioned table. */
  readonly partition: ReadonlyMap<string, ReadonlySet<number>>;
};

export async function readKeys({ query, major }: Source): Promise<Keys> {
  const unique = await query<UniqueIndex>(uniqueQuery(major));
  const foreign = await query<ForeignKey>(FOREIGN);
  const partition = new Map<string, Set<number>>();
  for (const { table, number } of await query<{ table: string; number: number }>(PARTITION))
    partition.set(table, (partition.get(table) ?? new Set()).add(number));
  return { unique, foreign, partition };
}

// --- internal -----------------------------------------------------------------------------------

/** Columns in expressions and conditions of an index are known by what it depends on. */
const uniqueQuery = (major: number): string =>
  `SELECT indrelid::text AS table, i.indexrelid::regclass::text AS name, indisexclusion AS exclusion, ${major >= 15 ? 'indnullsnotdistinct' : 'false'} AS "nullsSame",
     CASE WHEN t.reltuples > 0 THEN t.reltuples::float8 ELSE pg_catalog.pg_relation_size(t.oid) / 40.0 END::float8 AS rows,
     ARRAY(SELECT DISTINCT a FROM (SELECT unnest(indkey::int[]) AS a UNION ALL SELECT refobjsubid FROM pg_catalog.pg_depend
       WHERE classid = 'pg_catalog.pg_class'::regclass AND objid = i.indexrelid AND refclassid = 'pg_catalog.pg_class'::regclass AND refobjid = indrelid) all_columns WHERE a > 0) AS columns
   FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class t ON t.oid = indrelid JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
   WHERE (indisunique OR indisexclusion) AND t.relkind IN ('r', 'p') AND ${userSchema()}`;

const FOREIGN = `SELECT quote_ident(conname) AS name, conrelid::text AS table, confrelid::text AS refers, conkey::int[] AS columns, confkey::int[] AS referred
  FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_namespace n ON n.oid = connamespace WHERE contype = 'f' AND ${userSchema()}`;

/** Of expressions: the columns depend on their table then. */
const PARTITION = `SELECT partrelid::text AS table, a::int AS number FROM pg_catalog.pg_partitioned_table, unnest(partattrs::int[]) a WHERE a > 0
  UNION SELECT objid::text, objsubid FROM pg_catalog.pg_depend JOIN pg_catalog.pg_partitioned_table ON partrelid = objid
    WHERE classid = 'pg_catalog.pg_class'::regclass AND refclassid = classid AND refobjid = objid AND objsubid > 0 AND refobjsubid = 0`;
