/** PostgreSQL's programs for clients on this machine: psql, pg_dump, pg_restore, each with the version that it is. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { exec } from './exec.ts';
import { findProgram } from './find-program.ts';

export const clientTools = ['psql', 'pg_dump', 'pg_restore'] as const;
export type ClientToolName = (typeof clientTools)[number];

export type ClientTool = {
  readonly path: string;
  /** e.g. `15.18` */
  readonly version: string;
  readonly major: number;
};

export type ToolPlaces = {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
};

/**
 * All that are found, the newest first: in the folder of the setting, on the PATH, and where Debian, Red Hat, Homebrew and
 * Postgres.app put them. A program that does not tell its version is none.
 * @param env OFFSHOOT_CLIENT_TOOLS: the folder (or several, as in PATH) that is looked into before all others
 */
export async function findClientTools(
  name: ClientToolName,
  { env, cwd }: ToolPlaces,
): Promise<readonly ClientTool[]> {
  const folders = [
    ...[env.OFFSHOOT_CLIENT_TOOLS, env.PATH].flatMap(path => path?.split(':').filter(Boolean) ?? []),
    ...(await usualFolders()),
  ];
  const paths = await Promise.all(folders.map(folder => findProgram(name, folder, cwd)));
  const tools = await Promise.all([...new Set(paths.filter(path => path !== undefined))].map(versionOf));
  return tools.filter(tool => tool !== undefined).toSorted((a, b) => b.major - a.major);
}

/** The one to use with a server of `major`: the nearest that is not older, since older ones refuse it or do not know it. */
export async function clientToolFor(
  name: ClientToolName,
  major: number,
  places: ToolPlaces,
): Promise<ClientTool | undefined> {
  const found = (await findClientTools(name, places)).filter(tool => tool.major >= major);
  return found.toSorted((a, b) => a.major - b.major)[0];
}

/** What to install, and what to say when it is elsewhere. */
export const howToInstall = (major: number): string =>
  process.platform === 'darwin'
    ? `install them ("brew install libpq"), or name their folder in OFFSHOOT_CLIENT_TOOLS`
    : `install them ("apt install postgresql-client-${major}", from apt.postgresql.org where the distribution has none), or name their folder in OFFSHOOT_CLIENT_TOOLS`;

// --- internal -----------------------------------------------------------------------------------

/** Folders that hold one folder for each version, and what is in those. */
const VERSIONED: readonly (readonly [folder: string, version: RegExp, rest: string])[] = [
  ['/usr/lib/postgresql', /^\d+$/, 'bin'],
  ['/usr', /^pgsql-\d+$/, 'bin'],
  ['/opt/homebrew/opt', /^(libpq|postgresql(@\d+)?)$/, 'bin'],
  ['/usr/local/opt', /^(libpq|postgresql(@\d+)?)$/, 'bin'],
  ['/Applications/Postgres.app/Contents/Versions', /^\d+$/, 'bin'],
];

async function usualFolders(): Promise<readonly string[]> {
  const found = await Promise.all(
    VERSIONED.map(async ([folder, version, rest]) => {
      const names = await readdir(folder).catch(() => []);
      return names.filter(name => version.test(name)).map(name => join(folder, name, rest));
    }),
  );
  return found.flat();
}

async function versionOf(path: string): Promise<ClientTool | undefined> {
  try {
    const { stdout } = await exec(path, ['--version'], { deadlineMs: 10_000 });
    const version = /\(PostgreSQL\) (\S+)/.exec(stdout)?.[1];
    return version === undefined ? undefined : { path, version, major: Number.parseInt(version, 10) };
  } catch {
    return undefined;
  }
}
