/** The rows of all tables, several at a time, the largest first; and whether they are the same afterwards. */
import { OffshootError } from '../model/errors.ts';
import type { SourceTable } from './catalog.ts';
import { maskRows, ValueError } from './mask/rows.ts';
import type { Mask } from './mask.ts';
import type { Progress } from './progress.ts';
import { type Moved, relay, SourceError } from './relay.ts';
import { isLost, type Session } from './session.ts';

export type Pair = { readonly source: Session; readonly target: Session };

/**
 * @param pairs sessions, one COPY at a time each
 * @throws Error with the table's name
 */
export async function copyTables(
  tables: readonly SourceTable[],
  pairs: readonly Pair[],
  conditionOf: (table: SourceTable) => string | undefined,
  mask: Mask | undefined,
  progress: Progress,
  signal: AbortSignal,
): Promise<{ readonly rows: number; readonly bytes: number }> {
  const queue = [...tables];
  const sum = { rows: 0, bytes: 0 };
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  const work = async (pair: Pair): Promise<void> => {
    for (let table = queue.shift(); table !== undefined; table = queue.shift()) {
      either.throwIfAborted();
      const moved = await copyTable(table, pair, { condition: conditionOf(table), mask }, progress, either);
      progress.done(table, moved);
      sum.rows += moved.rows;
      sum.bytes += moved.bytes;
    }
  };
  await Promise.all(
    pairs.map(pair =>
      work(pair).catch(error => {
        failed.abort(error);
        throw error;
      }),
    ),
  );
  return sum;
}

/** @throws OffshootError import/differs with the names of tables whose checksums are not the same on both sides */
export async function verify(
  tables: readonly SourceTable[],
  pairs: readonly Pair[],
  conditionOf: (table: SourceTable) => string | undefined,
  mask: Mask | undefined,
  signal: AbortSignal,
): Promise<void> {
  const queue = [...tables];
  const different: string[] = [];
  await Promise.all(
    pairs.map(async pair => {
      for (let table = queue.shift(); table !== undefined; table = queue.shift()) {
        signal.throwIfAborted();
        if (!(await isSame(table, pair, { condition: conditionOf(table), mask }))) different.push(table.name);
      }
    }),
  );
  if (different.length > 0) throw new OffshootError('import/differs', { tables: different.join(', ') });
}

// --- internal -----------------------------------------------------------------------------------

type Wish = { readonly condition: string | undefined; readonly mask: Mask | undefined };

/** Of masked tables, what is the same on both sides. */
async function isSame(
  table: SourceTable,
  { source, target }: Pair,
  { condition, mask }: Wish,
): Promise<boolean> {
  const { name } = table;
  const columns = mask?.of(table)?.same ?? table.columns;
  const where = condition === undefined ? '' : ` WHERE ${condition}`;
  const sum = (more: string) =>
    `SELECT pg_catalog.count(*)::text AS rows, COALESCE(pg_catalog.sum(pg_catalog.hashtextextended(ROW(${columns.join(', ')})::text, 0))::text, '0') AS sum FROM ONLY ${name}${more}`;
  const [[there], [here]] = await Promise.all([source.query(sum(where)), target.query(sum(''))]);
  return there!.rows === here!.rows && there!.sum === here!.sum;
}

/**
 * A table that is emptied in the transaction which fills it needs no WAL (PostgreSQL §14.4.7), and its rows may be frozen at once,
 * which saves whoever reads them first from writing all of them again.
 */
async function copyTable(
  table: SourceTable,
  { source, target }: Pair,
  { condition, mask }: Wish,
  progress: Progress,
  signal: AbortSignal,
): Promise<Moved> {
  const { name } = table;
  const masked = mask?.of(table);
  const { columns } = masked ?? table;
  const binary = table.binary && masked === undefined;
  const list = columns.join(', ');
  const format = binary ? 'FORMAT binary' : 'FORMAT text';
  const from =
    condition === undefined && columns.length > 0
      ? `${name} (${list})`
      : `(SELECT ${list} FROM ONLY ${name}${condition === undefined ? '' : ` WHERE ${condition}`})`;
  try {
    await target.query(`BEGIN; TRUNCATE ONLY ${name}`);
    const moved = await relay(source, target, {
      out: `COPY ${from} TO STDOUT (${format})`,
      in: `COPY ${name}${columns.length === 0 ? '' : ` (${list})`} FROM STDIN (${format}, FREEZE)`,
      moved: so => progress.moved(table, so),
      ...(masked && { through: out => maskRows(masked.first, columns.length, out) }),
      signal,
    });
    await target.query('COMMIT');
    return moved;
  } catch (cause) {
    signal.throwIfAborted();
    if (cause instanceof ValueError) throw unmasked(cause);
    // Under a mask nobody is told what a source says of its rows.
    if (mask !== undefined && cause instanceof SourceError && !isLost(cause)) throw quiet(table, cause);
    throw Object.assign(new Error(`table ${name}: ${(cause as Error).message}`, { cause }), {
      code: (cause as { code?: string }).code,
    });
  }
}

const unmasked = ({ column, message }: ValueError): OffshootError =>
  new OffshootError('mask/no-value', { column, why: message });

function quiet({ name }: SourceTable, { code = 'unknown' }: SourceError): Error {
  const why = `the source ended it with SQLSTATE ${code}; its own log says more`;
  return Object.assign(new Error(`table ${name}: ${why}`), { code });
}
