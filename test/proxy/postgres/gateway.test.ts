/** The gateway between hand-made clients and a scripted server: what is relayed, and what hostile peers get. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { silentLog } from '../../../src/lib/log.ts';
import { until } from '../../../src/lib/wait.ts';
import { OffshootError } from '../../../src/model/errors.ts';
import type { BranchRoute } from '../../../src/model/route.ts';
import { createBook } from '../../../src/proxy/book.ts';
import { createGateway, type GatewayLimits } from '../../../src/proxy/postgres/gateway.ts';
import type { Awake } from '../../../src/proxy/postgres/session.ts';
import { connectAs } from '../../../src/proxy/postgres/socket.ts';
import { createUses } from '../../../src/proxy/uses.ts';
import { echo, fakePostgres, mute, starting } from '../../support/fake-postgres.ts';
import * as frames from '../../support/pg-frames.ts';
import { dial, type RawClient } from '../../support/raw-client.ts';

const BRANCH = 'abcd1234';
const hello = frames.startupMessage({ user: `app.${BRANCH}`, database: 'shop' });

const unknown: Awake = async branch => {
  throw new OffshootError('gateway/branch-unknown', { branch });
};

/** A gateway whose branches are the given sockets; closed at the end of the test. */
async function gatewayTo(
  t: TestContext,
  branches: Readonly<Record<string, string>>,
  { graceMs = 0, ...limits }: Partial<GatewayLimits> & { readonly graceMs?: number } = {},
  awake: Awake = unknown,
) {
  const book = createBook();
  const tell = (branch: string, value: BranchRoute | undefined) =>
    book.apply([{ kind: 'branch', name: branch, value }]);
  for (const [branch, socket] of Object.entries(branches))
    tell(branch, { endpoint: { socket }, sessions: 1 });
  const gateway = createGateway({ book, awake, log: silentLog, limits });
  const server = await gateway.open({ host: '127.0.0.1', port: 0 });
  t.after(async () => {
    await server.close(graceMs);
    gateway.close();
  });
  const soon = (what: string, probe: () => boolean) =>
    until(() => probe() || undefined, { what, deadlineMs: 60_000 });
  return {
    ...gateway,
    address: { host: server.host, port: server.port },
    close: () => server.close(graceMs),
    tell,
    empty: () => soon('all sessions are gone', () => gateway.connections().size === 0),
    soon,
  };
}

async function loggedIn(client: RawClient): Promise<void> {
  client.send(hello);
  await client.frame('Z');
}

/** All that a client has received behind ReadyForQuery. */
const behindLogin = (client: RawClient): Buffer => {
  const all = client.received();
  return all.subarray(all.indexOf(frames.readyForQuery()) + frames.readyForQuery().length);
};

/** Waits until `count` has begun to grow and then has stopped. */
const standsStill = (count: () => number): Promise<true> => {
  let before = 0;
  let still = 0;
  const probe = () => {
    still = count() === before ? still + 1 : 0;
    before = count();
    return (before > 0 && still === 20) || undefined;
  };
  return until(probe, { what: 'the sender has to wait', deadlineMs: 60_000 });
};

// --- the way of a session ------------------------------------------------------------------------

test('a session reaches the server of its branch, which does not see the branch in the user', async t => {
  await using server = await fakePostgres();
  const gateway = await gatewayTo(t, { [BRANCH]: server.socket });
  await using client = await dial(gateway.address);
  await loggedIn(client);
  assert.deepEqual(server.startups, [
    {
      version: frames.PROTOCOL_3_0,
      params: [
        ['user', 'app'],
        ['database', 'shop'],
      ],
    },
  ]);
  assert.deepEqual([...gateway.connections()], [[BRANCH, 1]]);
  client.send(Buffer.from('a query'));
  await gateway.soon('the echo', () => behindLogin(client).toString() === 'a query');
  client.socket.end();
  await client.closed();
  await gateway.empty();
  await gateway.soon('the server side is closed', () => server.clients.size === 0);
});

