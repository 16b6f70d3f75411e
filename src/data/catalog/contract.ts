/**
 * What is read of a source's catalogue, and what is made of it: objects with the statements that make them, in PostgreSQL's
 * own words where it has a function for that. Types, and what all kinds share. The catalogue: PostgreSQL, chapter 53.
 */
import type { Row } from '../session.ts';

/** Names an object as pg_depend does: `pg_class:16400`. */
export type Key = `${string}:${string}`;

export type DbObject = {
  readonly key: Key;
  /** For people, e.g. `table public.orders`. */
  readonly what: string;
  /** As COMMENT ON, ALTER … OWNER TO and GRANT name it, e.g. `TABLE public.orders`; absent: they cannot. */
  readonly ident?: string;
  /** One statement each; empty: it is there already. */
  readonly sql: readonly string[];
  /** `before` the rows, or `after` them: what is quicker then, or would change or refuse rows. */
  readonly when: 'before' | 'after';
  /** Among those that may come next, lower ones come first. */
  readonly rank: number;
  readonly owner?: string | undefined;
  /** Further names that others know it by: of its row type, its constraints, its defaults. */
  readonly also?: readonly Key[];
  /** What has to be there before, beside what pg_depend says. */
  readonly needs?: readonly Key[];
  /** Why it cannot be made. */
  readonly refused?: string;
  /** Made at the same time as others: the table whose lock it takes. */
  readonly parallel?: 'index' | 'foreign key';
};

/** A statement in the snapshot of the source. */
export type Source = {
  query<R extends Row = Row>(sql: string): Promise<readonly R[]>;
  /** Its major version. */
  readonly major: number;
};

export type ReadKind = (source: Source) => Promise<readonly DbObject[]>;

/** Ranks: what people expect to read first, where dependencies leave a choice. */
export const RANK = {
  schema: 1,
  extension: 2,
  collation: 3,
  type: 4,
  function: 5,
  operator: 6,
  textSearch: 7,
  sequence: 8,
  table: 9,
  attach: 10,
  default: 11,
  view: 12,
  index: 20,
  constraint: 21,
  foreignKey: 30,
  attached: 40,
  publication: 50,
  refresh: 60,
} as const;

/** Schemas of users. @param alias of pg_namespace */
export const userSchema = (alias = 'n'): string =>
  `${alias}.nspname !~ '^pg_' AND ${alias}.nspname <> 'information_schema'`;

/** What an extension has made comes with the extension. */
export const ofNoExtension = (catalog: string, alias: string): string =>
  `NOT EXISTS (SELECT FROM pg_catalog.pg_depend x WHERE x.classid = 'pg_catalog.${catalog}'::regclass AND x.objid = ${alias}.oid AND x.deptype = 'e')`;

export const roleName = (oid: string): string => `pg_catalog.pg_get_userbyid(${oid})`;

/** Why something that was not asked for is not there: nothing to tell anybody of. */
export const EXCLUDED = 'it was left out';
