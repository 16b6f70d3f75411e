/**
 * A source as it is at one moment: a transaction that sees one snapshot, and further ones that share it. What can be known
 * to be in the way is found out here, before anything is made.
 */
import { bytesText } from '../model/bytes.ts';
import { OffshootError } from '../model/errors.ts';
import type { ImportOptions, SourceServer } from '../model/import.ts';
import type { Source } from './catalog/contract.ts';
import { type NamedTable, TABLES } from './catalog.ts';
import { type Choice, chooseTables } from './choice.ts';
import { openSource, type Row, type Session } from './session.ts';

export type OpenedSource = Source & {
  /** e.g. `15.18` */
  readonly version: string;
  /** Owner of its database. */
  readonly owner: string;
  readonly choice: Choice;
  /** Bytes of the tables that are asked for, with their indexes as a guess. */
  readonly bytes: number;
  readonly session: Session;
  /** Another session in the same snapshot. */
  join(): Promise<Session>;
  close(): Promise<void>;
};

/**
 * Looks at all that can be in the way, and holds its tables from being changed in kind.
 * @param roomBytes that there are for it
 * @param answerMs as `openSource`
 * @throws OffshootError import/unreachable, import/refused, import/version, import/no-such-table, import/no-rights,
 *   import/no-room, import/no-snapshot
 */
export async function openSnapshot(
  { server, password }: { readonly server: SourceServer; readonly password: string },
  options: ImportOptions,
  roomBytes: number,
  answerMs?: number,
): Promise<OpenedSource> {
  const session = await openSource(server, password, answerMs);
  try {
    await session.query(`BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; ${SETTINGS}`);
    const query = <R extends Row>(sql: string) => session.query<R>(sql);
    const [about] = await query<About>(ABOUT);
    const { version, number, owner } = about!;
    const major = supportedMajor(version, number);
    const choice = chooseTables(await query<NamedTable>(TABLES), parentsOf(await query(PARENTS)), options);
    const hidden = options.schemaOnly ? [] : choice.tables.filter(({ readable }) => !readable);
    if (hidden.length > 0)
      throw new OffshootError('import/no-rights', {
        user: server.user,
        tables: namesOf(hidden.map(({ name }) => name)),
      });
    // Indexes are made anew, without the gaps of the old ones.
    const bytes = options.schemaOnly
      ? 0
      : choice.tables.reduce((sum, t) => sum + t.bytes, 0) +
        0.5 * about!.indexBytes * shareOf(choice, about!);
    // SQL of a mask runs on a copy that is copied again.
    const need = options.mask?.sql === undefined ? bytes : 2 * bytes;
    if (need + SPARE_BYTES > roomBytes)
      throw new OffshootError('import/no-room', {
        need: bytesText(need),
        room: bytesText(Math.max(0, roomBytes - SPARE_BYTES)),
      });
    const snapshot = options.jobs === 1 || options.schemaOnly ? undefined : await exported(session);
    await lockTables(session, choice);
    return {
      ...{ query, major, version, owner, choice, bytes, session },
      close: () => session.close(),
      async join() {
        if (snapshot === undefined) throw new TypeError('nobody shares this snapshot');
        const joined = await openSource(server, password);
        try {
          await joined.query(
            `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT '${snapshot}'; ${SETTINGS}`,
          );
          return joined;
        } catch (cause) {
          await joined.close();
          throw new OffshootError('import/no-snapshot', { why: (cause as Error).message }, { cause });
        }
      },
    };
  } catch (error) {
    await session.close();
    throw error;
  }
}

/** @param number `server_version_num` @throws OffshootError import/version */
export function supportedMajor(version: string, number: number): number {
  const major = Math.floor(number / 10_000);
  if (major < OLDEST || major > NEWEST) throw new OffshootError('import/version', { version });
  return major;
}

// --- internal -----------------------------------------------------------------------------------

const OLDEST = 13;
const NEWEST = 18;

/** What a new cluster takes, and its WAL. */
const SPARE_BYTES = 64 * 2 ** 20;

/** In a transaction, so that a pooler in between keeps them together; texts mean the same on both sides. */
export const SETTINGS = Object.entries({
  search_path: `''`,
  row_security: 'off',
  statement_timeout: '0',
  lock_timeout: `'30s'`,
  idle_in_transaction_session_timeout: '0',
  client_encoding: 'UTF8',
  datestyle: 'ISO',
  intervalstyle: 'postgres',
  timezone: `'UTC'`,
  extra_float_digits: '3',
  bytea_output: 'hex',
  xmloption: 'content',
  synchronize_seqscans: 'off',
})
  .map(([name, value]) => `SET LOCAL ${name} = ${value}`)
  .join('; ');

type About = {
  readonly version: string;
  readonly number: number;
  readonly owner: string;
  readonly indexBytes: number;
  readonly tableBytes: number;
};

const ABOUT = `SELECT split_part(current_setting('server_version'), ' ', 1) AS version, current_setting('server_version_num')::int AS number,
    (SELECT pg_catalog.pg_get_userbyid(datdba) FROM pg_catalog.pg_database WHERE datname = current_database()) AS owner,
    (SELECT COALESCE(sum(pg_catalog.pg_relation_size(oid)), 0)::float8 FROM pg_catalog.pg_class WHERE relkind = 'i' AND oid >= 16384) AS "indexBytes",
    (SELECT COALESCE(sum(pg_catalog.pg_relation_size(oid)), 0)::float8 FROM pg_catalog.pg_class WHERE relkind = 'r' AND oid >= 16384) AS "tableBytes"`;

const shareOf = ({ tables }: Choice, { tableBytes }: About): number =>
  tableBytes === 0 ? 0 : Math.min(1, tables.reduce((sum, { bytes }) => sum + bytes, 0) / tableBytes);

const PARENTS = `SELECT inhrelid::text AS child, inhparent::text AS parent FROM pg_catalog.pg_inherits`;

function parentsOf(rows: readonly Row[]): ReadonlyMap<string, readonly string[]> {
  const grouped = Map.groupBy(rows as readonly { child: string; parent: string }[], ({ child }) => child);
  return new Map([...grouped].map(([child, all]) => [child, all.map(({ parent }) => parent)]));
}

const namesOf = (names: readonly string[]): string =>
  names.length <= 20 ? names.join(', ') : `${names.slice(0, 20).join(', ')} and ${names.length - 20} more`;

async function exported({ query }: Session): Promise<string> {
  try {
    const [row] = await query<{ id: string }>('SELECT pg_catalog.pg_export_snapshot() AS id');
    return row!.id;
  } catch (cause) {
    throw new OffshootError('import/no-snapshot', { why: (cause as Error).message }, { cause });
  }
}

/** As pg_dump does: nobody may drop or change a table until it has come. */
async function lockTables({ query }: Session, { tables }: Choice): Promise<void> {
  const names = tables.filter(({ readable }) => readable).map(({ name }) => `ONLY ${name}`);
  for (let at = 0; at < names.length; at += 100)
    await query(`LOCK TABLE ${names.slice(at, at + 100).join(', ')} IN ACCESS SHARE MODE`);
}
