/**
 * A mask: rules that fit a source, none of whose columns is forgotten that looks like a person's data. All of it is found out in
 * the source's snapshot, before a row is asked for.
 */
import { OffshootError } from '../model/errors.ts';
import type { MaskRule, MaskRules, SuggestedRule } from '../model/mask.ts';
import type { NamedTable, SourceTable } from './catalog.ts';
import { type Binding, type BoundColumn, bindMask, collides, namedTable } from './mask/bind.ts';
import type { Column } from './mask/columns.ts';
import type { MaskedColumn } from './mask/rows.ts';
import { drawWith } from './mask/secret.ts';
import { type Suspect, suspectByName, suspectsByValues } from './mask/suspects.ts';
import { bitsOf, maskOf, sameness, unfit } from './mask/values.ts';
import type { OpenedSource } from './source.ts';

/** What is masked of one table. */
export type TableMask = {
  /** Columns that are read, before all others. */
  readonly first: readonly MaskedColumn[];
  /** All that are copied, in the order in which they are asked for; quoted. */
  readonly columns: readonly string[];
  /** Those that come as they are; quoted. */
  readonly same: readonly string[];
};

export type Mask = {
  of(table: SourceTable): TableMask | undefined;
  readonly keepsLargeObjects: boolean;
  /** Of what comes. */
  readonly columns: number;
  readonly tables: number;
};

/** A column that looks like a person's data. */
export type Uncovered = { readonly table: NamedTable; readonly column: Column } & Suspect;

/**
 * @param secret of the project, in base64
 * @throws OffshootError mask/does-not-fit, mask/uncovered
 */
export async function openMask(
  source: OpenedSource,
  rules: MaskRules,
  { secret, rowless }: { readonly secret: string; readonly rowless: boolean },
): Promise<Mask> {
  const { columns } = await checkMask(source, rules, rowless);
  const draw = drawWith(secret);
  const tables = new Map<string, TableMask>();
  for (const table of source.choice.tables) {
    const found = tableMask(
      table,
      columns.filter(one => one.table.oid === table.oid),
      draw,
    );
    if (found !== undefined) tables.set(table.oid, found);
  }
  const masked = columns.filter(
    ({ table, rule = 'keep' }) => table.kind === 'r' && rule !== 'keep' && tables.has(table.oid),
  );
  return {
    of: ({ oid }) => tables.get(oid),
    keepsLargeObjects: rules.largeObjects === 'keep',
    columns: masked.length,
    tables: tables.size,
  };
}

/** @param rowless no rows are asked for: then nothing can be forgotten. @throws OffshootError mask/does-not-fit, mask/uncovered */
export async function checkMask(source: OpenedSource, rules: MaskRules, rowless: boolean): Promise<Binding> {
  const binding = await bindMask(source, rules);
  if (binding.problems.length > 0)
    throw new OffshootError('mask/does-not-fit', { problems: listed(binding.problems, '; ') });
  const open = rowless ? [] : await uncoveredIn(source, binding.columns);
  if (open.length > 0)
    throw new OffshootError('mask/uncovered', {
      columns: listed(
        open.map(({ table, column, why }) => `${table.name}.${column.name} (${why})`),
        ', ',
      ),
    });
  return binding;
}

