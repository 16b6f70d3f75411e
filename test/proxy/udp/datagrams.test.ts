/** UDP passes through: answers find back to who asked, and nobody else's come in. */
import assert from 'node:assert/strict';
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { suite, type TestContext, test } from 'node:test';
import { silentLog } from '../../../src/lib/log.ts';
import { until } from '../../../src/lib/wait.ts';
import type { Address, RouteChange, Target } from '../../../src/model/route.ts';
import { createBook } from '../../../src/proxy/book.ts';
import { createDatagrams, type DatagramLimits } from '../../../src/proxy/udp/datagrams.ts';
import { freeAddress } from '../../support/http.ts';

const soon = (what: string) => ({ what, deadlineMs: 60_000 });
const SERVES = 'svc:demo/dns:53/udp';

async function bound(t: TestContext, onPacket: (packet: Buffer, from: RemoteInfo, socket: Socket) => void) {
  const socket = createSocket('udp4');
  t.after(() => socket.close());
  socket.on('message', (packet, from) => onPacket(packet, from, socket));
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return { socket, at: { host: '127.0.0.1', port: socket.address().port } };
}

/** Answers `<name> <packet>`, and writes down who has asked. */
async function workload(t: TestContext, name: string) {
  const askers = new Set<number>();
  const { at } = await bound(t, (packet, { address, port }, socket) => {
    askers.add(port);
    socket.send(`${name} ${packet}`, port, address);
  });
  return { at, askers };
}

async function client(t: TestContext, to: Address) {
  const heard: string[] = [];
  const { socket } = await bound(t, packet => void heard.push(String(packet)));
  const say = (text: string) => socket.send(text, to.port, to.host);
  return {
    heard,
    say,
    /** Packets get lost, so it is said again. */
    ask: (text: string) =>
      until(
        () => {
          say(text);
          return heard.find(answer => answer.endsWith(text));
        },
        { ...soon(`an answer to ${text}`), everyMs: 50 } as never,
      ),
  };
}

const ready = (...addresses: Address[]): Target => ({ ready: true, ports: { 53: addresses } });

async function start(t: TestContext, target: Target, limits: Partial<DatagramLimits> = {}) {
  const address = await freeAddress();
  const workloadItem = (now: Target): RouteChange => ({
    ...{ kind: 'workload', name: 'demo/dns', value: { label: 'Deployment demo/dns', target: now } },
  });
  const book = createBook([
    { kind: 'service', name: SERVES, value: { label: 'dns', behind: [{ workload: 'demo/dns', port: 53 }] } },
    workloadItem(target),
    { kind: 'datagrams', name: 'dns', value: { ...address, serves: SERVES } },
  ]);
  let told = 0;
  const datagrams = createDatagrams({ book, log: silentLog, limits, onState: () => told++ });
  t.after(() => datagrams.close());
  await datagrams.tried();
  return { address, book, datagrams, told: () => told, lead: (to: Target) => book.apply([workloadItem(to)]) };
}

suite('UDP', () => {
  test('answers find back to each client, whose packets all go to one pod', async t => {
    const [one, two] = [await workload(t, 'one'), await workload(t, 'two')];
    const { address, datagrams } = await start(t, ready(one.at, two.at));
    assert.deepEqual(datagrams.states(), [{ name: 'udp:dns', ...address }]);
    const [a, b] = [await client(t, address), await client(t, address)];
    const first = await a.ask('a1');
    for (let i = 2; i < 6; i++) assert.equal((await a.ask(`a${i}`)).split(' ')[0], first.split(' ')[0]);
    await b.ask('b1');
    assert.ok(a.heard.every(text => text.includes(' a')));
    assert.ok(b.heard.every(text => text.includes(' b')));
    assert.equal(one.askers.size + two.askers.size, 2);
  });

  test('what comes from somebody else than the workload does not get in', async t => {
    const { at, askers } = await workload(t, 'one');
    const { address } = await start(t, ready(at));
    const a = await client(t, address);
    await a.ask('hello');
    const [port] = askers;
    const stranger = await bound(t, () => {});
    stranger.socket.send('forged', port!, '127.0.0.1');
    await a.ask('again');
    assert.ok(!a.heard.includes('forged'));
  });

  test('a pod that goes is left, and packets for nobody are dropped', async t => {
    const [one, two] = [await workload(t, 'one'), await workload(t, 'two')];
    const { address, lead } = await start(t, ready(one.at));
    const a = await client(t, address);
    assert.equal(await a.ask('x'), 'one x');
    lead({ ready: false, reason: 'Starting', message: 'it starts' });
    a.say('lost');
    lead(ready(two.at));
    assert.equal(await a.ask('y'), 'two y');
  });

  test('a pod with a network of its own is asked at its address, declared or not', async t => {
    const { at } = await workload(t, 'own');
    const { book, address } = await start(t, { ready: true, ports: {}, ips: [at.host] });
    const behind = [{ workload: 'demo/dns', port: at.port }];
    book.apply([{ kind: 'service', name: SERVES, value: { label: 'dns', behind } }]);
    assert.equal(await (await client(t, address)).ask('z'), 'own z');
  });

  test('sessions have an end and a number', async t => {
    const { at, askers } = await workload(t, 'one');
    const { address } = await start(t, ready(at), { sessions: 1, idleMs: 100 });
    const [a, b] = [await client(t, address), await client(t, address)];
    await a.ask('a');
    await b.ask('b'); // it takes the place of the first
    await a.ask('c');
    assert.ok(askers.size >= 3, `${askers.size}`);
  });

  test('another proxy takes the port while the first one has it', async t => {
    const { at } = await workload(t, 'one');
    const { book, address, datagrams } = await start(t, ready(at));
    const a = await client(t, address);
    await a.ask('before');
    const next = createDatagrams({ book, log: silentLog, onState() {} });
    t.after(() => next.close());
    await next.tried();
    await a.ask('beside');
    datagrams.close();
    await a.ask('after');
  });

  test('a port that is taken is told, and opened when it is free', async t => {
    const address = await freeAddress();
    const other = createSocket('udp4');
    other.bind(address.port, address.host);
    await once(other, 'listening');
    const book = createBook([{ kind: 'datagrams', name: 'dns', value: { ...address, serves: SERVES } }]);
    const datagrams = createDatagrams({ book, log: silentLog, onState() {} });
    t.after(() => datagrams.close());
    await datagrams.tried();
    assert.equal(datagrams.states()[0]?.error?.code, 'host/port-taken');
    other.close();
    await until(() => datagrams.states()[0]?.error === undefined || undefined, soon('the port'));
    book.apply([{ kind: 'datagrams', name: 'dns' }]);
    assert.deepEqual(datagrams.states(), []);
  });
});
