/**
 * Takes a whole database from a running server into an empty one: roles, schema, rows, indexes, rights, and a last check. Rows
 * come from one snapshot; what cannot be taken is part of the report.
 */
import { escapeIdentifier } from 'pg';
import { adminRole } from '../model/branch.ts';
import { OffshootError } from '../model/errors.ts';
import type { ImportOptions, ImportReport, ImportSpec, SourceServer } from '../model/import.ts';
import type { SuggestedRule } from '../model/mask.ts';
import { readComments, readDefaultPrivileges, readGrants } from './catalog/access.ts';
import { type DbObject, EXCLUDED, type Key } from './catalog/contract.ts';
import { readDifferences } from './catalog/differences.ts';
import { CONFIG_TABLES, OFFERED } from './catalog/extensions.ts';
import { owned, readRoles } from './catalog/roles.ts';
import { readSequenceValues } from './catalog/sequences.ts';
import { readSettings, SETTABLE } from './catalog/settings.ts';
import { readCatalog } from './catalog.ts';
import { copyLargeObjects, readLargeObjects } from './large-objects.ts';
import { type LeftOut, makeObject, makeObjects, say } from './make.ts';
import { checkMask, type Mask, openMask, suggestMask } from './mask.ts';
import type { Progress } from './progress.ts';
import { copyTables, type Pair, verify } from './rows.ts';
import { isLost, openTarget, type Session, type TargetAddress } from './session.ts';
import { type OpenedSource, openSnapshot } from './source.ts';

export type Import = {
  readonly spec: ImportSpec;
  readonly source: SourceServer;
  readonly password: string;
  /** Of the project's masks, in base64; absent: nothing is masked. */
  readonly maskSecret?: string;
  /** The server that is filled; its database does not exist yet. */
  readonly target: Omit<TargetAddress, 'database'>;
  readonly database: string;
  readonly role: string;
  readonly roomBytes: number;
  readonly progress: Progress;
  readonly signal: AbortSignal;
};

/** @throws OffshootError import/* */
export async function runImport(options: Import): Promise<ImportReport> {
  const doing = { what: LOOKING };
  try {
    return await run(options, doing);
  } catch (error) {
    options.signal.throwIfAborted();
    throw told(error, doing.what);
  }
}

/** Finds out all that can be known to be in the way, before anything is made. @throws OffshootError import/* */
export async function lookAtSource(
  { source, password, roomBytes }: { source: SourceServer; password: string; roomBytes: number },
  options: ImportOptions,
): Promise<{ readonly owner: string; readonly version: string }> {
  try {
    const from = { server: source, password };
    const opened = await openSnapshot(from, options, roomBytes, LOOK_MS);
    const { owner, version } = opened;
    try {
      if (options.mask !== undefined) await checkMask(opened, options.mask, options.schemaOnly ?? false);
      return { owner, version };
    } finally {
      await opened.close();
    }
  } catch (error) {
    throw told(error, LOOKING);
  }
}

/** Rules of a mask to begin with. @throws OffshootError import/* */
export async function suggestRules(
  { source, password, roomBytes }: { source: SourceServer; password: string; roomBytes: number },
  options: ImportOptions,
): Promise<readonly SuggestedRule[]> {
  try {
    const opened = await openSnapshot({ server: source, password }, options, roomBytes, LOOK_MS);
    try {
      return await suggestMask(opened);
    } finally {
      await opened.close();
    }
  } catch (error) {
    throw told(error, LOOKING);
  }
}

/** What an import says of whatever ended it. @param what it did */
export function told(error: unknown, what: string): OffshootError {
  if (error instanceof OffshootError) return error;
  const { message: why, cause } = error as Error;
  const code = isLost(error) || isLost(cause) ? 'import/lost' : 'import/failed';
  return new OffshootError(code, { what, why }, { cause: error });
}

// --- internal -----------------------------------------------------------------------------------

const LOOKING = 'looking at the source';

/** For one statement of a look, of which somebody waits for the answer; locks are waited for half as long. */
const LOOK_MS = 60_000;

