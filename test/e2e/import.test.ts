/** A team's own database in `main`, by the command line: from a running server, and again; whatever is killed meanwhile. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { runSql } from '../../src/cli/sql/session.ts';
import { allKinds } from '../support/all-kinds.ts';
import { testDaemon } from '../support/daemon.ts';
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
    await t.test(`from PostgreSQL ${major}`, async () => {
      await using source = await sourceServer(version);
      await source.sql('postgres', 'CREATE DATABASE staging');
      await source.sql('staging', allKinds({ major }));
      const project = `from${major}`;
      const made = await ok(['project', 'create', project, '--from', source.url('staging'), '--verify']);
      assert.match(made.stderr, /✓ rows/);
      assert.match(made.stderr, new RegExp(`\\d+ tables, \\d+ rows, .* from PostgreSQL ${major}\\.`));
      assert.match(made.stderr, new RegExp(`made project ${project} with branch main`));
      assert.deepEqual(await rows(project, 'main', 'SELECT count(*)::int FROM app.orders'), [[101]]);
      assert.deepEqual(leaks(daemon.home), []);
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
