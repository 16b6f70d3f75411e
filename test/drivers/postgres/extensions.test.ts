/** What the owner of a project's database may create, on a real server. */
import assert from 'node:assert/strict';
import { readdir, readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import { allowedExtensions } from '../../../src/drivers/postgres/extensions.ts';
import { scramVerifier } from '../../../src/lib/scram.ts';
import { type TestBranches, testBranches, testCtx } from '../../support/postgres.ts';

const DATABASE = 'shop';
const PASSWORD = 'of-the-owner';

describe('extensions', () => {
  let b: TestBranches;
  before(async () => {
    b = await testBranches();
    await b.branch('main');
    const access = {
      role: 'owner',
      database: DATABASE,
      verifier: await scramVerifier(PASSWORD),
      inherited: false,
    };
    await b.servers.grant('main', access, testCtx());
  });
  after(() => b?.[Symbol.asyncDispose]());

  const asOwner = async <T>(body: (client: pg.Client) => Promise<T>): Promise<T> => {
    const { socket } = (await b.servers.observe('main', testCtx()))!;
    const host = dirname(socket);
    const client = new pg.Client({ host, port: 5432, user: 'owner', password: PASSWORD, database: DATABASE });
    await client.connect();
    try {
      return await body(client);
    } finally {
      await client.end();
    }
  };
  const create = (name: string) =>
    asOwner(client => client.query(`CREATE EXTENSION "${name}" CASCADE`)).then(
      () => 'created',
      error => error.message as string,
    );

  it('an owner is what owners are elsewhere: his roles are him, what is his may be theirs', async () => {
    const [{ slot }] = await asOwner(async client => {
      for (const sql of [
        ...[
          'CREATE ROLE postgres',
          'CREATE ROLE reporter',
          'GRANT CREATE ON SCHEMA public TO reporter',
          'CREATE TABLE of_reporter (n int)',
        ],
        ...['ALTER TABLE of_reporter OWNER TO reporter', 'SET ROLE reporter', 'DROP TABLE of_reporter'],
        ...['RESET ROLE', 'GRANT CREATE ON DATABASE shop TO postgres', 'CREATE SCHEMA s'],
        ...['ALTER SCHEMA s OWNER TO postgres', 'DROP SCHEMA s'],
        'SELECT count(*) FROM pg_stat_activity WHERE query IS NOT NULL',
      ])
        await client.query(sql);
      await assert.rejects(client.query("SELECT pg_create_logical_replication_slot('x', 'test_decoding')"), {
        code: '42501',
      });
      const access = { role: 'owner', database: DATABASE, verifier: await scramVerifier(PASSWORD) };
      await b.servers.grant('main', { ...access, inherited: false, replicates: true }, testCtx());
      // As far as its server has the log for it: see settings.
      const refused = await client
        .query("SELECT pg_create_logical_replication_slot('x', 'test_decoding')")
        .catch(error => error.message as string);
      assert.match(String(refused), /wal_level/);
      await b.servers.grant('main', { ...access, inherited: false }, testCtx());
      await client.query('DROP OWNED BY reporter; DROP ROLE reporter');
      return [
        { slot: await b.sql('main', "SELECT rolreplication AS r FROM pg_roles WHERE rolname = 'owner'") },
      ];
    });
    assert.deepEqual(slot, [{ r: false }]);
  });

  it('that are harmless are created by the owner of the database, and belong to him', async () => {
    const trusted = await b.sql(
      'main',
      "SELECT DISTINCT name FROM pg_available_extension_versions WHERE trusted AND name !~ '^(plpgsql|.*perl|.*tcl)$'",
    );
    const names = trusted.map(row => String(row.name));
    for (const name of allowedExtensions) assert.ok(names.includes(name), `${name} is trusted`);
    for (const name of names) assert.match(await create(name), /^created$|already exists/, name);
    const [{ owners }] = (await b.sql(
      'main',
      "SELECT string_agg(DISTINCT extowner::regrole::text, ',') AS owners FROM pg_extension WHERE extname <> 'plpgsql'",
      DATABASE,
    )) as [{ owners: string }];
    assert.equal(owners, 'owner');
  });

  it('do what they are for', async () => {
    await asOwner(async client => {
      await client.query('CREATE TABLE t (id int, changed timestamp default now())');
      await client.query('INSERT INTO t VALUES (1)');
      await client.query(
        'CREATE TRIGGER moved BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION moddatetime(changed)',
      );
      await client.query('UPDATE t SET id = 2');
      const { rows } = await client.query(
        "SELECT (pgstattuple('t')).tuple_count AS tuples, round(earth_distance(ll_to_earth(0, 0), ll_to_earth(0, 1))) AS metres",
      );
      assert.deepEqual(rows, [{ tuples: '1', metres: 111_320 }]);
      assert.equal(
        (await client.query('SELECT count(*) > 0 AS seen FROM pg_buffercache')).rows[0].seen,
        true,
      );
    });
  });

  it('that give a way to files, programs or the network are refused', async () => {
    for (const name of ['dblink', 'postgres_fdw', 'file_fdw', 'pg_surgery', 'plpython3u', 'plperlu'])
      assert.match(await create(name), /permission denied to create extension/, name);
    const unsafe = asOwner(client => client.query("COPY (SELECT 1) TO PROGRAM 'cat'"));
    await assert.rejects(unsafe, /permission denied to COPY to or from an external program/);
    const moved = asOwner(client => client.query("SET extension_control_path = '/tmp'"));
    await assert.rejects(moved, /permission denied to set parameter "extension_control_path"/);
  });

  it('run nothing at their creation that the owner has put in their way', async () => {
    // What a script would find first if it named things without a schema, and would run as superuser.
    await asOwner(async client => {
      await client.query('CREATE SCHEMA trap');
      await client.query(`CREATE FUNCTION trap.spring() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
        CREATE TABLE IF NOT EXISTS trap.sprung (who name); INSERT INTO trap.sprung VALUES (current_user);
        RETURN true; END $$`);
      await client.query('CREATE DOMAIN trap.bait AS text CHECK (trap.spring())');
      await client.query('CREATE TYPE trap.cube AS (a trap.bait)');
      for (const type of ['float8', 'int4', 'text', 'oid', 'regclass', 'bytea'])
        await client.query(`CREATE TYPE trap.${type} AS (a trap.bait)`);
      for (const name of ['earth', 'pi', 'abs', 'sin', 'cos', 'asin', 'radians', 'degrees', 'hashint4'])
        await client.query(
          `CREATE FUNCTION trap.${name}(VARIADIC anyarray) RETURNS float8 LANGUAGE sql AS 'SELECT trap.spring()::int::float8'`,
        );
    });
    for (const name of [...allowedExtensions].reverse()) {
      await asOwner(client => client.query(`DROP EXTENSION IF EXISTS "${name}" CASCADE`));
      await asOwner(client => client.query(`CREATE EXTENSION "${name}" SCHEMA trap`)).catch(() => {});
    }
    const sprung = async () =>
      (await b.sql('main', "SELECT to_regclass('trap.sprung')::text AS by", DATABASE))[0]!.by;
    assert.equal(await sprung(), null);
    await asOwner(client => client.query("SELECT '(x)'::trap.cube"));
    assert.equal(await sprung(), 'trap.sprung', 'the trap works');
  });

  it('are marked by files of our own, which go with the last server', async () => {
    const folder = join(b.options.runtimeDir, 'extensions', 'extension');
    assert.equal((await readdir(folder)).length, allowedExtensions.length);
    const file = join(folder, 'amcheck.control');
    assert.match(await readFile(file, 'utf8'), /\ntrusted = true\ndirectory = '.*\/extension'\n$/);
    assert.equal((await stat(file)).mode & 0o777, 0o644);
  });
});
