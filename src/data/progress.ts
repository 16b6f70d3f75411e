/** How far an import is, and how long it will take: counted here, told by whoever asks. */
import type { ImportPhase, ImportProgress } from '../model/import.ts';
import type { SourceTable } from './catalog.ts';
import type { Moved } from './relay.ts';

export type Progress = {
  phase(next: ImportPhase): void;
  /** What is to come. */
  plan(tables: readonly SourceTable[]): void;
  moved(table: SourceTable, so: Moved): void;
  done(table: SourceTable, all: Moved): void;
  /** How far a dump is. */
  read(so: { readonly bytes: number; readonly sourceBytes: number; readonly rows: number }): void;
  now(): ImportProgress;
};

/** @param changed called at each change, many times a second */
export function createProgress(changed: () => void, clock: () => number = () => performance.now()): Progress {
  const running = new Map<SourceTable, Moved>();
  let phase: ImportPhase = 'connecting';
  let [tables, tablesDone, rows, bytes, sourceBytes, doneBytes, begun] = [0, 0, 0, 0, 0, 0, 0];
  const shareOf = (table: SourceTable, so: Moved): number =>
    table.bytes === 0 ? 1 : Math.min(0.99, so.bytes / table.bytes);
  return {
    phase(next) {
      phase = next;
      changed();
    },
    plan(all) {
      tables = all.length;
      sourceBytes = all.reduce((sum, table) => sum + table.bytes, 0);
      begun = clock();
      changed();
    },
    moved(table, so) {
      running.set(table, so);
      changed();
    },
    done(table, all) {
      running.delete(table);
      tablesDone += 1;
      rows += all.rows;
      bytes += all.bytes;
      doneBytes += table.bytes;
      changed();
    },
    read(so) {
      if (begun === 0) begun = clock();
      ({ bytes, sourceBytes, rows } = so);
      doneBytes = bytes;
      changed();
    },
    now() {
      const parts = [...running];
      const share =
        sourceBytes === 0
          ? 1
          : (doneBytes + parts.reduce((sum, [table, so]) => sum + table.bytes * shareOf(table, so), 0)) /
            sourceBytes;
      const left =
        (phase === 'data' || phase === 'file') && share > 0.02
          ? ((clock() - begun) * (1 - share)) / share
          : undefined;
      return {
        ...{ phase, tables, tablesDone, sourceBytes },
        rows: parts.reduce((sum, [, so]) => sum + so.rows, rows),
        bytes: parts.reduce((sum, [, so]) => sum + so.bytes, bytes),
        now: parts.map(([table, so]) => ({
          table: table.name,
          rows: so.rows,
          share: Math.round(100 * shareOf(table, so)) / 100,
        })),
        ...(left !== undefined && { leftMs: Math.round(left) }),
      };
    },
  };
}
