/** Which rule is for which column of a source, and all that is wrong with that: what a file says, held against a catalogue. */
import { escapeLiteral } from 'pg';
import { type MaskRule, type MaskRules, ruleText } from '../../model/mask.ts';
import type { NamedTable } from '../catalog.ts';
import { type Choice, fits, matches } from '../choice.ts';
import type { OpenedSource } from '../source.ts';
import { type Column, readColumns } from './columns.ts';
import { type ForeignKey, type Keys, readKeys } from './keys.ts';
import { bitsOf, sameness, unfit } from './values.ts';

export type BoundColumn = {
  readonly table: NamedTable;
  readonly column: Column;
  /** Absent: nobody said anything of it. */
  readonly rule?: MaskRule;
};

export type Binding = {
  /** Of all tables, in their order. */
  readonly columns: readonly BoundColumn[];
  readonly keys: Keys;
  /** Sentences, without values; none: the rules fit. */
  readonly problems: readonly string[];
};

/** For people: the table that rules are written for, which of a partition is what it is part of. */
export function namedTable({ choice }: Pick<OpenedSource, 'choice'>, table: NamedTable): NamedTable {
  const [parent] = choice.parents.get(table.oid) ?? [];
  const found = choice.all.find(({ oid }) => oid === parent);
  return found === undefined ? table : namedTable({ choice }, found);
}

export async function bindMask(source: OpenedSource, rules: MaskRules): Promise<Binding> {
  const { choice } = source;
  const byTable = Map.groupBy(await readColumns(source), ({ table }) => table);
  const keys = await readKeys(source);
  const sayings = sayingsOf(rules);
  const columns = choice.all.flatMap(table =>
    (byTable.get(table.oid) ?? []).map(column => bound(table, column, sayings, choice)),
  );
  const wanted = columns.filter(({ table }) => !choice.isExcluded(table.oid));
  const byName = new Map(columns.map(one => [keyOf(one.table.oid, one.column.number), one]));
  const problems = [
    ...unknownIn(sayings, columns, choice.all),
    ...wanted.flatMap(one => problemsOf(one, columns, keys, source)),
    ...(await badConstants(source, wanted)),
    ...collisionsIn(wanted, keys),
    ...differencesIn(wanted, byName, keys.foreign),
  ];
  return { columns, keys, problems: [...new Set(problems)] };
}

/** Chance that two of so many values become the same. @param bits of what can come out */
export const collides = (rows: number, bits: number): boolean =>
  rows > 1 && bits !== Number.POSITIVE_INFINITY && (rows * rows) / 2 ** (bits + 1) > MOST_CHANCE;

// --- internal -----------------------------------------------------------------------------------

const MOST_CHANCE = 1e-4;

const keyOf = (table: string, number: number): string => `${table}.${number}`;

const nameOf = ({ table, column }: BoundColumn): string => `${table.name}.${column.name}`;

/** What a file says of tables and columns, in its order. */
type Saying = {
  readonly table: string;
  readonly column: string;
  readonly rule: MaskRule;
  /** How exactly it names a column: without `*` in the table's name, and in its own. */
  readonly exact: number;
};

function sayingsOf({ tables, keep = [] }: MaskRules): readonly Saying[] {
  const saying = (table: string, column: string, rule: MaskRule): Saying => ({
    ...{ table, column, rule },
    exact: (table.includes('*') ? 0 : 2) + (column.includes('*') ? 0 : 1),
  });
  return [
    ...Object.entries(tables).flatMap(([table, columns]) =>
      Object.entries(columns).map(([column, rule]) => saying(table, column, rule)),
    ),
    ...keep.map(name => {
      const at = name.lastIndexOf('.');
      return saying(name.slice(0, at), name.slice(at + 1), 'keep');
    }),
  ];
}

/** What is said of the table itself, the most exact first; else what is said of the table that it is part of. */
function sayingOf(
  table: NamedTable,
  plain: string,
  sayings: readonly Saying[],
  choice: Choice,
): Saying | undefined {
  const found = sayings
    .filter(saying => matches(saying.table, table) && fits(saying.column, plain))
    .toSorted((a, b) => b.exact - a.exact)[0];
  if (found !== undefined) return found;
  for (const oid of choice.parents.get(table.oid) ?? []) {
    const parent = choice.all.find(each => each.oid === oid);
    const inherited = parent && sayingOf(parent, plain, sayings, choice);
    if (inherited !== undefined) return inherited;
  }
  return undefined;
}

function bound(table: NamedTable, column: Column, sayings: readonly Saying[], choice: Choice): BoundColumn {
  const saying = sayingOf(table, column.plain, sayings, choice);
  // A pattern that is for many means nothing to what is computed.
  if (saying === undefined || (column.generated && saying.exact < 3)) return { table, column };
  return { table, column, rule: saying.rule };
}

/** Tables and columns that the source does not have. */
function unknownIn(
  sayings: readonly Saying[],
  columns: readonly BoundColumn[],
  tables: readonly NamedTable[],
): readonly string[] {
  return sayings.flatMap(({ table, column }) => {
    if (!tables.some(each => matches(table, each))) return [`the source has no table ${table}`];
    const has = columns.some(one => matches(table, one.table) && fits(column, one.column.plain));
    return has ? [] : [`${table} has no column ${column}`];
  });
}