test('who has named a branch uses it, before it is looked up where that is, and until he has left', async t => {
  const uses = createUses();
  const asked: boolean[] = [];
  const gateway = createGateway({
    ...{ book: createBook(), log: silentLog, uses },
    awake: async branch => {
      asked.push(uses.has(branch));
      throw new OffshootError('gateway/branch-not-ready', { branch });
    },
  });
  const server = await gateway.open({ host: '127.0.0.1', port: 0 });
  t.after(async () => {
    await server.close(0);
    gateway.close();
  });
  await using client = await dial(server);
  client.send(hello);
  await client.closed();
  assert.deepEqual(asked, [true]);
  await until(() => !uses.has(BRANCH) || undefined, { what: 'its end', deadlineMs: 60_000 });
});

test('a session whose server is stopped hears why, when that is for want of room', async t => {
  const shutdown = frames.fatal('57P01', 'terminating connection due to administrator command');
  await using server = await fakePostgres(client => {
    echo()(client);
    client.once('data', () => client.end(shutdown));
  });
  const stopped = new OffshootError('gateway/branch-stopped', { branch: BRANCH, limit: '2 GiB' });
  const answers = [() => Promise.reject(stopped), () => Promise.reject(new Error('it is only restarted'))];
  const gateway = await gatewayTo(t, { [BRANCH]: server.socket }, {}, () => answers.shift()!());
  for (const more of ['53100', undefined]) {
    await using client = await dial(gateway.address);
    await loggedIn(client);
    client.send(Buffer.from('!'));
    await client.closed();
    const codes = [
      ...behindLogin(client)
        .toString('latin1')
        .matchAll(/C(\d\w{4})\0/g),
    ].map(([, code]) => code);
    assert.deepEqual(codes, ['57P01', ...(more === undefined ? [] : [more])]);
  }
});

test('encryption is declined once for each kind, then the session goes on without', async t => {
  await using server = await fakePostgres();
  const gateway = await gatewayTo(t, { [BRANCH]: server.socket });
  await using client = await dial(gateway.address);
  client.send(frames.gssRequest());
  assert.equal((await client.bytes(1)).toString(), 'N');
  client.send(frames.sslRequest());
  assert.equal((await client.bytes(2)).toString(), 'NN');
  client.send(hello);
  await gateway.soon('the login', () => client.received().includes(frames.readyForQuery()));
});

test('a startup message may arrive byte by byte', async t => {
  await using server = await fakePostgres();
  const gateway = await gatewayTo(t, { [BRANCH]: server.socket });
  await using client = await dial(gateway.address);
  client.socket.setNoDelay(true);
  for (const byte of hello) {
    client.send(Buffer.from([byte]));
    await new Promise(setImmediate);
  }
  await client.frame('Z');
  assert.equal(server.startups.length, 1);
});

test('a login may arrive byte by byte, and what the client said early is not lost', async t => {
  await using server = await fakePostgres(async socket => {
    const login = Buffer.concat([
      frames.authenticationOk(),
      frames.backendKeyData(1, Buffer.alloc(32)),
      frames.readyForQuery(),
    ]);
    for (const byte of login) {
      socket.write(Buffer.from([byte]));
      await new Promise(setImmediate);
    }
    socket.pipe(socket);
  });
  const gateway = await gatewayTo(t, { [BRANCH]: server.socket });
  await using client = await dial(gateway.address);
  client.send(hello, Buffer.from('early'));
  await gateway.soon('the echo', () => behindLogin(client).toString() === 'early');
});

test('a message of the server behind ReadyForQuery in the same packet belongs to the session', async t => {
  await using server = await fakePostgres(socket => {
    socket.write(
      Buffer.concat([frames.authenticationOk(), frames.readyForQuery(), Buffer.from('\0no frame')]),
    );
  });
  const gateway = await gatewayTo(t, { [BRANCH]: server.socket });
  await using client = await dial(gateway.address);
  client.send(hello);
  await gateway.soon('the rest', () => behindLogin(client).toString() === '\0no frame');
});

