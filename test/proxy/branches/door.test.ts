/** The door of a branch node between a gateway, hand-made peers and scripted servers: who comes in, and what each gets. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect as connectTcp, createServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { type Identity, isServer } from '../../../src/lib/identity.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { until } from '../../../src/lib/wait.ts';
import { OffshootError } from '../../../src/model/errors.ts';
import type { BranchInsight } from '../../../src/model/insight.ts';
import { createBook } from '../../../src/proxy/book.ts';
import { askForLog, askNode, dialBranch } from '../../../src/proxy/branches/dial.ts';
import { type BehindDoor, type DoorOptions, openNodeDoor } from '../../../src/proxy/branches/door.ts';
import { createGateway } from '../../../src/proxy/postgres/gateway.ts';
import { connectAs } from '../../../src/proxy/postgres/socket.ts';
import { echo, fakePostgres, mute } from '../../support/fake-postgres.ts';
import { sourceOf, testAuthority } from '../../support/identities.ts';
import * as frames from '../../support/pg-frames.ts';
import { dial } from '../../support/raw-client.ts';

const BRANCH = 'abcd1234';
const NODE = 'branches-0';

const nothing: BehindDoor = {
  async awake(branch) {
    throw new OffshootError('gateway/branch-unknown', { branch });
  },
  space: () => Promise.reject(new Error('unused')),
  unclaimed: async () => [],
  async *logs() {},
  insight: async () => null,
};

/** A door, and the way to it as somebody. */
async function doorTo(t: TestContext, behind: Partial<BehindDoor>, options: Partial<DoorOptions> = {}) {
  const authority = testAuthority();
  const server = await openNodeDoor({
    ...{ host: '127.0.0.1', port: 0, identity: authority.source(`node/${NODE}`), log: silentLog },
    behind: { ...nothing, ...behind },
    ...options,
  });
  t.after(() => server.close());
  const door = { node: NODE, host: server.host, port: server.port };
  /** Hand-made: what is said, it says by itself. */
  const knock = async (identity: Partial<Identity>): Promise<TLSSocket> => {
    const socket = connectTls({
      ...{ host: door.host, port: door.port, ca: authority.ca, ...identity },
      checkServerIdentity: isServer(`node/${NODE}`),
    });
    t.after(() => socket.destroy());
    socket.on('error', () => {});
    await new Promise<void>(resolve => {
      socket.once('secureConnect', resolve);
      socket.once('close', () => resolve());
    });
    return socket;
  };
  return { authority, server, door, knock };
}

const never = (): AbortSignal => new AbortController().signal;
const code = (code: string) => (error: unknown) => error instanceof OffshootError && error.code === code;

/** All that comes until the end. */
async function said(socket: Socket): Promise<string> {
  let text = '';
  socket.on('data', chunk => {
    text += chunk;
  });
  if (!socket.closed) await new Promise<void>(resolve => socket.once('close', () => resolve()));
  return text;
}

test('a client of the gateway talks to the server of its branch, and cancels there', async t => {
  await using postgres = await fakePostgres(echo(7, Buffer.from('abcd')));
  const { door, authority } = await doorTo(t, { awake: async () => ({ socket: postgres.socket }) });
  const book = createBook();
  book.apply([
    { kind: 'branch', name: BRANCH, value: { endpoint: { ...door, branch: BRANCH }, sessions: 1 } },
  ]);
  const gateway = createGateway({
    ...{ book, log: silentLog, connect: connectAs(authority.source('gateway')) },
    awake: () => Promise.reject(new Error('nobody has to be asked')),
  });
  const server = await gateway.open({ host: '127.0.0.1', port: 0 });
  t.after(async () => {
    await server.close(0);
    gateway.close();
  });
  const client = await dial(server);
  client.send(frames.startupMessage({ user: `app.${BRANCH}`, database: 'shop' }));
  await client.frame('Z');
  client.send(Buffer.from('through the door and back'));
  await until(() => client.received().includes('through the door and back') || undefined, {
    ...{ what: 'the echo', deadlineMs: 10_000 },
  });
  const other = await dial(server);
  other.send(frames.cancelRequest(7, Buffer.from('abcd')));
  await until(() => postgres.cancels[0], { what: 'the cancel request', deadlineMs: 10_000 });
  client.socket.end();
  await until(() => postgres.clients.size === 0 || undefined, { what: 'both ends', deadlineMs: 10_000 });
});

