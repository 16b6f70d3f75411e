/** A sidecar as a process: what it does with a controller, without one any more, and when it has never heard one. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { WebSocket, WebSocketServer } from 'ws';
import { keepAuthority } from '../src/authority.ts';
import { until } from '../src/lib/wait.ts';
import type { Address, RouteChange, Target } from '../src/model/route.ts';
import { ask, dial, freeAddress, serveHttp, serveTcp } from './support/http.ts';
import { askHttp2, openHttp2, serveHttp2 } from './support/http2.ts';
import { tempDir } from './support/temp.ts';

const soon = (what: string) => ({ what, deadlineMs: 60_000 });
const file = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** Text that a child has written so far. */
function heard(stream: NodeJS.ReadableStream): () => string {
  let text = '';
  stream.on('data', chunk => {
    text += chunk;
  });
  return () => text;
}

function start(t: TestContext, ...args: readonly string[]): ChildProcess {
  const child = spawn(process.execPath, args, { stdio: 'pipe' });
  t.after(() => void child.kill('SIGKILL'));
  return child;
}

async function kill(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL');
  await once(child, 'exit');
}

async function controller(t: TestContext, home: string, { port }: Address, first: readonly RouteChange[]) {
  const child = start(t, file('support/controller-process.ts'), home, String(port));
  const [said, wrong] = [heard(child.stdout!), heard(child.stderr!)];
  const say = (items: readonly RouteChange[]) => child.stdin!.write(`${JSON.stringify(items)}\n`);
  say(first);
  await until(() => said().includes('up') || undefined, soon('the controller')).catch(error => {
    throw new Error(wrong(), { cause: error });
  });
  return {
    kill: () => kill(child),
    async tell(items: readonly RouteChange[]) {
      const before = said().length;
      say(items);
      await until(() => said().length > before || undefined, soon('all are told'));
    },
  };
}

async function sidecar(
  t: TestContext,
  programs: readonly Address[],
  o: { readonly controller: Address; readonly identity: string; readonly table?: string },
) {
  const child = start(
    t,
    ...[file('../src/cli/main.ts'), 'sidecar', '--workload', 'shop/users', '--host', '127.0.0.1'],
    ...programs.flatMap(({ port }) => ['--port', `0:${port}`]),
    ...['--controller', `127.0.0.1:${o.controller.port}`, '--identity', o.identity, '--header', 'X-Key'],
    ...(o.table === undefined ? [] : ['--table', o.table]),
  );
  const log = heard(child.stderr!);
  const addressOf = ({ port }: Address): Address | undefined => {
    const [, at] = new RegExp(`"program":${port},"host":"127.0.0.1","port":(\\d+)`).exec(log()) ?? [];
    return at === undefined ? undefined : { host: '127.0.0.1', port: Number(at) };
  };
  const addresses: Address[] = [];
  for (const one of programs) addresses.push(await until(() => addressOf(one), soon('the sidecar')));
  return { addresses, log, child, kill: () => kill(child) };
}

/** A program with three ports, HTTP/1, HTTP/2 and one that speaks first; and a fork of it. */
async function world(t: TestContext) {
  const serve = async (who: string) => {
    const sockets = new WebSocketServer({ noServer: true });
    t.after(() => sockets.close());
    sockets.on('connection', socket => socket.on('message', data => socket.send(`${who} ${data}`)));
    const onUpgrade = (request: IncomingMessage, socket: Duplex, head: Buffer) =>
      sockets.handleUpgrade(request, socket, head, client => sockets.emit('connection', client));
    return [
      await serveHttp(t, (_request, response) => response.end(who), { onUpgrade }),
      await serveHttp2(t, stream => {
        stream.respond({ ':status': 200 });
        stream.end(who);
      }),
      await serveTcp(t, socket => void socket.write(`hello of ${who}`)),
    ];
  };
  const [program, fork] = [await serve('local'), await serve('fork')];
  const target: Target = {
    ready: true,
    ports: Object.fromEntries(program.map(({ port }, i) => [port, [fork[i]!]])),
  };
  const items: readonly RouteChange[] = [
    { kind: 'fork', name: 'shop/users/k', value: { sandbox: 'mine', target } },
    {
      ...{ kind: 'fork', name: 'shop/users/slow' },
      value: { sandbox: 'late', target: { ready: false, reason: 'Starting', message: 'its pod starts' } },
    },
    { kind: 'fork', name: 'shop/orders/other', value: { sandbox: 'other', target } },
    { kind: 'tombstone', name: 'dead', value: { sandbox: 'old', workloads: ['shop/users'] } },
    {
      ...{ kind: 'setting', name: 'proxy' },
      value: { domain: 'x', headers: ['x-key', 'x-told'], keepRevoked: false, drainMs: 1 },
    },
  ];
  return { program, items };
}

const withKey = (key: string) => ({ headers: { baggage: `sd-routing-key=${key}` } });

/** Body, or status and code of the error. */
async function answer(to: Address, options: Parameters<typeof ask>[1] = {}): Promise<string> {
  const { status, body } = await ask(to, options);
  if (status === 200) return body;
  const { code, error } = JSON.parse(body) as { code: string; error: string };
  return `${status} ${code}${code === 'proxy/fork-not-ready' ? ` ${/Starting: its pod starts/.exec(error)}` : ''}`;
}

