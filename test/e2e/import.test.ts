/** A team's own database in `main`, by the command line: from a running server, and again; whatever is killed meanwhile. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ExecError, exec } from '../../src/lib/exec.ts';
import { until } from '../../src/lib/wait.ts';
import { allKinds } from '../support/all-kinds.ts';
import { testDaemon } from '../support/daemon.ts';
import { runSql } from '../support/run-sql.ts';
import { PASSWORD, sourceServer, sourceVersions } from '../support/source-server.ts';
import { dumpsComeIn, toolFor } from './import-dumps.ts';

test('import', async t => {
  await using daemon = await testDaemon();
  const { cli } = daemon;
  const ok: typeof cli = async (args, options) => {
    const result = await cli(args, options);
    assert.equal(result.code, 0, `${args.join(' ')}: ${result.stderr}`);
    return result;
  };
  const rows = async (project: string, branch: string, sql: string) => {
    const url = (await ok(['branch', 'url', branch, '-p', project])).stdout.trim();
    const [result] = await runSql(url, sql, AbortSignal.timeout(60_000));
    return result!.rows;
  };

  let dumped = false;
  for (const version of await sourceVersions()) {
    const { major } = version;
    await t.test(`from PostgreSQL ${major}`, async t => {
      await using source = await sourceServer(version);
      await source.sql('postgres', 'CREATE DATABASE staging');
      await source.sql('staging', allKinds({ major }));
      const project = `from${major}`;
      const made = await ok(['project', 'create', project, '--from', source.url('staging'), '--verify']);
      assert.match(made.stderr, /✓ rows/);
      assert.match(made.stderr, new RegExp(`\\d+ tables, \\d+ rows, .* from PostgreSQL ${major}\\.`));
      assert.match(made.stderr, /passwords of .*shop_owner.*: only superusers may read them/);
      assert.match(made.stderr, /superuser postgres: here it is an ordinary role/);
      assert.match(made.stderr, new RegExp(`made project ${project} with branch main`));
      assert.deepEqual(await rows(project, 'main', 'SELECT count(*)::int FROM app.orders'), [[101]]);
      assert.deepEqual(leaks(daemon.home), []);
      const tool = dumped ? undefined : await toolFor(major);
      if (tool !== undefined) {
        dumped = true;
        await t.test(`dumps, by pg_dump ${tool.version}`, t =>
          dumpsComeIn(t, { daemon, source, tool, ok, rows }),
        );
      }
      if (major !== 18) return;

      await t.test('again: branches keep what they have, main keeps its address', async () => {
        const { stderr } = await ok(['branch', 'create', 'dev', '-p', project]);
        assert.match(stderr, /3 of its roles have no password; "offshoot project passwords from18 branch"/);
        const before = (await ok(['branch', 'url', 'main', '-p', project])).stdout;
        await source.sql('staging', "DELETE FROM app.t2; INSERT INTO app.base VALUES (77, 'new')");
        await ok(['project', 'refresh', project]);
        assert.equal((await ok(['branch', 'url', 'main', '-p', project])).stdout, before);
        const count = 'SELECT (SELECT count(*)::int FROM app.t2), (SELECT count(*)::int FROM ONLY app.base)';
        assert.deepEqual(await rows(project, 'main', count), [[0, 2]]);
        assert.deepEqual(await rows(project, 'dev', count), [[50, 1]]);
        const refused = await cli(['project', 'cancel', project]);
        assert.match(refused.stderr, /no import into project "from18" is under way/);
      });

      await t.test('other roles get the password of a branch where their project says so', async () => {
        const reader = ['branch', 'url', 'dev', '-p', project, '--role', 'shop_reader'];
        const without = await ok(reader);
        assert.match(without.stdout, /^postgresql:\/\/shop_reader\.\w+@/);
        assert.match(without.stderr, /password of shop_reader is not known here/);
        await ok(['project', 'passwords', project, 'branch']);
        const url = (await ok([...reader, '-d', 'postgres'])).stdout.trim();
        const who = 'SELECT session_user::text, current_database()::text';
        const found = await until(
          () => runSql(url, who, AbortSignal.timeout(60_000)).catch(() => undefined),
          { what: 'the role may log in', deadlineMs: 60_000 },
        );
        assert.deepEqual(found[0]!.rows, [['shop_reader', 'postgres']]);
      });

      await t.test('whoever is killed: it goes on, or begins anew, and is never seen half', async () => {
        await ok(['project', 'create', 'killed', '--from', source.url('staging'), '--no-wait']);
        await daemon.kill9();
        await ok(['up', '--detach']);
        for (const line of await daemon.labelled('import/')) {
          const pid = Number(line.split(' ')[0]);
          if (line.includes('import/')) process.kill(pid, 'SIGKILL');
        }
        await ok(['branch', 'wait', 'main', '-p', 'killed', '--wait-timeout', '5m']);
        assert.deepEqual(await rows('killed', 'main', 'SELECT count(*)::int FROM app.orders'), [[101]]);
        assert.deepEqual(await daemon.labelled('import/'), []);
        assert.doesNotMatch((await ok(['status'])).stdout, /belongs to no branch/);
      });

      await t.test(
        'masked: what is not to be seen never reaches the disk, and what SQL has changed does not stay there',
        async () => {
          await source.sql('postgres', 'CREATE DATABASE people');
          await source.sql('people', PEOPLE);
          const from = ['--from', source.url('people')];
          const file = join(daemon.home, 'mask.yaml');
          const forgotten = await cli(['project', 'create', 'masked', ...from, '--mask', emptyRules(file)]);
          assert.equal(forgotten.code, 1);
          assert.match(
            forgotten.stderr,
            /have no rule: public\.users\.email \(its name\), public\.users\.phone/,
          );
          const { stdout } = await ok(['project', 'mask', ...from]);
          assert.match(
            stdout,
            /^ {2}public\.users:\n {4}email: email # its name\n {4}phone: phone # its name$/m,
          );
          const withSql = (...sql: readonly string[]): string => {
            writeFileSync(
              file,
              [stdout, 'sql:', ...sql.map(text => `  - ${JSON.stringify(text)}`)].join('\n'),
            );
            return file;
          };
          const change = 'UPDATE users SET diary = md5(diary)';
          const bad = withSql(change, 'SELECT diary::int FROM users');
          await ok(['project', 'mask', ...from, '--mask', bad]);
          const failed = await cli(['project', 'create', 'masked', ...from, '--mask', bad]);
          assert.match(failed.stderr, /statement 2 of the mask's sql failed: SQLSTATE 22P02\n/);
          assert.ok(codesOf(daemon.home).includes('mask/sql-failed'));
          assert.equal((await cli(['sql', 'main', '-p', 'masked', '-c', 'select 1'])).code, 1);
          const made = await ok(['project', 'refresh', 'masked', '--mask', withSql(change), '--verify']);
          assert.match(made.stderr, /3 columns of 2 tables are masked/);
          assert.match(made.stderr, /what large objects hold, 1 of them: under a mask they come empty/);
          const users = 'SELECT email, phone, length(diary) FROM users ORDER BY id';
          const first = await rows('masked', 'main', users);
          assert.match(String(first[0]![0]), /^[a-z.2-7]+@example\.com$/);
          assert.equal(first[0]![2], 32);
          const joined =
            'SELECT count(*)::int, count(DISTINCT v.email)::int, (SELECT count(*)::int FROM audit) FROM logins JOIN users u USING (email) JOIN seen v USING (email)';
          assert.deepEqual(await rows('masked', 'main', joined), [[20, 10, 0]]);
          // Looked for in files, in WAL and logs, and in the image that holds the volumes.
          assert.notDeepEqual(await holding(daemon.home, 'marker-that-stays'), []);
          assert.deepEqual(await holding(daemon.home, MASKED), []);
          // What SQL has changed was on the disk for a while; what is free there is given back by and by.
          await until(async () => ((await holding(daemon.home, FOR_SQL)).length === 0 ? true : undefined), {
            ...{
              what: 'nothing is left of the volume that SQL ran on',
              deadlineMs: 480_000,
              intervalMs: 500,
            },
          });
          const refused = await cli(['project', 'refresh', 'masked', '--mask', emptyRules(file)]);
          assert.match(refused.stderr, /have no rule/);
          assert.deepEqual(await rows('masked', 'main', users), first);
          assert.doesNotMatch((await ok(['status'])).stdout, /belongs to no branch/);
        },
      );

      await t.test('what does not begin makes nothing', async () => {
        const url = source.url('staging', { user: 'postgres', password: 'wrong-one' });
        const result = await cli(['project', 'create', 'none', '--from', url]);
        assert.equal(result.code, 1);
        assert.match(result.stderr, /refuses the login: password authentication failed/);
        assert.doesNotMatch(result.stderr, /wrong-one/);
        assert.doesNotMatch((await ok(['project', 'list'])).stdout, /none/);
      });
    });
  }

  await t.test('dumps', t => {
    if (!dumped) t.skip('no pg_dump on this machine is new enough for a server that is here');
  });
});

// --- internal -----------------------------------------------------------------------------------

/** Stands in what is masked; searched for where it must not be. */
const MASKED = 'marker-5e6f-of-a-person';
/** The same of what SQL of a mask changes. */
const FOR_SQL = 'marker-7a8b-of-a-person';

