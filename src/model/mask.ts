/**
 * How columns are made unlike what a source has, as people write it: a rule per column, by table. What a rule makes of a
 * value depends on the value and a secret of the project alone, so what was equal stays equal, and joins hold.
 */
import { OffshootError } from './errors.ts';

/** Rules that take no arguments. */
export const PLAIN_RULES = [
  'keep',
  'null',
  'hash',
  'name',
  'first-name',
  'last-name',
  'company',
  'email',
  'phone',
  'address',
  'street',
  'city',
  'postcode',
  'scramble',
] as const;

export type PlainRule = (typeof PLAIN_RULES)[number];

export type MaskRule =
  | PlainRule
  /** The same text for all, as PostgreSQL reads it. */
  | { readonly constant: string }
  /** Up to so many days earlier or later; `by`: as far as all rows of the table with the same value in that column. */
  | { readonly shift: number; readonly by?: string };

export type MaskRules = {
  /** By table (`NAME` or `SCHEMA.NAME`) and column; `*` stands for any letters. */
  readonly tables: Readonly<Record<string, Readonly<Record<string, MaskRule>>>>;
  /** Columns (`TABLE.COLUMN`) that look like a person's data and are none. */
  readonly keep?: readonly string[];
  /** Default: they come empty. */
  readonly largeObjects?: 'keep';
  /** Statements on what the rules have made, one transaction each; what they leave is copied once more. */
  readonly sql?: readonly string[];
};

export type SuggestedRule = {
  /** With its schema. */
  readonly table: string;
  readonly column: string;
  readonly rule: MaskRule;
  /** e.g. `its name` */
  readonly why: string;
};

/** For people, e.g. `shift by up to 30 days`. */
export function ruleText(rule: MaskRule): string {
  if (typeof rule === 'string') return rule;
  if ('constant' in rule) return `constant ${JSON.stringify(rule.constant)}`;
  return `shift by up to ${rule.shift} days${rule.by === undefined ? '' : `, the same for each ${rule.by}`}`;
}

/**
 * Rules as a file has them, read from its value.
 * @throws OffshootError mask/bad-rules naming the first place that is wrong
 */
export function readMaskRules(value: unknown): MaskRules {
  const { tables, keep, sql, 'large-objects': largeObjects, ...more } = mapping(value, 'the file');
  const [unknown] = Object.keys(more);
  if (unknown !== undefined) throw bad(unknown, 'there are tables, keep, large-objects and sql');
  if (largeObjects !== undefined && !['keep', 'empty'].includes(largeObjects as string))
    throw bad('large-objects', 'it is keep or empty');
  const read: Record<string, Record<string, MaskRule>> = Object.create(null);
  for (const [table, columns] of Object.entries(tables == null ? {} : mapping(tables, 'tables'))) {
    checkName(table, 'tables');
    const rules: Record<string, MaskRule> = Object.create(null);
    for (const [column, rule] of Object.entries(mapping(columns, `tables.${table}`))) {
      checkName(column, `tables.${table}`);
      rules[column] = readRule(rule, `tables.${table}.${column}`);
    }
    read[table] = { ...rules };
  }
  const kept = keep == null ? [] : keep;
  if (!Array.isArray(kept) || kept.some(name => typeof name !== 'string'))
    throw bad('keep', 'it is a list of columns, each TABLE.COLUMN');
  for (const name of kept) {
    checkName(name, 'keep');
    if (!name.includes('.')) throw bad(`keep: ${name}`, 'a column is named TABLE.COLUMN');
  }
  const statements: readonly unknown[] = sql == null ? [] : [sql].flat();
  if (
    statements.some(
      text => typeof text !== 'string' || text.trim() === '' || text.length > MOST_SQL || text.includes('\0'),
    )
  )
    throw bad('sql', 'it is a list of statements');
  return {
    tables: { ...read },
    ...(kept.length > 0 && { keep: kept }),
    ...(largeObjects === 'keep' && { largeObjects }),
    ...(statements.length > 0 && { sql: statements as readonly string[] }),
  };
}

// --- internal -----------------------------------------------------------------------------------

const MOST_LETTERS = 10_000;
const MOST_SQL = 100_000;
const MOST_DAYS = 36_500;

const bad = (where: string, why: string): OffshootError =>
  new OffshootError('mask/bad-rules', { where: where.slice(0, 300), why });

function readRule(value: unknown, where: string): MaskRule {
  if (value === null) return 'null';
  if (typeof value === 'string') {
    if ((PLAIN_RULES as readonly string[]).includes(value)) return value as PlainRule;
    throw bad(where, `there is no rule ${JSON.stringify(value.slice(0, 40))}; ${THERE_ARE}`);
  }
  const { constant, shift, by, ...more } = mapping(value, where, THERE_ARE);
  if (Object.keys(more).length > 0) throw bad(where, THERE_ARE);
  if (constant !== undefined && shift === undefined && by === undefined) {
    if (!['string', 'number', 'boolean'].includes(typeof constant)) throw bad(where, 'a constant is a text');
    const text = String(constant);
    if (text.length > MOST_LETTERS || text.includes('\0'))
      throw bad(where, 'that constant is too long, or none');
    return { constant: text };
  }
  if (constant !== undefined || shift === undefined) throw bad(where, THERE_ARE);
  if (!Number.isInteger(shift) || (shift as number) < 1 || (shift as number) > MOST_DAYS)
    throw bad(where, `shift takes a number of days from 1 to ${MOST_DAYS}`);
  if (by !== undefined && (typeof by !== 'string' || by === '')) throw bad(where, 'by takes a column');
  return { shift: shift as number, ...(by !== undefined && { by: by as string }) };
}

const THERE_ARE = `a rule is one of ${PLAIN_RULES.join(', ')}, { constant: TEXT } or { shift: DAYS, by: COLUMN }`;

function mapping(value: unknown, where: string, why = 'it is no mapping'): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw bad(where, why);
  return value as Record<string, unknown>;
}

function checkName(name: string, where: string): void {
  if (name === '' || name.length > 300 || name.includes('\0')) throw bad(where, 'a name in it is none');
}