async function run(o: Import, doing: { what: string }): Promise<ImportReport> {
  const begun = performance.now();
  const { spec, progress, signal, database, role: owner } = o;
  const leftOut: LeftOut[] = [];
  const note = (more: readonly LeftOut[]) => leftOut.push(...more);
  await using opened = new AsyncDisposableStack();
  const keep = (session: Session): Session => {
    opened.defer(() => session.close());
    return session;
  };
  const from = { server: o.source, password: o.password };
  const source = await openSnapshot(from, spec, o.roomBytes);
  keep(source.session);
  const stop = () => void source.close();
  signal.addEventListener('abort', stop, { once: true });
  opened.defer(() => signal.removeEventListener('abort', stop));

  const mask = await maskOf(o, source);

  doing.what = 'making its schema';
  progress.phase('schema');
  const server = keep(await openTarget({ ...o.target, database: 'postgres' }));
  const [about] = await server.query<{ major: number }>(
    `SELECT current_setting('server_version_num')::int / 10000 AS major`,
  );
  const major = about!.major;
  const roles = await readRoles(source, { admin: adminRole, owner, target: major });
  note(roles.leftOut);
  note(await readDifferences(source));
  note(await say(roles.sql, server));
  await server.query(`CREATE DATABASE ${escapeIdentifier(database)} OWNER ${escapeIdentifier(owner)}`);
  const open = async (): Promise<Session> => keep(await openTarget({ ...o.target, database }));
  const target = await open();
  const offered = new Set((await target.query<{ name: string }>(OFFERED)).map(({ name }) => name));
  const { choice } = source;
  const catalog = await readCatalog(source, offered, choice.isExcluded);
  for (const { object, why } of catalog.refused) if (why !== EXCLUDED) note([{ what: object.what, why }]);
  const missing = new Set<Key>(catalog.refused.map(({ object }) => object.key));
  for (const object of catalog.before) {
    signal.throwIfAborted();
    const failed = await makeObject(object, target, roles.nameOf);
    if (failed === undefined) continue;
    note([failed]);
    if (failed.what === object.what) missing.add(object.key);
  }

  const tables = spec.schemaOnly ? [] : choice.tables.filter(({ key }) => !missing.has(key));
  const sessions: Session[] = [target];
  const jobs = spec.jobs ?? JOBS;
  while (sessions.length < jobs) sessions.push(await open());
  const pairs: Pair[] = [{ source: source.session, target }];
  if (!spec.schemaOnly)
    for (const session of sessions.slice(1))
      pairs.push({ source: keep(await source.join()), target: session });
  doing.what = 'taking its rows';
  progress.plan(tables);
  progress.phase('data');
  const largeObjects = spec.schemaOnly ? [] : await readLargeObjects(source);
  const bare = mask !== undefined && !mask.keepsLargeObjects;
  if (bare && largeObjects.length > 0)
    note([
      {
        what: `what large objects hold, ${largeObjects.length} of them`,
        why: 'under a mask they come empty',
      },
    ]);
  await copyLargeObjects(largeObjects, bare ? undefined : source.session, target, roles.nameOf, signal);
  if (mask !== undefined) note(await configurationTables(source.session, catalog.find));
  else if (!spec.schemaOnly) note(await copyConfiguration(source.session, target, catalog.find, missing));
  const moved = await copyTables(tables, pairs, choice.conditionOf, mask, progress, signal);
  if (!spec.schemaOnly)
    for (const { key, sql } of await readSequenceValues(source)) {
      const object = catalog.find(key);
      if (object !== undefined && !missing.has(object.key))
        note(await say([{ what: object.what, sql }], target));
    }

  doing.what = 'making its indexes and constraints';
  progress.phase('indexes');
  const after = catalog.after.filter(({ needs = [] }) => !needs.some(key => missing.has(key)));
  const made = (which: DbObject['parallel']) =>
    makeObjects(
      after.filter(({ parallel }) => parallel === which),
      sessions,
      roles.nameOf,
      signal,
    );
  note(await made('index'));
  const rest = after.filter(({ parallel }) => parallel === undefined);
  note(
    await makeObjects(
      rest.filter(object => object.rank < RIGHTS),
      [target],
      roles.nameOf,
      signal,
    ),
  );
  note(await made('foreign key'));
  await target.query('ANALYZE');

  doing.what = 'setting rights and comments';
  progress.phase('rest');
  const large = new Map(
    largeObjects.flatMap(object => [object.key, ...object.also!].map(key => [key, object] as const)),
  );
  const here = (key: Key): DbObject | undefined => {
    if (key.startsWith('pg_database:'))
      return { ...DATABASE, ident: `DATABASE ${escapeIdentifier(database)}` };
    const object = catalog.find(key) ?? large.get(key);
    return object === undefined || missing.has(object.key) ? undefined : object;
  };
  note(await say(await readComments(source, here), target));
  note(await say(await readGrants(source, here, roles.nameOf, major), target));
  note(await say(await readDefaultPrivileges(source, roles.nameOf, major), target));
  note(await say([{ what: `${owner} as member of all roles`, sql: owned(owner, major) }], target));
  const settable = new Set(
    (await target.query<{ name: string }>(SETTABLE)).map(({ name }) => name.toLowerCase()),
  );
  for (const setting of await readSettings(source, database, roles.nameOf)) {
    const allowed = setting.name.includes('.') || settable.has(setting.name.toLowerCase());
    note(
      allowed ? await say([setting], target) : [{ what: setting.what, why: 'only superusers may set it' }],
    );
  }
  note(
    await makeObjects(
      rest.filter(object => object.rank >= RIGHTS),
      [target],
      roles.nameOf,
      signal,
    ),
  );

  doing.what = 'checking what has come';
  progress.phase('checking');
  if (spec.verify) await verify(tables, pairs, choice.conditionOf, mask, signal);
  const ms = Math.round(performance.now() - begun);
  const masked = mask && { masked: { columns: mask.columns, tables: mask.tables } };
  return { tables: tables.length, ...moved, ms, version: source.version, leftOut, ...masked };
}