/** Rules to begin with: for each column that looks like a person's data what is usual and fits. */
export async function suggestMask(source: OpenedSource): Promise<readonly SuggestedRule[]> {
  const { columns, keys } = await bindMask(source, { tables: {} });
  const chosen = new Map<string, { rule: MaskRule; why: string; readonly one: BoundColumn }>();
  const nameOf = (table: NamedTable, column: Column) => `${table.oid}.${column.plain}`;
  const named = (one: BoundColumn) => ({ ...one, table: namedTable(source, one.table) });
  const isUsable = (rule: MaskRule, { table, column }: BoundColumn): boolean =>
    unfit(rule, column) === undefined &&
    keys.unique
      .filter(index => index.table === table.oid && index.columns.includes(column.number))
      .every(index => !index.exclusion && !collides(index.rows, column.list ? 0 : bitsOf(rule, column)));
  for (const found of await uncoveredIn(source, columns)) {
    const one = columns.find(c => c.table.oid === found.table.oid && c.column.plain === found.column.plain)!;
    const rule = [...found.rules, ...LAST].find(each => isUsable(each, one)) ?? 'keep';
    chosen.set(nameOf(found.table, found.column), { rule, why: found.why, one });
  }
  const byNumber = new Map(columns.map(one => [`${one.table.oid}.${one.column.number}`, named(one)]));
  // Whoever points at a masked column has to follow it, and the other way round.
  for (let changed = true, times = 0; changed && times < 100; times++) {
    changed = false;
    for (const key of keys.foreign)
      key.columns.forEach((number, i) => {
        const from = byNumber.get(`${key.table}.${number}`);
        const to = byNumber.get(`${key.refers}.${key.referred[i]}`);
        if (from === undefined || to === undefined) return;
        const [here, there] = [from, to].map(one => chosen.get(nameOf(one.table, one.column)));
        if (here === undefined && there === undefined) return;
        const same = (rule: MaskRule) =>
          sameness(rule, from.column, from.table.oid) === sameness(rule, to.column, to.table.oid);
        const rule =
          [there?.rule, here?.rule, 'hash' as const].find(
            each => each !== undefined && same(each) && isUsable(each, from) && isUsable(each, to),
          ) ?? 'keep';
        if (here?.rule === rule && there?.rule === rule) return;
        const why = `as the other end of ${key.name}`;
        for (const [one, before] of [
          [from, here],
          [to, there],
        ] as const)
          chosen.set(nameOf(one.table, one.column), { rule, why: before?.why ?? why, one });
        changed = true;
      });
  }
  return [...chosen.values()].map(({ rule, why, one }) => {
    const { schema, plain } = namedTable(source, one.table);
    return { table: `${schema}.${plain}`, column: one.column.plain, rule, why };
  });
}

/** Columns that look like a person's data, of which nobody said anything; of partitions once. */
export async function uncoveredIn(
  source: OpenedSource,
  columns: readonly BoundColumn[],
): Promise<readonly Uncovered[]> {
  const found = new Map<string, Uncovered>();
  for (const table of source.choice.tables) {
    if (!table.readable) continue;
    const open = columns
      .filter(
        ({ table: { oid }, rule, column }) => oid === table.oid && rule === undefined && !column.generated,
      )
      .map(({ column }) => column);
    const byValue = await suspectsByValues(source, table, open);
    const whole = namedTable(
      source,
      columns.find(one => one.table.oid === table.oid)?.table ?? (table as NamedTable),
    );
    for (const column of open) {
      const suspect = suspectByName(column, whole.plain) ?? byValue.get(column.number);
      const key = `${whole.oid}.${column.plain}`;
      if (suspect !== undefined && !found.has(key)) found.set(key, { table: whole, column, ...suspect });
    }
  }
  return [...found.values()];
}

// --- internal -----------------------------------------------------------------------------------

/** What fits where nothing usual does. */
const LAST: readonly MaskRule[] = ['hash', 'scramble', 'null', { constant: '' }];

const MOST_NAMED = 40;

const listed = (all: readonly string[], between: string): string =>
  all.length <= MOST_NAMED
    ? all.join(between)
    : `${all.slice(0, MOST_NAMED).join(between)} and ${all.length - MOST_NAMED} more`;

function tableMask(
  table: SourceTable,
  columns: readonly BoundColumn[],
  draw: ReturnType<typeof drawWith>,
): TableMask | undefined {
  const masked = columns.filter(({ rule = 'keep' }) => rule !== 'keep');
  if (masked.length === 0) return undefined;
  const byOf = ({ rule }: BoundColumn): string | undefined =>
    typeof rule === 'object' && 'by' in rule ? rule.by : undefined;
  const deciding = new Set(masked.flatMap(one => byOf(one) ?? []));
  const before = columns.filter(({ column }) => deciding.has(column.plain));
  const first = [...before, ...masked.filter(one => !before.includes(one))];
  const names = first.map(({ column }) => column.name);
  const same = table.columns.filter(name => !masked.some(({ column }) => column.name === name));
  return {
    same,
    columns: [...names, ...table.columns.filter(name => !names.includes(name))],
    first: first.map(one => {
      const { column, rule = 'keep' } = one;
      const by = first.findIndex(other => other.column.plain === byOf(one));
      return {
        name: `${table.name}.${column.name}`,
        mask: maskOf(rule, column, draw) ?? (rule as 'keep' | 'null'),
        ...(by >= 0 && { by }),
      };
    }),
  };
}
