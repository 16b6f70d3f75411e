/** What many clients at once may take of the gateway, and what those learn who have not logged in. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { silentLog } from '../../../src/lib/log.ts';
import { until } from '../../../src/lib/wait.ts';
import { OffshootError } from '../../../src/model/errors.ts';
import { createBook } from '../../../src/proxy/book.ts';
import { createGateway, type GatewayLimits } from '../../../src/proxy/postgres/gateway.ts';
import { fakePostgres, mute } from '../../support/fake-postgres.ts';
import * as frames from '../../support/pg-frames.ts';
import { dial } from '../../support/raw-client.ts';

const BRANCH = 'abcd1234';
const hello = (branch = BRANCH) => frames.startupMessage({ user: `app.${branch}` });

async function gatewayWith(t: TestContext, socket: string, limits: Partial<GatewayLimits> = {}) {
  const value = { endpoint: { socket }, sessions: 1 };
  const book = createBook([BRANCH, 'other'].map(name => ({ kind: 'branch', name, value })));
  const awake = async (branch: string) => {
    throw new OffshootError('gateway/branch-unknown', { branch });
  };
  const gateway = createGateway({ book, awake, log: silentLog, limits });
  const server = await gateway.open({ host: '127.0.0.1', port: 0 });
  t.after(async () => {
    await server.close(0);
    gateway.close();
  });
  return { gateway, server };
}

const many = (where: { host: string; port: number }, count: number) =>
  Promise.all(Array.from({ length: count }, () => dial(where)));

test('500 clients that say nothing keep nobody out: the one that was silent for longest goes', async t => {
  await using server = await fakePostgres();
  const { server: where, gateway } = await gatewayWith(t, server.socket);
  const silent = await many(where, 500);
  t.after(() => silent.forEach(({ socket }) => void socket.destroy()));
  await until(() => gateway.size() === 500 || undefined, { what: 'all are there', deadlineMs: 60_000 });
  const clients = await many(where, 3);
  t.after(() => clients.forEach(({ socket }) => void socket.destroy()));
  for (const client of clients) client.send(hello());
  for (const client of clients) await client.frame('Z');
  const told = () => silent.filter(client => client.received().length > 0);
  await until(() => told().length === 3 || undefined, { what: 'three have made room', deadlineMs: 60_000 });
  for (const { refusal } of told()) assert.equal((await refusal()).C, '53300');
});

test('of logins that wait for an answer the surplus is refused; those of another branch go on', async t => {
  await using server = await fakePostgres(mute);
  const { server: where } = await gatewayWith(t, server.socket, { maxBranchLogins: 2, maxPeerLogins: 4 });
  const waiting = await many(where, 4);
  t.after(() => waiting.forEach(({ socket }) => void socket.destroy()));
  for (const [i, client] of waiting.slice(0, 2).entries()) {
    client.send(hello());
    await until(() => server.startups.length === i + 1 || undefined, {
      what: 'it waits',
      deadlineMs: 60_000,
    });
  }
  await using third = waiting[2]!;
  third.send(hello());
  const { C, M } = await third.refusal();
  assert.deepEqual([C, M], ['53300', `2 clients are logging in to branch "${BRANCH}" already`]);
  waiting[3]!.send(hello('other'));
  await until(() => server.startups.length === 3 || undefined, {
    what: 'the other waits',
    deadlineMs: 60_000,
  });
  await using last = await dial(where);
  last.send(hello('other'));
  await until(() => server.startups.length === 4 || undefined, {
    what: 'the last waits',
    deadlineMs: 60_000,
  });
  await using surplus = await dial(where);
  assert.equal((await surplus.refusal()).M, '4 clients are logging in already', 'nobody is silent');
});

/** What an exchange looks like, without what is new each time. */
async function exchange(where: { host: string; port: number }, branch: string): Promise<readonly string[]> {
  await using client = await dial(where);
  client.send(hello(branch));
  const [sasl] = [await client.frame('R')];
  const first = Buffer.from('n,,n=,r=clientnonce');
  client.send(
    frames.message('p', Buffer.concat([frames.cstring('SCRAM-SHA-256'), frames.int32(first.length), first])),
  );
  const next = await until(() => frames.readFrames(client.received())[1], {
    what: 'a challenge',
    deadlineMs: 60_000,
  });
  const text = next.body.toString('latin1', 4);
  const [, nonce, salt] = /^r=(clientnonce.+),s=(.+),i=4096$/.exec(text) ?? [];
  assert.ok(nonce !== undefined && Buffer.from(salt!, 'base64').length === 16, text);
  client.send(
    frames.message('p', Buffer.from(`c=biws,r=${nonce},p=${Buffer.alloc(32, 7).toString('base64')}`)),
  );
  const [, , refusal, ...more] = frames.readFrames(await client.closed());
  assert.equal(more.length, 0);
  const { C, M, H } = frames.errorFields(refusal!);
  return [sasl!.body.toString('latin1'), C!, M!, String(H), salt!];
}

test('a branch that is not there asks for a password, and then refuses it, as any other does', async t => {
  await using server = await fakePostgres();
  const { server: where } = await gatewayWith(t, server.socket);
  const [sasl, code, message, hint, salt] = await exchange(where, 'nosuch');
  assert.equal(sasl, '\0\0\0\x0aSCRAM-SHA-256\0\0');
  const failed = new OffshootError('gateway/login-failed', { user: 'app' });
  assert.deepEqual([code, message, hint], ['28P01', failed.message, failed.hint]);
  assert.equal((await exchange(where, 'nosuch'))[4], salt, 'the same salt each time, as a real one has');
  assert.equal(server.startups.length, 0);
});

test('a password that the server refuses is refused in the same words', async t => {
  await using server = await fakePostgres(
    socket => void socket.end(frames.fatal('28P01', 'password authentication failed for user "app"')),
  );
  const { server: where } = await gatewayWith(t, server.socket);
  await using client = await dial(where);
  client.send(hello());
  const { C, M, H } = await client.refusal();
  const failed = new OffshootError('gateway/login-failed', { user: 'app' });
  assert.deepEqual([C, M, H], ['28P01', failed.message, failed.hint]);
});

test('what is no SCRAM is refused, whatever it is', async t => {
  const { server: where } = await gatewayWith(t, '/nowhere');
  const initial = (mechanism: string, text: string) =>
    frames.message(
      'p',
      Buffer.concat([frames.cstring(mechanism), frames.int32(text.length), Buffer.from(text)]),
    );
  for (const answer of [
    frames.message('p', Buffer.from('a password\0')),
    initial('SCRAM-SHA-256-PLUS', 'p=tls-server-end-point,,n=,r=x'),
    initial('SCRAM-SHA-256', 'p=tls-server-end-point,,n=,r=x'),
    initial('SCRAM-SHA-256', 'p=tls-unique,,n=,r=x'),
    initial('SCRAM-SHA-256', 'n,a=admin,n=,r=x'),
    initial('SCRAM-SHA-256', 'nonsense'),
    frames.message('Q', frames.cstring('select 1')),
    Buffer.concat([Buffer.from('p'), frames.int32(2 ** 31 - 1)]),
    Buffer.concat([Buffer.from('p'), frames.int32(0)]),
  ]) {
    await using client = await dial(where);
    client.send(hello('nosuch'));
    await client.frame('R');
    client.send(answer);
    const [, error] = frames.readFrames(await client.closed());
    assert.equal(frames.errorFields(error!).C, '08P01', JSON.stringify(answer.toString('latin1')));
  }
});
