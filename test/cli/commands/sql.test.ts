/** `offshoot sql` with what psql and pg_dump write, on a real server. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough, Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { test } from 'node:test';
import { interactiveSql } from '../../../src/cli/sql/interactive.ts';
import { until } from '../../../src/lib/wait.ts';
import { OffshootError } from '../../../src/model/errors.ts';
import { openSession } from '../../../src/sql/session.ts';
import { type FakeCliOptions, fakeCli, runCli } from '../../support/cli.ts';
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
  const env = { ...daemon.env, OFFSHOOT_SQL_HISTORY: join(dir.path, 'state', 'history') };
  const run = (args: readonly string[], input?: string, more?: FakeCliOptions) =>
    runCli(['sql', ...args], { env, cwd: dir.path, ...(input !== undefined && { input }), ...more });
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
      ['CREATE FUNCTION', 'CREATE TABLE', 'COPY 3', 'COPY 1', 'VACUUM'],
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
    assert.equal(out, "CREATE TABLE\nb is done\nSELECT 1\nwho   n\nit's  7\n(1 row)\n");
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
    const unknown = await run([], 'select 1;\n\\lo_list\n');
    assert.match(unknown.stderr, /^error: <stdin>:2: \\lo_list: it is not known here; psql knows it\n/);
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
        /^error: bad\.sql:5: PostgreSQL says: column "nix" does not exist \(SQLSTATE 42703\)\n {2}\| LINE 2: {3}nix\n {2}\| {11}\^\n/,
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
        /^error: <stdin>:4: .*invalid input syntax for type integer: "x"/,
      );
      const goesOn = await run([], `\\set ON_ERROR_STOP off\n${broken.split('\n').slice(1).join('\n')}`);
      assert.deepEqual([goesOn.code, goesOn.stdout], [0, '?column?\n1\n(1 row)\n']);
      assert.match(goesOn.stderr, /^error: <stdin>:4: /);
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
      /^- fields: \["n"\]\n {2}rows:\n {4}- n: 1\n {2}command: SELECT\n {2}rowCount: 1\n- fields:/,
    );
    const half = await run(['-o', 'json'], 'select 1 as n; select 2 as n; selct;');
    assert.equal(JSON.parse(half.stdout).length, 2);
    assert.equal((await run(['-o', 'json'], 'selct;')).stdout, '');
  });

  await t.test('values come through unchanged, in every format', async () => {
    const asked = `select 9007199254740993::bigint as big, 1.10::numeric as num, 'NaN'::float8 as nan, '-Infinity'::float4 as inf,
      1e-7::float8 as small, 'infinity'::date as d, '{"a": 1.50}'::json as j, array[1, null, 3] as a,
      array['x,"y"', 'NULL', null] as t, array[9007199254740993]::bigint[] as b, e'a,"b"\nc' as q, null as none, true as yes`;
    const json = await ok(['-o', 'json', '-c', asked]);
    assert.match(json, /"j": \{"a": 1\.50\}/);
    assert.deepEqual(JSON.parse(json).rows[0], {
      ...{ big: '9007199254740993', num: '1.10', nan: 'NaN', inf: '-Infinity', small: 1e-7, d: 'infinity' },
      ...{
        j: { a: 1.5 },
        a: [1, null, 3],
        t: ['x,"y"', 'NULL', null],
        b: ['9007199254740993'],
      },
      ...{ q: 'a,"b"\nc', none: null, yes: true },
    });
    assert.equal(
      await ok(['-o', 'csv', '-c', asked]),
      'big,num,nan,inf,small,d,j,a,t,b,q,none,yes\n' +
        '9007199254740993,1.10,NaN,-Infinity,1e-07,infinity,"{""a"": 1.50}","{1,NULL,3}",' +
        '"{""x,\\""y\\"""",""NULL"",NULL}",{9007199254740993},"a,""b""\nc",,t\n',
    );
    assert.match(
      await ok(['-c', asked]),
      /\n9007199254740993 {2}1\.10 {2}NaN {2}-Infinity {2}1e-07 {2}infinity /,
    );
    const latin = "set client_encoding = 'LATIN1';\nselect '\xe4' as a;\n";
    await writeFile(join(dir.path, 'latin.sql'), Buffer.from(latin, 'latin1'));
    assert.match(await ok(['-f', 'latin.sql']), /\nä\n/);
    const wide = JSON.parse(
      await ok([
        '-o',
        'json',
        '-c',
        'select n, repeat(md5(n::text), 4) as t from generate_series(1, 20000) n',
      ]),
    );
    assert.deepEqual([wide.rowCount, wide.rows.length, wide.rows[19_999].n], [20_000, 20_000, 20_000]);
    const twoLong = 'select repeat($$x$$, 2000) as t from generate_series(1, 2000);\nselect 1 as n;\n';
    assert.deepEqual(
      JSON.parse(await ok(['-o', 'json'], twoLong)).map((r: { rowCount: number }) => r.rowCount),
      [2_000, 1],
    );
  });

  await t.test('what psql is told in scripts', async () => {
    const script = String.raw`create table tools (id int primary key, name text not null default 'none', unique (name));
insert into tools values (1, 'saw'), (2, 'axe');
select id as found, name from tools where id = 2 \gset got_
\echo :got_found :'got_name'
\if :{?got_none}
  \echo not this
  select * from nothing_here;
\elif false
  \i nothing.sql
\else
  \if on \
  \endif
  \echo but this
\endif
select format('create table %s (n int)', t) from unnest(array['made_a', 'made_b']) t \gexec
\copy (select id, name from tools order by id) to 'tools.csv' with (format csv, header)
\copy tools (id, name) from stdin with (format csv)
7,"saw, big"
\.
truncate tools;
\copy tools from 'tools.csv' csv header
\o out.txt
select count(*) as n from tools;
\o
\x on
select * from tools where id = 1;
\x
select :'given' as given;
`;
    const out = await ok([
      '-f',
      await file('psql.sql', script.replace('\\if on \\\n', '\\if on\n')),
      '-v',
      "given=it's",
    ]);
    assert.deepEqual(out.split('\n').slice(2), [
      ...[
        "2 'axe'",
        'but this',
        'CREATE TABLE',
        'CREATE TABLE',
        'COPY 2',
        'COPY 1',
        'TRUNCATE TABLE',
        'COPY 2',
      ],
      ...['-[ RECORD 1 ]-', 'id    1', 'name  saw', '(1 row)', 'given', "it's", '(1 row)', ''],
    ]);
    assert.equal(await readFile(join(dir.path, 'tools.csv'), 'utf8'), 'id,name\n1,saw\n2,axe\n');
    assert.equal(await readFile(join(dir.path, 'out.txt'), 'utf8'), 'n\n2\n(1 row)\n');
    const described = await ok(['-c', '\\d tools']);
    assert.match(
      described,
      /^Table "public\.tools"\ncolumn {2}type {5}nullable {2}default\nid {6}integer {2}not null\n/,
    );
    assert.match(
      described,
      /'none'::text[\s\S]*index +CREATE UNIQUE INDEX tools_name_key[\s\S]*constraint +tools_pkey PRIMARY KEY \(id\)/,
    );
    assert.match(
      await ok(['-c', '\\dt made*']),
      /^schema.*\npublic {2}made_a {2}table.*\npublic {2}made_b.*\n\(2 rows\)\n$/,
    );
    for (const question of [
      'l',
      'dn',
      'du',
      'df',
      'dT',
      'dx',
      'dp',
      'dv',
      'di',
      'ds',
      'dm',
      'd',
      'dt+',
      'dfS',
      'dtvS "pg_cl"*',
    ])
      assert.match(await ok(['-c', `\\${question}`]), /\(\d+ rows?\)\n$/, question);
    const refused: Readonly<Record<string, RegExp>> = {
      "\\copy tools from program 'ls'": /programs are not run from here/,
      '\\set x `ls`': /programs are not run from here/,
      '\\if maybe': /"maybe" is neither true nor false/,
      '\\if true': /an \\if has no \\endif/,
      '\\endif': /there is no \\if before it/,
      '\\d nothing_here': /there is no relation "nothing_here"/,
      'select 1 where false \\gset': /there is no row/,
      '\\copy tools': /it goes/,
      "\\copy tools from 'nix.csv'": /cannot read .*: it does not exist/,
      '\\set AUTOCOMMIT off': /say BEGIN and COMMIT instead/,
    };
    for (const [text, why] of Object.entries(refused)) {
      const ran = await run([], text);
      assert.equal(ran.code, 2, text);
      assert.match(ran.stderr, why);
    }
    assert.equal((await run(['-v', 'nix'], '')).code, 2);
    const noticed = await run(
      [],
      '\n\ndo $$ begin raise warning $w$look$w$ using hint = $h$here$h$; end $$;\n',
    );
    assert.equal(noticed.stderr, '<stdin>:3: WARNING: look\nHINT: here\n');
  });

  await t.test('--read-only', async () => {
    const ran = await run(
      ['--read-only'],
      'select 1 as n;\n\\c postgres\n\\c app\ncreate table forbidden (n int);\n',
    );
    assert.equal(ran.code, 1);
    assert.match(ran.stderr, /cannot execute CREATE TABLE in a read-only transaction \(SQLSTATE 25006\)/);
  });

  /** How many statements that begin like this run in the server. */
  const active = async (text: string) =>
    Number(
      (
        await rows(
          `select count(*)::int as n from pg_stat_activity where state = 'active' and query like '${text}%'`,
        )
      )[0].n,
    );
  const isActive = (text: string, wanted: number) =>
    until(async () => ((await active(text)) === wanted ? true : undefined), {
      what: `${wanted} × ${text}`,
      deadlineMs: 60_000,
    });

  await t.test('who leaves ends the statement in the server, too', async () => {
    const stop = new AbortController();
    const sleeping = run(['-c', '/* given up */ select pg_sleep(600)'], '', { signal: stop.signal });
    await isActive('/* given up */', 1);
    stop.abort(new Error('SIGINT'));
    const { code, stderr } = await sleeping;
    assert.deepEqual([code, stderr], [130, 'interrupted; the statement that ran was cancelled\n']);
    await isActive('/* given up */', 0);
    const main = join(root, 'src', 'cli', 'main.ts');
    const endless = '/* unread */ select generate_series(1, 1000000000), repeat($$x$$, 100)';
    const child = spawn(process.execPath, [main, 'sql', '-c', endless], {
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(child.stdout, 'data');
    await isActive('/* unread */', 1);
    child.stdout.destroy();
    assert.deepEqual(await once(child, 'exit'), [0, null]);
    await isActive('/* unread */', 0);
  });

  await t.test('at a terminal: statements, an error, Ctrl-C, completion, history', async () => {
    const typed = Object.assign(new PassThrough(), { isTTY: true });
    const shown = { out: '', err: '' };
    const { cli } = fakeCli({ env, cwd: dir.path, terminal: true, columns: 120, onOutput: () => {} });
    const collect = (key: 'out' | 'err') =>
      new Writable({
        write(chunk, _, done) {
          shown[key] += chunk;
          done();
        },
      });
    const url = (await daemon.client.branches.credentials('default', 'main')).connectionString;
    const ours = {
      ...{ ...cli, stdin: typed, stdout: collect('out') },
      stderr: Object.assign(collect('err'), { isTTY: true, columns: 120 }),
    };
    const session = await openSession(url, cli.signal, { onNotice: () => {} });
    const left = interactiveSql(ours, session, 'table');
    const seen = (key: 'out' | 'err', what: RegExp) =>
      until(() => (what.test(shown[key]) ? true : undefined), { what: String(what), deadlineMs: 60_000 });
    await seen('err', /app=> /);
    typed.write('select 40 + 2\n  as answer;\n');
    await seen('out', /^answer\n42\n\(1 row\)\n$/);
    typed.write('select nix;\n');
    await seen('err', /column "nix" does not exist[\s\S]*LINE 1: select nix\r?\n +\^/);
    typed.write('select 1 as typed, pg_sleep(600);\n');
    await isActive('select 1 as typed', 1);
    typed.write('\x03');
    await seen('err', /canceling statement due to user request/);
    typed.write('begin;\n');
    await seen('err', /app=\*> /);
    typed.write('select count(*) from mad\t');
    await seen('err', /mad[^\n]*e_$/);
    typed.write('a;\nrollback;\n');
    await seen('out', /count\n0\n\(1 row\)\nROLLBACK\n$/);
    typed.write("create role hidden password 'hush';\n");
    await seen('out', /CREATE ROLE\n$/);
    typed.write('\\q\n');
    await left;
    const history = env.OFFSHOOT_SQL_HISTORY;
    assert.match(
      await readFile(history, 'utf8'),
      /^select 40 \+ 2\n {2}as answer;\n[\s\S]*select count\(\*\) from made_a;\nrollback;\n\\q\n$/,
    );
    assert.doesNotMatch(await readFile(history, 'utf8'), /hush/);
    assert.equal((await stat(history)).mode & 0o777, 0o600);
  });

  await t.test('branch dump: by the pg_dump that is found, whole or not at all', async () => {
    const dump = (args: readonly string[], more: NodeJS.ProcessEnv = {}) =>
      runCli(['branch', 'dump', ...args], { env: { ...env, ...more }, cwd: dir.path });
    const none = await dump(['main'], { OFFSHOOT_CLIENT_TOOLS: '', PATH: '/nonexistent' });
    if (none.code === 0) t.diagnostic('this machine has a pg_dump of 18: its absence is not seen');
    else {
      const version = await daemon.client
        .doctor()
        .then(checks => /PostgreSQL (\S+)/.exec(checks.find(c => c.name === 'postgres')!.detail)![1]);
      const { message } = new OffshootError('branch/no-dump-tool', { version });
      assert.ok(none.stderr.startsWith(`error: ${message}\nhint: install them (`), none.stderr);
    }
    // Stands in for the program, which a bare machine has not.
    const fake = `#!/bin/sh
case "$1" in --version) echo 'pg_dump (PostgreSQL) 18.99'; exit;; esac
for a; do case "$a" in --file=*) exec >"\${a#--file=}";; esac; done
echo "$PGDATABASE \${PGUSER%.*} \${#PGPASSWORD} $*"
[ "$FAIL" = '' ] || { echo 'pg_dump: error: no rights' >&2; exit 1; }
`;
    await mkdir(join(dir.path, 'tools'));
    await writeFile(join(dir.path, 'tools', 'pg_dump'), fake, { mode: 0o755 });
    const tools = { OFFSHOOT_CLIENT_TOOLS: join(dir.path, 'tools') };
    const wrote = await dump(['main', '-s', '-F', 'c', '-f', 'main.dump'], tools);
    assert.deepEqual([wrote.code, wrote.stderr], [0, 'wrote main.dump with pg_dump 18.99\n']);
    assert.match(
      await readFile(join(dir.path, 'main.dump'), 'utf8'),
      /^app app [1-9]\d* --format=c --no-password --file=\S+ --schema-only\n$/,
    );
    assert.match(
      (await dump(['main', '-d', 'postgres'], tools)).stdout,
      /^postgres app \d+ --format=p --no-password\n$/,
    );
    const failed = await dump(['main', '-f', 'failed.sql'], { ...tools, FAIL: 'yes' });
    assert.deepEqual(
      [failed.code, failed.stderr],
      [
        1,
        `error: ${new OffshootError('branch/dump-failed', { why: 'pg_dump: error: no rights' }).message}\nhint: mend that, then repeat\n`,
      ],
    );
    assert.deepEqual(
      (await readdir(dir.path)).filter(name => /failed|partial/.test(name)),
      [],
    );
    assert.equal((await dump(['main', '-F', 'd'], tools)).code, 2);
    const body = await dump(['main', '-f', 'x.sql', '-d', 'nix'], tools);
    assert.match(body.stderr, /database "nix" does not exist/);
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
    // As people run it, from the bundle: reading the sources takes more than the file.
    // Its own memory: how many pages of Node's file are counted, too, depends on how the machine holds that file.
    const told = `import { readFileSync } from 'node:fs';
      let most = 0;
      const look = () => {
        const own = process.platform === 'linux'
          ? Number(/^RssAnon:\\s*(\\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))[1])
          : process.memoryUsage().rss / 1024;
        most = Math.max(most, own);
      };
      setInterval(look, 20).unref();
      process.on('exit', () => { look(); console.error('rss', most); });`;
    const hook = `--import=data:text/javascript,${encodeURIComponent(told)}`;
    const child = spawn(join(root, 'offshoot'), ['sql', '-f', path], { env: { ...env, NODE_OPTIONS: hook } });
    const text = { out: '', err: '' };
    child.stdout.setEncoding('utf8').on('data', chunk => (text.out += chunk));
    child.stderr.setEncoding('utf8').on('data', chunk => (text.err += chunk));
    await once(child, 'close');
    assert.match(text.out, /^CREATE TABLE\nCOPY 120000\ncount\n120000\n/);
    const rss = Number(/rss (\d+)/.exec(text.err)![1]) / 1024;
    assert.ok(rss < 150, `120 MB took ${rss} MB`);
  });
});