const PEOPLE = `
  CREATE TABLE users (id int PRIMARY KEY, email text NOT NULL UNIQUE, phone text UNIQUE, label text DEFAULT 'marker-that-stays', diary text);
  CREATE TABLE audit (old text);
  CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO audit VALUES (OLD.diary); RETURN NEW; END';
  CREATE TRIGGER noted BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION noted();
  CREATE TABLE logins (email text REFERENCES users (email), at timestamptz DEFAULT now());
  INSERT INTO users SELECT i, '${MASKED}' || i || '@x.org', '${MASKED}' || i, 'marker-that-stays', '${FOR_SQL}' || i FROM generate_series(1, 10) i;
  INSERT INTO logins SELECT '${MASKED}' || (1 + i % 10) || '@x.org' FROM generate_series(1, 20) i;
  CREATE MATERIALIZED VIEW seen AS SELECT DISTINCT email FROM logins;
  SELECT lo_from_bytea(0, '${MASKED}');`;

/** Of imports that have failed. */
const codesOf = (home: string): readonly unknown[] =>
  readdirSync(join(home, 'imports')).map(
    id => JSON.parse(readFileSync(join(home, 'imports', id, 'result.json'), 'utf8')).code,
  );

function emptyRules(file: string): string {
  writeFileSync(file, 'tables: {}\n');
  return file;
}

/** Files below a folder that hold a text. Lines end with zeros (-z): the holes of an image are skipped, and no line fills the memory. */
const holding = async (folder: string, text: string): Promise<readonly string[]> => {
  const options = { cwd: '/', env: { ...process.env, LC_ALL: 'C' }, deadlineMs: 120_000 };
  const { stdout } = await exec('grep', ['-rszalF', '-D', 'skip', '-e', text, folder], options).catch(
    error => {
      // None, or a file that went away meanwhile.
      if (error instanceof ExecError && (error.exitCode ?? 3) < 3) return error;
      throw error;
    },
  );
  return stdout.split('\n').filter(line => line !== '');
};

/** Files of a data directory that hold the source's password. Data of branches are on the pool, which is one of them. */
const leaks = (home: string): readonly string[] =>
  readdirSync(home, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile() && !entry.name.endsWith('.img'))
    .map(entry => join(entry.parentPath, entry.name))
    .filter(path => readFileSync(path).includes(PASSWORD));
