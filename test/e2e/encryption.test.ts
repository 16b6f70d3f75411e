/** TLS as people use it: real clients at a real daemon, by certificates that it makes and by such as it is given. */
import assert from 'node:assert/strict';
import { chmodSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import pg from 'pg';
import postgres from 'postgres';
import { exec } from '../../src/lib/exec.ts';
import { findProgram } from '../../src/lib/find-program.ts';
import { until } from '../../src/lib/wait.ts';
import { issueServer } from '../../src/lib/x509.ts';
import { authority, validity, writeServer } from '../support/certificates.ts';
import { runCli } from '../support/cli.ts';
import { testDaemon } from '../support/daemon.ts';
import { cancelRequest, int32 } from '../support/pg-frames.ts';
import { dial } from '../support/raw-client.ts';
import { tempDir } from '../support/temp.ts';

test('PostgreSQL by TLS, with certificates of our own authority', async t => {
  await using daemon = await testDaemon();
  const ok = async (args: readonly string[]) => {
    const { code, stdout, stderr } = await daemon.cli(args);
    assert.equal(code, 0, `${args.join(' ')}: ${stderr}`);
    return stdout.trim();
  };
  const ca = await ok(['ca']);
  const caFile = join(daemon.home, 'trusted.pem');
  writeFileSync(caFile, `${ca}\n`);
  const plain = await ok(['branch', 'url', 'main']);
  const strict = await ok(['branch', 'url', 'main', '--sslmode', 'verify-full', '--sslrootcert', caFile]);
  const { hostname, port, username, password } = new URL(plain);
  const id = username.split('.')[1]!;
  const one = async (config: pg.ClientConfig) => {
    const client = new pg.Client(config);
    await client.connect();
    try {
      return (await client.query('select current_user as me')).rows[0].me;
    } finally {
      await client.end();
    }
  };

  await t.test('node-postgres', async () => {
    assert.equal(new URL(plain).search, '', 'on this machine nobody has to');
    assert.equal(await one({ connectionString: plain }), 'app');
    assert.equal(await one({ connectionString: strict }), 'app');
    assert.equal(await one({ connectionString: plain, ssl: { ca } }), 'app');
    await assert.rejects(one({ connectionString: `${plain}?sslmode=verify-full` }), /certificate/);
  });

  await t.test('postgres.js, with a request and without one; a branch by its host name', async () => {
    const base = { host: hostname, port: Number(port), password, database: 'app', max: 1 };
    for (const options of [
      { username, ssl: { ca } },
      { username, ssl: { ca }, sslnegotiation: 'direct' as const },
      { username: 'app', ssl: { ca, servername: `${id}.localhost`, checkServerIdentity: () => undefined } },
      { username: 'app', database: `app@${id}`, ssl: { ca } },
    ]) {
      const sql = postgres({ ...base, ...options });
      assert.deepEqual(
        [...(await sql`select current_user as me, current_database() as db`)],
        [{ me: 'app', db: 'app' }],
      );
      await sql.end();
    }
  });

  await t.test('psql and pg_dump', async t => {
    const [psql, dump] = await Promise.all(
      ['psql', 'pg_dump'].map(name => findProgram(name, process.env.PATH ?? '', '/')),
    );
    if (psql === undefined || dump === undefined) return t.skip('psql and pg_dump are not installed here');
    const signal = AbortSignal.timeout(60_000);
    const ask = (url: string) => exec(psql, ['-XAtc', 'select current_user', url], { signal });
    for (const url of [
      `${plain}?sslmode=require`,
      `${plain}?sslmode=disable`,
      strict,
      strict.replace('full', 'ca'),
    ])
      assert.equal((await ask(url)).stdout.trim(), 'app');
    const byName = `host=${id}.localhost hostaddr=127.0.0.1 port=${port} user=app password=${password} dbname=app`;
    assert.equal((await ask(`${byName} sslmode=verify-full sslrootcert=${caFile}`)).stdout.trim(), 'app');
    const { stdout } = await exec(dump, ['--version'], { signal });
    if (Number(/\d+/.exec(stdout)?.[0]) < 18) return t.diagnostic('pg_dump is older than the server');
    assert.match((await exec(dump, [strict], { signal })).stdout, /PostgreSQL database dump complete/);
  });

  await t.test('a session by TLS outlives daemon and proxy', async () => {
    const client = new pg.Client({ connectionString: strict });
    await client.connect();
    const pid = async () => (await client.query('select pg_backend_pid() as pid')).rows[0].pid;
    const before = await pid();
    await ok(['up', '--detach', '--replace']);
    await until(async () => (await daemon.client.status()).proxies.length === 2 || undefined, {
      ...{ what: 'a new proxy listens beside the old one', deadlineMs: 60_000 },
    });
    assert.equal(await pid(), before);
    assert.equal(await one({ connectionString: strict }), 'app', 'by the new one, with the same authority');
    const sleeping = assert.rejects(client.query('select pg_sleep(60)'), { code: '57014' });
    await until(
      async () => {
        const running = await ok([
          'sql',
          'main',
          '-o',
          'json',
          '-c',
          `select 1 from pg_stat_activity where pid = ${before} and wait_event = 'PgSleep'`,
        ]);
        return running.includes('1') || undefined;
      },
      { what: 'it sleeps', deadlineMs: 60_000 },
    );
    const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
    await using cancel = await dial({ host: hostname, port: Number(port) });
    cancel.send(cancelRequest(processID, int32(secretKey)));
    await sleeping;
    await client.end();
  });
});

test('API, previews and PostgreSQL by a certificate that was given, beyond this machine', async () => {
  await using dir = await tempDir();
  const files = writeServer(dir.path, ['localhost', '*.preview.localhost', '127.0.0.1']);
  await using daemon = await testDaemon({
    start: false,
    env: {
      ...{ OFFSHOOT_HOST: '0.0.0.0', OFFSHOOT_ADVERTISE: 'localhost' },
      ...{ OFFSHOOT_TLS_CERT: files.cert, OFFSHOOT_TLS_KEY: files.key },
    },
  });
  chmodSync(files.key, 0o640);
  const refused = await daemon.cli(['up', '--detach']);
  assert.equal(refused.code, 2);
  assert.match(refused.stderr, /key\.pem cannot be used for TLS: others may read this key/);
  chmodSync(files.key, 0o600);
  assert.equal((await daemon.cli(['up', '--detach'])).code, 0);
  const { api, preview, postgres: gateway } = await daemon.client.status();
  assert.deepEqual(
    [api.host, api.scheme, preview.scheme, gateway.host],
    ['localhost', 'https', 'https', 'localhost'],
  );

  const key = JSON.parse((await daemon.cli(['key', 'create', 'me', '-o', 'json'])).stdout).key as string;
  const caFile = join(dir.path, 'ca.pem');
  writeFileSync(caFile, authority.certificate);
  const env = { OFFSHOOT_API_URL: `https://localhost:${api.port}`, OFFSHOOT_API_KEY: key };
  const trusting = await runCli(['status'], { env: { ...env, OFFSHOOT_API_CA: caFile } });
  assert.deepEqual([trusting.code, trusting.stderr], [0, '']);
  assert.match(trusting.stdout, /API +https:\/\/localhost:\d+/);
  const doubting = await runCli(['status'], { env });
  assert.match(doubting.stderr, /the certificate of https:\/\/localhost:\d+ is not trusted/);
  const missing = await runCli(['status'], { env: { ...env, OFFSHOOT_API_CA: '/no/file' } });
  assert.match(missing.stderr, /OFFSHOOT_API_CA=\/no\/file is not valid: it cannot be read \(ENOENT\)/);
  const none = await daemon.cli(['ca']);
  assert.equal(none.code, 3);
  assert.match(none.stderr, /there is no authority of our own/);
  assert.match((await daemon.cli(['doctor'])).stdout, /✓ tls +certificate: .*cert\.pem; until/);

  const serialAt = (port: number) =>
    new Promise<string>((resolve, reject) => {
      const socket = connectTls({
        host: '127.0.0.1',
        port,
        servername: 'localhost',
        ca: authority.certificate,
      });
      socket.on('error', reject);
      socket.once('secureConnect', () => {
        resolve(socket.getPeerX509Certificate()!.serialNumber);
        socket.destroy();
      });
    });
  const before = await serialAt(api.port);
  assert.equal(await serialAt(preview.port), before);
  const renewed = issueServer(authority, ['localhost', '127.0.0.1'], validity());
  writeFileSync(`${files.key}.new`, renewed.key, { mode: 0o600 });
  renameSync(`${files.key}.new`, files.key);
  writeFileSync(files.cert, renewed.certificate);
  for (const port of [api.port, preview.port])
    await until(async () => (await serialAt(port)) !== before || undefined, {
      ...{ what: 'the new certificate is served', deadlineMs: 60_000 },
    });
  const url = (
    await daemon.cli(['branch', 'url', 'main', '--sslmode', 'verify-full', '--sslrootcert', caFile])
  ).stdout;
  const client = new pg.Client({ connectionString: url.trim() });
  await client.connect();
  await client.end();
  const logs = await daemon.cli(['events']);
  assert.ok(!logs.stdout.includes('PRIVATE'));
});
