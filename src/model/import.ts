/**
 * Data that come from elsewhere into the root of a project: what is asked for, how far it is, and what came of it. An import
 * fills a hidden volume, which becomes that of `main` when the last check has passed; until then nobody reaches it.
 */
import { bytesText } from './bytes.ts';
import { OffshootError } from './errors.ts';
import type { MaskRules } from './mask.ts';

/** A dump that was sent here, and is kept until what is in it has come. */
export type SourceFile = {
  /** As who has sent it calls it. */
  readonly file: string;
  readonly upload: string;
  /** The pg_restore that reads it, when it is an archive. */
  readonly tool?: string;
};

export type ImportSource = SourceServer | SourceFile;

/** Where data come from, with what only who has it knows. */
export type ImportFrom =
  | { readonly server: SourceServer; readonly password: string }
  | { readonly file: Pick<SourceFile, 'file' | 'upload'> };

export const isFile = (source: ImportSource): source is SourceFile => 'upload' in source;

/** A running PostgreSQL. Its password stands nowhere here. */
export type SourceServer = {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly database: string;
  readonly sslmode: 'disable' | 'prefer' | 'require' | 'verify-ca' | 'verify-full';
  /** Certificates of authorities, PEM; absent: those that Node trusts. */
  readonly authorities?: string;
};

export type ImportOptions = {
  readonly schemaOnly?: boolean;
  /** Patterns of tables, `schema.name` or `name`, with `*`; absent: all. */
  readonly tables?: readonly string[];
  readonly exclude?: readonly string[];
  /** Tables that come in part: the condition of their rows, by `schema.name` or `name`. */
  readonly where?: Readonly<Record<string, string>>;
  /** Compares the checksums of all tables at the end. */
  readonly verify?: boolean;
  /** Connections at once; with 1 the source need not share its snapshot. */
  readonly jobs?: number;
  /** What becomes of columns on their way; absent: all come as they are. */
  readonly mask?: MaskRules;
};

/** The same as people ask for it. `mask`: as a file of rules has it; false: none from now on. */
export type ImportWish = {
  readonly [K in Exclude<keyof ImportOptions, 'mask'>]?: ImportOptions[K] | undefined;
} & { readonly mask?: object | false | undefined };

/** The newest wish to fill a project's root. */
export type ImportSpec = ImportOptions & {
  /** How often that was asked for: an import that is done, or has failed, is not begun again by itself. */
  readonly count: number;
  readonly source: ImportSource;
  /** RFC 3339 */
  readonly at: string;
  /** Nobody wants it any more; what was there before stays. */
  readonly cancelled?: boolean;
};

export type ImportPhase =
  | 'connecting'
  | 'file'
  | 'schema'
  | 'data'
  | 'indexes'
  | 'rest'
  | 'checking'
  | 'masking'
  | 'ending';

export type ImportProgress = {
  readonly phase: ImportPhase;
  readonly tables: number;
  readonly tablesDone: number;
  readonly rows: number;
  /** As they came, and what the tables take at the source; of a file, what was read of it, and what it has. */
  readonly bytes: number;
  readonly sourceBytes: number;
  /** Tables that come now, with the share of each, from 0 to 1. */
  readonly now: readonly { readonly table: string; readonly rows: number; readonly share: number }[];
  readonly leftMs?: number;
};

export type ImportReport = {
  readonly tables: number;
  readonly rows: number;
  readonly bytes: number;
  readonly ms: number;
  /** Version of the source, e.g. `15.18`; empty: it does not say. */
  readonly version: string;
  /** What could not be taken, or not as it was. */
  readonly leftOut: readonly { readonly what: string; readonly why: string }[];
  readonly masked?: { readonly columns: number; readonly tables: number };
};

/** Of the newest import of a project; part of its root's status. */
export type ImportStatus = {
  readonly count: number;
  readonly state: 'running' | 'done' | 'failed';
  readonly progress?: ImportProgress;
  readonly report?: ImportReport;
  /** Why it failed. */
  readonly message?: string;
  readonly hint?: string;
};

/** One line for people, e.g. `takes the rows: 3 of 200 tables, 1.2 GiB of about 8 GiB, about 40 s left`. */
export function progressText(progress: ImportProgress | undefined): string {
  if (progress === undefined) return 'its data are about to come';
  const { phase, tables, tablesDone, bytes, sourceBytes, leftMs } = progress;
  const left = leftMs === undefined ? '' : `, about ${durationText(leftMs)} left`;
  if (phase === 'file')
    return `${PHASES[phase]}: ${bytesText(bytes)} of ${bytesText(sourceBytes)}, ${progress.rows} rows${left}`;
  if (phase !== 'data') return PHASES[phase];
  return `${PHASES[phase]}: ${tablesDone} of ${tables} tables, ${bytesText(bytes)} of about ${bytesText(sourceBytes)}${left}`;
}

/** @throws OffshootError import/file-option: a dump comes as a whole, in the order in which it was written */
export function checkDumpOptions(options: ImportWish = {}): void {
  for (const [name, [option, why]] of Object.entries(NOT_OF_FILES))
    if ((options[name as keyof ImportOptions] ?? false) !== false)
      throw new OffshootError('import/file-option', { option, why });
}

// --- internal -----------------------------------------------------------------------------------

const PHASES: Readonly<Record<ImportPhase, string>> = {
  connecting: 'looks at the source',
  file: 'loads the file',
  schema: 'makes the schema',
  data: 'takes the rows',
  indexes: 'makes indexes and constraints',
  rest: 'sets rights and comments',
  checking: 'checks what has come',
  masking: 'runs the SQL of the mask, and copies what it leaves',
  ending: 'writes it all to the disk',
};

const WHOLE = 'a dump comes as it was written';
const NOT_OF_FILES: Partial<Readonly<Record<keyof ImportOptions, readonly [string, string]>>> = {
  tables: ['--tables', WHOLE],
  exclude: ['--exclude', WHOLE],
  where: ['--where', WHOLE],
  jobs: ['--jobs', 'it is read once, from its beginning to its end'],
  verify: ['--verify', 'nobody is there to compare it with'],
  mask: ['--mask', 'it would lie here with all that is real in it until it has been loaded'],
};

const durationText = (ms: number): string => {
  const seconds = Math.ceil(ms / 1000);
  return seconds < 120
    ? `${seconds} s`
    : seconds < 7_200
      ? `${Math.round(seconds / 60)} min`
      : `${Math.round(seconds / 3_600)} h`;
};