test('a client that has said its last word still gets the answer', async t => {
  await using server = await fakePostgres(socket => {
    socket.write(Buffer.concat([frames.authenticationOk(), frames.readyForQuery()]));
    socket.resume();
    socket.on('end', () => socket.end('the answer'));
  });
  const gateway = await gatewayTo(t, { [BRANCH]: server.socket });
  await using client = await dial(gateway.address, { allowHalfOpen: true });
  await loggedIn(client);
  client.socket.end('the last word');
  await client.closed();
  assert.equal(behindLogin(client).toString(), 'the answer');
  await gateway.empty();
});

test('a client that does not read slows the server down; nothing is lost or piled up', async t => {
  const total = 64;
  const block = Buffer.alloc(1024 * 1024, 'x');
  let sent = 0;
  await using server = await fakePostgres(async socket => {
    socket.write(Buffer.concat([frames.authenticationOk(), frames.readyForQuery()]));
    for (; sent < total; sent++) if (!socket.write(block)) await once(socket, 'drain');
    socket.end();
  });
  const gateway = await gatewayTo(t, { [BRANCH]: server.socket });
  await using client = await dial(gateway.address);
  client.socket.pause();
  client.send(hello);
  await standsStill(() => sent);
  assert.ok(sent < total / 2, `${sent} MiB were taken without a reader`);
  const hash = createHash('sha256');
  client.socket.on('data', chunk => hash.update(chunk));
  client.socket.resume();
  await client.closed();
  const wanted = createHash('sha256').update(
    Buffer.concat([frames.authenticationOk(), frames.readyForQuery()]),
  );
  for (let i = 0; i < total; i++) wanted.update(block);
  assert.equal(hash.digest('hex'), wanted.digest('hex'));
});

test('a client that does not read slows the server down during login, too', async t => {
  const total = 1024;
  const notice = frames.message('N', Buffer.alloc(60_000));
  const session = randomBytes(1024 * 1024);
  let sent = 0;
  await using server = await fakePostgres(async socket => {
    for (; sent < total; sent++) if (!socket.write(notice)) await once(socket, 'drain');
    socket.write(frames.readyForQuery());
    socket.end(session);
  });
  const gateway = await gatewayTo(t, { [BRANCH]: server.socket });
  await using client = await dial(gateway.address);
  client.socket.pause();
  client.send(hello);
  await standsStill(() => sent);
  assert.ok(sent < total / 2, `${sent} notices were taken without a reader`);
  client.socket.resume();
  const all = await client.closed();
  assert.equal(all.length, total * notice.length + frames.readyForQuery().length + session.length);
  assert.ok(all.subarray(-session.length).equals(session));
});

test('a connection that breaks on one side is closed on the other', async t => {
  await using server = await fakePostgres();
  const gateway = await gatewayTo(t, { [BRANCH]: server.socket });
  await using first = await dial(gateway.address);
  await loggedIn(first);
  first.socket.resetAndDestroy();
  await gateway.soon('the server side is closed', () => server.clients.size === 0);
  await using second = await dial(gateway.address);
  await loggedIn(second);
  for (const socket of server.clients) socket.destroy();
  await second.closed();
  await gateway.empty();
});

// --- no login ------------------------------------------------------------------------------------

test('a login that names no branch, two branches, what can be none or the reserved role is refused', async t => {
  const gateway = await gatewayTo(t, {});
  const cases: readonly (readonly [Record<string, string>, string])[] = [
    [{ user: 'app' }, '28000'],
    [{ user: 'app.abcd1234', options: '-c offshoot.branch=abcd9999' }, '28000'],
    [{ user: 'offshoot.abcd1234' }, '28000'],
    [{ user: 'app', options: '-c offshoot.branch=NONE' }, '3D000'],
  ];
  for (const [params, code] of cases) {
    await using client = await dial(gateway.address);
    client.send(frames.startupMessage(params));
    const { S, V, C } = await client.refusal();
    assert.deepEqual({ S, V, C }, { S: 'FATAL', V: 'FATAL', C: code });
  }
});