async function openSocket(t: TestContext, { port }: Address, key: string) {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/`, withKey(key));
  t.after(() => socket.terminate());
  const said: string[] = [];
  socket.on('message', data => said.push(String(data)));
  socket.on('error', () => {});
  await until(() => socket.readyState === WebSocket.OPEN || undefined, soon('the WebSocket'));
  return async (text: string) => {
    socket.send(text);
    return await until(() => said.find(one => one.endsWith(text)), soon(`an answer to ${text}`));
  };
}

test('with a controller, without it any more, and without ever having heard one', async t => {
  const home = await tempDir();
  t.after(() => home[Symbol.asyncDispose]());
  const identity = join(home.path, 'users.pem');
  const authority = keepAuthority(home.path, 'test', ['localhost', '127.0.0.1'], Date.now());
  writeFileSync(identity, authority.identity('workload/shop/users'), { mode: 0o600 });
  const { program, items } = await world(t);
  const at = { host: '127.0.0.1', port: (await freeAddress()).port };
  const table = join(home.path, 'kept', 'table');
  const options = { controller: at, identity };
  const [keeping, bare] = await Promise.all([
    sidecar(t, program, { ...options, table }),
    sidecar(t, program, options),
  ]);
  const untold = async ([http1, http2, tcp]: readonly Address[]) => {
    assert.equal(await answer(http1!), 'local');
    const refused = await ask(http1!, withKey('k'));
    assert.deepEqual([refused.status, JSON.parse(refused.body).code], [503, 'proxy/no-table']);
    assert.equal(await answer(http1!, { headers: { 'x-key': 'k' } }), '503 proxy/no-table');
    const session = openHttp2(t, http2!);
    assert.equal((await askHttp2(session, {})).body, 'local');
    const greeting = dial(t, tcp!);
    await until(() => greeting.received() === 'hello of local' || undefined, soon('what passes through'));
    greeting.socket.destroy();
    session.destroy();
  };
  await untold(keeping.addresses);
  await untold(bare.addresses);

  const first = await controller(t, home.path, at, items);
  const told = async ([http1, http2, tcp]: readonly Address[]) => {
    await until(
      () => answer(http1!, withKey('k')).then(text => (text === 'fork' ? true : undefined)),
      soon('the table'),
    );
    assert.equal(await answer(http1!), 'local');
    assert.equal(await answer(http1!, { headers: { 'x-told': 'k' } }), 'fork');
    assert.equal(await answer(http1!, withKey('slow')), '503 proxy/fork-not-ready Starting: its pod starts');
    assert.equal(await answer(http1!, withKey('dead')), '410 proxy/sandbox-gone');
    assert.equal(await answer(http1!, withKey('other')), 'local', 'a key of another workload');
    const session = openHttp2(t, http2!);
    assert.equal((await askHttp2(session, {})).body, 'local');
    assert.equal((await askHttp2(session, withKey('k').headers)).body, 'fork');
    const greeting = dial(t, tcp!);
    await until(() => greeting.received() === 'hello of local' || undefined, soon('what passes through'));
    greeting.socket.destroy();
    session.destroy();
  };
  await told(keeping.addresses);
  await told(bare.addresses);
  const [socket, local] = [
    await openSocket(t, bare.addresses[0]!, 'k'),
    await openSocket(t, bare.addresses[0]!, 'none'),
  ];
  assert.deepEqual([await socket('a'), await local('b')], ['fork a', 'local b']);

  await first.kill();
  await told(keeping.addresses);
  await told(bare.addresses);
  assert.deepEqual([await socket('c'), await local('d')], ['fork c', 'local d']);
  await Promise.all([keeping.kill(), bare.kill()]);
  assert.ok(existsSync(table));
  const [again, anew] = await Promise.all([
    sidecar(t, program, { ...options, table }),
    sidecar(t, program, options),
  ]);
  await told(again.addresses);
  await untold(anew.addresses);

  const orders = join(home.path, 'orders.pem');
  writeFileSync(orders, authority.identity('workload/shop/orders'), { mode: 0o600 });
  const foreign = await sidecar(t, program, { ...options, identity: orders });
  const second = await controller(t, home.path, at, items);
  await told(anew.addresses);
  await second.tell([
    { kind: 'fork', name: 'shop/users/k' },
    { kind: 'tombstone', name: 'k', value: { sandbox: 'mine', workloads: ['shop/users'] } },
  ]);
  for (const { addresses } of [again, anew]) {
    // One may still look for its controller; until then it serves what it knew.
    const answers = new Set<string>();
    const last = async () => answers.add(await answer(addresses[0]!, withKey('k'))) && [...answers].at(-1);
    const gone = async () => ((await last()) === '410 proxy/sandbox-gone' ? true : undefined);
    await until(gone, soon('the tombstone'));
    assert.ok(!answers.has('local'), 'never to the baseline');
  }
  await until(() => foreign.log().includes('that of somebody else') || undefined, soon('the log'));
  await untold(foreign.addresses);
  // Asked to end, it lets go of who is idle, and has ended.
  anew.child.kill('SIGTERM');
  await until(() => anew.child.exitCode !== null || undefined, soon('its end'));
  assert.match(anew.log(), /"msg":"the sidecar ends"/);
});
