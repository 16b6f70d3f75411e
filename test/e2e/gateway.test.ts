/** A gateway in a process of its own, which follows the daemon over TLS and goes on without it. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Client } from 'pg';
import { http } from '../../scripts/demo/http.ts';
import { until } from '../../src/lib/wait.ts';
import type { SandboxView } from '../../src/model/view.ts';
import { deployBaseline, sandboxDocument } from '../support/baseline.ts';
import { root, testDaemon } from '../support/daemon.ts';
import { ask } from '../support/http.ts';
import { runSql } from '../support/run-sql.ts';

const soon = (what: string) => ({ what, deadlineMs: 60_000 });

test('a gateway apart: branches and previews by it, also when the daemon was killed', async t => {
  await using daemon = await testDaemon({ env: { OFFSHOOT_FEED_PORT: '0' } });
  const { cli } = daemon;
  const ok = async (args: readonly string[], input?: string) => {
    const { code, stdout, stderr } = await cli(args, input === undefined ? {} : { input });
    assert.equal(code, 0, `${args.join(' ')}: ${stderr}`);
    return stdout;
  };
  const { feed } = await daemon.client.status();
  assert.ok(feed);
  const home = join(daemon.home, 'gateway');
  mkdirSync(home);
  const identity = join(home, 'gateway.pem');
  writeFileSync(identity, await ok(['identity', 'gateway']), { mode: 0o600 });
  const gateway = spawn(
    process.execPath,
    [
      join(root, 'src/cli/main.ts'),
      ...['gateway', '--controller', `127.0.0.1:${feed.port}`, '--identity', identity],
    ],
    {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...daemon.env, OFFSHOOT_HOME: home, OFFSHOOT_HTTP_PORT: '0', OFFSHOOT_POSTGRES_PORT: '0' },
    },
  );
  let log = '';
  gateway.stderr.on('data', chunk => {
    log += chunk;
  });
  t.after(() => void gateway.kill('SIGKILL'));
  const portOf = (name: string) =>
    until(() => new RegExp(`"name":"${name}","host":"[^"]*","port":(\\d+)`).exec(log)?.[1], soon(name)).catch(
      error => assert.fail(`${error}: ${log}`),
    );
  const [previews, postgres] = [await portOf('previews'), await portOf('postgres')];
  const { key } = await deployBaseline(cli);
  const made = await ok(['sandbox', 'apply', '-f', '-', '-o', 'json'], sandboxDocument('pr-1'));
  const { endpoints } = JSON.parse(made) as SandboxView;
  const url = new URL(endpoints[0]!.url);
  url.port = previews;
  const branch = new URL((await ok(['branch', 'url', 'sb-pr-1'])).trim());
  branch.port = postgres;
  const both = async () => {
    const preview = await http(`${url.href}users`, { headers: { 'signadot-api-key': key } });
    assert.equal(preview.status, 200, preview.body);
    await runSql(branch.href, 'select 1', AbortSignal.timeout(60_000));
    const asked = await http(`http://127.0.0.1:${previews}/sql`, {
      ...{ method: 'POST', body: { query: 'select 1 as one' } },
      headers: { 'neon-connection-string': branch.href },
    });
    assert.deepEqual([asked.status, (asked.json() as { rows: unknown }).rows], [200, [{ one: 1 }]]);
  };
  // Whoever does not follow within moments, on a busy machine, is not waited for by those who apply.
  await until(
    async () => (await daemon.client.status()).feed?.followers[0]?.upToDate || undefined,
    soon('the gateway has been told'),
  );
  await both();
  assert.equal((await http(`${url.href}users`)).status, 401);
  // A person comes in by each of the gateways: by the key at this one, by a link at the daemon's own.
  const typed = await ask(
    { host: '127.0.0.1', port: Number(previews) },
    {
      ...{ method: 'POST', path: '/.offshoot/key', headers: { host: url.host, origin: url.origin } },
      body: new URLSearchParams({ key, to: '/users' }).toString(),
    },
  );
  assert.equal(typed.status, 303, typed.body);
  const link = new URL((await ok(['open', 'pr-1', '--path', '/users', '--print'])).trim());
  assert.equal(link.host, new URL(endpoints[0]!.url).host);
  const linked = await http(link.href);
  assert.deepEqual([linked.status, linked.headers.location], [303, '/users'], linked.body);
  assert.equal((await http(link.href)).status, 401, 'a second time');
  const cookies = [typed, linked].map(({ headers }) => headers['set-cookie']![0]!.split(';')[0]!);
  const visit = async (cookie: string) => (await http(`${url.href}users`, { headers: { cookie } })).status;
  const visits = () => Promise.all(cookies.map(visit));
  await until(async () => (await visits()).every(status => status === 200) || undefined, soon('both open'));
  const { feed: now } = await daemon.client.status();
  assert.deepEqual(
    now?.followers.map(({ destination, upToDate }) => [destination, upToDate]),
    [['gateway', true]],
  );
  await ok(['branch', 'create', 'drowsy']);
  const drowsy = new URL((await ok(['branch', 'url', 'drowsy'])).trim());
  await ok(['branch', 'sleep', 'drowsy']);
  await daemon.kill9();
  await until(() => log.includes('there is no daemon') || undefined, soon('it notices'));
  await both();
  assert.deepEqual(await visits(), [200, 200]);
  for (const port of [drowsy.port, postgres]) {
    const client = new Client({ connectionString: Object.assign(new URL(drowsy), { port }).href });
    const refused = client.connect();
    await assert.rejects(refused, {
      code: '57P03',
      message: /the daemon that could start it is not running/,
    });
  }
  // SQL over HTTP has a password in clear: also what is refused, or fails, says it nowhere.
  const wrong = new URL(branch);
  wrong.password = 'a-password-that-is-not-it';
  const lost = new URL(branch);
  lost.pathname = '/no-such-database';
  for (const [to, query] of [
    [wrong, 'select 1'],
    [lost, 'select 1'],
    [branch, 'select * from no_such_table'],
  ] as const)
    for (const at of [Number(previews), Number(url.port)]) {
      const answer = await http(`http://127.0.0.1:${at}/sql`, {
        ...{ method: 'POST', body: { query } },
        headers: { 'neon-connection-string': to.href },
      });
      assert.ok(answer.status >= 400 && !answer.body.includes(to.password), answer.body);
    }
  // Nothing of the other one's files is needed, and nothing of them is known.
  const table = readFileSync(join(home, 'proxy', 'table.jsonl'), 'utf8');
  assert.doesNotMatch(table, /server\.pem/);
  // Those of daemon, proxy and servers.
  const logs = readdirSync(daemon.home, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile() && /(^|[/.])logs?($|[/.])/.test(join(entry.parentPath, entry.name)))
    .map(entry => join(entry.parentPath, entry.name));
  for (const part of ['daemon', 'proxy', 'postgres'])
    assert.ok(
      logs.some(path => path.includes(part)),
      `${logs}`,
    );
  for (const secret of [
    ...cookies.map(cookie => cookie.split('=')[1]!),
    link.searchParams.get('token')!,
    key,
    branch.password,
    wrong.password,
  ]) {
    assert.ok(!table.includes(secret) && !log.includes(secret));
    assert.deepEqual(
      logs.filter(path => readFileSync(path).includes(secret)),
      [],
    );
  }
  gateway.kill('SIGTERM');
  await until(() => gateway.exitCode ?? undefined, soon('its end'));
});