/** Tables at once. More help where the way is long, fewer where the machine is small. */
const JOBS = 4;

/** From this rank on it matters who may do what: rows of materialised views are read by their owners. */
const RIGHTS = 50;

const DATABASE = { key: 'pg_database:0', what: 'the database', sql: [], when: 'after', rank: 0 } as const;

async function maskOf({ spec, maskSecret }: Import, source: OpenedSource): Promise<Mask | undefined> {
  if (spec.mask === undefined) return undefined;
  if (maskSecret === undefined) throw new TypeError('a mask has a secret');
  return openMask(source, spec.mask, { secret: maskSecret, rowless: spec.schemaOnly ?? false });
}

/** Rules are for tables of users, so under a mask these stay away. */
async function configurationTables(
  source: Session,
  find: (key: Key) => DbObject | undefined,
): Promise<readonly LeftOut[]> {
  const all = await source.query<{ extension: Key; name: string }>(CONFIG_TABLES);
  return all
    .filter(({ extension }) => find(extension) !== undefined)
    .map(({ name }) => ({ what: `rows of ${name}`, why: 'they belong to an extension, and are not masked' }));
}

/** Rows that users have put into tables of extensions. */
async function copyConfiguration(
  source: Session,
  target: Session,
  find: (key: Key) => DbObject | undefined,
  missing: ReadonlySet<Key>,
): Promise<readonly LeftOut[]> {
  const leftOut: LeftOut[] = [];
  for (const row of await source.query<{ extension: Key; name: string; condition: string }>(CONFIG_TABLES)) {
    const extension = find(row.extension);
    if (extension === undefined || missing.has(extension.key)) continue;
    const [found] = await source.query<{ rows: string | null }>(
      `SELECT pg_catalog.json_agg(t)::text AS rows FROM (SELECT * FROM ONLY ${row.name} t ${row.condition}) t`,
    );
    if (found?.rows == null) continue;
    try {
      await target.query(
        `INSERT INTO ${row.name} SELECT * FROM pg_catalog.json_populate_recordset(NULL::${row.name}, $1) ON CONFLICT DO NOTHING`,
        [found.rows],
      );
    } catch (error) {
      leftOut.push({ what: `rows of ${row.name}`, why: (error as Error).message });
    }
  }
  return leftOut;
}
