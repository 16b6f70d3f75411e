/** Which tables are asked for: patterns are names, with their schema or without, and `*` for any letters. */
import { OffshootError } from '../model/errors.ts';
import type { ImportOptions } from '../model/import.ts';
import type { NamedTable, SourceTable } from './catalog.ts';

export type Choice = {
  readonly tables: readonly SourceTable[];
  readonly isExcluded: (oid: string) => boolean;
  readonly conditionOf: (table: SourceTable) => string | undefined;
  /** Those that were not asked for, too. */
  readonly all: readonly NamedTable[];
  /** Of partitions and children, by oid. */
  readonly parents: ReadonlyMap<string, readonly string[]>;
};

/**
 * @param parents of partitions and children, by oid: who asks for a table asks for its parts
 * @throws OffshootError import/no-such-table
 */
export function chooseTables(
  all: readonly NamedTable[],
  parents: ReadonlyMap<string, readonly string[]>,
  { tables, exclude = [], where = {} }: ImportOptions,
): Choice {
  for (const pattern of [...(tables ?? []), ...exclude, ...Object.keys(where)])
    if (!all.some(table => matches(pattern, table)))
      throw new OffshootError('import/no-such-table', { table: pattern });
  const byOid = new Map(all.map(table => [table.oid, table]));
  const isNamed = (table: NamedTable, patterns: readonly string[]): boolean =>
    patterns.some(pattern => matches(pattern, table)) ||
    (parents.get(table.oid) ?? []).some(oid => byOid.has(oid) && isNamed(byOid.get(oid)!, patterns));
  /** Its own, or that of what it is a part of: rows are in the parts. */
  const conditionOf = (table: SourceTable): string | undefined =>
    Object.entries(where).find(([pattern]) => matches(pattern, table))?.[1] ??
    (parents.get(table.oid) ?? [])
      .flatMap(oid => byOid.get(oid) ?? [])
      .map(conditionOf)
      .find(condition => condition !== undefined);
  const excluded = new Set(
    all
      .filter(t => (tables !== undefined && !isNamed(t, tables)) || isNamed(t, exclude))
      .map(({ oid }) => oid),
  );
  return {
    ...{ all, parents },
    tables: all.filter(t => t.kind === 'r' && !excluded.has(t.oid)),
    isExcluded: oid => excluded.has(oid),
    conditionOf,
  };
}

/** Whether a pattern is meant for a table. */
export const matches = (
  pattern: string,
  { schema, plain }: { readonly schema: string; readonly plain: string },
): boolean => fits(pattern, pattern.includes('.') ? `${schema}.${plain}` : plain);

/** Whether a text is like a pattern, in which `*` stands for any letters. Takes no longer than both together. */
export function fits(pattern: string, text: string): boolean {
  const [first = '', ...parts] = pattern.split('*');
  if (parts.length === 0) return text === first;
  const last = parts.pop()!;
  if (!text.startsWith(first) || !text.endsWith(last) || text.length < first.length + last.length)
    return false;
  const end = text.length - last.length;
  let at = first.length;
  for (const part of parts) {
    const found = text.indexOf(part, at);
    if (found < 0 || found + part.length > end) return false;
    at = found + part.length;
  }
  return true;
}
