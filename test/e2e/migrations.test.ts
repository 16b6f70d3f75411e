/** Migrations of a folder, by hand against `main` and by themselves for each environment, with real databases and programs. */
import assert from 'node:assert/strict';
import { existsSync, globSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import pg from 'pg';
import { stringify } from 'yaml';
import { findProgram } from '../../src/lib/find-program.ts';
import { until } from '../../src/lib/wait.ts';
import type { SandboxView } from '../../src/model/view.ts';
import { runCli } from '../support/cli.ts';
import { root, testDaemon } from '../support/daemon.ts';
import { gitProject } from '../support/git-project.ts';
import { migrationTools } from '../support/migration-tools.ts';
import { tempDir } from '../support/temp.ts';

/** As small as such a tool can be: files in order, each once, in a transaction; it says which. */
const tool = `
  const { readdirSync, readFileSync } = require('node:fs');
  const { Client } = require(${JSON.stringify(join(root, 'node_modules/pg'))});
  const said = process.argv.join(' ') + readFileSync('/proc/self/cmdline');
  if (said.includes(process.env.PGPASSWORD)) throw new Error('the password stands on the command line');
  (async () => {
    const client = new Client({ connectionString: process.env.DATABASE_URL });
    await client.connect();
    await client.query('CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY, branch text)');
    const { rows } = await client.query('SELECT name FROM migrations');
    for (const name of readdirSync('migrations').sort()) {
      if (rows.some(row => row.name === name)) continue;
      console.log('applying ' + name);
      await client.query('BEGIN');
      await client.query(readFileSync('migrations/' + name, 'utf8'));
      await client.query('INSERT INTO migrations VALUES ($1, $2)', [name, process.env.OFFSHOOT_BRANCH]);
      await client.query('COMMIT');
    }
    await client.query('CREATE TABLE IF NOT EXISTS runs (at timestamptz DEFAULT now())');
    await client.query('INSERT INTO runs DEFAULT VALUES');
    await client.end();
  })().catch(error => { console.error('ERROR: ' + error.message); process.exit(3); });`;

/** What Prisma does for "migrate dev": a database beside it, made and dropped by the same role. */
const shadow = `
  const { Client } = require(${JSON.stringify(join(root, 'node_modules/pg'))});
  (async () => {
    const main = new Client({ connectionString: process.env.DATABASE_URL });
    await main.connect();
    await main.query('CREATE DATABASE "prisma_migrate_shadow_db_1"');
    const url = new URL(process.env.DATABASE_URL);
    url.pathname = '/prisma_migrate_shadow_db_1';
    const beside = new Client({ connectionString: url.href });
    await beside.connect();
    await beside.query('CREATE EXTENSION IF NOT EXISTS citext; CREATE TABLE shadow (id int)');
    await beside.end();
    await main.query('DROP DATABASE "prisma_migrate_shadow_db_1"');
    await main.end();
  })().catch(error => { console.error(error.message); process.exit(1); });`;

/** Says whether the table was there when it started. */
const server = `
  const { Client } = require(${JSON.stringify(join(root, 'node_modules/pg'))});
  (async () => {
    const client = new Client({ connectionString: process.env.DATABASE_URL });
    await client.connect();
    await client.query('SELECT title FROM books');
    await client.end();
    require('node:http').createServer((_, answer) => answer.end('fine')).listen(process.env.PORT, '127.0.0.1');
  })().catch(error => { console.error(error.message); process.exit(1); });`;

test('a folder brings main, and each of its environments, to what its code expects', async t => {
  await using daemon = await testDaemon();
  await using dir = await tempDir();
  const offshoot = (cwd: string, ...args: readonly string[]) => runCli(args, { cwd, env: daemon.env });
  const run = async (cwd: string, ...args: readonly string[]) => {
    const { code, stdout, stderr } = await offshoot(cwd, ...args);
    assert.equal(code, 0, `offshoot ${args.join(' ')}: ${stderr}`);
    return { stdout, stderr };
  };
  const query = async (branch: string, sql: string) => {
    const { connectionString } = await daemon.client.branches.credentials('default', branch);
    const session = new pg.Client({ connectionString });
    session.on('error', () => {});
    await session.connect();
    try {
      return (await session.query(sql)).rows;
    } finally {
      await session.end();
    }
  };

  const { folder, git } = await gitProject(join(dir.path, 'shop'), { namespace: 'demo' });
  const config = (migrate: object | undefined, at = folder) =>
    writeFileSync(
      join(at, 'offshoot.yaml'),
      stringify({
        images: { 'acme/web': { dir: '.', command: ['node', 'server.cjs'] } },
        environment: { database: 'DATABASE_URL' },
        ...(migrate && { migrate }),
      }),
    );
  mkdirSync(join(folder, 'migrations'));
  const migration = (name: string, sql: string, at = folder) =>
    writeFileSync(join(at, 'migrations', name), sql);
  writeFileSync(join(folder, 'migrate.cjs'), tool);
  writeFileSync(join(folder, 'shadow.cjs'), shadow);
  const inputs = ['migrations', 'migrate.cjs'];
  await run('/', 'branch', 'create', 'empty');

  await t.test('by hand, against main', async () => {
    const none = await offshoot(folder, 'migrate');
    assert.deepEqual([none.code, none.stderr.match(/has no "migrate:"/)?.length], [2, 1]);
    config({ command: ['node', 'migrate.cjs'], inputs });
    migration('1.sql', 'CREATE TABLE books (id int PRIMARY KEY)');
    const made = await run(folder, 'migrate', '-o', 'json');
    const { project, branch, command } = JSON.parse(made.stdout);
    assert.deepEqual([project, branch, command], ['default', 'main', ['node', 'migrate.cjs']]);
    assert.deepEqual(await query('main', 'SELECT name, branch FROM migrations'), [
      { name: '1.sql', branch: 'main' },
    ]);

    // Nothing of a migration that fails is left, and the command says so.
    migration('2.sql', 'ALTER TABLE books ADD title text; SELECT oops');
    const failed = await offshoot(folder, 'migrate', 'main', '-o', 'json');
    assert.equal(failed.code, 1);
    const said = JSON.parse(failed.stderr.split('\n').findLast(line => line.startsWith('{'))!);
    assert.equal(said.code, 'migration/failed');
    assert.match(
      said.error,
      /^branch main was not migrated: "node migrate.cjs" in .* ended with exit code 3$/,
    );
    const missing = await offshoot(folder, 'migrate', 'nothing');
    assert.equal(missing.code, 3);

    config({ command: 'node shadow.cjs', inputs });
    await run(folder, 'migrate');
    config({ command: ['node', 'migrate.cjs'], inputs });
  });

  await run(folder, 'deploy', '-f', 'k8s');
  await git(['add', '--all']);
  await git(['commit', '--quiet', '--message=migrations']);
  const feature = join(dir.path, 'feature');
  await git(['worktree', 'add', '--quiet', '-b', 'feature', feature]);
  writeFileSync(join(feature, 'server.cjs'), server);

  const sandbox = () => daemon.client.sandboxes.get('feature');
  await t.test('one that fails is explained, its branch is there, and mending it is enough', async () => {
    const failed = await offshoot(feature, 'env', 'up');
    assert.equal(failed.code, 1);
    assert.match(
      failed.stderr,
      /migration of branch sb-feature: migrate failed: "node migrate.cjs" in .* exit code 3/,
    );
    assert.match(failed.stderr, /\| ERROR: column "oops" does not exist/);
    assert.match(failed.stderr, /hint: mend the cause and apply again/);
    const { status } = await sandbox();
    assert.equal(status.reason, 'MigrationFailed');
    assert.deepEqual(status.migration?.log.slice(-2), [
      'applying 2.sql',
      'ERROR: column "oops" does not exist',
    ]);
    assert.match(
      (await run(feature, 'sandbox', 'get', 'feature')).stdout,
      /MigrationsReady=False MigrationFailed/,
    );
    for (const said of ['migration/feature', 'sandbox/feature'])
      assert.match((await run(feature, 'logs', said)).stdout, /^migration\/feature \| applying 2\.sql$/m);
    assert.deepEqual(await query('sb-feature', 'SELECT name FROM migrations'), [{ name: '1.sql' }]);

    migration('2.sql', 'ALTER TABLE books ADD title text', feature);
    const up = JSON.parse((await run(feature, 'env', 'up', '-o', 'json')).stdout) as SandboxView;
    assert.equal(up.status.ready, true);
    assert.deepEqual(await query('sb-feature', 'SELECT name, branch FROM migrations ORDER BY 1'), [
      { name: '1.sql', branch: 'main' },
      { name: '2.sql', branch: 'sb-feature' },
    ]);
    assert.deepEqual(await query('main', 'SELECT name FROM migrations'), [{ name: '1.sql' }]);
  });

  const counted = async () => Number((await query('sb-feature', 'SELECT count(*) FROM runs'))[0].count);
  await t.test(
    'it runs when its files have changed, or its branch has begun anew, and not else',
    async () => {
      const before = await counted();
      await run(feature, 'env', 'up');
      assert.equal(await counted(), before);
      migration('3.sql', 'CREATE TABLE authors (id int)', feature);
      assert.equal(await counted(), before, 'nobody has asked for it yet');
      const up = await run(feature, 'env', 'up');
      assert.match(up.stderr, /its migrations have changed, they run\n/);
      assert.equal(await counted(), before + 1);

      await run(feature, 'branch', 'reset', 'sb-feature');
      await until(
        async () => {
          const rows = await query('sb-feature', "SELECT to_regclass('authors') AS made").catch(() => []);
          return rows[0]?.made === 'authors' || undefined;
        },
        { what: 'what has begun anew is migrated', deadlineMs: 60_000 },
      );
    },
  );

  const installed = process.env.OFFSHOOT_TEST_MIGRATION_TOOLS;
  const modules = installed === undefined ? undefined : join(installed, 'node_modules');
  const path = [modules && join(modules, '.bin'), dirname(process.execPath), process.env.PATH];
  const env = { ...daemon.env, PATH: path.filter(Boolean).join(':') };
  for (const [i, { name, program, command, needs, files }] of migrationTools.entries())
    await t.test(`by ${name}`, async t => {
      if ((await findProgram(program, env.PATH, '/')) === undefined)
        return t.skip(`there is no ${program}; test/support/migration-tools.ts says where it is looked for`);
      if (needs !== undefined && globSync(join(modules ?? '/nonexistent', `${needs}*`)).length === 0)
        return t.skip(`${program} has not got its ${needs}`);
      const place = join(dir.path, `tool-${i}`);
      for (const [file, text] of Object.entries(files)) {
        mkdirSync(dirname(join(place, file)), { recursive: true });
        writeFileSync(join(place, file), text);
      }
      if (modules !== undefined && existsSync(modules)) symlinkSync(modules, join(place, 'node_modules'));
      writeFileSync(join(place, 'offshoot.yaml'), stringify({ migrate: { command } }));
      await run('/', 'branch', 'create', `tool-${i}`, '--parent', 'empty');
      // Again is harmless.
      for (const _ of program === 'sh' || program === 'psql' ? [1] : [1, 2]) {
        const { code, stderr } = await runCli(['migrate', `tool-${i}`], { cwd: place, env });
        assert.equal(code, 0, stderr);
      }
      assert.deepEqual(await query(`tool-${i}`, 'SELECT title FROM books'), []);
    });
});