test('what the node says of a branch reaches the one who asked', async t => {
  const { door, authority } = await doorTo(t, {
    async awake(branch) {
      if (branch === 'full') throw new OffshootError('gateway/branch-stopped', { branch, limit: '1 GiB' });
      if (branch === 'gone') return { socket: '/nonexistent/pg.sock' };
      throw new OffshootError('gateway/branch-unknown', { branch });
    },
  });
  const way = (branch: string) => dialBranch({ ...door, branch }, authority.source('gateway'), never());
  await assert.rejects(way('full'), (error: OffshootError) => {
    return error.code === 'gateway/branch-stopped' && error.params.limit === '1 GiB';
  });
  await assert.rejects(way('gone'), code('gateway/branch-not-ready'));
  await assert.rejects(way('none'), code('gateway/branch-unknown'));
});

test('a login waits for a branch node that is just being replaced', async t => {
  await using postgres = await fakePostgres();
  const { door, authority } = await doorTo(t, { awake: async () => ({ socket: postgres.socket }) });
  // Its pod before had another address, where nobody of ours is any more.
  const strangers = createServer(socket => socket.destroy()).listen(0, '127.0.0.1');
  t.after(() => void strangers.close());
  await once(strangers, 'listening');
  const before = { ...door, port: (strangers.address() as AddressInfo).port, branch: BRANCH };
  const now = { ...door, branch: BRANCH };
  const book = createBook();
  book.apply([{ kind: 'branch', name: BRANCH, value: { endpoint: before, sessions: 1 } }]);
  const asked: string[] = [];
  const gateway = createGateway({
    ...{ book, log: silentLog, connect: connectAs(authority.source('gateway')) },
    async awake(branch) {
      asked.push(branch);
      return { endpoint: asked.length < 3 ? before : now, sessions: 1 };
    },
  });
  const server = await gateway.open({ host: '127.0.0.1', port: 0 });
  t.after(async () => {
    await server.close(0);
    gateway.close();
  });
  await using client = await dial(server);
  client.send(frames.startupMessage({ user: `app.${BRANCH}`, database: 'shop' }));
  await client.frame('Z');
  assert.equal(asked.length, 3);
});

test('nobody comes in but gateways and controllers of the same authority', async t => {
  const { knock, authority } = await doorTo(t, {});
  for (const who of [authority.issue('workload/shop/users'), authority.issue('node/other'), {}])
    assert.equal(await said(await knock(who)), '');
  const stranger = testAuthority().issue('gateway');
  assert.equal(await said(await knock({ cert: stranger.cert, key: stranger.key })), '');
});

test('a gateway asks no more of a node than its branches', async t => {
  const { door, authority } = await doorTo(t, {});
  const ask = (who: string) => askNode(door, { want: 'unclaimed' }, authority.source(who), never());
  await assert.rejects(ask('gateway'), code('branch/node-refuses'));
  assert.deepEqual(await ask('controller'), []);
});

test('what a server knows of its work is asked there, too', async t => {
  const asked: string[] = [];
  const insight = { at: 'now' } as BranchInsight;
  const { door, authority } = await doorTo(t, {
    async insight(id) {
      asked.push(id);
      return id === 'br1' ? insight : null;
    },
  });
  const ask = (who: string, id: string) =>
    askNode(door, { want: 'insight', id }, authority.source(who), never());
  assert.deepEqual([await ask('controller', 'br1'), await ask('controller', 'br2')], [insight, null]);
  await assert.rejects(ask('gateway', 'br1'), code('branch/node-refuses'));
  assert.deepEqual(asked, ['br1', 'br2']);
});

