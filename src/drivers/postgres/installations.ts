/**
 * PostgreSQL's programs by which clusters are run: ours, and those of other installations on this machine. A data directory
 * says by which one it was made, in a file that copies of it inherit; so a child runs as its parent did, whatever its project
 * says by now.
 */
import { createHash } from 'node:crypto';
import { chown, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ChosenPostgres } from '../../model/branch.ts';
import { OffshootError } from '../../model/errors.ts';
import { binOf, findPostgres, type Postgres } from './binaries.ts';
import { openExtensions } from './extensions.ts';
import { mirrored } from './mirror.ts';
import type { ServerUser } from './user.ts';

export type Installation = {
  /** Directory of `postgres` and `initdb`, as the server's user reaches it. */
  readonly bin: string;
  readonly major: number;
  /** Value of `extension_control_path`; absent before version 18: what we trust is trusted by the files themselves. */
  readonly extensionControlPath?: string;
  /** Whether this installation can count statements. */
  readonly countsStatements: boolean;
};

export type Installations = {
  /**
   * The programs for a data directory.
   * @throws OffshootError postgres/gone, postgres/other-version
   */
  of(dataDir: string): Promise<Installation>;
  /** @param bin undefined: ours. @throws OffshootError postgres/gone */
  at(bin: string | undefined): Promise<Installation>;
  /** Says in a data directory by which programs it was made. */
  note(dataDir: string, bin: string | undefined): Promise<void>;
  close(): Promise<void>;
};

export function openInstallations({
  ours,
  user,
  runtimeDir,
}: {
  readonly ours: Pick<Postgres, 'bin' | 'version'>;
  readonly user: ServerUser;
  readonly runtimeDir: string;
}): Installations {
  const opened = new AsyncDisposableStack();
  const known = new Map<string, Promise<Installation>>();

  const open = async (bin: string): Promise<Installation> => {
    if (bin === ours.bin) return withExtensions(ours.bin, majorOf(ours.version), 'extensions');
    const name = `pg-${createHash('sha256').update(bin).digest('hex').slice(0, 8)}`;
    try {
      const found = await findPostgres({
        ...{ configured: bin, searchFrom: '/', runtimeDir, user, name },
        oldest: OLDEST,
      });
      opened.defer(found.close);
      const major = majorOf(found.version);
      if (major >= FIRST_WITH_CONTROL_PATH)
        return await withExtensions(found.bin, major, `${name}-extensions`);
      const mirror = await mirrored(found.bin, user, join(runtimeDir, `${name}-mirror`));
      opened.defer(mirror.close);
      return { bin: mirror.bin, major, countsStatements: mirror.countsStatements };
    } catch (cause) {
      if (!(cause instanceof OffshootError)) throw cause;
      throw new OffshootError('postgres/gone', { bin, why: cause.message }, { cause });
    }
  };

  const withExtensions = async (bin: string, major: number, folder: string): Promise<Installation> => {
    const { controlPath, countsStatements, close } = await openExtensions(
      bin,
      user,
      join(runtimeDir, folder),
    );
    opened.defer(close);
    return { bin, major, extensionControlPath: controlPath, countsStatements };
  };

  const at: Installations['at'] = (bin = ours.bin) => {
    const found = known.get(bin) ?? open(bin);
    known.set(bin, found);
    // One that was not there may come back.
    found.catch(() => known.delete(bin));
    return found;
  };

  return {
    at,

    async of(dataDir) {
      const bin = (await readFile(join(dataDir, FILE), 'utf8').catch(() => '')).trim();
      const found = await at(bin === '' ? undefined : bin);
      const made = (await readFile(join(dataDir, 'PG_VERSION'), 'utf8').catch(() => '')).trim();
      if (bin !== '' && made !== '' && made !== String(found.major))
        throw new OffshootError('postgres/other-version', {
          ...{ bin, is: found.major, made },
        });
      return found;
    },

    async note(dataDir, bin) {
      if (bin === undefined) return;
      await writeFile(join(dataDir, FILE), `${bin}\n`, { mode: 0o600 });
      await chown(join(dataDir, FILE), user.uid, user.gid);
    },

    close: () => opened.disposeAsync(),
  };
}

/**
 * The installation that somebody means by a path or a version.
 * @returns undefined when it is ours
 * @throws OffshootError postgres/missing, postgres/unusable
 */
export async function choosePostgres(
  wanted: string,
  { ours, user, runtimeDir }: Parameters<typeof openInstallations>[0],
): Promise<ChosenPostgres | undefined> {
  if (wanted === String(majorOf(ours.version))) return undefined;
  const bin = binOf(wanted);
  const found = await findPostgres({
    ...{
      configured: bin,
      searchFrom: '/',
      runtimeDir,
      user,
      name: `pg-look-${crypto.randomUUID().slice(0, 8)}`,
      oldest: OLDEST,
    },
  });
  await found.close();
  return { bin, version: found.version };
}

// --- internal ------------------------------------------------------------------------------------

/** In a data directory; PostgreSQL takes no notice of it. */
const FILE = 'offshoot.postgres';

const FIRST_WITH_CONTROL_PATH = 18;

/** The first whose settings and functions are those that we use (pg_backup_start). */
const OLDEST = 15;

const majorOf = (version: string): number => Number.parseInt(version, 10);
