/**
 * A dump as a source: what is known of it before anything is made, and its way into an empty database. What it says runs as the
 * owner of the project, never as a superuser (dump/load.ts).
 */
import { clientToolFor, howToInstall, type ToolPlaces } from '../lib/client-tools.ts';
import { OffshootError } from '../model/errors.ts';
import { checkDumpOptions, type ImportOptions, type ImportReport } from '../model/import.ts';
import { owned } from './catalog/roles.ts';
import { dumpKind } from './dump/kind.ts';
import { loadDump } from './dump/load.ts';
import { openDump } from './dump/open.ts';
import { told } from './import.ts';
import { say } from './make.ts';
import type { Progress } from './progress.ts';
import { openTarget, type TargetAddress } from './session.ts';

/**
 * @param folder in which the dump is, alone
 * @param places where programs are looked for
 * @returns the pg_restore that reads it, for archives
 * @throws OffshootError import/bad-dump, import/file-option, import/no-restore-tool
 */
export async function lookAtDump(
  folder: string,
  options: ImportOptions,
  places: ToolPlaces,
): Promise<{ readonly database?: string; readonly tool?: string }> {
  checkDumpOptions(options);
  const { format, major = OLDEST, database } = await dumpKind(folder);
  const named = database === undefined ? {} : { database };
  if (format === 'plain') return named;
  const tool = await clientToolFor('pg_restore', major, places);
  if (tool === undefined)
    throw new OffshootError('import/no-restore-tool', { major, install: howToInstall(major) });
  return { ...named, tool: tool.path };
}

export type DumpImport = {
  /** As who has sent it calls it. */
  readonly name: string;
  readonly folder: string;
  readonly tool: string | undefined;
  /** Who runs that. */
  readonly user: { readonly uid?: number; readonly gid?: number };
  /** The server that is filled; its database does not exist yet. */
  readonly target: Omit<TargetAddress, 'database'>;
  readonly database: string;
  readonly role: string;
  readonly schemaOnly: boolean;
  readonly progress: Progress;
  readonly signal: AbortSignal;
};

/** @throws OffshootError import/* */
export async function importDump(o: DumpImport): Promise<ImportReport> {
  const doing = { what: 'reading the dump' };
  try {
    return await run(o, doing);
  } catch (error) {
    o.signal.throwIfAborted();
    throw told(error, doing.what);
  }
}

// --- internal -----------------------------------------------------------------------------------

/** Archives that do not say who wrote them are older than those that do. */
const OLDEST = 9;

/** Between two looks at how far a file has been read. */
const LOOK_MS = 300;

async function run(o: DumpImport, doing: { what: string }): Promise<ImportReport> {
  const begun = performance.now();
  const { name, folder, tool, user, target, database, role, schemaOnly, progress, signal } = o;
  const kind = await dumpKind(folder);
  const dump = openDump(kind, tool, user, signal);
  let rows = 0;
  let bytes = 0;
  const look = async (): Promise<void> => {
    bytes = Math.max(bytes, Math.min((await dump.readBytes()) ?? 0, kind.bytes));
    progress.read({ bytes, sourceBytes: kind.bytes, rows });
  };
  const timer = setInterval(() => void look(), LOOK_MS);
  doing.what = 'loading it';
  await look();
  progress.phase('file');
  const loading = { name, sql: dump.sql, target, database, role, schemaOnly, signal };
  try {
    const loaded = await loadDump({
      ...loading,
      onRows: count => {
        rows = count;
      },
    }).catch(error => {
      throw dump.ends.broken ?? error;
    });
    if (!dump.ends.whole)
      throw new OffshootError('import/bad-dump', {
        why: 'it ends in the middle: who wrote it did not come to its end',
      });
    doing.what = 'setting rights';
    progress.phase('rest');
    const admin = await openTarget({ ...target, database });
    try {
      const more = await say(
        [{ what: `${role} as member of all roles`, sql: owned(role, loaded.major) }],
        admin,
      );
      await admin.query('ANALYZE');
      const [counted] = await admin.query<{ tables: number }>(TABLES);
      return {
        ...{ tables: counted!.tables, rows: loaded.rows, bytes: kind.bytes },
        ms: Math.round(performance.now() - begun),
        version: kind.version ?? '',
        leftOut: [...loaded.leftOut, ...more],
      };
    } finally {
      await admin.close();
    }
  } finally {
    clearInterval(timer);
  }
}

const TABLES = `SELECT pg_catalog.count(*)::int AS tables FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace
  WHERE relkind IN ('r', 'p') AND relpersistence <> 't' AND nspname !~ '^pg_' AND nspname <> 'information_schema'`;