test('another node at the same address is not talked to', async t => {
  const { door, authority } = await doorTo(t, { unclaimed: async () => [{ id: 'brlost' }] });
  const who = authority.source('controller');
  await assert.rejects(
    askNode({ ...door, node: 'branches-1' }, { want: 'unclaimed' }, who, never()),
    /this is not node\/branches-1/,
  );
});

test('a node that has another address now is found by its name', async t => {
  const { door, authority } = await doorTo(t, {});
  const strangers = createServer(socket => socket.destroy()).listen(door.port, '127.0.0.2');
  t.after(() => void strangers.close());
  await once(strangers, 'listening');
  const moved = { ...door, host: '127.0.0.2', name: '127.0.0.1' };
  const who = authority.source('controller');
  assert.deepEqual(await askNode(moved, { want: 'unclaimed' }, who, never()), []);
});

test('logs come line by line, until who asked has heard enough', async t => {
  let left = false;
  const { door, authority } = await doorTo(t, {
    async *logs(id, { lines }, signal) {
      for (let n = 1; n <= lines; n++) yield `${id} ${n}`;
      await new Promise(resolve => signal.addEventListener('abort', resolve));
      left = true;
    },
  });
  const query = { want: 'logs', id: 'br1', query: { lines: 3, follow: true } } as const;
  const heard: string[] = [];
  for await (const line of askForLog(door, query, authority.source('controller'), never())) {
    heard.push(line);
    if (heard.length === 3) break;
  }
  assert.deepEqual(heard, ['br1 1', 'br1 2', 'br1 3']);
  await until(() => left || undefined, { what: 'the node hears of it', deadlineMs: 10_000 });
});

test('who says nothing, too much or nonsense is let go', async t => {
  const { knock, authority } = await doorTo(t, {}, { openingMs: 200 });
  const as = authority.issue('gateway');
  assert.match(await said(await knock(as)), /^(\{"error":.*\n)?$/, 'says nothing');
  for (const words of [
    'x'.repeat(100_000),
    'no json\n',
    '{"want":"everything"}\n',
    '{"want":"branch"}\n',
    '7\n',
  ]) {
    const socket = await knock(as);
    socket.write(words);
    assert.doesNotMatch(await said(socket), /"ok"/, words.slice(0, 20));
  }
  // No TLS at all.
  const { server } = await doorTo(t, {}, { openingMs: 200 });
  const plain = connectTcp(server);
  plain.on('error', () => {});
  plain.write('{"want":"unclaimed"}\n');
  assert.doesNotMatch(await said(plain), /"ok"/);
});

test('without an identity nobody comes in; with the next one everybody does', async t => {
  const authority = testAuthority();
  let identity: Identity | undefined;
  const identityNow = sourceOf(() => {
    if (identity === undefined) throw new Error('the controller has not said yet who this is');
    return identity;
  });
  const { door } = await doorTo(t, {}, { identity: identityNow });
  const ask = () => askNode(door, { want: 'unclaimed' }, authority.source('controller'), never());
  await assert.rejects(ask());
  identity = authority.issue(`node/${NODE}`);
  assert.deepEqual(await ask(), []);
});

test('closing the door ends what goes through it', async t => {
  await using postgres = await fakePostgres(mute);
  const { door, authority, server } = await doorTo(t, { awake: async () => ({ socket: postgres.socket }) });
  const socket = await dialBranch({ ...door, branch: BRANCH }, authority.source('gateway'), never());
  const closed = once(socket, 'close');
  socket.write(frames.startupMessage({ user: 'app', database: 'shop' }));
  await until(() => postgres.startups[0], { what: 'the login', deadlineMs: 10_000 });
  await server.close();
  await closed;
  await until(() => postgres.clients.size === 0 || undefined, {
    what: 'the server hears',
    deadlineMs: 10_000,
  });
});
