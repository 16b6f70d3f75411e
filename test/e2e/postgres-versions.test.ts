/** Projects on another PostgreSQL of the machine: Debian's 15, where it is. */
import assert from 'node:assert/strict';
import { cpSync, existsSync, mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import pg from 'pg';
import { until } from '../../src/lib/wait.ts';
import { runCli } from '../support/cli.ts';
import { testDaemon } from '../support/daemon.ts';
import { tempDir } from '../support/temp.ts';

const BIN = '/usr/lib/postgresql/15/bin';
const SHARE = '/usr/share/postgresql/15';

test('a project on PostgreSQL 15, and on to 18', async t => {
  if (!existsSync(join(BIN, 'initdb'))) return t.skip(`there is no PostgreSQL 15 in ${BIN}`);
  await using daemon = await testDaemon();
  await using dir = await tempDir();
  const { env } = daemon;
  const run = async (...args: readonly string[]) => {
    const { code, stdout, stderr } = await runCli(args, { env });
    assert.equal(code, 0, `offshoot ${args.join(' ')}: ${stderr}`);
    return { stdout, stderr };
  };
  const query = async (project: string, branch: string, sql: string) => {
    const { connectionString } = await daemon.client.branches.credentials(project, branch);
    const session = new pg.Client({ connectionString });
    session.on('error', () => {});
    await session.connect();
    try {
      return (await session.query(sql)).rows;
    } finally {
      await session.end();
    }
  };
  const version = async (project: string, branch: string) =>
    Number.parseInt((await query(project, branch, 'SHOW server_version'))[0].server_version, 10);

  await run('project', 'create', 'old', '--postgres', '15');
  const { postgres } = await daemon.client.projects.get('old');
  assert.match(
    (await run('project', 'get', 'old')).stdout,
    /^postgres {2}15\.\d+ in \/usr\/lib\/postgresql\/15\/bin$/m,
  );
  assert.equal(postgres?.bin, BIN);
  assert.equal(await version('old', 'main'), 15);
  assert.equal(await version('default', 'main'), 18);

  await t.test('its owner may create what may be created, and nothing that leads out', async t => {
    const list = JSON.parse((await run('project', 'extensions', 'old', '-o', 'json')).stdout) as {
      name: string;
      allowed: boolean;
    }[];
    const allowed = new Set(list.flatMap(({ name, allowed }) => (allowed ? [name] : [])));
    for (const name of ['pgcrypto', 'amcheck', 'pg_stat_statements', 'pg_trgm'])
      assert.ok(allowed.has(name), name);
    for (const name of ['dblink', 'file_fdw', 'postgres_fdw']) assert.ok(!allowed.has(name), name);
    await query('old', 'main', 'CREATE EXTENSION amcheck; CREATE EXTENSION pgcrypto');
    await assert.rejects(query('old', 'main', 'CREATE EXTENSION file_fdw'), { code: '42501' });
    // Before 16 whoever makes roles can be one that runs programs.
    await assert.rejects(query('old', 'main', 'CREATE ROLE more'), { code: '42501' });
    await assert.rejects(query('old', 'main', 'GRANT pg_execute_server_program TO app'), { code: '42501' });
    for (const [name, sql] of [
      ['postgis', 'SELECT ST_AsText(ST_Buffer(ST_Point(0, 0), 1, 1)) AS it'],
      ['pg_partman', 'SELECT count(*) AS it FROM part_config'],
    ] as const)
      await t.test(name, async t => {
        if (!existsSync(join(SHARE, 'extension', `${name}.control`)))
          return t.skip(`${name} is not installed for PostgreSQL 15`);
        await query('old', 'main', `CREATE EXTENSION ${name}`);
        assert.equal((await query('old', 'main', sql)).length, 1);
      });
    await assert.rejects(
      query('old', 'main', 'CREATE EXTENSION nothing_like_it'),
      /not available|could not open/,
    );
  });

  await query('old', 'main', 'CREATE TABLE t AS SELECT 1 AS one; CREATE UNLOGGED TABLE u AS SELECT 1 AS one');
  await t.test('its branches are like it, asleep or awake, reset or not', async () => {
    await run('branch', 'create', 'child', '--project', 'old');
    assert.equal(await version('old', 'child'), 15);
    assert.deepEqual(await query('old', 'child', 'SELECT one FROM t'), [{ one: 1 }]);
    await run('branch', 'sleep', 'child', '--project', 'old', '--force');
    assert.deepEqual(await query('old', 'child', "SELECT one FROM t WHERE lower('Ä') = 'ä'"), [{ one: 1 }]);
    await Promise.all(
      [1, 2, 3, 4, 5].map(n => run('branch', 'create', `many-${n}`, '--project', 'old', '--parent', 'child')),
    );
    assert.equal(await version('old', 'many-5'), 15);
    await run('branch', 'reset', 'many-1', '--project', 'old', '--to', 'main');
    assert.equal(await version('old', 'many-1'), 15);
    const top = await run('branch', 'top', 'main', '--project', 'old', '--once');
    assert.match(top.stdout, /EACH +ROWS/);
  });

  await t.test('main goes on to 18 by an import of itself; branches stay', async () => {
    await run('project', 'refresh', 'old', '--from', 'project:old', '--postgres', '18');
    assert.equal(await version('old', 'main'), 18);
    assert.deepEqual(await query('old', 'main', 'SELECT one FROM t'), [{ one: 1 }]);
    assert.equal(await version('old', 'child'), 15);
    await run('branch', 'create', 'grandchild', '--project', 'old', '--parent', 'child');
    await run('branch', 'create', 'new', '--project', 'old');
    assert.deepEqual([await version('old', 'grandchild'), await version('old', 'new')], [15, 18]);
    assert.equal((await daemon.client.projects.get('old')).postgres, undefined);
  });

  await t.test('data come into it, too, without the right to make roles', async () => {
    await query(
      'default',
      'main',
      'CREATE ROLE maker CREATEROLE; CREATE ROLE reader; GRANT reader TO maker; CREATE TABLE r AS SELECT 1 AS one; GRANT SELECT ON r TO reader',
    );
    const made = await run('project', 'create', 'copy', '--from', 'project:default', '--postgres', '15');
    assert.match(made.stderr, /the making of roles by maker: before PostgreSQL 16/);
    assert.equal(await version('copy', 'main'), 15);
    const roles = await query(
      'copy',
      'main',
      'SELECT rolname FROM pg_roles WHERE rolcreaterole AND NOT rolsuper',
    );
    assert.deepEqual(roles, []);
    assert.deepEqual(
      await query('copy', 'main', "SELECT one FROM r WHERE has_table_privilege('maker', 'r', 'SELECT')"),
      [{ one: 1 }],
    );
  });

  await t.test('one whose programs are gone says so, and comes back with them', async () => {
    const there = join(dir.path, 'pg');
    for (const [from, to] of [
      ['/usr/lib/postgresql/15/lib', 'lib/postgresql/15/lib'],
      [BIN, 'lib/postgresql/15/bin'],
      [SHARE, 'share/postgresql/15'],
    ] as const) {
      mkdirSync(join(there, to), { recursive: true });
      cpSync(from, join(there, to), { recursive: true, dereference: true });
    }
    const refused = await runCli(['project', 'create', 'no', '--postgres', dir.path], { env });
    assert.match(refused.stderr, /no PostgreSQL was found: there are no programs "postgres" and "initdb"/);
    await run('project', 'create', 'moved', '--postgres', join(there, 'lib/postgresql/15'));
    assert.equal(await version('moved', 'main'), 15);
    await daemon.down();
    renameSync(there, `${there}-away`);
    await daemon.cli(['up', '--detach']);
    const failed = await until(
      async () => {
        await runCli(['sql', 'main', '--project', 'moved', '-c', 'select 1'], { env });
        const found = await daemon.client.branches.get('moved', 'main');
        return found.state === 'failed' ? found : undefined;
      },
      { what: 'it says that its programs are gone', deadlineMs: 60_000 },
    );
    assert.equal(failed.reason, 'PostgresGone');
    assert.match(failed.message, /the PostgreSQL of this project, in .*\/15\/bin, is not what it was/);
    assert.equal(await version('default', 'main'), 18, 'others go on');
    renameSync(`${there}-away`, there);
    await run('branch', 'restart', 'main', '--project', 'moved');
    assert.equal(await version('moved', 'main'), 15);
  });
});
