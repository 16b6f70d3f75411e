/** What a mask has to know of the columns of a source, read from its catalogue. */
import { type Source, userSchema } from '../catalog/contract.ts';

/** How values of a type are written, as far as rules tell them apart. */
export type Form =
  | 'text'
  | 'integer'
  | 'number'
  | 'uuid'
  | 'bytes'
  | 'address'
  | 'date'
  | 'moment'
  | 'json'
  | 'truth'
  | 'other';

export type Column = {
  readonly table: string;
  readonly number: number;
  readonly plain: string;
  /** Quoted where it has to be. */
  readonly name: string;
  /** As people write it, e.g. `character varying(40)`. */
  readonly type: string;
  readonly form: Form;
  /** Of a list of such values. */
  readonly list: boolean;
  /** Characters that it may have; absent: any number. */
  readonly most?: number;
  /** Upper and lower case are the same to it. */
  readonly folds: boolean;
  /** Spaces at the end are none. */
  readonly padded: boolean;
  /** Of an integer, and of a list of them. */
  readonly bits?: number;
  readonly notNull: boolean;
  readonly generated: boolean;
  /** Its values come from a sequence. */
  readonly counted: boolean;
};

export async function readColumns({ query }: Source): Promise<readonly Column[]> {
  const types = new Map((await query<Type>(TYPES)).map(type => [type.oid, type]));
  return (await query<Row>(COLUMNS)).map(row => {
    const found = resolved(types, row.typeOid, row.modifier);
    const { table, number, plain, name, type, generated, counted } = row;
    return {
      ...{ table, number, plain, name, type, generated, counted },
      ...formOf(found.type, found.modifier),
      list: found.list,
      notNull: row.notNull || found.notNull,
    };
  });
}

// --- internal -----------------------------------------------------------------------------------

type Type = {
  readonly oid: string;
  readonly name: string;
  readonly kind: string;
  readonly own: boolean;
  readonly base: string;
  readonly modifier: number;
  readonly element: string;
  readonly notNull: boolean;
};

const TYPES = `SELECT t.oid::text, typname AS name, typtype AS kind, nspname = 'pg_catalog' AS own, typbasetype::text AS base, typtypmod AS modifier, typnotnull AS "notNull",
    CASE WHEN typcategory = 'A' AND typlen = -1 THEN typelem::text ELSE '0' END AS element
  FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = typnamespace`;

type Row = {
  readonly table: string;
  readonly number: number;
  readonly plain: string;
  readonly name: string;
  readonly type: string;
  readonly typeOid: string;
  readonly modifier: number;
  readonly notNull: boolean;
  readonly generated: boolean;
  readonly counted: boolean;
};

const COLUMNS = `SELECT attrelid::text AS table, attnum::int AS number, attname AS plain, quote_ident(attname) AS name, format_type(atttypid, atttypmod) AS type,
    atttypid::text AS "typeOid", atttypmod AS modifier, attnotnull AS "notNull", attgenerated <> '' AS generated,
    attidentity <> '' OR COALESCE(pg_get_expr(adbin, adrelid) LIKE 'nextval(%', false) AS counted
  FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = attrelid JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace
  LEFT JOIN pg_catalog.pg_attrdef d ON adrelid = attrelid AND adnum = attnum
  WHERE relkind IN ('r', 'p') AND attnum > 0 AND NOT attisdropped AND ${userSchema()}
  ORDER BY attrelid, attnum`;

/** Through domains and lists, to the type that says how a value is written. */
function resolved(
  types: ReadonlyMap<string, Type>,
  oid: string,
  modifier: number,
): {
  readonly type: Type | undefined;
  readonly modifier: number;
  readonly list: boolean;
  readonly notNull: boolean;
} {
  let [list, notNull] = [false, false];
  let type = types.get(oid);
  for (let deep = 0; type !== undefined && deep < 100; deep++) {
    if (type.kind === 'd') {
      // A domain of what a list holds says nothing of the list.
      if (!list) notNull ||= type.notNull;
      if (type.modifier !== -1) modifier = type.modifier;
      type = types.get(type.base);
    } else if (type.element !== '0') {
      // Lists of lists are one kind of list.
      list = true;
      type = types.get(type.element);
    } else break;
  }
  return { type, modifier, list, notNull };
}

type Formed = Pick<Column, 'form' | 'folds' | 'padded' | 'most' | 'bits'>;

function formOf(type: Type | undefined, modifier: number): Formed {
  const plain = { folds: false, padded: false };
  if (type === undefined) return { ...plain, form: 'other' };
  if (type.name === 'citext') return { ...plain, form: 'text', folds: true };
  if (!type.own) return { ...plain, form: 'other' };
  const most = modifier >= 4 ? { most: modifier - 4 } : {};
  if (type.name === 'bpchar') return { ...plain, form: 'text', padded: true, ...most };
  if (type.name === 'varchar') return { ...plain, form: 'text', ...most };
  if (type.name === 'name') return { ...plain, form: 'text', most: 63 };
  const bits = { int2: 15, int4: 31, int8: 63 }[type.name];
  if (bits !== undefined) return { ...plain, form: 'integer', bits };
  return { ...plain, form: FORMS[type.name] ?? 'other' };
}

const FORMS: Readonly<Record<string, Form>> = {
  text: 'text',
  numeric: 'number',
  uuid: 'uuid',
  bytea: 'bytes',
  inet: 'address',
  cidr: 'address',
  date: 'date',
  timestamp: 'moment',
  timestamptz: 'moment',
  json: 'json',
  jsonb: 'json',
  bool: 'truth',
};
