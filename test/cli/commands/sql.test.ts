/** `offshoot sql` with what psql and pg_dump write, on a real server. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { test } from 'node:test';
import { root, testDaemon } from '../../support/daemon.ts';
import { tempDir } from '../../support/temp.ts';

const dump = `\ufeff--
-- PostgreSQL database dump
--

\\restrict 4fXk

SET statement_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);

CREATE FUNCTION public.twice(n integer) RETURNS integer LANGUAGE sql BEGIN ATOMIC
 SELECT (2 * twice.n);
END;

CREATE TABLE public.people (id integer, name text);

COPY public.people (id, name) FROM stdin;
1\tAda; drop table people;
2\t\\N
3\tä\\tb\\\\.
\\.

COPY public.people (id, name) FROM stdin WITH (FORMAT csv);
4,"quoted, with
a line end"
\\.

VACUUM public.people;
\\unrestrict 4fXk
`;

test('sql', async t => {
  await using daemon = await testDaemon();
  await using dir = await tempDir();
  const run = (args: readonly string[], input?: string) =>
    daemon.cli(['sql', ...args], { cwd: dir.path, ...(input !== undefined && { input }) });
  const ok = async (args: readonly string[], input?: string) => {
    const ran = await run(args, input);
    assert.equal(ran.code, 0, `${args.join(' ')}: ${ran.stderr}`);
    return ran.stdout;
  };
  const rows = async (text: string) => JSON.parse(await ok(['-o', 'json', '-c', text])).rows;
  const file = async (name: string, text: string) => {
    await writeFile(join(dir.path, name), text);
    return name;
  };

  await t.test('-f takes what pg_dump writes', async () => {
    const out = await ok(['-f', await file('dump.sql', dump)]);
    assert.deepEqual(
      out.split('\n').filter(line => /^(COPY|VACUUM|CREATE)/.test(line)),
      ['CREATE', 'CREATE', 'COPY 3', 'COPY 1', 'VACUUM'],
    );
    assert.deepEqual(await rows('select id, name, twice(id) as t from people order by id'), [
      { id: 1, name: 'Ada; drop table people;', t: 2 },
      { id: 2, name: null, t: 4 },
      { id: 3, name: 'ä\tb\\.', t: 6 },
      { id: 4, name: 'quoted, with\na line end', t: 8 },
    ]);
    await ok(['-c', 'drop table people; drop function twice']);
    await ok([], dump);
    assert.equal((await rows('select * from people')).length, 4);
  });

  await t.test('a dump cannot speak to us while it is restricted', async () => {
    const evil = await file('evil.sql', '\\restrict key\nselect 1;\n\\i /etc/passwd\n');
    const ran = await run(['-f', evil]);
    assert.equal(ran.code, 2);
    assert.match(ran.stderr, /^error: evil\.sql:3: \\i: only \\unrestrict with the right key is allowed/);
    const wrong = await run([], '\\restrict key\n\\unrestrict other\n');
    assert.match(wrong.stderr, /<stdin>:2: \\unrestrict: only/);
  });

  await t.test('other files, variables, other databases', async () => {
    await mkdir(join(dir.path, 'more'), { recursive: true });
    await file('main.sql', "\\set who 'it''s'\n\\set n 7\n\\i more/a.sql\nselect :'who' as who, :n as n;\n");
    await file('more/a.sql', '\\ir b.sql\ncreate table from_a as select :n as n;\n');
    await file('more/b.sql', 'create table from_b (n int);\n\\echo b is done\n');
    const out = await ok(['-f', 'main.sql']);
    assert.equal(out, "CREATE\nb is done\nSELECT 1\nwho   n\nit's  7\n(1 row)\n");
    assert.deepEqual(await rows('select n from from_a'), [{ n: 7 }]);
    const other =
      'create database "Other one";\n\\connect "Other one"\nselect current_database() as here;\n\\c app\n';
    assert.match(await ok([], other), /\nhere\nOther one\n/);
    assert.match(
      await ok([], `\\connect -reuse-previous=on "dbname='Other one'"\nselect current_database();`),
      /Other one/,
    );
    const elsewhere = await run([], '\\connect app postgres\n');
    assert.deepEqual(
      [elsewhere.code, elsewhere.stderr],
      [
        2,
        'error: <stdin>:1: \\connect: only another database of the same branch can be meant, as the same role\n',
      ],
    );
    const missing = await run([], '\\connect nix\n');
    assert.match(missing.stderr, /^error: <stdin>:1: PostgreSQL says: database "nix" does not exist/);
    const unknown = await run([], 'select 1;\n\\d people\n');
    assert.match(unknown.stderr, /^error: <stdin>:2: \\d: it is not known here; psql knows it\n/);
    const absent = await run([], '\\i nix.sql\n');
    assert.match(absent.stderr, /^error: cannot read nix\.sql: it does not exist\n/);
  });

  await t.test(
    'it stops at the first error, says where, and keeps what was before; with -1 nothing',
    async () => {
      const bad = await file(
        'bad.sql',
        "create table before_it (n int);\n\n-- ä\nselect 'ä',\n  nix;\ncreate table after_it (n int);\n",
      );
      const ran = await run(['-f', bad]);
      assert.equal(ran.code, 1);
      assert.match(
        ran.stderr,
        /^error: bad\.sql:5: PostgreSQL says: column "nix" does not exist \(SQLSTATE 42703\)\n/,
      );
      const known = () =>
        rows("select to_regclass('before_it')::text as b, to_regclass('after_it')::text as a");
      assert.deepEqual(await known(), [{ b: 'before_it', a: null }]);
      await ok(['-c', 'drop table before_it']);
      assert.equal((await run(['-1', '-f', bad])).code, 1);
      assert.deepEqual(await known(), [{ b: null, a: null }]);
      const rowsOfNothing = 'copy nix from stdin;\n1\n\\.\n';
      assert.match(
        (await run([], rowsOfNothing)).stderr,
        /^error: <stdin>:1: .*relation "nix" does not exist/,
      );
      const broken = 'create table ints (n int);\ncopy ints from stdin;\n1\nx\n3\n\\.\nselect 1;\n';
      assert.match(
        (await run([], broken)).stderr,
        /^error: <stdin>:2: .*invalid input syntax for type integer: "x"/,
      );
      const goesOn = await run([], `\\set ON_ERROR_STOP off\n${broken.split('\n').slice(1).join('\n')}`);
      assert.deepEqual([goesOn.code, goesOn.stdout], [0, '?column?\n1\n(1 row)\n']);
      assert.match(goesOn.stderr, /^error: <stdin>:2: /);
    },
  );

  await t.test('rows in and out, and notices', async () => {
    await ok(['-c', 'create table copied (n int, t text)']);
    assert.equal(await ok(['-c', 'copy copied from stdin csv'], '1,a\n2,b\n'), 'COPY 2\n');
    assert.equal(await ok(['-c', 'copy copied to stdout']), '1\ta\n2\tb\nCOPY 2\n');
    const noticed = await run(['-c', 'drop table if exists nix']);
    assert.deepEqual([noticed.code, noticed.stderr], [0, 'NOTICE: table "nix" does not exist, skipping\n']);
  });

  await t.test('objects: one, none or several results', async () => {
    const json = async (text: string) => JSON.parse(await ok(['-o', 'json'], text));
    assert.deepEqual((await json('select 1 as n')).rows, [{ n: 1 }]);
    assert.deepEqual(await json(''), []);
    const three = await json('select 1 as n; select 2 as n; select 3 as n;');
    assert.deepEqual(
      three.map((r: { rows: object[] }) => r.rows[0]),
      [{ n: 1 }, { n: 2 }, { n: 3 }],
    );
    assert.match(
      await ok(['-o', 'yaml'], 'select 1 as n; select 2 as n;'),
      /^- command: SELECT\n[\s\S]*\n- command: SELECT\n/,
    );
    const half = await run(['-o', 'json'], 'select 1 as n; select 2 as n; selct;');
    assert.equal(JSON.parse(half.stdout).length, 2);
    assert.equal((await run(['-o', 'json'], 'selct;')).stdout, '');
  });

  await t.test('a file of any length needs little memory', async () => {
    const line = `${'x'.repeat(1_000)}\n`;
    const script = function* () {
      yield 'create table long (t text);\ncopy long from stdin;\n';
      for (let i = 0; i < 120; i++) yield line.repeat(1_000);
      yield '\\.\nselect count(*) from long;\n';
    };
    const path = join(dir.path, 'long.sql');
    await pipeline(Readable.from(script()), createWriteStream(path));
    const hook = `data:text/javascript,process.on('exit', () => console.error('rss', process.resourceUsage().maxRSS))`;
    const main = join(root, 'src', 'cli', 'main.ts');
    const child = spawn(process.execPath, ['--import', hook, main, 'sql', '-f', path], { env: daemon.env });
    const text = { out: '', err: '' };
    child.stdout.setEncoding('utf8').on('data', chunk => (text.out += chunk));
    child.stderr.setEncoding('utf8').on('data', chunk => (text.err += chunk));
    await once(child, 'close');
    assert.match(text.out, /^CREATE\nCOPY 120000\ncount\n120000\n/);
    const rss = Number(/rss (\d+)/.exec(text.err)![1]) / 1024;
    assert.ok(rss < 170, `120 MB took ${rss} MB`);
  });
});
