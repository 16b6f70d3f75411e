/** The way to pods in a network that is held by an outpost; here it is a network that we reach, too. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { suite, type TestContext, test } from 'node:test';
import { reachOutpost } from '../../src/lib/outpost.ts';
import { until } from '../../src/lib/wait.ts';
import type { RouteChange, WayIn } from '../../src/model/route.ts';
import { createBook } from '../../src/proxy/book.ts';
import { createPods } from '../../src/proxy/pods.ts';
import { tempDir } from '../support/temp.ts';

const RANGE = '127.88.0.0/16';
const [WITHIN, BESIDE] = ['127.88.0.1', '127.89.0.1'];
const entry = join(import.meta.dirname, '../../src/outpost.ts');

/** A process that makes sockets for us. @returns its unix socket */
async function outpost(t: TestContext) {
  const dir = await tempDir();
  const path = join(dir.path, 'outpost.sock');
  const child = spawn(process.execPath, [entry, '--socket', path], { stdio: 'inherit' });
  const ended = once(child, 'exit');
  const kill = async () => {
    child.kill('SIGKILL');
    await ended;
  };
  t.after(() => kill().then(() => dir[Symbol.asyncDispose]()));
  const asked = reachOutpost(path);
  t.after(() => asked.close());
  const answers = () => asked.take({ kind: 'netlink' }).catch(() => undefined);
  await until(answers, { what: 'the outpost answers', deadlineMs: 60_000 });
  return { path, kill };
}

const setting = (pods?: WayIn): RouteChange =>
  ({ kind: 'setting', name: 'proxy', value: { ...(pods && { pods }) } }) as RouteChange;

const wayBy = (path: string): WayIn => ({
  network: path,
  outpost: path,
  range: RANGE,
  gateway: '127.88.0.2',
  port: 15_001,
});

/** Says hello to everybody, at `host`. */
async function server(t: TestContext, host: string) {
  const one = createServer(socket => socket.on('error', () => {}).end('hello')).listen(0, host);
  t.after(() => one.close());
  await once(one, 'listening');
  return { host, port: (one.address() as AddressInfo).port };
}

async function said(dialled: Promise<Socket>): Promise<string> {
  const socket = await dialled;
  return await text(socket).finally(() => socket.destroy()); // our half is open still
}
const soon = () => AbortSignal.timeout(60_000);

suite('pods', { skip: process.platform !== 'linux' && 'Linux only' }, () => {
  test('are reached as everybody else where no other way is told', async t => {
    const pods = createPods(createBook([]));
    t.after(() => pods.close());
    assert.equal(pods.way(), undefined);
    assert.equal(await said(pods.dial(await server(t, WITHIN), soon())), 'hello');
    await assert.rejects(pods.listener({ host: WITHIN, port: 0 }), /no network of pods/);
    await assert.rejects(pods.datagrams({ host: WITHIN, port: 0 }), /no network of pods/);
  });

  test('are reached by their outpost, and only they; by another one when that is told', async t => {
    const [first, second] = [await outpost(t), await outpost(t)];
    const book = createBook([setting(wayBy(first.path))]);
    const pods = createPods(book);
    t.after(() => pods.close());
    const [inside, beside] = [await server(t, WITHIN), await server(t, BESIDE)];
    for (const address of [inside, beside]) assert.equal(await said(pods.dial(address, soon())), 'hello');
    await assert.rejects(pods.dial({ host: WITHIN, port: 1 }, soon()), { code: 'ECONNREFUSED' });

    await first.kill();
    await assert.rejects(pods.dial(inside, soon()));
    assert.equal(await said(pods.dial(beside, soon())), 'hello');

    book.apply([setting(wayBy(second.path))]);
    assert.equal(await said(pods.dial(inside, soon())), 'hello');
    book.apply([setting()]);
    await second.kill();
    assert.equal(await said(pods.dial(inside, soon())), 'hello');
  });

  test('have sockets of their network made for us, for connections and for packets', async t => {
    const { path } = await outpost(t);
    const pods = createPods(createBook([setting(wayBy(path))]));
    t.after(() => pods.close());
    const listening = createServer(socket => socket.on('error', () => {}).end('made there'));
    listening.listen({ fd: await pods.listener({ host: WITHIN, port: 0 }) });
    t.after(() => listening.close());
    await once(listening, 'listening');
    const { port } = listening.address() as AddressInfo;
    await assert.rejects(pods.listener({ host: WITHIN, port }), { code: 'EADDRINUSE' });
    assert.equal(await said(pods.dial({ host: WITHIN, port }, soon())), 'made there');

    const echo = await pods.datagrams({ host: WITHIN, port: 0 });
    t.after(() => echo.close());
    echo.on('message', (packet, from) => echo.send(`${packet} back`, from.port, from.address));
    const client = await pods.datagramsTo({ host: WITHIN, port: echo.address().port });
    t.after(() => client.close());
    client.send('there and', echo.address().port, WITHIN);
    const [answer] = await once(client, 'message', { signal: soon() });
    assert.equal(String(answer), 'there and back');
  });
});