const notReady: Record<string, Awake> = {
  'nobody listens on its socket': async () => ({
    endpoint: { socket: '/nonexistent/pg.sock' },
    sessions: 1,
  }),
  'the cause is one that clients must not read': async () => {
    throw new OffshootError('branch/failed', { name: 'secret', why: 'secret' });
  },
  'the search for it fails': async () => {
    throw new Error('secret');
  },
  'it says so': async branch => {
    throw new OffshootError('gateway/branch-not-ready', { branch, why: 'secret' });
  },
};
for (const [why, awake] of Object.entries(notReady))
  test(`a branch that is not ready is 57P03 and nothing more: ${why}`, async t => {
    const gateway = await gatewayTo(t, {}, { startingMs: 50 }, awake);
    await using client = await dial(gateway.address);
    client.send(hello);
    const { C, M, H } = await client.refusal();
    assert.deepEqual([C, M], ['57P03', `branch "${BRANCH}" cannot be reached now`]);
    assert.ok(!H?.includes('secret'));
    await gateway.empty();
  });

test("the server's own refusal reaches the client as it is", async t => {
  const refusal = frames.fatal('28000', 'role "app" is not permitted to log in');
  await using server = await fakePostgres(socket => void socket.end(refusal));
  const gateway = await gatewayTo(t, { [BRANCH]: server.socket });
  await using client = await dial(gateway.address);
  client.send(hello);
  assert.deepEqual(await client.closed(), refusal);
});

test('a server that is just starting is asked again, by one client for all, and none hears of it', async t => {
  let ready = false;
  await using server = await fakePostgres(client => (ready ? echo()(client) : void client.end(starting)));
  const gateway = await gatewayTo(t, { [BRANCH]: server.socket });
  await using stack = new AsyncDisposableStack();
  const clients = new Map<string, RawClient>();
  for (let i = 0; i < 30; i++) {
    const client = stack.use(await dial(gateway.address));
    client.send(frames.startupMessage({ user: `app${i}.${BRANCH}`, database: 'shop' }));
    clients.set(`app${i}`, client);
  }
  await gateway.soon('each has asked, and somebody again and again', () => server.startups.length >= 34);
  await gateway.soon('they wait', () => server.clients.size === 0);
  assert.ok(server.startups.length < 60, `${server.startups.length} logins`);
  // Who asks for all leaves: another does.
  const who = new Map(server.startups.at(-1)!.params).get('user')!;
  clients.get(who)!.socket.resetAndDestroy();
  clients.delete(who);
  await gateway.soon('it has left', () => gateway.size() === 29);
  ready = true;
  for (const client of clients.values()) await client.frame('Z');
  for (const client of clients.values()) assert.equal(client.received().includes('57P03'), false);
});

test('who has waited long for a server that is starting hears what it says', async t => {
  const negotiated = frames.message('v', Buffer.concat([frames.int32(0), frames.int32(0)]));
  for (const before of [Buffer.alloc(0), negotiated]) {
    await using server = await fakePostgres(client => void client.end(Buffer.concat([before, starting])));
    const gateway = await gatewayTo(t, { [BRANCH]: server.socket }, { startingMs: 60 });
    await using client = await dial(gateway.address);
    client.send(hello);
    assert.deepEqual(await client.closed(), Buffer.concat([before, starting]));
    assert.ok(server.startups.length > 1);
    await gateway.empty();
  }
});

test('who leaves while a server is starting is gone, and so is who is thrown out', async t => {
  await using server = await fakePostgres(client => void client.end(starting));
  const gateway = await gatewayTo(t, { [BRANCH]: server.socket });
  await using one = await dial(gateway.address);
  await using two = await dial(gateway.address);
  for (const client of [one, two]) client.send(hello);
  await gateway.soon('both wait', () => server.startups.length > 4);
  one.socket.end();
  await gateway.soon('one has left', () => gateway.size() === 1);
  gateway.tell(BRANCH, undefined);
  assert.equal((await two.refusal()).C, '28P01');
  await gateway.empty();
});

