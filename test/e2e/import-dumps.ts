/** A team's own database in `main`, from what pg_dump has written: part of import.test.ts, by its daemon and its source. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import type { RunCli } from '../../scripts/demo/cli.ts';
import { type ClientTool, clientToolFor } from '../../src/lib/client-tools.ts';
import { exec } from '../../src/lib/exec.ts';
import { until } from '../../src/lib/wait.ts';
import type { TestDaemon } from '../support/daemon.ts';
import { PASSWORD, type SourceServer } from '../support/source-server.ts';
import { tempDir } from '../support/temp.ts';

export type DumpCases = {
  readonly daemon: TestDaemon;
  /** Its database `staging` holds all kinds of objects. */
  readonly source: SourceServer;
  /** That writes dumps of it. */
  readonly tool: ClientTool;
  readonly ok: RunCli;
  readonly rows: (project: string, branch: string, sql: string) => Promise<readonly (readonly unknown[])[]>;
};

export const toolFor = (major: number): Promise<ClientTool | undefined> =>
  clientToolFor('pg_dump', major, { env: process.env, cwd: '/' });

export async function dumpsComeIn(
  t: TestContext,
  { daemon, source, tool, ok, rows }: DumpCases,
): Promise<void> {
  await using dir = await tempDir();
  const at = (name: string): string => join(dir.path, name);
  const written = async (format: string, name: string): Promise<string> => {
    const options = { cwd: '/', deadlineMs: 120_000 };
    await exec(tool.path, ['-F', format, '-f', at(name), source.url('staging')], options);
    return at(name);
  };
  const create = (name: string, ...more: readonly string[]) =>
    ok(['project', 'create', name, '--from', ...more]);
  const drop = (name: string) => ok(['project', 'delete', name, '--now', '--yes']);
  const tables = (await source.sql('staging', TABLES)).map(({ name }) => String(name));
  const sums = sumsOf(tables);
  const [wanted] = (await source.sql('staging', sums)).map(row => Object.values(row));
  const same = async (project: string) => assert.deepEqual(await rows(project, 'main', sums), [wanted]);
  const nothingLeft = () => {
    for (const folder of ['uploads', 'dumps'].map(name => join(daemon.home, name)))
      assert.deepEqual(existsSync(folder) ? readdirSync(folder) : [], [], folder);
  };
  const plain = await written('p', 'shop.sql');
  const sql = readFileSync(plain);

  await t.test('SQL through a pipe, and the same again from a file that is packed twice over', async () => {
    const piped = await ok(['project', 'create', 'dumped', '--from', '-'], { input: sql.toString('utf8') });
    assert.match(piped.stderr, /✓ file sent/);
    assert.match(piped.stderr, /✓ written to disk/);
    assert.match(
      piped.stderr,
      new RegExp(`${tables.length} tables, \\d+ rows, .* from PostgreSQL ${source.major}\\.`),
    );
    assert.match(piped.stderr, /role shop_reader: the dump names it and does not make it/);
    assert.match(piped.stderr, /CREATE PUBLICATION everything FOR ALL TABLES: must be superuser/);
    await same('dumped');
    const found = JSON.parse((await ok(['project', 'get', 'dumped', '-o', 'json'])).stdout);
    assert.equal(found.import.source, 'the file standard input');
    const gone = await daemon.cli(['project', 'refresh', 'dumped']);
    assert.match(gone.stderr, /came from the file standard input, which is not kept/);
    await ok(['branch', 'create', 'dev', '-p', 'dumped']);
    await ok(['sql', 'main', '-p', 'dumped', '-c', 'DELETE FROM app.orders']);
    writeFileSync(at('shop.sql.gz'), gzipSync(sql));
    await ok(['project', 'refresh', 'dumped', '--from', at('shop.sql.gz')]);
    await same('dumped');
    assert.deepEqual(await rows('dumped', 'dev', 'SELECT count(*)::int FROM app.orders'), [[101]]);
    const cut = at('half.sql.gz');
    writeFileSync(cut, gzipSync(sql.subarray(0, sql.length >> 1)));
    const half = await daemon.cli(['project', 'refresh', 'dumped', '--from', cut]);
    assert.equal(half.code, 1);
    assert.match(half.stderr, /✗ dump loaded/);
    await same('dumped');
    await ok(['branch', 'delete', 'dev', '-p', 'dumped']);
    await drop('dumped');
    nothingLeft();
  });

  await t.test('archives, by a pg_restore that is new enough', async () => {
    const custom = await written('c', 'shop.dump');
    const tar = readFileSync(await written('t', 'shop.tar'));
    const frames = [tar.subarray(0, 70_000), tar.subarray(70_000)].map(part => zstdCompressSync(part));
    writeFileSync(at('shop.tar.zst'), Buffer.concat(frames));
    await create('archive', custom);
    await same('archive');
    for (const path of [at('shop.tar.zst'), await written('d', 'folder')]) {
      await ok(['sql', 'main', '-p', 'archive', '-c', 'DELETE FROM app.orders']);
      await ok(['project', 'refresh', 'archive', '--from', path]);
      await same('archive');
    }
    nothingLeft();
    writeFileSync(at('half.dump'), readFileSync(custom).subarray(0, -2_000));
    const failed = await daemon.cli(['project', 'refresh', 'archive', '--from', at('half.dump')]);
    assert.equal(failed.code, 1);
    assert.match(failed.stderr, /no dump that can be loaded: pg_restore: error: could not read/);
    assert.match(failed.stderr, /✗ dump loaded/);
    await same('archive');
    await drop('archive');
    nothingLeft();
  });

  await t.test(
    'a whole server by pg_dumpall: its roles, and the first database that holds something',
    async t => {
      const all = join(dirname(tool.path), 'pg_dumpall');
      if (!existsSync(all)) return t.skip(`there is no pg_dumpall beside ${tool.path}`);
      const env = { PATH: process.env.PATH, PGPASSWORD: PASSWORD };
      await exec(all, ['-f', at('all.sql'), '-d', source.url('postgres')], {
        cwd: '/',
        deadlineMs: 120_000,
        env,
      });
      const { stderr } = await create('all', at('all.sql'));
      assert.match(stderr, /superuser postgres: here it is an ordinary role/);
      assert.match(stderr, /password of shop_owner: the owner of the project may set another/);
      await same('all');
      const owners =
        "SELECT pg_get_userbyid(relowner)::text FROM pg_class WHERE oid = 'app.orders'::regclass";
      assert.deepEqual(
        await rows('all', 'main', owners),
        (await source.sql('staging', owners)).map(row => Object.values(row)),
      );
      const whole = readFileSync(at('all.sql'), 'latin1');
      const upTo = whole.indexOf('-- PostgreSQL database dump complete') + 40;
      writeFileSync(at('cut.sql'), whole.slice(0, upTo), 'latin1');
      const cut = await daemon.cli(['project', 'refresh', 'all', '--from', at('cut.sql')]);
      assert.match(cut.stderr, /it ends in the middle/);
      await same('all');
      await drop('all');
      nothingLeft();
    },
  );

  await t.test('whoever is killed: it begins anew from what was sent, and is never seen half', async () => {
    const slow = at('slow.sql');
    const end = sql.indexOf('-- PostgreSQL database dump complete');
    writeFileSync(
      slow,
      Buffer.concat([sql.subarray(0, end), Buffer.from('\nSELECT pg_sleep(3);\n--\n'), sql.subarray(end)]),
    );
    await create('again', slow, '--no-wait');
    await until(
      async () => {
        const { progress } = (await daemon.client.projects.get('again')).import!;
        return progress?.phase === 'file' && progress.rows > 0 ? true : undefined;
      },
      { what: 'rows have come', deadlineMs: 120_000 },
    );
    assert.notEqual((await daemon.client.branches.get('again', 'main')).state, 'ready');
    await daemon.kill9();
    const importers = await daemon.labelled('import/');
    assert.ok(importers.length > 0);
    for (const line of importers) process.kill(Number(line.split(' ')[0]), 'SIGKILL');
    await ok(['up', '--detach']);
    await ok(['branch', 'wait', 'main', '-p', 'again', '--wait-timeout', '5m']);
    await same('again');
    assert.deepEqual(await daemon.labelled('import/'), []);
    await drop('again');
    nothingLeft();
    // While it is sent: nothing is made of the first part, which goes by itself later.
    const args = ['project', 'create', 'never', '--from', '-'];
    const sending = spawn(join(import.meta.dirname, '../../offshoot'), args, {
      ...{ env: daemon.env, stdio: ['pipe', 'ignore', 'pipe'] },
    });
    sending.stdin.on('error', () => {});
    sending.stderr.resume();
    sending.stdin.write(Buffer.alloc(5 << 20, '-- words\n'));
    const uploads = join(daemon.home, 'uploads');
    const [id] = await until(
      () => {
        const sent = readdirSync(uploads).filter(one => existsSync(join(uploads, one, 'dump')));
        return sent.length > 0 ? sent : undefined;
      },
      { what: 'a part has come', deadlineMs: 60_000 },
    );
    sending.kill('SIGKILL');
    await once(sending, 'close');
    assert.doesNotMatch((await ok(['project', 'list'])).stdout, /never/);
    await daemon.client.uploads.remove(id!);
    nothingLeft();
  });

  await t.test('what a dump cannot be, or cannot do, makes nothing', async () => {
    const mask = at('mask.yaml');
    writeFileSync(mask, 'tables: {}\n');
    const masked = await daemon.cli(['project', 'create', 'none', '--from', plain, '--mask', mask]);
    assert.equal(masked.code, 2);
    assert.match(masked.stderr, /--mask needs a running server as the source, not a dump/);
    writeFileSync(at('photo.jpg'), Buffer.from([0xff, 0xd8, 0xff, 0xe0, 0, 16]));
    const other = await daemon.cli(['project', 'create', 'none', '--from', at('photo.jpg')]);
    assert.match(other.stderr, /neither SQL nor an archive of pg_dump/);
    assert.match(
      (await daemon.cli(['project', 'create', 'none', '--from', at('nix')])).stderr,
      /does not exist/,
    );
    nothingLeft();
    // It runs as who owns the project.
    writeFileSync(
      at('evil.sql'),
      `CREATE TABLE t (a text); GRANT pg_execute_server_program TO app; COPY t FROM PROGRAM 'id';\n\\! touch ${at('touched')}\n`,
    );
    const evil = await daemon.cli(['project', 'create', 'evil', '--from', at('evil.sql')]);
    assert.equal(evil.code, 1);
    assert.match(evil.stderr, /\\!: a dump that comes as one file cannot ask for that/);
    assert.ok(!existsSync(at('touched')));
    await drop('evil');
    writeFileSync(
      at('less.sql'),
      `CREATE TABLE t (a text); GRANT pg_execute_server_program TO app; COPY t FROM PROGRAM 'id'; INSERT INTO t VALUES ('x');
       CREATE ROLE made CREATEROLE; ALTER TABLE t OWNER TO made;`,
    );
    // Before 16 whoever may make roles may give himself any.
    for (const more of source.major < 16 ? [[], ['--postgres', String(source.major)]] : [[]]) {
      const less = await create('less', at('less.sql'), ...more);
      assert.match(
        less.stderr,
        /GRANT pg_execute_server_program TO app: (permission denied|must have admin option)/,
      );
      assert.match(less.stderr, /rows of t FROM PROGRAM: (permission denied|must be superuser)/);
      const found =
        'SELECT a, (SELECT pg_get_userbyid(relowner)::text FROM pg_class WHERE relname = $$t$$) FROM t';
      assert.deepEqual(await rows('less', 'main', found), [['x', 'made']]);
      await drop('less');
    }
    assert.doesNotMatch((await ok(['status'])).stdout, /belongs to no branch/);
  });
}

// --- internal -----------------------------------------------------------------------------------

const TABLES = `SELECT oid::regclass::text AS name FROM pg_class WHERE relkind IN ('r', 'p') AND relpersistence <> 't'
  AND relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace) ORDER BY 1`;

/** One row: a checksum of each table. */
const sumsOf = (tables: readonly string[]): string =>
  `SELECT ${tables.map((table, i) => `(SELECT md5(coalesce(string_agg(t::text, '|' ORDER BY t::text COLLATE "C"), '')) FROM ONLY ${table} t) AS s${i}`).join(', ')}`;
