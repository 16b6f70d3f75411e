/** Branches by the command line, on real PostgreSQL: whose they are, and which passwords open them. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Client } from 'pg';
import { until } from '../../src/lib/wait.ts';
import { deployBaseline, example, sandboxDocument } from '../support/baseline.ts';
import { testDaemon } from '../support/daemon.ts';
import { runSql } from '../support/run-sql.ts';

test('branches', async t => {
  await using daemon = await testDaemon();
  const { cli } = daemon;
  /** Which is free is known only when one has it. */
  const ownPort = async (branch: string): Promise<number> => {
    for (let tries = 0; ; tries++) {
      const port = 20_000 + Math.floor(Math.random() * 10_000);
      const { code, stderr } = await cli(['branch', 'port', branch, String(port)]);
      if (code === 0) return port;
      assert.ok(tries < 20 && /another program listens there/.test(stderr), stderr);
    }
  };
  await deployBaseline(cli);
  const ok = async (args: readonly string[], input?: string) => {
    const result = await cli(args, input === undefined ? {} : { input });
    assert.equal(result.code, 0, `${args.join(' ')}: ${result.stderr}`);
    return result.stdout.trim();
  };
  const as = async (branch: string, role: string, password: string) => {
    const url = new URL(await ok(['branch', 'url', branch]));
    url.username = `${role}.${url.username.split('.')[1]}`;
    url.password = password;
    const [result] = await runSql(url.href, 'select current_user', AbortSignal.timeout(60_000));
    return result!.rows[0]![0];
  };

  await t.test(
    "roles that users made keep their passwords, but a child does not know its parent's",
    async () => {
      await ok(['sql', 'main', '-c', "create role reporter login password 'of-main'"]);
      assert.equal(await as('main', 'reporter', 'of-main'), 'reporter');
      await ok(['branch', 'create', 'child']);
      await assert.rejects(as('child', 'reporter', 'of-main'), /password authentication failed/);
      await ok(['sql', 'child', '-c', "alter role reporter password 'of-child'"]);
      await ok(['branch', 'create', 'grandchild', '--parent', 'child']);
      await assert.rejects(as('grandchild', 'reporter', 'of-child'), /password authentication failed/);
      await ok(['branch', 'sleep', 'child']);
      await ok(['down']);
      await ok(['up', '--detach']);
      assert.equal(JSON.parse(await ok(['branch', 'get', 'child', '-o', 'json'])).state, 'asleep');
      for (const branch of ['main', 'child']) await ok(['branch', 'wait', branch]);
      assert.equal(await as('main', 'reporter', 'of-main'), 'reporter');
      assert.equal(await as('child', 'reporter', 'of-child'), 'reporter');
      await ok(['branch', 'delete', 'grandchild']);
      await ok(['branch', 'delete', 'child']);
    },
  );

  await t.test(
    'a plugin as script does not take a branch that is somebody else’s, nor delete it',
    async () => {
      const script = readFileSync(join(example, 'signadot', 'xata-branch-plugin.yaml'), 'utf8');
      await ok(['resourceplugin', 'delete', 'xata-branch']);
      await ok(['resourceplugin', 'apply', '-f', '-'], script);
      await ok(['branch', 'create', 'sb-mine']);
      const applied = await cli(['sandbox', 'apply', '-f', '-'], { input: sandboxDocument('mine') });
      assert.equal(applied.code, 1);
      assert.match(applied.stderr, /branch "sb-mine" already exists in project "default"/);
      await ok(['sandbox', 'delete', 'mine']);
      assert.match(await ok(['branch', 'list']), /sb-mine/);
      await ok(['branch', 'delete', 'sb-mine']);
    },
  );

  await t.test('settings of a project hold in all its branches, those of a branch before them', async () => {
    await ok(['branch', 'create', 'tuned']);
    const wrong = await cli(['project', 'settings', 'default', 'fsync=off', 'work_mem=lots']);
    assert.equal(wrong.code, 2);
    assert.match(wrong.stderr, /fsync cannot be set for a server; work_mem is a size/);
    const now = async (branch: string, name: string) =>
      (await ok(['sql', branch, '-o', 'csv', '-c', `show ${name}`])).split('\n')[1];
    const listed = await ok(['project', 'extensions', 'default']);
    assert.match(listed, /^pg_trgm +[\d.]+ +- +yes /m);
    assert.match(listed, /^file_fdw +[\d.]+ +- +no /m);
    const id = await now('tuned', 'offshoot.branch');
    await ok([
      'project',
      'settings',
      'default',
      'max_connections=60',
      'shared_preload_libraries=auto_explain',
    ]);
    await ok([
      'branch',
      'settings',
      'tuned',
      'max_connections=70',
      'TimeZone=Asia/Tokyo',
      'wal_level=logical',
    ]);
    for (const [branch, connections, zone] of [
      ['main', '60', undefined],
      ['tuned', '70', 'Asia/Tokyo'],
    ] as const) {
      await until(async () => ((await now(branch, 'max_connections')) === connections ? true : undefined), {
        what: `${branch} has its settings`,
        deadlineMs: 60_000,
      });
      assert.equal(await now(branch, 'shared_preload_libraries'), '"pg_stat_statements,auto_explain"');
      if (zone !== undefined) assert.equal(await now(branch, 'TimeZone'), zone);
    }
    assert.equal(await now('tuned', 'offshoot.branch'), id);
    const slot = "select slot_name from pg_create_logical_replication_slot('mine', 'test_decoding')";
    assert.match(await ok(['sql', 'tuned', '-o', 'csv', '-c', slot]), /mine/);
    assert.match(await ok(['branch', 'settings', 'tuned']), /^TimeZone = Asia\/Tokyo$/m);
    // What grows from it has those of the project, and those that are given up are ours again.
    await ok(['branch', 'create', 'plain', '--parent', 'tuned']);
    assert.equal(await now('plain', 'max_connections'), '60');
    await ok(['project', 'settings', 'default', 'max_connections=', 'shared_preload_libraries=']);
    await until(async () => ((await now('main', 'max_connections')) === '100' ? true : undefined), {
      what: 'main has its settings again',
      deadlineMs: 60_000,
    });
    for (const branch of ['plain', 'tuned']) await ok(['branch', 'delete', branch]);
  });

  await t.test(
    'a password that the application has set itself is told, and does not lock its owner out',
    async () => {
      await ok(['branch', 'create', 'own-word']);
      const before = await daemon.cli(['branch', 'url', 'own-word']);
      assert.equal(before.stderr, '');
      await ok(['sql', 'own-word', '-c', "ALTER ROLE app PASSWORD 'my own'"]);
      const refused = await daemon.cli(['sql', 'own-word', '-c', 'SELECT 1']);
      assert.equal(refused.code, 1);
      assert.match(
        refused.stderr,
        /^warning: somebody has set another password by SQL.*\nerror: .*password authentication failed/,
      );
      const told = await daemon.cli(['branch', 'url', 'own-word']);
      assert.equal(told.stdout, before.stdout);
      assert.match(
        told.stderr,
        /^warning: somebody has set another password by SQL.*"offshoot branch restart own-word"/,
      );
      assert.doesNotMatch(
        (await daemon.cli(['branch', 'url', 'own-word', '--role', 'other'])).stderr,
        /warning/,
      );
      await ok(['branch', 'restart', 'own-word']);
      assert.equal(await ok(['branch', 'url', 'own-word']), before.stdout.trim());
      await ok(['sql', 'own-word', '-c', 'SELECT 1']);
      await ok(['branch', 'delete', 'own-word']);
    },
  );

  await t.test('what a server does is told, without what was secret in it', async () => {
    await ok(['branch', 'create', 'busy']);
    const url = await ok(['branch', 'url', 'busy']);
    await using session = await heldOpen(url, "SELECT pg_sleep(600), 'under way'");
    await ok(['sql', 'busy', '-c', 'SELECT count(*) FROM generate_series(1, 1000) WHERE 7 = 7']);
    await ok(['sql', 'busy', '-c', "CREATE ROLE known LOGIN PASSWORD 'of-nobody'"]);
    const { insight, ...branch } = await daemon.client.branches.insight('default', 'busy');
    assert.equal(branch.state, 'ready');
    assert.equal(insight!.sessions.open, 1);
    assert.equal(insight!.sessions.active, 1);
    assert.deepEqual(
      insight!.running.map(({ pid, role, text }) => [pid, role, text]),
      [[session.pid, 'app', "SELECT pg_sleep(600), 'under way'"]],
    );
    const counted = insight!.statements!.find(({ text }) => text.includes('generate_series'))!;
    assert.deepEqual([counted.calls, counted.rows], [1, 1]);
    assert.match(counted.text, /WHERE \$3 = \$4/, 'constants are left out');
    assert.ok(!JSON.stringify(insight).includes('of-nobody'));
    assert.ok(insight!.transactions.committed > 0 && insight!.databaseBytes > 2 ** 20);

    const shown = await ok(['branch', 'top', 'busy']);
    assert.match(shown, /^busy: ready, [\d.]+ MiB, [\d.]+ [KM]iB of its own\nsessions +1 of 100: 1 active/);
    assert.match(shown, /\nrunning:\n +\d+ app .*pg_sleep\(600\)/);
    // A child has done nothing yet.
    await ok(['branch', 'create', 'idle', '--parent', 'busy']);
    const idle = (await daemon.client.branches.insight('default', 'idle')).insight!;
    assert.ok(!idle.statements!.some(({ text }) => text.includes('generate_series')));
    await ok(['branch', 'delete', 'busy', '--recursive', '--now']);
  });

  await t.test('names of git branches work in every command', async () => {
    const name = "feature/it's-Login_2#é";
    await ok(['branch', 'create', name]);
    await ok(['branch', 'create', 'feature/it', '--parent', name]);
    assert.ok((await ok(['branch', 'tree'])).includes(`   └─ ${name}\n      └─ feature/it`));
    const asked = "select current_setting('offshoot.branch_name') as name";
    assert.equal(JSON.parse(await ok(['sql', name, '-o', 'json', '-c', asked])).rows[0].name, name);
    const [result] = await runSql(await ok(['branch', 'url', name]), asked, AbortSignal.timeout(60_000));
    assert.equal(result!.rows[0]![0], name);
    const url = await ok(['branch', 'url', 'feature/it']);
    await ok(['branch', 'rename', 'feature/it', 'feature/Login-2']);
    assert.equal(await ok(['branch', 'url', 'feature/Login-2']), url);
    assert.ok(JSON.parse(await ok(['branch', 'ttl', name, '2h', '-o', 'json'])).scheduledDeleteTime);
    assert.match(await ok(['branch', 'list']), / (2h|120m|119m)$/m);
    await ok(['branch', 'delete', 'feature/Login-2']);
    await ok(['branch', 'delete', name]);
    assert.doesNotMatch(await ok(['branch', 'list']), /feature/);
  });

  await t.test('a branch is reset to what an ancestor holds, and its address goes on', async () => {
    const sql = async (branch: string, text: string) => {
      const url = await ok(['branch', 'url', branch]);
      return (await runSql(url, text, AbortSignal.timeout(10_000)))[0]?.rows[0]?.[0];
    };
    const words = (branch: string) => sql(branch, "select string_agg(word, ' ') from words");
    await sql('main', "create table words (word text); insert into words values ('first')");
    await ok(['branch', 'create', 'work']);
    await ok(['branch', 'create', 'deep', '--parent', 'work']);
    await sql('main', "insert into words values ('second')");
    const url = await ok(['branch', 'url', 'work']);
    const client = new Client({ connectionString: url });
    client.on('error', () => {}); // how it hears of the end
    const ended = new Promise<void>(resolve => void client.once('end', resolve));
    await client.connect();
    await client.query("insert into words values ('lost')");

    const sizes = /^logical {2}\d+ MiB, \d+ MiB of it shared with its parent$/m;
    assert.match(await ok(['branch', 'get', 'deep']), sizes);
    const refused = await cli(['branch', 'reset', 'work']);
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /branch "work" has children: deep\nhint: repeat with --force/);
    await ok(['branch', 'reset', 'work', '--force']);
    await ended;
    assert.equal(await words('work'), 'first second');
    assert.equal(await words('deep'), 'first');
    assert.equal(await ok(['branch', 'url', 'work']), url);

    await ok(['branch', 'protect', 'deep']);
    assert.match(
      (await cli(['branch', 'reset', 'deep'])).stderr,
      /branch "deep" is protected\nhint: end that/,
    );
    await ok(['branch', 'unprotect', 'deep']);
    await ok(['branch', 'reset', 'deep', '--to', 'main']);
    assert.equal(await words('deep'), 'first second');
    await ok(['branch', 'delete', 'work', '--recursive']);
    await sql('main', 'drop table words');
  });

  await t.test('a branch holds again what it held at a moment, and its address goes on', async () => {
    const url = await ok(['branch', 'url', 'main']);
    const sql = async (text: string, at = url) =>
      (await runSql(at, text, AbortSignal.timeout(10_000)))[0]?.rows[0]?.[0];
    const words = (at?: string) => sql("select string_agg(word, ' ' order by n) from words", at);
    assert.match(await ok(['branch', 'history', 'main']), /branch main keeps no history/);
    await sql("create table words (n serial, word text); insert into words (word) values ('first')");
    await ok(['branch', 'history', 'main', '--keep', '24h']);
    await sql("insert into words (word) values ('second')");
    const moment = String(await sql('select to_json(clock_timestamp())')).replaceAll('"', '');
    await sql('update words set word = upper(word)');
    await ok(['branch', 'create', 'before', '--at', moment]);
    assert.equal(await words(await ok(['branch', 'url', 'before'])), 'first second');
    assert.match(await ok(['branch', 'get', 'before']), /^holds {4}what was held at 20/m);
    const late = await cli(['branch', 'create', 'early', '--at', '2020-01-01T00:00:00Z']);
    assert.match(
      late.stderr,
      /is not known; it is known from 20\S+ to now\nhint: see "offshoot branch history/,
    );
    await ok(['branch', 'delete', 'before', '--now']);
    await ok(['branch', 'restore', 'main', '--at', moment]);
    assert.equal(await words(), 'first second');
    assert.match(await ok(['branch', 'history', 'main']), /^reachable {2}\S+ to 20/m);
    await ok(['branch', 'history', 'main', '--off']);
    await sql('drop table words');
  });

  await t.test('a branch that nobody uses sleeps, and whoever comes sees a slow login at most', async () => {
    const state = async (branch: string) =>
      JSON.parse(await ok(['branch', 'get', branch, '-o', 'json'])).state as string;
    const asleep = (branch: string) =>
      until(async () => (await state(branch)) === 'asleep' || undefined, {
        ...{ what: `${branch} sleeps`, deadlineMs: 60_000, intervalMs: 50 },
      });
    await ok(['branch', 'create', 'drowsy', '--sleep-after', '100ms']);
    await asleep('drowsy');
    assert.match(await ok(['branch', 'list']), /drowsy .* asleep \d+\w /);
    assert.equal(
      await ok(['branch', 'wait', 'drowsy']),
      'drowsy is asleep, and wakes when somebody connects',
    );
    const url = await ok(['branch', 'url', 'drowsy']);
    const id = new URL(url).username.split('.')[1]!;
    const processes = () => daemon.labelled(`postgres/${id}`);
    assert.deepEqual(await processes(), []);
    await ok(['branch', 'create', 'woken', '--parent', 'drowsy', '--sleep-after', 'never']);
    assert.equal(await state('drowsy'), 'asleep');

    const clients = Array.from({ length: 16 }, () => new Client({ connectionString: url }));
    const ended = clients.map(
      client =>
        new Promise<string | undefined>(resolve =>
          client.on('error', error => resolve((error as { code?: string }).code)),
        ),
    );
    await Promise.all(clients.map(client => client.connect()));
    await Promise.all(clients.map(client => client.query('create temp table t (i int)')));
    assert.equal((await processes()).length > 0, true);
    await until(async () => (await state('drowsy')) === 'ready' || undefined, {
      ...{ what: 'drowsy is awake', deadlineMs: 60_000, intervalMs: 50 },
    });
    const refused = await cli(['branch', 'sleep', 'drowsy']);
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /branch "drowsy" stays awake: (16 )?sessions are open\nhint: .* --force/);
    await Promise.all(clients.map(client => client.query('select * from t')));
    await ok(['branch', 'sleep', 'drowsy', '--force']);
    assert.deepEqual([...new Set(await Promise.all(ended))], ['57P01']);
    assert.equal(await state('drowsy'), 'asleep');
    assert.deepEqual(await processes(), []);

    await ok(['branch', 'sleep-after', 'drowsy', 'never']);
    const { preview } = await daemon.client.status();
    const answer = await fetch(`http://127.0.0.1:${preview.port}/sql`, {
      method: 'POST',
      headers: { 'Neon-Connection-String': url },
      body: JSON.stringify({ query: 'select 1 as one', params: [] }),
    });
    assert.deepEqual(((await answer.json()) as { rows: unknown }).rows, [{ one: 1 }]);
    await ok(['branch', 'sleep', 'drowsy']);
    const soon = () => AbortSignal.timeout(60_000);
    const port = await ownPort('drowsy');
    const own = new URL(await ok(['branch', 'url', 'drowsy', '--own-port']));
    assert.deepEqual([own.username, own.port], ['app', String(port)]);
    assert.equal(await state('drowsy'), 'asleep');
    const [woken] = await runSql(own.href, `select current_setting('offshoot.branch')`, soon());
    assert.deepEqual(woken!.rows, [[id]]);
    assert.match(await ok(['branch', 'get', 'drowsy']), new RegExp(`^port     ${port}$`, 'm'));
    own.username = new URL(await ok(['branch', 'url', 'main'])).username;
    await assert.rejects(runSql(own.href, 'select 1', soon()), /password authentication failed/);
    const again = await cli(['branch', 'port', 'main', String(port)]);
    assert.match(
      again.stderr,
      new RegExp(`port ${port} cannot be had: branch drowsy of project default has it`),
    );
    await ok(['branch', 'port', 'drowsy', 'none']);
    assert.match(
      (await cli(['branch', 'url', 'drowsy', '--own-port'])).stderr,
      /has no port of its own/,
      'branch/no-port',
    );
    await ok(['branch', 'sleep', 'drowsy', '--force']);
    await ok(['branch', 'wake', 'drowsy']);
    assert.equal(await state('drowsy'), 'ready');
    await ok(['branch', 'silent-after', 'drowsy', '50ms']);
    await ok(['branch', 'sleep-after', 'drowsy', '100ms']);
    const silent = new Client({ connectionString: url });
    await silent.connect();
    await silent.query('select 1');
    await asleep('drowsy');
    assert.deepEqual((await silent.query('select 2 as two')).rows, [{ two: 2 }]);
    await silent.end();
    await ok(['branch', 'delete', 'drowsy', '--recursive']);
  });

  await t.test("a sandbox's branch keeps its password, for the fork has it", async () => {
    await ok(['sandbox', 'apply', '-f', '-'], sandboxDocument('pr'));
    const refused = await cli(['branch', 'rotate-password', 'sb-pr']);
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /branch "sb-pr" belongs to sandbox pr/);
    await ok(['sandbox', 'delete', 'pr']);
  });
});

/** A session in which `sql` is under way. */
async function heldOpen(url: string, sql: string): Promise<AsyncDisposable & { readonly pid: number }> {
  const client = new Client(url);
  client.on('error', () => {}); // it ends with its server
  await client.connect();
  const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
  client.query(sql).catch(() => {});
  return { pid: rows[0]!.pid, [Symbol.asyncDispose]: () => client.end() };
}