const brokenServers: Record<string, (socket: Socket) => void> = {
  'hangs up without a word': socket => void socket.end(),
  'hangs up in the middle of a message': socket => void socket.end(frames.authenticationOk().subarray(0, 6)),
  'announces 2 GiB': socket => {
    socket.write(Buffer.concat([Buffer.from('R'), frames.int32(2 ** 31 - 1)]));
    mute(socket);
  },
  'answers as in protocol 2': socket => void socket.end('Ecould not fork new process\n\0'),
};
for (const [what, script] of Object.entries(brokenServers))
  test(`a server that ${what} during login is 57P03`, async t => {
    await using server = await fakePostgres(script);
    const gateway = await gatewayTo(t, { [BRANCH]: server.socket });
    await using client = await dial(gateway.address);
    client.send(hello);
    assert.equal((await client.refusal()).C, '57P03');
    await gateway.soon('the server side is closed', () => server.clients.size === 0);
  });

// --- hostile clients -----------------------------------------------------------------------------

const hostile: Record<string, readonly [bytes: Buffer, code: string]> = {
  'a startup message behind an SSL request': [Buffer.concat([frames.sslRequest(), hello]), '08P01'],
  'two SSL requests at once': [Buffer.concat([frames.sslRequest(), frames.sslRequest()]), '08P01'],
  'a huge length': [frames.int32(2 ** 31 - 1), '08P01'],
  'a negative length': [frames.int32(-8), '08P01'],
  'an HTTP request': [Buffer.from('GET / HTTP/1.1\r\nhost: x\r\n\r\n'), '08P01'],
  'protocol 2.0': [frames.opening(0x2_0000, Buffer.alloc(288)), '0A000'],
};
for (const [what, [bytes, code]] of Object.entries(hostile))
  test(`${what}: ${code}, and no server hears of it`, async t => {
    await using server = await fakePostgres();
    const gateway = await gatewayTo(t, { [BRANCH]: server.socket });
    await using client = await dial(gateway.address);
    client.send(bytes);
    assert.equal((await client.refusal()).C, code);
    assert.equal(server.startups.length, 0);
  });

test('a second SSL request after the answer is refused', async t => {
  const gateway = await gatewayTo(t, {});
  await using client = await dial(gateway.address);
  client.send(frames.sslRequest());
  await client.bytes(1);
  client.send(frames.sslRequest());
  const all = await client.closed();
  assert.equal(frames.errorFields(frames.readFrames(all.subarray(1))[0]!).C, '08P01');
});

test('direct TLS is closed without a word', async t => {
  const gateway = await gatewayTo(t, {});
  await using client = await dial(gateway.address);
  client.send(Buffer.from([0x16, 3, 1, 2, 0, 1]));
  assert.equal((await client.closed()).length, 0);
});

test('a client that does not come to its point is sent away in time', async t => {
  const gateway = await gatewayTo(t, {}, { startupMs: 60 });
  await using silent = await dial(gateway.address);
  await using slow = await dial(gateway.address);
  slow.send(hello.subarray(0, 20));
  for (const client of [silent, slow]) {
    const { C, M } = await client.refusal();
    assert.deepEqual([C, M], ['57014', 'the login was not complete after 0.06 s']);
  }
});

test('a client that leaves in the middle of its startup message leaves nothing behind', async t => {
  const gateway = await gatewayTo(t, {}, { maxLogins: 1 });
  await using client = await dial(gateway.address);
  client.send(hello.subarray(0, 20));
  client.socket.end();
  assert.equal((await client.closed()).length, 0);
  await gateway.soon('its place is free', () => client.socket.closed);
  await using next = await dial(gateway.address);
  next.send(hello);
  await next.frame('R');
});

