import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLeftOut } from '../../../src/data/dump/left-out.ts';
import {
  copiesRows,
  isNothingNew,
  isRows,
  madeBy,
  missedBy,
  newOwner,
  newRole,
  plain,
  plainCopy,
  planOf,
  titleOf,
} from '../../../src/data/dump/statements.ts';
import { decoded } from '../../../src/sql/scanner.ts';

const around = { database: 'shop', role: 'shop_owner', schemaOnly: false };

test('what is said of the database that was dumped is said of the project’s, or left', () => {
  const run = (text: string) => planOf(text, around);
  for (const text of [
    'CREATE DATABASE staging WITH TEMPLATE = template0',
    'DROP DATABASE IF EXISTS staging',
    'ALTER DATABASE staging OWNER TO postgres',
    'CREATE ROLE shop_owner',
    'ALTER ROLE "shop_owner" WITH SUPERUSER LOGIN PASSWORD \'x\'',
  ])
    assert.deepEqual(run(text), { do: 'skip' }, text);
  const same: Readonly<Record<string, string>> = {
    "ALTER DATABASE staging SET work_mem TO '5MB'": 'ALTER DATABASE "shop" SET work_mem TO \'5MB\'',
    'COMMENT ON DATABASE "the one" IS \'x\'': 'COMMENT ON DATABASE "shop" IS \'x\'',
    'GRANT CREATE, TEMPORARY ON DATABASE staging TO reader':
      'GRANT CREATE, TEMPORARY ON DATABASE "shop" TO reader',
    "ALTER ROLE reader IN DATABASE staging SET work_mem TO '5MB'":
      'ALTER ROLE reader IN DATABASE "shop" SET work_mem TO \'5MB\'',
    'GRANT staff TO reader WITH ADMIN OPTION GRANTED BY postgres': 'GRANT staff TO reader WITH ADMIN OPTION',
    'GRANT staff TO reader GRANTED BY postgres': 'GRANT staff TO reader',
    'CREATE TABLE app.database (id int)': 'CREATE TABLE app.database (id int)',
  };
  for (const [text, becomes] of Object.entries(same)) {
    const plan = run(text);
    assert.equal(plan.do === 'run' && plan.text, becomes);
  }
  const { note } = run("CREATE DATABASE x WITH LOCALE_PROVIDER = libc LOCALE = 'de_DE.UTF-8'");
  assert.equal(note?.what, 'locale de_DE.UTF-8');
  assert.equal(run("CREATE DATABASE x LOCALE = 'C.UTF-8'").note, undefined);
});

test('nobody is a superuser, and no password comes; what is lost of a role is said', () => {
  const noteOf = (text: string) => planOf(text, around).note?.what;
  const all =
    "ALTER ROLE r WITH SUPERUSER INHERIT CREATEROLE LOGIN REPLICATION BYPASSRLS PASSWORD 'SCRAM-SHA-256$4096:x'";
  const plan = planOf(all, around);
  assert.deepEqual(plan.do === 'run' && plan.text, 'ALTER ROLE r WITH INHERIT CREATEROLE LOGIN');
  assert.equal(plan.note?.what, 'superuser r');
  assert.equal(noteOf('ALTER ROLE r WITH NOSUPERUSER REPLICATION'), 'replication by r');
  assert.equal(noteOf('ALTER ROLE r WITH BYPASSRLS'), 'the passing of row security by r');
  assert.equal(noteOf("ALTER ROLE r PASSWORD 'md5x'"), 'password of r');
  const none = 'ALTER ROLE r WITH NOSUPERUSER NOINHERIT LOGIN NOREPLICATION NOBYPASSRLS CONNECTION LIMIT 7';
  const left = 'ALTER ROLE r WITH NOINHERIT LOGIN CONNECTION LIMIT 7';
  assert.deepEqual(planOf(none, around), { do: 'run', text: left });
  assert.deepEqual(planOf('ALTER ROLE r WITH NOSUPERUSER PASSWORD NULL', around), { do: 'skip' });
});

test('rows are told from all else, and are not asked for with --schema-only', () => {
  for (const text of [
    'COPY a FROM stdin',
    'insert into a values (1)',
    "SELECT pg_catalog.setval('s', 1)",
    "SELECT pg_catalog.lo_create('1')",
  ]) {
    assert.ok(isRows(text), text);
    assert.deepEqual(planOf(text, { ...around, schemaOnly: true }), { do: 'skip' });
  }
  for (const text of ['CREATE TABLE copy (a int)', "SELECT pg_catalog.set_config('search_path', '', false)"])
    assert.ok(!isRows(text), text);
  assert.ok(copiesRows('COPY app.a (b, c) FROM stdin'));
  assert.ok(!copiesRows("COPY a FROM '/etc/passwd'"));
  assert.equal(plainCopy('COPY app."A ""b""" (c, "d") FROM stdin'), 'app."A ""b"""');
  assert.equal(plainCopy('COPY a FROM stdin WITH (FORMAT csv)'), undefined);
});

test('what a message says of a statement holds no values', () => {
  assert.equal(titleOf('COPY app.a (b) FROM stdin'), 'rows of app.a');
  assert.equal(titleOf("INSERT INTO a VALUES ('secret')"), 'rows of a');
  assert.equal(
    titleOf("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT secret'"),
    'CREATE FUNCTION f',
  );
  assert.equal(
    titleOf("CREATE USER MAPPING FOR a SERVER b OPTIONS (password 'secret')"),
    'CREATE USER MAPPING FOR a SERVER b',
  );
  assert.match(decoded(titleOf(`CREATE TABLE ${'x'.repeat(900)}`)), /^CREATE TABLE x{80,90}…$/);
});

test('names, and what is not there because another is not', () => {
  assert.equal(madeBy('CREATE UNLOGGED TABLE IF NOT EXISTS app."T" (a int)'), 'app.T');
  assert.equal(madeBy('CREATE EXTENSION IF NOT EXISTS postgis WITH SCHEMA public'), 'postgis');
  assert.equal(missedBy('relation "app.orders" does not exist'), 'app.orders');
  assert.equal(missedBy('type public.geometry does not exist'), 'public.geometry');
  assert.equal(newOwner('ALTER TABLE app.a OWNER TO "shop staff"'), '"shop staff"');
  assert.equal(newOwner('ALTER TABLE app.a ADD COLUMN b int'), undefined);
  assert.equal(newRole('CREATE ROLE "A b" LOGIN'), '"A b"');
  assert.equal(newRole('CREATE USER MAPPING FOR a SERVER b'), undefined);
  assert.equal(plain('App."Odd ""x"""'), 'app.Odd "x"');
});

test('what fails and changes nothing', () => {
  assert.ok(isNothingNew('DROP TABLE a', '42P01'));
  assert.ok(!isNothingNew('DROP TABLE a', '2BP01'));
  assert.ok(isNothingNew('SET transaction_timeout = 0', '42704'));
  assert.ok(isNothingNew('CREATE SCHEMA public', '42P06'));
  assert.ok(isNothingNew('CREATE ROLE r', '42710'));
  assert.ok(!isNothingNew('CREATE TABLE a (b int)', '42P07'));
});

test('each thing that was left out is said once, and how many more there are', () => {
  const list = createLeftOut();
  for (let i = 0; i < 503; i++) for (const why of ['x', 'x']) list.add({ what: `t${i}`, why });
  assert.equal(list.all.length, 501);
  assert.deepEqual(list.all.at(-1)?.what, '6 more statements');
});
