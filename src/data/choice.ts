/** Which tables are asked for: patterns are names, with their schema or without, and `*` for any letters. */
import { OffshootError } from '../model/errors.ts';
import type { ImportOptions } from '../model/import.ts';
import type { NamedTable, SourceTable } from './catalog.ts';

export type Choice = {
  readonly tables: readonly SourceTable[];
  readonly isExcluded: (oid: string) => boolean;
  readonly conditionOf: (table: SourceTable) => string | undefined;
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
  const excluded = new Set(
    all
      .filter(t => (tables !== undefined && !isNamed(t, tables)) || isNamed(t, exclude))
      .map(({ oid }) => oid),
  );
  return {
    tables: all.filter(t => t.kind === 'r' && !excluded.has(t.oid)),
    isExcluded: oid => excluded.has(oid),
    conditionOf(table) {
      const found = Object.entries(where).find(([pattern]) => matches(pattern, table));
      return found?.[1];
    },
  };
}

// --- internal -----------------------------------------------------------------------------------

function matches(pattern: string, { schema, plain }: SourceTable): boolean {
  const text = pattern.split('*').map(escaped).join('.*');
  return new RegExp(`^${text}$`).test(pattern.includes('.') ? `${schema}.${plain}` : plain);
}

const escaped = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