test('a login that takes too long is ended on both sides: the branch does not wake, the server does not answer', async t => {
  await using server = await fakePostgres(mute);
  let aborted: AbortSignal | undefined;
  const gateway = await gatewayTo(
    t,
    { [BRANCH]: server.socket },
    { loginMs: 60 },
    async (_branch, signal) => {
      aborted = signal;
      return new Promise(() => {});
    },
  );
  for (const user of [`app.${BRANCH}`, 'app.asleep']) {
    await using client = await dial(gateway.address);
    client.send(frames.startupMessage({ user }));
    assert.equal((await client.refusal()).C, '57014');
  }
  assert.equal(aborted?.aborted, true);
  await gateway.empty();
  await gateway.soon('the server side is closed', () => server.clients.size === 0);
});

test('of many clients at once the surplus is refused, and sessions do not count', async t => {
  await using server = await fakePostgres();
  const answers: (() => void)[] = [];
  await using slow = await fakePostgres(client => void answers.push(() => echo()(client)));
  const gateway = await gatewayTo(t, { [BRANCH]: server.socket, slow: slow.socket }, { maxLogins: 5 });
  await using session = await dial(gateway.address);
  await loggedIn(session);
  await using stack = new AsyncDisposableStack();
  const waiting: RawClient[] = [];
  for (let i = 0; i < 5; i++) {
    waiting.push(stack.use(await dial(gateway.address)));
    waiting[i]!.send(frames.startupMessage({ user: 'app.slow' }));
    await gateway.soon('it waits', () => answers.length === i + 1);
  }
  for (let i = 0; i < 20; i++) {
    await using surplus = await dial(gateway.address);
    assert.equal((await surplus.refusal()).C, '53300');
  }
  for (const answer of answers) answer();
  for (const client of waiting) await client.frame('Z');
});

test('a client that leaves while its branch wakes takes its question back', async t => {
  for (const leave of [(s: Socket) => s.end(), (s: Socket) => s.resetAndDestroy()]) {
    const { promise: asked, resolve: ask } = Promise.withResolvers<AbortSignal>();
    const gateway = await gatewayTo(t, {}, {}, async (_branch, signal) => {
      ask(signal);
      return new Promise(() => {});
    });
    await using client = await dial(gateway.address);
    client.send(hello);
    const signal = await asked;
    assert.deepEqual([...gateway.connections()], [[BRANCH, 1]]);
    leave(client.socket);
    await gateway.empty();
    assert.equal(signal.aborted, true);
  }
});

// --- cancel --------------------------------------------------------------------------------------

test('a cancel request reaches the server that issued the key, and only that one', async t => {
  for (const size of [4, 32, 256]) {
    const secrets = { one: Buffer.alloc(size, 1), two: Buffer.alloc(size, 2) };
    await using one = await fakePostgres(echo(7, secrets.one));
    await using two = await fakePostgres(echo(7, secrets.two));
    const gateway = await gatewayTo(t, { branchone: one.socket, branchtwo: two.socket });
    await using a = await dial(gateway.address);
    await using b = await dial(gateway.address);
    a.send(frames.startupMessage({ user: 'app.branchone' }));
    b.send(frames.startupMessage({ user: 'app.branchtwo' }));
    await Promise.all([a.frame('Z'), b.frame('Z')]);
    await using cancel = await dial(gateway.address);
    cancel.send(frames.cancelRequest(7, secrets.two));
    assert.equal((await cancel.closed()).length, 0);
    assert.deepEqual([one.cancels, two.cancels], [[], [frames.cancelRequest(7, secrets.two)]]);
  }
});

