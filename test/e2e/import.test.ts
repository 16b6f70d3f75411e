/** A team's own database in `main`, by the command line: from a running server, and again; whatever is killed meanwhile. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { allKinds } from '../support/all-kinds.ts';
import { testDaemon } from '../support/daemon.ts';
import { runSql } from '../support/run-sql.ts';
import { PASSWORD, sourceServer, sourceVersions } from '../support/source-server.ts';

test('import', async t => {
  await using daemon = await testDaemon();
  const { cli } = daemon;
  const ok = async (args: readonly string[]) => {
    const result = await cli(args);
    assert.equal(result.code, 0, `${args.join(' ')}: ${result.stderr}`);
    return result;
  };
  const rows = async (project: string, branch: string, sql: string) => {
    const url = (await ok(['branch', 'url', branch, '-p', project])).stdout.trim();
    const [result] = await runSql(url, sql, AbortSignal.timeout(60_000));
    return result!.rows;
  };

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
      if (major !== 18) return;

      await t.test('again: branches keep what they have, main keeps its address', async () => {
        await ok(['branch', 'create', 'dev', '-p', project]);
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
});

// --- internal -----------------------------------------------------------------------------------

/** Files of a data directory that hold the source's password. Data of branches are on the pool, which is one of them. */
const leaks = (home: string): readonly string[] =>
  readdirSync(home, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile() && !entry.name.endsWith('.img'))
    .map(entry => join(entry.parentPath, entry.name))
    .filter(path => readFileSync(path).includes(PASSWORD));
