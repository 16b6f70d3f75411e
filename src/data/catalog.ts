/** All that a database consists of, in an order in which it can be made. */

import { readCollations } from './catalog/collations.ts';
import {
  type DbObject,
  EXCLUDED,
  type Key,
  type ReadKind,
  type Source,
  userSchema,
} from './catalog/contract.ts';
import { MEMBERS, readExtensions } from './catalog/extensions.ts';
import { readFunctions } from './catalog/functions.ts';
import { readIndexes } from './catalog/indexes.ts';
import { readOperators } from './catalog/operators.ts';
import { readPolicies } from './catalog/policies.ts';
import { readPublications } from './catalog/publications.ts';
import { readSchemas } from './catalog/schemas.ts';
import { readSequences } from './catalog/sequences.ts';
import { readStatistics } from './catalog/statistics.ts';
import { readTables } from './catalog/tables.ts';
import { readTextSearch } from './catalog/text-search.ts';
import { readTriggers } from './catalog/triggers.ts';
import { readTypes } from './catalog/types.ts';
import { readUnsupported } from './catalog/unsupported.ts';
import { readViews } from './catalog/views.ts';
import { inOrder } from './order.ts';

export type Catalog = {
  readonly before: readonly DbObject[];
  readonly after: readonly DbObject[];
  /** What cannot be made, be it because of what it needs. */
  readonly refused: readonly { readonly object: DbObject; readonly why: string }[];
  /** By key, and by every other name. */
  readonly find: (key: Key) => DbObject | undefined;
};

/**
 * @param offered extensions that may be had at the target
 * @param isExcluded tables that are not wanted, by oid
 */
export async function readCatalog(
  source: Source,
  offered: ReadonlySet<string>,
  isExcluded: (oid: string) => boolean,
): Promise<Catalog> {
  const kinds: readonly ReadKind[] = [
    ...[readSchemas, readExtensions(offered), readCollations, readTypes, readFunctions, readOperators],
    ...[readTextSearch, readSequences, readTables, readViews, readIndexes],
    ...[readTriggers, readPolicies, readStatistics, readPublications, readUnsupported],
  ];
  const objects: DbObject[] = [];
  for (const read of kinds)
    for (const object of await read(source)) {
      const excluded = object.key.startsWith('pg_class:') && isExcluded(object.key.slice('pg_class:'.length));
      objects.push(excluded ? { ...object, refused: EXCLUDED } : object);
    }
  const depends = await source.query<{ of: Key; on: Key }>(DEPENDS);
  const members = await source.query<{ member: Key; extension: Key }>(MEMBERS);
  return inOrder(objects, depends, new Map(members.map(({ member, extension }) => [member, extension])));
}

export type SourceTable = {
  readonly oid: string;
  readonly key: Key;
  readonly name: string;
  readonly schema: string;
  readonly plain: string;
  /** Columns that hold values of their own, quoted. */
  readonly columns: readonly string[];
  /** All of its types are PostgreSQL's own, so their binary form means the same everywhere. */
  readonly binary: boolean;
  readonly bytes: number;
  readonly readable: boolean;
};

export type NamedTable = SourceTable & { readonly kind: 'r' | 'p' };

/** Tables, and partitioned ones, which have no rows of their own. */
export const TABLES = `SELECT c.oid::text, 'pg_class:' || c.oid AS key, c.oid::regclass::text AS name, relkind AS kind, nspname AS schema, relname AS plain, pg_catalog.pg_table_size(c.oid)::float8 AS bytes,
    pg_catalog.has_table_privilege(c.oid, 'SELECT') AND (NOT relrowsecurity OR pg_catalog.row_security_active(c.oid) = false) AND pg_catalog.has_schema_privilege(relnamespace, 'USAGE') AS readable,
    ARRAY(SELECT quote_ident(attname) FROM pg_catalog.pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum) AS columns,
    NOT EXISTS (SELECT FROM pg_catalog.pg_attribute JOIN pg_catalog.pg_type t ON t.oid = atttypid WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped
      AND (t.oid >= 16384 OR typtype = 'c' OR typname ~ '^_?reg' OR typname IN ('aclitem', '_aclitem') OR typsend = 0 OR typreceive = 0)) AS binary
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace
  WHERE relkind IN ('r', 'p') AND relpersistence <> 't' AND ${userSchema()}
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend x WHERE x.classid = 'pg_catalog.pg_class'::regclass AND x.objid = c.oid AND x.deptype = 'e')
  ORDER BY bytes DESC`;

// --- internal -----------------------------------------------------------------------------------

/** A column's default hangs on the column, and a column on its table: these are one object. */
const DEPENDS = `SELECT DISTINCT classid::regclass::text || ':' || objid AS of, refclassid::regclass::text || ':' || refobjid AS on
  FROM pg_catalog.pg_depend WHERE (classid <> refclassid OR objid <> refobjid) AND deptype IN ('n', 'a', 'i', 'P', 'S') AND refobjid >= 16384`;
