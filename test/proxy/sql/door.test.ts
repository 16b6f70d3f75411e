/** SQL over HTTP and WebSocket before a real PostgreSQL: by the published driver of Neon as it is, and by hand. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Client, neon, neonConfig, Pool } from '@neondatabase/serverless';
import { silentLog } from '../../../src/lib/log.ts';
import { until } from '../../../src/lib/wait.ts';
import { OffshootError } from '../../../src/model/errors.ts';
import { createBook } from '../../../src/proxy/book.ts';
import { defaultLimits } from '../../../src/proxy/http/limits.ts';
import { openServer } from '../../../src/proxy/http/server.ts';
import type { Server } from '../../../src/proxy/listeners.ts';
import { createGateway, type Gateway } from '../../../src/proxy/postgres/gateway.ts';
import { createSqlDoor } from '../../../src/proxy/sql/door.ts';
import { killServer, type TestBranches, testBranches, testCtx } from '../../support/postgres.ts';

const branch = 'branchone';
const password = 'pa%ss w/rd';

describe('SQL over HTTP', () => {
  let branches: TestBranches;
  let gateway: Gateway;
  let server: Server;
  let serve: (limits?: Parameters<typeof createSqlDoor>[0]['limits']) => ReturnType<typeof openServer>;
  /** Answers at most two at once. */
  let narrow: Server;
  const url = (user = `app.${branch}`, secret = password) =>
    `postgresql://${user}:${encodeURIComponent(secret)}@anywhere.invalid/postgres`;

  before(async () => {
    branches = await testBranches('copy');
    await branches.branch(branch);
    await branches.sql(branch, `create role app login password '${password}'`);
    await branches.sql(branch, 'grant create on schema public to app');
    gateway = createGateway({
      book: createBook(),
      log: silentLog,
      async awake(name) {
        const seen = await branches.servers.observe(name, testCtx());
        if (seen === undefined) throw new OffshootError('gateway/branch-unknown', { branch: name });
        return { endpoint: { socket: seen.socket }, sessions: 1 };
      },
    });
    serve = (limits: Parameters<typeof createSqlDoor>[0]['limits'] = {}) => {
      const door = createSqlDoor({ join: gateway.join, log: silentLog, limits });
      const http2 = () => assert.fail('nobody speaks HTTP/2 here');
      return openServer(
        { host: '127.0.0.1', port: 0 },
        { what: 'previews', limits: defaultLimits, handlers: { http1: door.answer, http2 } },
      );
    };
    server = await serve();
    narrow = await serve({ atOnce: 2, requestBytes: 2_000, answerBytes: 10_000, statementMs: 300 });
    const page = readFileSync(join(import.meta.dirname, '../../../docs/branches.md'), 'utf8');
    const [, settings] = /^```js\n([^`]+)```$/m.exec(page)!;
    new Function('neonConfig', settings!.replaceAll(':7480', `:${server.port}`))(neonConfig);
  });
  after(async () => {
    await server.close(0);
    await narrow.close(0);
    gateway.close();
    assert.equal(gateway.size(), 0);
    await branches[Symbol.asyncDispose]();
  });

  const post = async (body: unknown, headers: Record<string, string> = {}, to = server) => {
    const response = await fetch(`http://127.0.0.1:${to.port}/sql`, {
      method: 'POST',
      body: typeof body === 'string' ? body : JSON.stringify(body),
      headers: { 'neon-connection-string': url(), ...headers },
    });
    return { status: response.status, headers: response.headers, body: JSON.parse(await response.text()) };
  };

  test('the driver asks with parameters, and reads each type by its own parsers', async () => {
    const sql = neon(url());
    const id = 7;
    assert.deepEqual(await sql`select ${id}::int as n, ${"it's"} as s, null as nothing`, [
      { n: 7, s: "it's", nothing: null },
    ]);
    assert.deepEqual(
      await sql`select 9007199254740993::int8 as big, 1.10::numeric as exact, 'NaN'::float8 as nan, true as yes,
                       '{"a":[1]}'::jsonb as j, array[1,2] as list, '2026-01-02T03:04:05Z'::timestamptz as at`,
      [
        {
          ...{
            big: '9007199254740993',
            exact: '1.10',
            nan: Number.NaN,
            yes: true,
            j: { a: [1] },
            list: [1, 2],
          },
          at: new Date('2026-01-02T03:04:05Z'),
        },
      ],
    );
    const full = await neon(url(), { fullResults: true, arrayMode: true })`select 1 as a, 2 as a`;
    assert.deepEqual([full.rows, full.rowCount, full.command], [[[1, 2]], 1, 'SELECT']);
  });

  test('a transaction is whole, or nothing of it', async () => {
    const sql = neon(url());
    await sql`create table accounts (id int primary key, n int)`;
    const made = await sql.transaction([
      sql`insert into accounts values (1, 10), (2, 20)`,
      sql`select sum(n)::int as sum from accounts`,
    ]);
    assert.deepEqual(made, [[], [{ sum: 30 }]]);
    const twice = sql.transaction([sql`update accounts set n = 0`, sql`insert into accounts values (1, 1)`]);
    await assert.rejects(twice, { code: '23505', constraint: 'accounts_pkey', table: 'accounts' });
    assert.deepEqual(await sql`select sum(n)::int as sum from accounts`, [{ sum: 30 }]);
    const level = await sql.transaction(
      [
        sql`select current_setting('transaction_isolation') as level, current_setting('transaction_read_only') as ro`,
      ],
      { isolationLevel: 'Serializable', readOnly: true, deferrable: true },
    );
    assert.deepEqual(level, [[{ level: 'serializable', ro: 'on' }]]);
  });

  test('errors of the server come with their fields', async () => {
    const sql = neon(url());
    await assert.rejects(sql`select * from nowhere`, { code: '42P01', position: '15', severity: 'ERROR' });
    await assert.rejects(sql.query('select 1; select 2'), { code: '42601' });
    await assert.rejects(neon(url(`app.${branch}`, 'wrong'))`select 1`, { code: '28P01' });
    await assert.rejects(neon(url('app.branchnone'))`select 1`, { code: '28P01' });
    await assert.rejects(neon(url('app'))`select 1`, { code: '28000', message: /does not name a branch/ });
  });

  test('over WebSocket the driver has a session, with its password sent ahead or asked for', async () => {
    // Who sends the password ahead takes itself for connected, and hears of a refusal with its first statement.
    const asked = async (text: string) => {
      const client = new Client(text);
      client.on('error', () => {});
      await client.connect();
      await client.query('select 1');
    };
    for (const pipelineConnect of ['password', false] as const) {
      neonConfig.pipelineConnect = pipelineConnect;
      const client = new Client(url());
      await client.connect();
      await client.query('create temporary table mine (n int)');
      await client.query('insert into mine select generate_series(1, 10000)');
      const { rows } = await client.query('select * from mine order by n');
      assert.equal(rows.length, 10_000);
      await client.end();
      await assert.rejects(asked(url(`app.${branch}`, 'wrong')), { code: '28P01' });
      await assert.rejects(asked(url('app.branchnone')), { code: '28P01' });
    }
    neonConfig.pipelineConnect = 'password';
    const pool = new Pool({ connectionString: url(), max: 3 });
    const counts = await Promise.all([1, 2, 3, 4, 5].map(n => pool.query('select $1::int as n', [n])));
    assert.deepEqual(
      counts.map(({ rows }) => rows[0].n),
      [1, 2, 3, 4, 5],
    );
    await pool.end();
    await until(() => gateway.size() === 0 || undefined, { what: 'all sessions ended', deadlineMs: 60_000 });
  });

  test('without the modes of the driver rows are objects with the values that JSON has', async () => {
    const { body } = await post({
      query: `select 1::int2 as a, 2.5::float8 as b, 'Infinity'::float4 as c, false as d, '[1]'::json as e, 3::int8 as f`,
    });
    assert.deepEqual(body.rows, [{ a: 1, b: 2.5, c: 'Infinity', d: false, e: [1], f: '3' }]);
    assert.deepEqual([body.command, body.rowCount, body.rowAsArray], ['SELECT', 1, false]);
    const list = await post([{ query: 'select $1 as x', params: ['y'], arrayMode: true }]);
    assert.deepEqual(list.body.results[0].rows, [['y']]);
  });

  test('pages of any origin may ask, by name of the headers that they have', async () => {
    const ask = { method: 'OPTIONS', headers: { 'access-control-request-headers': 'neon-array-mode' } };
    const { status, headers } = await fetch(`http://127.0.0.1:${server.port}/sql`, ask);
    assert.deepEqual(
      [status, headers.get('access-control-allow-origin'), headers.get('access-control-allow-headers')],
      [204, '*', 'neon-array-mode'],
    );
    assert.equal((await post({ query: 'select 1' })).headers.get('access-control-allow-origin'), '*');
  });

  test('what is no request says why, and never with the password', async () => {
    const refused = async (body: unknown, headers: Record<string, string>, code: string, status = 400) => {
      const answer = await post(body, headers);
      assert.deepEqual([answer.status, answer.body.code], [status, code]);
      assert.ok(!JSON.stringify(answer.body).includes(encodeURIComponent(password)));
    };
    await refused('{', {}, 'sql/bad-request');
    await refused({ query: 1 }, {}, 'sql/bad-request');
    await refused({ query: 'select 1', params: {} }, {}, 'sql/bad-request');
    await refused({ queries: [] }, {}, 'sql/bad-request');
    await refused({ queries: Array(101).fill({ query: 'select 1' }) }, {}, 'sql/bad-request');
    await refused(
      { queries: [{ query: 'select 1' }] },
      { 'neon-batch-isolation-level': 'Strict' },
      'sql/bad-request',
    );
    for (const text of ['', 'http://a:b@c/d', 'postgres://app@c/d', `${url()}%zz`])
      await refused({ query: 'select 1' }, { 'neon-connection-string': text }, 'sql/no-login');
    const get = await fetch(`http://127.0.0.1:${server.port}/sql`);
    assert.deepEqual([get.status, get.headers.get('allow')], [405, 'POST, OPTIONS']);
    assert.equal((await fetch(`http://127.0.0.1:${server.port}/v2`)).status, 426);
  });

  test('a statement ends at its time, an answer and a request at their size, and a crowd at its number', async () => {
    const late = await post({ query: 'select pg_sleep(600)' }, {}, narrow);
    assert.deepEqual([late.status, late.body.code], [400, '57014']);
    const much = await post(
      { query: 'select repeat($1, 100) from generate_series(1, 1000)', params: ['x'] },
      {},
      narrow,
    );
    assert.deepEqual([much.status, much.body.code], [507, 'sql/answer-too-large']);
    const long = await post({ query: 'select 1', params: ['x'.repeat(3_000)] }, {}, narrow);
    assert.deepEqual([long.status, long.body.code], [413, 'sql/request-too-large']);
    const endless = [{ query: 'set statement_timeout = 0' }, { query: 'select pg_sleep(600)' }];
    const cut = await post({ queries: endless }, {}, narrow);
    assert.deepEqual([cut.status, cut.body.code], [502, 'sql/connection-lost']);
    const crowd = await Promise.all(
      Array.from({ length: 6 }, () => post({ query: 'select pg_sleep(600)' }, {}, narrow)),
    );
    const said = crowd.map(({ body }) => body.code).sort();
    assert.ok(said.includes('57014') && said.includes('sql/too-many'), said.join());
  });

  test('requests that are held together end at their size, before anybody has logged in', async () => {
    await using tight = Object.assign(await serve({ heldBytes: 2_500 }), {
      [Symbol.asyncDispose]: () => tight.close(0),
    });
    const long = (query: string) => post({ query, pad: 'x'.repeat(1_500) }, {}, tight);
    const first = long('select pg_sleep(601)');
    const running = `from pg_stat_activity where query = 'select pg_sleep(601)'`;
    await until(async () => (await branches.sql(branch, `select 1 ${running}`)).length || undefined, {
      what: 'its statement runs',
      deadlineMs: 60_000,
    });
    const second = await long('select 1');
    assert.deepEqual([second.status, second.body.code], [503, 'sql/too-much']);
    await branches.sql(branch, `select pg_terminate_backend(pid) ${running}`);
    assert.equal((await first).body.code, '57P01');
    assert.equal((await long('select 1')).status, 200, 'what has ended is not counted any more');
  });

  test('a session that is cut is said so', async () => {
    const { status, body } = await post({ query: 'select pg_terminate_backend(pg_backend_pid())' });
    assert.deepEqual([status, body.code], [400, '57P01']);
    await branches.branch('doomed', branch);
    const isAsleep = `select 1 from pg_stat_activity where query like '%pg_sleep(600)%' and pid <> pg_backend_pid()`;
    await branches.sql('doomed', `alter role app password '${password}'`);
    const waits = post({ query: 'select pg_sleep(600)' }, { 'neon-connection-string': url('app.doomed') });
    await until(async () => (await branches.sql('doomed', isAsleep)).length || undefined, {
      what: 'its statement runs',
      deadlineMs: 60_000,
    });
    await killServer(branches.servers, 'doomed');
    const { status: lost, body: why } = await waits;
    assert.deepEqual([lost, why.code], [502, 'sql/connection-lost']);
  });

  test('who breaks off leaves nothing behind', async () => {
    const key = 'dGhlIHNhbXBsZSBub25jZQ==';
    const ask = (path: string, rest: string) => `${path} HTTP/1.1\r\nHost: x\r\n${rest}\r\n\r\n`;
    const upgrade = `Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}`;
    const body = JSON.stringify({ query: 'select pg_sleep(600)' });
    const slow = `Neon-Connection-String: ${url()}\r\nContent-Length: ${body.length}`;
    for (const text of [ask('GET /v2', upgrade), ask('POST /sql', slow) + body, ask('POST /sql', slow)]) {
      const socket = connect(server.port, '127.0.0.1');
      await once(socket, 'connect');
      socket.write(text);
      if (text.endsWith(body) || text.startsWith('GET'))
        await until(() => gateway.size() > 0 || undefined, { what: 'its session', deadlineMs: 60_000 });
      socket.destroy();
      await until(() => gateway.size() === 0 || undefined, { what: 'no session', deadlineMs: 60_000 });
    }
  });
});
