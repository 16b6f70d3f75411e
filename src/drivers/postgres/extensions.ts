/**
 * Which of PostgreSQL's own extensions the owner of a project's database may create. PostgreSQL marks some as trusted;
 * we mark others, by control files of our own that come before PostgreSQL's (`extension_control_path`, version 18) or take the
 * place of theirs (mirror.ts).
 *
 * A trusted extension's script runs as superuser, so an extension is listed only if (a) it gives no way to files,
 * programs, the machine's network or other people's memory, and (b) its scripts run nothing that whoever owns the target
 * schema could have put there: they declare functions of C, views and grants, by names that pg_catalog has. Functions
 * that can do harm in the database itself are withheld from everybody by the scripts (`REVOKE … FROM PUBLIC`).
 */
import { existsSync } from 'node:fs';
import { chmod, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { exec } from '../../lib/exec.ts';
import { runAs, type ServerUser } from './user.ts';

/** Not listed, although often asked for: dblink, postgres_fdw (network), file_fdw (files), pg_surgery, languages that are not trusted. */
export const allowedExtensions: readonly string[] = [
  ...[
    'amcheck',
    'autoinc',
    'bloom',
    'dict_xsyn',
    'earthdistance',
    'insert_username',
    'intagg',
    'moddatetime',
  ],
  ...['pg_buffercache', 'pg_freespacemap', 'pg_prewarm', 'pg_stat_statements', 'pg_visibility', 'pgrowlocks'],
  ...['pgstattuple', 'sslinfo'],
];

/** Of others than PostgreSQL, where an installation has them. */
const foreignExtensions: readonly string[] = ['hypopg', 'postgis'];

/** Those that are SQL and PL/pgSQL alone: whoever creates one owns what it makes, and runs its script himself. */
const plainExtensions: readonly string[] = ['pg_partman'];

export type Extensions = {
  /** Value of `extension_control_path`. */
  readonly controlPath: string;
  /** Whether pg_stat_statements is there. */
  readonly countsStatements: boolean;
  close(): Promise<void>;
};

/**
 * Writes the control files.
 * @param bin directory of `postgres` and `initdb`, as `user` reaches it
 * @param folder ours, made here; `user` must be able to enter what is above it
 */
export async function openExtensions(bin: string, user: ServerUser, folder: string): Promise<Extensions> {
  const scripts = join(await shareOf(bin, user), 'extension');
  const own = join(folder, 'extension');
  await mkdir(own, { recursive: true });
  for (const path of [folder, own]) await chmod(path, 0o755);
  for (const [name, text] of await trustedControls(scripts)) {
    const file = join(own, `${name}.control`);
    await writeFile(file, `${text}directory = '${scripts.replaceAll("'", "''")}'\n`);
    await chmod(file, 0o644);
  }
  return {
    controlPath: `${folder}:$system`,
    countsStatements: existsSync(join(own, 'pg_stat_statements.control')),
    close: () => rm(folder, { recursive: true, force: true }),
  };
}

/** Control files of allowed extensions that a folder has, by name, changed so that they are trusted. */
export async function trustedControls(scripts: string): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  for (const name of [...allowedExtensions, ...foreignExtensions, ...plainExtensions]) {
    const control = await readFile(join(scripts, `${name}.control`), 'utf8').catch(() => undefined);
    if (control === undefined) continue; // this installation does not have it
    const kept = control.split('\n').filter(line => !/^\s*(trusted|directory|superuser)\s*=/.test(line));
    const how = plainExtensions.includes(name) ? 'superuser = false' : 'trusted = true';
    found.set(name, `${[...kept, how].join('\n')}\n`);
  }
  return found;
}

/** Where an installation has its shared files; one that was moved has them where its programs say. */
export async function shareOf(bin: string, user: ServerUser): Promise<string> {
  const usual = join(dirname(bin), 'share', 'postgresql');
  if (existsSync(join(usual, 'extension'))) return usual;
  const options = { env: {}, cwd: '/', deadlineMs: 10_000, ...runAs(user) };
  // Asks for no more than this; the directory is not looked at.
  const { stderr, stdout } = await exec(join(bin, 'initdb'), ['--show', '--pgdata=/nonexistent'], options);
  return /^share_path=(.*)$/m.exec(stderr + stdout)?.[1] ?? usual;
}
