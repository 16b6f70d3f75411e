/** The gateway between a real client, node-postgres, and real PostgreSQL servers. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import pg from 'pg';
import postgres from 'postgres';
import { silentLog } from '../../../src/lib/log.ts';
import { until } from '../../../src/lib/wait.ts';
import { OffshootError } from '../../../src/model/errors.ts';
import { createBook } from '../../../src/proxy/book.ts';
import type { Server } from '../../../src/proxy/listeners.ts';
import { createGateway, type Gateway } from '../../../src/proxy/postgres/gateway.ts';
import * as frames from '../../support/pg-frames.ts';
import { type TestBranches, testBranches, testCtx } from '../../support/postgres.ts';
import { dial } from '../../support/raw-client.ts';

const [ONE, TWO] = ['branchone', 'branchtwo'];
const password = 'correct horse';

describe('the gateway before real PostgreSQL', () => {
  let branches: TestBranches;
  let gateway: Gateway;
  let server: Server;

  before(async () => {
    branches = await testBranches('copy');
    await branches.branch(ONE);
    await branches.sql(ONE, `create role app login password '${password}'`);
    await branches.sql(ONE, `create role "first.last" login password '${password}'`);
    await branches.sql(ONE, 'create database shop owner app');
    await branches.branch(TWO, ONE);
    const book = createBook();
    gateway = createGateway({
      book,
      log: silentLog,
      async awake(branch) {
        const seen = await branches.servers.observe(branch, testCtx());
        if (seen === undefined) throw new OffshootError('gateway/branch-unknown', { branch });
        return { endpoint: { socket: seen.socket }, sessions: 1 };
      },
    });
    server = await gateway.open({ host: '127.0.0.1', port: 0 });
  });
  after(async () => {
    await server.close(0);
    gateway.close();
    await branches[Symbol.asyncDispose]();
  });

  type Session = pg.Client & AsyncDisposable;
  const connect = async (config: pg.ClientConfig): Promise<Session> => {
    const client = new pg.Client({
      host: server.host,
      port: server.port,
      database: 'shop',
      password,
      ...config,
    });
    await client.connect();
    return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() });
  };
  const refusal = (config: pg.ClientConfig) =>
    connect(config).then(
      () => assert.fail('the login succeeded'),
      (error: pg.DatabaseError) => error,
    );

  test('a client logs in with role and branch in the user name, and the server knows its branch', async () => {
    await using client = await connect({ user: `app.${ONE}` });
    const { rows } = await client.query(
      `select current_user as role, current_setting('offshoot.branch') as branch, current_database() as database`,
    );
    assert.deepEqual(rows, [{ role: 'app', branch: ONE, database: 'shop' }]);
  });

  test('a role may have a dot of its own', async () => {
    await using client = await connect({ user: `first.last.${TWO}` });
    const { rows } = await client.query('select current_user as role');
    assert.deepEqual(rows, [{ role: 'first.last' }]);
  });

  test('a client logs in with the branch in its options, and keeps the others', async () => {
    const options = `-c offshoot.note=a\\ b -c offshoot.branch=${TWO} --work_mem=5MB`;
    await using client = await connect({ user: 'app', options });
    const { rows } = await client.query(
      `select current_setting('offshoot.branch') as branch, current_setting('work_mem') as memory,
              current_setting('offshoot.note') as note`,
    );
    assert.deepEqual(rows, [{ branch: TWO, memory: '5MB', note: 'a b' }]);
  });

  test('a wrong password is refused', async () => {
    const { code, message } = await refusal({ user: `app.${ONE}`, password: 'wrong' });
    assert.deepEqual([code, message], ['28P01', 'password authentication failed for user "app"']);
  });

  test('what the gateway refuses is an error that the client understands', async () => {
    const unknown = await refusal({ user: 'app.nosuchbranch' });
    const wrong = await refusal({ user: `app.${ONE}`, password: 'wrong' });
    assert.deepEqual([unknown.code, unknown.message, unknown.hint], [wrong.code, wrong.message, wrong.hint]);
    const nowhere = await refusal({ user: 'app' });
    assert.equal(nowhere.code, '28000');
    assert.match(nowhere.hint!, /ROLE\.BRANCHID/);
  });

  test('the superuser of the daemon cannot log in, not even with the right password', async () => {
    const { adminSecret } = branches.options;
    for (const config of [
      { user: `offshoot.${ONE}` },
      { user: 'offshoot', options: `-c offshoot.branch=${ONE}` },
    ])
      assert.equal((await refusal({ ...config, password: adminSecret })).code, '28000');
  });

  test('sessions on two branches at once never mix', async () => {
    const create = 'create table seen (branch text default current_setting($$offshoot.branch$$), n int)';
    for (const branch of [ONE, TWO]) {
      await using client = await connect({ user: `app.${branch}` });
      await client.query(create);
    }
    const work = Array.from({ length: 20 }, async (_, n) => {
      await using client = await connect({ user: `app.${n % 2 === 0 ? ONE : TWO}` });
      await client.query('insert into seen (n) values ($1)', [n]);
    });
    await Promise.all(work);
    for (const [i, branch] of [ONE, TWO].entries()) {
      await using client = await connect({ user: `app.${branch}` });
      const { rows } = await client.query(
        'select branch, array_agg(n order by n) as numbers from seen group by 1',
      );
      assert.deepEqual(rows, [{ branch, numbers: Array.from({ length: 10 }, (_, k) => 2 * k + i) }]);
    }
  });

  test('a running query is cancelled by its key', async () => {
    await using client = await connect({ user: `app.${TWO}` });
    const sleeping = assert.rejects(client.query('select pg_sleep(60)'), { code: '57014' });
    await until(
      async () => {
        const rows = await branches.sql(TWO, `select 1 from pg_stat_activity where wait_event = 'PgSleep'`);
        return rows.length === 1 || undefined;
      },
      { what: 'the query runs', deadlineMs: 60_000 },
    );
    const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
    await using cancel = await dial(server);
    cancel.send(frames.cancelRequest(processID, frames.int32(secretKey)));
    assert.equal((await cancel.closed()).length, 0);
    await sleeping;
  });

  test('megabytes are copied in and out as they are', async () => {
    await using client = await connect({ user: `app.${ONE}` });
    await client.query('create temporary table copied (line text)');
    const lines = Buffer.from(
      `${randomBytes(4 * 1024 * 1024)
        .toString('hex')
        .replace(/.{1000}/g, '$&\n')}\n`,
    );
    await client.query(new Copy('copy copied from stdin', lines)).done;
    const copy = client.query(new Copy('copy copied to stdout'));
    await copy.done;
    assert.ok(Buffer.concat(copy.received).equals(lines));
  });

  test('statements may be sent before others are answered, and large objects are as they were', async () => {
    const sql = postgres({
      ...{ host: server.host, port: server.port, username: `app.${ONE}`, password, database: 'shop', max: 1 },
    });
    const numbers = await Promise.all(Array.from({ length: 100 }, (_, i) => sql`select ${i}::int as n`));
    assert.deepEqual(
      numbers.map(([row]) => row!.n),
      Array.from({ length: 100 }, (_, i) => i),
    );
    const bytes = randomBytes(2_000_000);
    const [made] = await sql`select lo_from_bytea(0, ${bytes}) as id`;
    const [read] = await sql`select lo_get(${made!.id}) as bytes, lo_unlink(${made!.id})`;
    assert.ok(bytes.equals(read!.bytes as Buffer));
    await sql.end();
  });

  test('notifications arrive', async () => {
    await using listener = await connect({ user: `app.${ONE}` });
    await using sender = await connect({ user: `app.${ONE}` });
    await listener.query('listen news');
    const notified = once(listener, 'notification');
    await sender.query(`notify news, 'hello'`);
    const [{ payload }] = await notified;
    assert.equal(payload, 'hello');
  });

  test('a session that ends frees its place here and its process there', async () => {
    const backends = () => branches.sql(ONE, `select pid from pg_stat_activity where usename = 'app'`);
    const gone = (what: string) =>
      until(async () => ((await backends()).length === 0 && gateway.connections().size === 0) || undefined, {
        what,
        deadlineMs: 60_000,
      });
    await gone('the sessions of the other tests are gone');
    const client = await connect({ user: `app.${ONE}` });
    assert.deepEqual([...gateway.connections()], [[ONE, 1]]);
    assert.equal((await backends()).length, 1);
    await client.end();
    await gone('the session is gone');
  });
});

/** One COPY by node-postgres' interface for queries of one's own. */
class Copy implements pg.Submittable {
  readonly received: Buffer[] = [];
  readonly done: Promise<void>;
  readonly #settle: PromiseWithResolvers<void> = Promise.withResolvers();
  readonly #sql: string;
  readonly #lines: Buffer | undefined;

  constructor(sql: string, lines?: Buffer) {
    this.#sql = sql;
    this.#lines = lines;
    this.done = this.#settle.promise;
  }
  submit(connection: pg.Connection): void {
    connection.query(this.#sql);
  }
  handleCopyInResponse(connection: { sendCopyFromChunk(chunk: Buffer): void; endCopyFrom(): void }): void {
    const lines = this.#lines!;
    for (let at = 0; at < lines.length; at += 65_536)
      connection.sendCopyFromChunk(lines.subarray(at, at + 65_536));
    connection.endCopyFrom();
  }
  handleCopyData(message: { chunk: Buffer }): void {
    this.received.push(Buffer.from(message.chunk)); // its bytes are overwritten by the next message
  }
  handleCommandComplete(): void {}
  handleReadyForQuery(): void {
    this.#settle.resolve();
  }
  handleError(error: Error): void {
    this.#settle.reject(error);
  }
}