test('keys that are unknown, forgotten or of a stopped server cancel nothing, in silence', async t => {
  const server = await fakePostgres(echo(7, Buffer.from('abcd')));
  const gateway = await gatewayTo(t, { [BRANCH]: server.socket });
  const cancel = async (secret: string) => {
    await using client = await dial(gateway.address);
    client.send(frames.cancelRequest(7, Buffer.from(secret)));
    assert.equal((await client.closed()).length, 0);
  };
  await using client = await dial(gateway.address);
  await loggedIn(client);
  await cancel('abce');
  client.socket.end();
  await gateway.empty();
  await cancel('abcd');
  assert.deepEqual(server.cancels, []);
  await server[Symbol.asyncDispose]();
});

// --- the end -------------------------------------------------------------------------------------

test('a branch that is gone ends its sessions, logins by an error', async t => {
  await using server = await fakePostgres();
  await using silent = await fakePostgres(mute);
  const gateway = await gatewayTo(t, { [BRANCH]: server.socket, other: server.socket, muted: silent.socket });
  await using session = await dial(gateway.address);
  await loggedIn(session);
  await using other = await dial(gateway.address);
  other.send(frames.startupMessage({ user: 'app.other' }));
  await other.frame('Z');
  await using login = await dial(gateway.address);
  login.send(frames.startupMessage({ user: 'app.muted' }));
  await gateway.soon('the login has begun', () => silent.startups.length === 1);
  gateway.tell(BRANCH, undefined);
  gateway.tell('muted', undefined);
  await session.closed();
  assert.equal(behindLogin(session).length, 0);
  assert.equal((await login.refusal()).C, '28P01');
  await gateway.soon('two are gone', () => gateway.connections().size === 1);
  other.send(Buffer.from('still here'));
  await gateway.soon('the echo', () => behindLogin(other).toString() === 'still here');
});

test('another number of sessions ends those that began before, and cancels what they do', async t => {
  await using server = await fakePostgres(echo(7, Buffer.from('abcd')));
  await using silent = await fakePostgres(mute);
  const gateway = await gatewayTo(t, { [BRANCH]: server.socket, muted: silent.socket });
  await using old = await dial(gateway.address);
  await loggedIn(old);
  await using login = await dial(gateway.address);
  login.send(frames.startupMessage({ user: 'app.muted' }));
  await gateway.soon('the login has begun', () => silent.startups.length === 1);
  // The same number: a password that was changed with care for those who are in.
  gateway.tell(BRANCH, { sessions: 1 });
  gateway.tell(BRANCH, { sessions: 1, endpoint: { socket: server.socket } });
  old.send(Buffer.from('still here'));
  await gateway.soon('the echo', () => behindLogin(old).toString() === 'still here');

  gateway.tell('muted', { sessions: 2 });
  const { C, M } = await login.refusal();
  const { message, row } = new OffshootError('gateway/password-changed', { branch: 'muted' });
  assert.deepEqual([C, M], [row.sqlstate, message]);
  gateway.tell(BRANCH, { sessions: 2 });
  await old.closed();
  await gateway.soon('the cancel request', () => server.cancels.length === 1);
  assert.deepEqual(server.cancels, [frames.cancelRequest(7, Buffer.from('abcd'))]);
  gateway.tell(BRANCH, { sessions: 2, endpoint: { socket: server.socket } });
  await using next = await dial(gateway.address);
  await loggedIn(next);
  gateway.tell(BRANCH, { sessions: 2 });
  next.send(Buffer.from('stays'));
  await gateway.soon('the echo', () => behindLogin(next).toString() === 'stays');
});

test('a branch that the book knows is reached without a question; one that has moved, by one', async t => {
  await using server = await fakePostgres();
  const asked: string[] = [];
  const gateway = await gatewayTo(
    t,
    { [BRANCH]: server.socket, moved: '/nonexistent/pg.sock' },
    {},
    async branch => {
      asked.push(branch);
      return { endpoint: { socket: server.socket }, sessions: 1 };
    },
  );
  for (const user of [`app.${BRANCH}`, 'app.moved', 'app.asleep']) {
    await using client = await dial(gateway.address);
    client.send(frames.startupMessage({ user }));
    await client.frame('Z');
  }
  assert.deepEqual(asked, ['moved', 'asleep']);
});