function problemsOf(
  one: BoundColumn,
  columns: readonly BoundColumn[],
  keys: Keys,
  { choice }: OpenedSource,
): readonly string[] {
  const { table, column, rule } = one;
  if (rule === undefined || rule === 'keep') return [];
  const name = nameOf(one);
  if (column.generated) return [`${name} is computed from other columns: give those rules`];
  const why = unfit(rule, column);
  if (why !== undefined) return [`${name}: ${why}`];
  if (column.counted && rule !== 'null')
    return [`${name}: its next values come from a sequence, and would meet masked ones: keep it`];
  const whole = new Set(wholesOf(table.oid, choice));
  const decides = columns.some(
    other =>
      whole.has(other.table.oid) &&
      other.column.plain === column.plain &&
      (keys.partition.get(other.table.oid)?.has(other.column.number) ?? false),
  );
  if (decides) return [`${name} decides on the partition of a row: keep it`];
  if (typeof rule === 'object' && 'by' in rule) {
    const by = columns.find(other => other.table.oid === table.oid && other.column.plain === rule.by);
    if (by === undefined)
      return [`${name}: by names the column ${rule.by}, which ${table.name} does not have`];
    const isMoved = typeof by.rule === 'object' && 'by' in by.rule;
    if (by.column.generated || isMoved) return [`${name}: by names ${rule.by}, which is computed itself`];
  }
  return [];
}

/** A table, and all that it is a part of. */
const wholesOf = (oid: string, choice: Choice): readonly string[] => [
  oid,
  ...(choice.parents.get(oid) ?? []).flatMap(parent => wholesOf(parent, choice)),
];

/** Constants that their types do not read, as the source sees it: domains and types of users are there. */
async function badConstants(
  source: OpenedSource,
  columns: readonly BoundColumn[],
): Promise<readonly string[]> {
  const problems: string[] = [];
  for (const one of columns) {
    const { rule, column } = one;
    if (typeof rule !== 'object' || !('constant' in rule)) continue;
    // A cast cuts what a column refuses.
    if (column.form === 'text' && !column.list && rule.constant.length > (column.most ?? Infinity)) {
      problems.push(`${nameOf(one)}: the constant is too long for ${column.type}`);
      continue;
    }
    await source.query('SAVEPOINT constant');
    try {
      await source.query(`SELECT ${escapeLiteral(rule.constant)}::${column.type}`);
    } catch (error) {
      problems.push(`${nameOf(one)}: ${(error as Error).message}`);
    }
    await source.query('ROLLBACK TO SAVEPOINT constant');
  }
  return problems;
}

/** Unique columns of which two rows would become the same. */
function collisionsIn(columns: readonly BoundColumn[], { unique }: Keys): readonly string[] {
  return unique.flatMap(index => {
    const parts = columns.filter(
      ({ table, column }) => table.oid === index.table && index.columns.includes(column.number),
    );
    const masked = parts.filter(({ rule = 'keep' }) => rule !== 'keep');
    if (masked.length === 0) return [];
    const [first] = masked as [BoundColumn];
    const names = masked.map(nameOf).join(', ');
    if (index.exclusion && masked.some(({ rule }) => rule !== 'null'))
      return [`${names}: rows exclude each other by it (${index.name}): keep it, or make it null`];
    if (!index.nullsSame && masked.some(({ rule }) => rule === 'null')) return [];
    const bits = masked.reduce((sum, { rule, column }) => sum + (column.list ? 0 : bitsOf(rule!, column)), 0);
    // What is kept beside them parts most of the rows already.
    const enough = masked.length < parts.length && bits >= BITS_BESIDE;
    if (enough || !collides(index.rows, bits)) return [];
    return [
      `${names}: ${index.name} wants no two that are the same, and ${ruleText(first.rule!)} would make some: use hash or email`,
    ];
  });
}

const BITS_BESIDE = 20;

/** Both ends of a foreign key have to become the same. */
function differencesIn(
  columns: readonly BoundColumn[],
  byName: ReadonlyMap<string, BoundColumn>,
  keys: readonly ForeignKey[],
): readonly string[] {
  const wanted = new Set(columns);
  return keys.flatMap(key =>
    key.columns.flatMap((number, i) => {
      const from = byName.get(keyOf(key.table, number));
      const to = byName.get(keyOf(key.refers, key.referred[i]!));
      if (from === undefined || to === undefined || !wanted.has(from) || !wanted.has(to)) return [];
      const [here, there] = [from.rule ?? 'keep', to.rule ?? 'keep'];
      // What is NULL points nowhere.
      if (here === 'null') return [];
      if (sameness(here, from.column, from.table.oid) === sameness(there, to.column, to.table.oid)) return [];
      const types =
        from.column.type === to.column.type ? '' : `, of ${from.column.type} and ${to.column.type}`;
      return [
        `the foreign key ${key.name} leads from ${nameOf(from)} (${ruleText(here)}) to ${nameOf(to)} (${ruleText(there)})${types}: give both the same rule`,
      ];
    }),
  );
}
