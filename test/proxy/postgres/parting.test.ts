/** Sessions that are silent and hold nothing part from their server, and have another when they speak: real servers. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, beforeEach, describe, test } from 'node:test';
import pg from 'pg';
import { silentLog } from '../../../src/lib/log.ts';
import { until } from '../../../src/lib/wait.ts';
import type { Endpoint } from '../../../src/model/route.ts';
import { type Book, createBook } from '../../../src/proxy/book.ts';
import type { Server } from '../../../src/proxy/listeners.ts';
import { createGateway, type Gateway } from '../../../src/proxy/postgres/gateway.ts';
import { watchSession } from '../../../src/proxy/postgres/silence.ts';
import { askForVerifiers } from '../../../src/proxy/postgres/verifiers.ts';
import { createUses, type Uses } from '../../../src/proxy/uses.ts';
import { startingPostgres } from '../../support/fake-postgres.ts';
import * as frames from '../../support/pg-frames.ts';
import { type TestBranches, testBranches, testCtx } from '../../support/postgres.ts';
import { dial } from '../../support/raw-client.ts';

const ONE = 'branchone';
const password = randomBytes(8).toString('hex');

describe('a session that is silent', () => {
  let branches: TestBranches;
  let book: Book;
  let gateway: Gateway;
  let server: Server;
  let uses: Uses;
  let endpoint: Endpoint;

  const tell = (sessions: number) =>
    book.apply([{ kind: 'branch', name: ONE, value: { endpoint, sessions, silentMs: 20 } }]);
  before(async () => {
    branches = await testBranches('copy');
    await branches.branch(ONE);
    await branches.sql(ONE, `create role app login password '${password}'`);
    await branches.sql(ONE, 'create role other; grant other to app');
    await branches.sql(ONE, 'create database shop owner app');
    endpoint = { socket: (await branches.servers.observe(ONE, testCtx()))!.socket };
    book = createBook();
    tell(1);
    uses = createUses();
    const awake = () => Promise.reject(new Error('nobody is asked'));
    const verifiers = askForVerifiers(() => branches.options.adminSecret);
    gateway = createGateway({ book, awake, log: silentLog, verifiers, uses });
    server = await gateway.open({ host: '127.0.0.1', port: 0 });
  });
  beforeEach(async () => {
    await branches.sql(ONE, `alter role app password '${password}'`);
    await until(() => gateway.size() === 0 || undefined, soon('nobody is there'));
  });
  after(async () => {
    await server.close(0);
    gateway.close();
    await branches[Symbol.asyncDispose]();
  });

  const soon = (what: string) => ({ what, deadlineMs: 60_000 });
  const connect = async () => {
    const client = new pg.Client({
      ...{ host: '127.0.0.1', port: server.port, user: `app.${ONE}`, database: 'shop', password },
    });
    const ended = new Promise<string | undefined>(resolve => {
      client.on('error', error => resolve((error as { code?: string }).code));
    });
    await client.connect();
    return Object.assign(client, {
      ended,
      pid: async () => (await client.query('select pg_backend_pid() as pid')).rows[0].pid as number,
      [Symbol.asyncDispose]: () => client.end(),
    });
  };
  const session = async (pid: number) =>
    (
      await branches.sql(
        ONE,
        `select query_start::text as at, query from pg_stat_activity where pid = ${pid}`,
      )
    )[0] as { readonly at: string; readonly query: string } | undefined;
  const parted = (pid: number) =>
    until(async () => (await session(pid)) === undefined || undefined, soon('it has no server'));

  test('it has no server, nobody uses the branch, and it goes on where it was', async () => {
    await using client = await connect();
    const pid = await client.pid();
    assert.equal(uses.has(ONE), true);
    await parted(pid);
    await until(() => !uses.has(ONE) || undefined, soon('nobody uses it'));
    assert.equal(gateway.size(), 1, 'it is there');
    for (let times = 0; times < 3; times++) {
      const { rows } = await client.query('select $1::int as n, pg_backend_pid() as pid', [times]);
      assert.equal(rows[0].n, times);
      assert.notEqual(rows[0].pid, pid);
      await parted(rows[0].pid);
    }
  });

  test('it goes on when the server that it comes back to is just starting', async () => {
    assert.ok('socket' in endpoint);
    await using client = await connect();
    const pid = await client.pid();
    await parted(pid);
    const there = endpoint;
    await using late = await startingPostgres(endpoint.socket, { app: 2 });
    endpoint = { socket: late.socket };
    tell(1);
    assert.notEqual(await client.pid(), pid);
    assert.equal(late.startups.length, 3);
    endpoint = there;
    tell(1);
  });

  test('its key cancels what it does, whichever server does it', async () => {
    await using client = await connect();
    await parted(await client.pid());
    const pid = await client.pid();
    const runs = client.query('select pg_sleep(600)');
    await until(async () => /pg_sleep/.test((await session(pid))?.query ?? '') || undefined, soon('it runs'));
    const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
    assert.notEqual(processID, pid);
    await using canceller = await dial(server);
    canceller.send(frames.cancelRequest(processID, frames.int32(secretKey)));
    await assert.rejects(runs, { code: '57014' });
  });

  test('a statement without a name can be used again', async () => {
    await using client = await connect();
    const pid = await client.pid();
    const { connection } = client as unknown as { connection: pg.Connection };
    connection.parse({ name: '', text: 'select 6 * 7', types: [] }, true);
    connection.sync();
    await parted(pid);
    const row = new Promise<{ fields: unknown[] }>(resolve => connection.once('dataRow', resolve));
    connection.bind({ portal: '', statement: '', values: [] } as never, true);
    connection.execute({ portal: '' } as never, true);
    connection.sync();
    assert.deepEqual((await row).fields, ['42']);
  });

  const held: Readonly<Record<string, string>> = {
    'a temporary table': 'create temporary table mine (n int)',
    'a prepared statement': 'prepare mine as select 1',
    'a channel': 'listen mine',
    'a lock': 'select pg_advisory_lock(1)',
    'a setting': "set work_mem = '5MB'",
    'a cursor': 'declare mine cursor with hold for select 1',
    'a role': 'set role other',
  };
  for (const [what, statement] of Object.entries(held))
    test(`one that holds ${what} keeps its server`, async () => {
      await using client = await connect();
      await client.query(statement);
      await staysWithItsServer(client);
    });

  test('what a function of the database may set is not lost', async t => {
    const text = `create function f() returns text language sql as $$ select set_config('app.me', '1', false) $$`;
    await branches.sql(ONE, text, 'shop');
    t.after(() => branches.sql(ONE, 'drop function f()', 'shop'));
    await using client = await connect();
    await staysWithItsServer(client);
  });

  const staysWithItsServer = async (client: { readonly pid: () => Promise<number> }) => {
    const pid = await client.pid();
    const asked = (before?: string) =>
      until(async () => {
        const now = await session(pid);
        assert.ok(now, 'it has its server');
        return /offshoot_silence/.test(now.query) && now.at !== before ? now.at : undefined;
      }, soon('it is asked'));
    await asked(await asked(await asked()));
    assert.equal(await client.pid(), pid);
  };

  test('its password, or its end, counts also while it has no server', async () => {
    const one = await connect();
    await parted(await one.pid());
    await branches.sql(ONE, `alter role app password 'another'`);
    await assert.rejects(one.query('select 1'), { code: '57P01' });
    await branches.sql(ONE, `alter role app password '${password}'`);
    const two = await connect();
    await parted(await two.pid());
    tell(2);
    await two.ended;
    tell(1);
    await Promise.all([one.end(), two.end()]);
  });
});

test('what the client says may bind it, or owe an answer', () => {
  const text = (type: string, ...words: readonly string[]) =>
    frames.message(
      type,
      Buffer.concat([...words.map(frames.cstring), ...(type === 'P' ? [Buffer.of(0, 0)] : [])]),
    );
  const after = (...bytes: readonly Buffer[]) => {
    const watch = watchSession();
    // Byte by byte, so that nothing depends on where messages are cut.
    for (const byte of Buffer.concat(bytes)) watch.client(Buffer.of(byte));
    return watch;
  };
  for (const sql of [
    "set app.me = '1'",
    'SET SESSION "app".me TO 1',
    "select set_config('app.me', '1', false)",
    'insert into t values (1); select currval($$s$$)',
    'select lastval()',
    "load 'auto_explain'",
  ]) {
    assert.equal(after(text('Q', sql)).isBound(), true, sql);
    assert.equal(after(text('P', '', sql)).isBound(), true, sql);
  }
  for (const sql of [
    'select 1',
    'update t set a = 1',
    "set work_mem = '5MB'",
    'insert into downloads values (1)',
  ])
    assert.equal(after(text('Q', sql)).isBound(), false, sql);
  assert.equal(after(frames.message('F', Buffer.alloc(8))).isBound(), true, 'a function by its number');
  assert.equal(
    after(Buffer.concat([Buffer.from('Q'), frames.int32(2 ** 30)])).isBound(),
    false,
    'not whole yet',
  );
  const watch = after(text('Q', 'select 1'));
  assert.equal(watch.isIdle(), false, 'it waits for an answer');
  watch.server(frames.message('Z', Buffer.from('T')));
  assert.equal(watch.isIdle(), false, 'a transaction is open');
  watch.client(text('Q', 'commit'));
  watch.server(frames.readyForQuery());
  assert.equal(watch.isIdle(), true);
  watch.client(text('P', 'named', 'select 1'));
  assert.equal(watch.isIdle(), false, 'it has not come to its point');
  watch.client(frames.message('S'));
  watch.server(frames.readyForQuery().subarray(0, 3));
  assert.equal(watch.isIdle(), false, 'half a message');
  watch.server(frames.readyForQuery().subarray(3));
  assert.equal(watch.isIdle(), true);
  assert.equal(watch.unnamed(), undefined);
  watch.client(text('P', '', 'select 2'));
  assert.deepEqual(watch.unnamed(), text('P', '', 'select 2'));
  watch.client(text('Q', 'select 3'));
  assert.equal(watch.unnamed(), undefined);
});
