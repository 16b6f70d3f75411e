/** A PostgreSQL server of somebody else's, as the source of an import: reached by TCP on loopback, with passwords. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, chown, mkdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { Client } from 'pg';
import { findPostgres } from '../../src/drivers/postgres/binaries.ts';
import { chooseServerUser, runAs } from '../../src/drivers/postgres/user.ts';
import { exec } from '../../src/lib/exec.ts';
import { until } from '../../src/lib/wait.ts';
import { tempDir } from './temp.ts';

export type SourceServer = AsyncDisposable & {
  readonly major: number;
  /** Of its superuser `postgres`. @param of other user and password */
  url(database: string, of?: { readonly user: string; readonly password: string }): string;
  /** Runs statements as superuser. */
  sql(database: string, text: string): Promise<readonly Record<string, unknown>[]>;
  /** Ends it as a power cut would. */
  kill(): Promise<void>;
};

/** Directories of programs: the version from npm, and Debian's where it is installed. */
export async function sourceVersions(): Promise<
  readonly { readonly major: number; readonly bin?: string }[]
> {
  const debian = '/usr/lib/postgresql/15/bin';
  return [{ major: 18 }, ...(existsSync(join(debian, 'initdb')) ? [{ major: 15, bin: debian }] : [])];
}

export async function sourceServer({
  major,
  bin,
}: {
  readonly major: number;
  readonly bin?: string;
}): Promise<SourceServer> {
  const stack = new AsyncDisposableStack();
  const dir = stack.use(await tempDir());
  await chmod(dir.path, 0o755);
  const user = await chooseServerUser();
  const runtimeDir = join(dir.path, 'run');
  await mkdir(runtimeDir);
  await chmod(runtimeDir, 0o755);
  const found =
    bin === undefined
      ? stack.use(closing(await findPostgres({ searchFrom: import.meta.url, runtimeDir, user })))
      : { bin };
  const home = join(dir.path, 'server');
  await mkdir(home);
  await chown(home, user.uid, user.gid);
  const secret = join(home, 'secret');
  await writeFile(secret, `${PASSWORD}\n`);
  await chown(secret, user.uid, user.gid);
  const data = join(home, 'data');
  const as = { cwd: '/', env: { PATH: process.env.PATH, LC_ALL: 'C' }, ...runAs(user) };
  const options = [
    '-U',
    'postgres',
    '-A',
    'scram-sha-256',
    `--pwfile=${secret}`,
    '--encoding=UTF8',
    '--no-sync',
    '--locale=C',
  ];
  await exec(join(found.bin, 'initdb'), ['-D', data, ...options], { ...as, deadlineMs: 120_000 });
  const port = await freePort();
  const settings = {
    listen_addresses: '127.0.0.1',
    port: String(port),
    unix_socket_directories: '',
    fsync: 'off',
    max_prepared_transactions: '5',
  };
  const server = spawn(
    join(found.bin, 'postgres'),
    ['-D', data, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])],
    { ...as, stdio: 'ignore' },
  );
  const ended = once(server, 'exit');
  stack.defer(async () => {
    server.kill('SIGQUIT');
    await ended;
  });
  const url = (database: string, { user: name, password } = { user: 'postgres', password: PASSWORD }) =>
    `postgresql://${name}:${password}@127.0.0.1:${port}/${database}?sslmode=disable`;
  const sql: SourceServer['sql'] = async (database, text) => {
    const client = new Client({ connectionString: url(database) });
    client.on('error', () => {});
    await client.connect();
    try {
      const results = await client.query(text);
      return Array.isArray(results) ? results.at(-1).rows : results.rows;
    } finally {
      await client.end().catch(() => {});
    }
  };
  await until(
    () =>
      sql('postgres', 'SELECT 1').then(
        () => true,
        () => undefined,
      ),
    { what: 'the source answers', deadlineMs: 120_000 },
  );
  return {
    major,
    url,
    sql,
    async kill() {
      server.kill('SIGQUIT');
      await ended;
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** Of its superuser; searched for where it must not stand. */
export const PASSWORD = 'marker-0f1e2d3c-of-the-source';

// --- internal -----------------------------------------------------------------------------------

const closing = <T extends { close(): Promise<void> }>(found: T) => ({
  ...found,
  [Symbol.asyncDispose]: () => found.close(),
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}