test('a login waits for a server that has just ended, of which nobody has heard yet', async t => {
  await using server = await fakePostgres();
  let asked = 0;
  const socket = () => (++asked < 3 ? '/nonexistent/pg.sock' : server.socket);
  const gateway = await gatewayTo(t, {}, {}, async () => ({ endpoint: { socket: socket() }, sessions: 1 }));
  await using client = await dial(gateway.address);
  await loggedIn(client);
  assert.equal(asked, 3);
});

test('what a server says when it ends a session reaches a client that is just saying something', async t => {
  const words = frames.fatal('57P01', 'terminating connection due to administrator command');
  const ways: Socket[] = [];
  await using server = await fakePostgres(peer => {
    peer.write(Buffer.concat([frames.authenticationOk(), frames.readyForQuery()]));
    peer.resume().once('data', () => {
      peer.write(words);
      peer.destroy();
      // What the client says next, in the same turn: nobody takes it, and the words have not been read yet.
      ways[0]!.write('more');
    });
  });
  const book = createBook();
  book.apply([{ kind: 'branch', name: BRANCH, value: { endpoint: { socket: server.socket }, sessions: 1 } }]);
  const gateway = createGateway({
    ...{ book, awake: unknown, log: silentLog },
    async connect(endpoint, signal) {
      const way = await connectAs()(endpoint, signal);
      ways.push(way);
      return way;
    },
  });
  const address = await gateway.open({ host: '127.0.0.1', port: 0 });
  t.after(async () => {
    await address.close(0);
    gateway.close();
  });
  await using client = await dial(address);
  await loggedIn(client);
  client.send(Buffer.from('a statement'));
  await client.closed();
  assert.deepEqual(behindLogin(client), words);
});

test('close refuses logins, lets sessions end, and then nothing is left', async t => {
  await using server = await fakePostgres();
  await using silent = await fakePostgres(mute);
  const gateway = await gatewayTo(t, { [BRANCH]: server.socket, muted: silent.socket }, { graceMs: 60_000 });
  await using session = await dial(gateway.address);
  await loggedIn(session);
  await using login = await dial(gateway.address);
  login.send(frames.startupMessage({ user: 'app.muted' }));
  await gateway.soon('the login has begun', () => silent.startups.length === 1);
  const closing = gateway.close();
  assert.equal((await login.refusal()).C, '57P01');
  session.send(Buffer.from('a last query'));
  await gateway.soon('the echo', () => behindLogin(session).toString() === 'a last query');
  session.socket.end();
  await closing;
  await session.closed();
  assert.equal(gateway.connections().size, 0);
  await gateway.soon('the server sides are closed', () => server.clients.size + silent.clients.size === 0);
  await assert.rejects(dial(gateway.address), { code: 'ECONNREFUSED' });
});

test('close does not wait for a client that does not read', { timeout: 60_000 }, async t => {
  const block = Buffer.alloc(1024 * 1024);
  let sent = 0;
  await using server = await fakePostgres(async socket => {
    socket.write(Buffer.concat([frames.authenticationOk(), frames.readyForQuery()]));
    for (; ; sent++) if (!socket.write(block)) await new Promise(next => socket.once('drain', next));
  });
  const gateway = await gatewayTo(t, { [BRANCH]: server.socket });
  await using client = await dial(gateway.address);
  client.socket.pause();
  client.send(hello);
  await standsStill(() => sent);
  await gateway.close();
  assert.equal(gateway.connections().size, 0);
});

test('close does not wait for the grace when all sessions are gone', async t => {
  const gateway = await gatewayTo(t, {}, { graceMs: 60_000 });
  await gateway.close();
});

test('a port that is taken is named', async t => {
  const gateway = await gatewayTo(t, {});
  await assert.rejects(gateway.open(gateway.address), {
    code: 'host/port-taken',
    message: `cannot listen on 127.0.0.1:${gateway.address.port} for the Postgres gateway: the port is taken`,
  });
});
