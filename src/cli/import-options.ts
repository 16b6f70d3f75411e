/** Options of commands by which data come from elsewhere. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { OffshootError } from '../model/errors.ts';
import { checkDumpOptions, type ImportWish } from '../model/import.ts';
import { readSourceAddress, type SourceAddress } from '../model/source-address.ts';
import type { Cli } from './context.ts';
import { isDump, type SentDump, sendDump } from './dump-source.ts';
import { UsageError } from './output.ts';
import { readSource } from './read-file.ts';

export type ImportFlags = {
  readonly from?: string;
  readonly schemaOnly?: true;
  readonly tables?: readonly string[];
  readonly exclude?: readonly string[];
  readonly where?: Readonly<Record<string, string>>;
  readonly verify?: true;
  readonly jobs?: number;
  /** A file; false: no rules any more. */
  readonly mask?: string | false;
};

export const withImportOptions = (command: Command, from: string): Command =>
  command
    .option('--from <source>', from)
    .option('--schema-only', 'no rows')
    .option('--tables <pattern...>', 'only these tables, e.g. public.* (repeatable)')
    .option('--exclude <pattern...>', 'all but these tables, e.g. audit_* (repeatable)')
    .addOption(
      new Option(
        '--where <table=condition>',
        'of that table only rows of which that SQL is true (repeatable)',
      ).argParser(parseWhere),
    )
    .option('--mask <file>', 'rules by which columns are masked on their way (YAML)')
    .option('--verify', 'compare the checksums of all tables at the end')
    .addOption(
      new Option('--jobs <number>', 'connections to the source, 1 to 16 (default 4)').argParser(parseJobs),
    );

/**
 * A server, or a dump, which is sent first. Options that a dump does not have are refused before.
 * @throws OffshootError import/bad-source, import/file-option; as `sendDump`
 */
export async function fromOf(cli: Cli, text: string, options: ImportWish | undefined): Promise<SentDump> {
  if (!isDump(text)) return { from: await sourceOf(cli, text), forget: async () => {} };
  checkDumpOptions(options);
  return sendDump(cli, text);
}

/** What was sent and then not wanted is taken back. */
export async function takingBack<R>(source: SentDump | undefined, work: () => Promise<R>): Promise<R> {
  try {
    return await work();
  } catch (error) {
    await source?.forget();
    throw error;
  }
}

/** A path means the same for the daemon; all else is a version. */
export const postgresOf = ({ cwd }: Cli, text: string): string =>
  /^\d{2}$/.test(text) ? text : resolve(cwd, text);

/**
 * The source, with the password of PGPASSWORD when the address has none. `project:NAME` is the branch `main` of a project here.
 * @throws OffshootError import/bad-source, api/not-found
 */
export async function sourceOf(cli: Cli, named: string): Promise<SourceAddress> {
  const project = /^project:(.+)$/.exec(named)?.[1];
  const text =
    project === undefined
      ? named
      : (await cli.client().branches.credentials(project, 'main')).connectionString;
  const address = readSourceAddress(text, file => {
    try {
      return readFileSync(resolve(cli.cwd, file), 'utf8');
    } catch (cause) {
      const why = `the certificates in ${file} cannot be read (${(cause as NodeJS.ErrnoException).code})`;
      throw new OffshootError('import/bad-source', { why }, { cause });
    }
  });
  return address.password === '' ? { ...address, password: cli.env.PGPASSWORD ?? '' } : address;
}

/**
 * @returns undefined when none was given
 * @throws UsageError, OffshootError document/invalid, mask/bad-rules
 */
export async function importOptionsOf(
  cli: Cli,
  { from: _, mask, ...flags }: ImportFlags,
): Promise<ImportWish | undefined> {
  const names = ['schemaOnly', 'tables', 'exclude', 'where', 'verify', 'jobs'] as const;
  const given = names.flatMap(name => (flags[name] === undefined ? [] : [[name, flags[name]] as const]));
  const rules = mask === undefined ? {} : { mask: mask !== false && (await readMask(cli, mask)) };
  const all = { ...Object.fromEntries(given), ...rules };
  return Object.keys(all).length === 0 ? undefined : all;
}

// --- internal -----------------------------------------------------------------------------------

async function readMask(cli: Cli, name: string): Promise<object> {
  const { readDocument } = await import('../model/document/yaml.ts');
  const { readMaskRules } = await import('../model/mask.ts');
  const { value } = readDocument(await readSource(cli, name));
  readMaskRules(value);
  return value as object;
}

function parseWhere(
  text: string,
  before: Readonly<Record<string, string>> = {},
): Readonly<Record<string, string>> {
  const at = text.indexOf('=');
  if (at < 1 || text.slice(at + 1).trim() === '')
    throw new UsageError(
      `--where takes TABLE=CONDITION, e.g. orders="created_at > '2026-01-01'", not "${text}"`,
    );
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}

function parseJobs(text: string): number {
  if (!/^\d{1,2}$/.test(text) || Number(text) < 1 || Number(text) > 16)
    throw new UsageError(`--jobs takes a number from 1 to 16, not "${text}"`);
  return Number(text);
}
