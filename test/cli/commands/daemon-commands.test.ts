/** Commands that need a real daemon: databases, workloads, and waiting for them. */

import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import pg from 'pg';
import { until } from '../../../src/lib/wait.ts';
import type { ErrorBody } from '../../../src/model/errors.ts';
import type { BranchView, CheckView, ManifestView } from '../../../src/model/view.ts';
import { type FakeCliOptions, runCli } from '../../support/cli.ts';
import { testDaemon } from '../../support/daemon.ts';
import { runSql } from '../../support/run-sql.ts';

test('commands on a daemon', async t => {
  await using daemon = await testDaemon();
  const cwd = join(daemon.home, 'work');
  await mkdir(cwd);
  const any = (args: readonly string[], options: FakeCliOptions = {}) =>
    runCli(args, { env: daemon.env, cwd, ...options });
  const run = async (args: readonly string[], options?: FakeCliOptions) => {
    const ran = await any(args, options);
    assert.equal(ran.code, 0, `${args.join(' ')}: ${ran.stderr}`);
    return ran;
  };

  await t.test('init links the folder, and makes the project when there is none', async () => {
    const found = await run(['init', '-o', 'json']);
    assert.match(found.stderr, /^found project default; this folder now works with its branch main/);
    assert.deepEqual(JSON.parse(found.stdout), { project: 'default', branch: 'main', created: false });
    const made = await run(['init', 'shop', '--database', 'store']);
    assert.match(made.stderr, /^made project shop;/);
    assert.deepEqual(JSON.parse(await readFile(join(cwd, '.offshoot', 'link.json'), 'utf8')), {
      project: 'shop',
      branch: 'main',
    });
    assert.equal((await run(['sql', '-c', 'select current_database()'])).stdout.split('\n')[1], 'store');
    assert.equal(
      (await run(['sql', '-p', 'default', '-c', 'select current_database()'])).stdout.split('\n')[1],
      'app',
    );
    await run(['init']);
  });

  await t.test('project create and delete', async () => {
    assert.equal((await run(['project', 'create', 'blog'])).stderr, 'made project blog with branch main\n');
    assert.match((await any(['project', 'create', 'blog'])).stderr, /project "blog" already exists/);
    assert.match(
      (await any(['project', 'delete', 'blog'])).stderr,
      /^error: deleting project blog needs a yes, .*\nhint: repeat with --yes\n$/,
    );
    assert.match(
      (await run(['project', 'delete', 'blog', '--yes'])).stderr,
      /^project blog is in the trash for 24h; "offshoot trash restore blog~\w{6}" brings it back\n$/,
    );
    assert.doesNotMatch((await run(['project', 'list'])).stdout, /blog/);
    assert.equal((await any(['project', 'delete', 'blog', '--yes'])).code, 3);
    assert.equal((await run(['trash', 'restore', 'blog'])).stderr, 'project blog is back\n');
    assert.equal(
      (await run(['project', 'delete', 'blog', '--now', '--yes'])).stderr,
      'project blog is gone\n',
    );
  });

  await t.test('sql: several statements, from an argument, a file and standard input', async () => {
    const make = 'create table t (id int primary key, name text); insert into t values (1, $$a$$), (2, null)';
    assert.equal((await run(['sql', '-c', make])).stdout, 'CREATE TABLE\nINSERT 0 2\n');
    const rows = 'id  name\n1   a\n2\n(2 rows)\n';
    assert.equal((await run(['sql', '-c', 'select * from t'])).stdout, rows);
    await writeFile(join(cwd, 'q.sql'), 'select * from t;\n');
    assert.equal((await run(['sql', '-f', 'q.sql'])).stdout, rows);
    assert.equal((await run(['sql'], { input: 'select * from t' })).stdout, rows);
    assert.equal((await run(['sql', '-f', '-'], { input: 'select 1 as one' })).stdout, 'one\n1\n(1 row)\n');
    assert.equal((await run(['sql', '-c', ''])).stdout, '');
  });

  await t.test('sql: objects', async () => {
    const one = JSON.parse((await run(['sql', '-c', 'select 1 as n, null as x', '-o', 'json'])).stdout);
    assert.deepEqual(one, { command: 'SELECT', rowCount: 1, fields: ['n', 'x'], rows: [{ n: 1, x: null }] });
    const two = JSON.parse((await run(['sql', '-c', 'select 1 as n; select 2 as n', '-o', 'json'])).stdout);
    assert.deepEqual(
      two.map((r: { rows: object[] }) => r.rows),
      [[{ n: 1 }], [{ n: 2 }]],
    );
  });

  await t.test('sql: columns of one name, and times as PostgreSQL prints them', async () => {
    const twice = await run(['sql', '-c', 'select 1 as a, 2 as a']);
    assert.equal(twice.stdout, 'a  a\n1  2\n(1 row)\n');
    const times = `select date '2024-01-01' as d, timestamp '2024-01-01 00:00' as t, interval '1 hour' as i,
      bytea '\\x00ff' as b, array[date '2024-01-01'] as a, true as yes, '{"k":1}'::jsonb as j`;
    const { rows } = JSON.parse((await run(['sql', '-c', times, '-o', 'json'])).stdout);
    assert.deepEqual(rows[0], {
      d: '2024-01-01',
      t: '2024-01-01 00:00:00',
      i: '01:00:00',
      b: '\\x00ff',
      a: '{2024-01-01}',
      yes: true,
      j: { k: 1 },
    });
  });

  await t.test('sql: errors, after which nothing of the text is kept', async () => {
    const bad = await any(['sql', '-c', 'insert into t values (3, $$c$$); selct 1']);
    assert.deepEqual([bad.code, bad.stdout], [1, '']);
    assert.match(
      bad.stderr,
      /^error: PostgreSQL says: syntax error at or near "selct" \(SQLSTATE 42601\), at character/,
    );
    const asObject = await any(['sql', '-c', 'selct 1', '-o', 'json']);
    assert.equal((JSON.parse(asObject.stderr) as ErrorBody).code, 'sql/failed');
    const count = await run(['sql', '-c', 'select count(*)::int as n from t', '-o', 'json']);
    assert.deepEqual(JSON.parse(count.stdout).rows, [{ n: 2 }]);
    assert.equal((await any(['sql', 'nix', '-c', 'select 1'])).code, 3);
    assert.equal((await any(['sql', '-f', 'nix.sql'])).code, 2);
  });

  await t.test('sql: Ctrl-C ends a statement that runs', async () => {
    const stop = new AbortController();
    const running = any(['sql', '-c', 'select pg_sleep(60)'], { signal: stop.signal });
    const asleep = `select count(*)::int as n from pg_stat_activity where query like 'select pg_sleep%' and state = 'active'`;
    for (let n = 0; n === 0; ) {
      n = JSON.parse((await run(['sql', '-c', asleep, '-o', 'json'])).stdout).rows[0].n;
    }
    stop.abort(new Error('SIGINT'));
    assert.equal((await running).code, 130);
  });

  await t.test('branch create is ready when it returns, and holds what its parent held', async () => {
    const made = await run(['branch', 'create', 'fix', '-o', 'json']);
    const { name, state, parent } = JSON.parse(made.stdout) as BranchView;
    assert.deepEqual([name, state, parent], ['fix', 'ready', 'main']);
    assert.match(made.stderr, /^branch fix of main is ready \(/);
    await run(['branch', 'checkout', 'fix']);
    await run(['sql', '-c', 'delete from t']);
    const count = async (...branch: string[]) =>
      JSON.parse(
        (await run(['sql', ...branch, '-c', 'select count(*)::int as n from t', '-o', 'json'])).stdout,
      ).rows[0].n;
    assert.deepEqual([await count(), await count('main')], [0, 2]);
    assert.equal((await run(['branch', 'wait'])).stdout, 'fix is ready\n');
    await run(['branch', 'checkout', 'main']);
    assert.match((await run(['branch', 'delete', 'fix'])).stderr, /^branch fix is in the trash for 24h; /);
    assert.equal((await any(['branch', 'get', 'fix'])).code, 3);
    assert.equal((await run(['trash', 'restore', 'fix', '--as', 'fixed'])).stderr, 'branch fixed is back\n');
    // Its server may still be stopping when it comes back; it is started again then.
    const answers = async () =>
      (await any(['sql', 'fixed', '-c', 'select 1'])).code === 0 ? true : undefined;
    await until(answers, { what: 'the branch answers', deadlineMs: 60_000, intervalMs: 100 });
    assert.equal(await count('fixed'), 0);
    assert.equal((await run(['branch', 'delete', 'fixed', '--now'])).stderr, 'branch fixed is gone\n');
  });

  await t.test('branch rotate-password: the new one opens the branch, the old one does not', async () => {
    const url = async () => (await run(['branch', 'url', 'main'])).stdout.trim();
    const session = async () => {
      const client = new pg.Client(await url());
      const state = { client, ended: false };
      client.on('error', () => {});
      client.on('end', () => {
        state.ended = true;
      });
      await client.connect();
      return state;
    };
    const kept = await session();
    await run(['branch', 'rotate-password', 'main', '--keep-sessions']);
    const after = await session();
    assert.equal((await kept.client.query('select 1 as n')).rows[0].n, 1);
    const old = await url();
    await run(['branch', 'rotate-password', 'main']);
    await until(() => (kept.ended && after.ended) || undefined, {
      what: 'sessions of the old passwords end',
      deadlineMs: 60_000,
    });
    const { signal } = new AbortController();
    await until(
      () =>
        runSql(old, 'select 1', signal).then(
          () => undefined,
          () => true,
        ),
      { what: 'the old password is refused', deadlineMs: 60_000 },
    );
    const [result] = await runSql(await url(), 'select 1', signal);
    assert.deepEqual(result!.rows, [[1]]);
  });

  await t.test('deploy waits until all is ready and tells what it is then', async () => {
    const script = `require('node:http').createServer((_, r) => r.end('hello')).listen(process.env.PORT)`;
    await writeFile(
      join(cwd, 'offshoot.yaml'),
      `images:\n  hello: { dir: ., command: [node, -e, ${JSON.stringify(script)}] }\n`,
    );
    const manifests = `
apiVersion: apps/v1
kind: Deployment
metadata: { name: hello, namespace: demo }
spec:
  selector: { matchLabels: { app: hello } }
  template:
    metadata: { labels: { app: hello } }
    spec: { containers: [{ name: hello, image: hello, ports: [{ containerPort: 3000 }] }] }
---
apiVersion: v1
kind: Service
metadata: { name: hello, namespace: demo }
spec: { selector: { app: hello }, ports: [{ port: 80, targetPort: 3000 }] }
`;
    await mkdir(join(cwd, 'k8s'));
    await writeFile(join(cwd, 'k8s', 'hello.yaml'), manifests);
    const deployed = await run(['deploy', '-f', 'k8s', '-o', 'json']);
    assert.match(deployed.stderr, /^deployment\/hello created\nservice\/hello created\n/);
    assert.match(deployed.stderr, /✓ Deployment\/demo\/hello/);
    const views = JSON.parse(deployed.stdout) as (ManifestView & { outcome: string })[];
    assert.deepEqual(
      views.map(v => [v.name, v.ready, v.outcome]),
      [
        ['hello', true, 'created'],
        ['hello', true, 'created'],
      ],
    );
    const url = (await run(['service', 'url', 'hello', '-n', 'demo'])).stdout.trim();
    assert.equal(await (await fetch(url)).text(), 'hello');

    const undeployed = await run(['undeploy', '-f', 'k8s']);
    assert.equal(undeployed.stderr, 'Deployment/demo/hello is gone\nService/demo/hello is gone\n');
    const again = await run(['undeploy', '-f', 'k8s']);
    assert.match(again.stderr, /^deployment\/hello does not exist; nothing to do\n/);
  });

  await t.test('doctor asks the daemon', async () => {
    const checks = JSON.parse((await run(['doctor', '-o', 'json'])).stdout) as CheckView[];
    assert.deepEqual(
      [...new Set(checks.map(c => c.area))],
      ['node', 'tls', 'processes', 'volumes', 'postgres', 'workloads', 'steps', 'network', 'client'],
    );
  });
});
