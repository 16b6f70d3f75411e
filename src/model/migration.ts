/** What brings a database to what the code of a folder expects: `migrate:` of its offshoot.yaml. */
import { type BranchAddress, connectionString } from './branch.ts';
import type { ImageMap, Preparation, Runtime } from './image.ts';

export type Migration = {
  /** Absolute. */
  readonly dir: string;
  /** Program first; the database is told by variables. It may be run again and again. */
  readonly command: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** What has to be done in `dir` before; what images of that folder need is done in any case. */
  readonly setup?: Preparation;
  readonly runtime?: Runtime;
  /** Globs from `dir`: who applies again after a change of these runs it again. Absent: all that git would keep. */
  readonly inputs?: readonly string[];
  readonly timeoutMs?: number;
  /** Whose branches; absent: all that a sandbox has. */
  readonly project?: string;
};

/** What an offshoot.yaml says of the code beside it. */
export type FolderCode = { readonly images?: ImageMap; readonly migrate?: Migration };

/** How a migration finds its database: variables of libpq, the one that most programs read, and which branch it is. They hold a password. */
export function migrationVariables(
  address: BranchAddress,
  { project, branch }: { readonly project: string; readonly branch: string },
): Readonly<Record<string, string>> {
  const { host, port, user, password, database, sslmode, sslrootcert } = address;
  return {
    DATABASE_URL: connectionString(address),
    ...{ PGHOST: host, PGPORT: String(port), PGUSER: user, PGPASSWORD: password, PGDATABASE: database },
    ...(sslmode !== undefined && { PGSSLMODE: sslmode }),
    ...(sslrootcert !== undefined && { PGSSLROOTCERT: sslrootcert }),
    ...{ OFFSHOOT_PROJECT: project, OFFSHOOT_BRANCH: branch },
  };
}
