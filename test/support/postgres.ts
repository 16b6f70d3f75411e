/** Real volumes and real PostgreSQL servers in a temporary place; all of it is gone at the end of the scope. */
import { chmod, mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import pg from 'pg';
import type { ServerDriver, VolumeDriver } from '../../src/drivers/branch-parts.ts';
import type { Ctx } from '../../src/drivers/contract.ts';
import { findPostgres } from '../../src/drivers/postgres/binaries.ts';
import { openServers, type ServerOptions } from '../../src/drivers/postgres/server.ts';
import { chooseServerUser, type ServerUser } from '../../src/drivers/postgres/user.ts';
import { openVolumes, type VolumeKind, type VolumeOptions } from '../../src/drivers/volume/choose.ts';
import { silentLog } from '../../src/lib/log.ts';
import { identify, isAlive } from '../../src/lib/process.ts';
import { until } from '../../src/lib/wait.ts';
import { adminRole, type BranchEndpoint, type BranchRecord } from '../../src/model/branch.ts';
import { testProcesses } from './processes.ts';
import { tempDir } from './temp.ts';

export const testCtx = (deadlineMs = 30_000): Ctx => ({
  signal: AbortSignal.timeout(deadlineMs),
  log: silentLog,
});

export const recordOf = (id: string, parent?: string): BranchRecord => ({
  id,
  project: 'test',
  branch: id,
  ...(parent === undefined ? {} : { parent }),
  createdAt: '2030-01-01T00:00:00Z',
});

export type Place = { readonly home: string; readonly runtimeDir: string; readonly user: ServerUser };
export type TestPlace = Place & AsyncDisposable;

/** A data and a runtime directory that the servers' user can enter. */
export async function testPlace(): Promise<TestPlace> {
  const dir = await tempDir();
  await chmod(dir.path, 0o711);
  const [home, runtimeDir] = [join(dir.path, 'home'), join(dir.path, 'run')];
  for (const path of [home, runtimeDir]) {
    await mkdir(path);
    await chmod(path, 0o711);
  }
  const user = await chooseServerUser();
  return { home, runtimeDir, user, [Symbol.asyncDispose]: () => dir[Symbol.asyncDispose]() };
}

export const volumeOptions = (place: Place, force?: VolumeKind): VolumeOptions => ({
  home: place.home,
  runtimeDir: place.runtimeDir,
  poolBytes: 1024 ** 3,
  minFreeBytes: 2 ** 20,
  owner: place.user,
  keep: false,
  log: silentLog,
  ...(force === undefined ? {} : { force }),
});

/** Why volumes of this kind cannot be had here; undefined when they can. */
export async function volumesMissing(kind: VolumeKind): Promise<string | undefined> {
  await using place = await testPlace();
  try {
    const { driver } = await openVolumes(volumeOptions(place, kind));
    await driver.close();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

export type TestServers = AsyncDisposable & {
  readonly options: ServerOptions;
  readonly servers: ServerDriver;
};

export async function testServers(
  place: Place,
  choices: Pick<ServerOptions, 'keptWalBytes'> = {},
): Promise<TestServers> {
  const { home, runtimeDir, user } = place;
  const postgres = await findPostgres({ searchFrom: import.meta.url, runtimeDir, user });
  const processes = await testProcesses(home);
  const options: ServerOptions = {
    home,
    runtimeDir,
    user,
    bin: postgres.bin,
    version: postgres.version,
    instance: `test-${crypto.randomUUID()}`,
    processes,
    adminSecret: crypto.randomUUID(),
    ...choices,
    log: silentLog,
  };
  const servers = await openServers(options);
  return {
    options,
    servers,
    async [Symbol.asyncDispose]() {
      await servers.close();
      await processes.close();
      await postgres.close();
    },
  };
}

export type TestBranches = AsyncDisposable & {
  readonly place: Place;
  readonly volumes: VolumeDriver;
  readonly servers: ServerDriver;
  readonly options: ServerOptions;
  /** Makes the volume `id`, empty or grown from `parent` (which may run), and starts its server. */
  branch(id: string, parent?: string): Promise<void>;
  /** Rows of one statement, run as superuser. */
  sql(id: string, text: string, database?: string): Promise<readonly Record<string, unknown>[]>;
};

/**
 * Volumes and servers together.
 * @param force the kind of volume; default: the best that works
 * @param where a place that somebody else disposes of; default: one of its own
 */
export async function testBranches(
  force?: VolumeKind,
  {
    where,
    keptWalBytes,
    ...volumeChoices
  }: { readonly where?: Place } & Pick<ServerOptions, 'keptWalBytes'> & Partial<VolumeOptions> = {},
): Promise<TestBranches> {
  const stack = new AsyncDisposableStack();
  const place = where ?? stack.use(await testPlace());
  const { driver: volumes } = await openVolumes({
    ...volumeOptions(place, force),
    keep: true,
    ...volumeChoices,
  });
  stack.defer(() => volumes.close());
  const { servers, options } = stack.use(
    await testServers(place, keptWalBytes === undefined ? {} : { keptWalBytes }),
  );
  return {
    place,
    volumes,
    servers,
    options,
    async branch(id, parent) {
      const ctx = testCtx();
      const live = parent === undefined ? undefined : await servers.live(parent, ctx);
      const source = parent === undefined ? {} : { source: { id: parent, ...(live && { live }) } };
      const prepare = (dir: string, c: Ctx) =>
        parent === undefined ? servers.initialise(dir, c) : servers.adopt(dir, c, live?.unlogged.held);
      const { dataDir } = await volumes.ensure(id, { record: recordOf(id, parent), ...source, prepare }, ctx);
      await servers.ensure(id, { dataDir, name: id }, ctx);
    },
    sql: (id, text, database) =>
      asSuperuser(options, id, async client => (await client.query(text)).rows, database),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** Runs `body` in a session of the superuser. */
export async function asSuperuser<T>(
  { runtimeDir, adminSecret }: Pick<ServerOptions, 'runtimeDir' | 'adminSecret'>,
  id: string,
  body: (client: pg.Client) => Promise<T>,
  database = 'postgres',
): Promise<T> {
  const host = join(runtimeDir, 's', id);
  const client = new pg.Client({ host, port: 5432, user: adminRole, password: adminSecret, database });
  client.on('error', () => {}); // servers are killed under it
  await client.connect();
  try {
    return await body(client);
  } finally {
    await client.end();
  }
}

/** Whether a role may log in, with database `postgres`. */
export async function logsIn(endpoint: BranchEndpoint, role: string, password: string): Promise<boolean> {
  try {
    await (await openSession(endpoint, role, password))();
    return true;
  } catch (error) {
    if (!['28P01', '28000'].includes((error as { code: string }).code)) throw error;
    return false;
  }
}

/** A role's session, with database `postgres`. @returns the way to end it */
export async function openSession(
  endpoint: BranchEndpoint,
  role: string,
  password: string,
): Promise<() => Promise<void>> {
  const where = 'socket' in endpoint ? { host: dirname(endpoint.socket), port: 5432 } : endpoint;
  const client = new pg.Client({ ...where, user: role, password, database: 'postgres' });
  client.on('error', () => {});
  try {
    await client.connect();
  } catch (error) {
    await client.end();
    throw error;
  }
  return () => client.end();
}

/** Ends a server as a crash does; returns when it is dead. */
export async function killServer(servers: ServerDriver, id: string): Promise<void> {
  const { pid } = (await servers.observe(id, testCtx()))!;
  const server = identify(pid)!;
  process.kill(pid, 'SIGKILL');
  await until(() => (isAlive(server) ? undefined : true), { what: `${id} is dead`, deadlineMs: 60_000 });
}
