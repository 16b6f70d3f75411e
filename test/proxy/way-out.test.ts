/** What pods ask for that is not for another pod, on a machine of its own whose rules lead all of it to us. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { suite, type TestContext, test } from 'node:test';
import { readRange } from '../../src/drivers/network/range.ts';
import { destination, replaceTable, sendTo, tcp } from '../../src/drivers/network/rules.ts';
import { dial } from '../../src/lib/dial.ts';
import { libc } from '../../src/lib/libc.ts';
import { silentLog } from '../../src/lib/log.ts';
import { nameServer } from '../../src/lib/name-server.ts';
import { families, openNetlink } from '../../src/lib/netlink.ts';
import { until } from '../../src/lib/wait.ts';
import { type Address, addressKey } from '../../src/model/route.ts';
import type { Server } from '../../src/proxy/listeners.ts';
import { openWayOut } from '../../src/proxy/way-out.ts';
import { ask, own as gateway, noNetworks, testMachine } from '../support/networks.ts';

const isRoot = process.getuid?.() === 0;
const missing = isRoot ? await noNetworks() : 'only root makes machines of its own';
const PORT = 15_001;
const STAYS = '203.0.113.7';

/**
 * A machine with a way out.
 * @param services what is served, by address @param refused addresses at which nobody is
 */
async function wayOut(
  t: TestContext,
  services: Readonly<Record<string, Server>> = {},
  refused: readonly string[] = [],
) {
  const machine = await testMachine();
  t.after(() => machine[Symbol.asyncDispose]());
  const calls = await libc();
  const netfilter = machine.inside.within(() => openNetlink(calls, families.netfilter));
  t.after(() => netfilter.close());
  const led = [[destination.notIn(readRange('127.0.0.1/32')!), tcp(), sendTo(gateway, PORT)]];
  replaceTable(netfilter, 'test', [{ name: 'out', hook: 'output', type: 'nat', rules: led }]);
  // All the world: it says what it was asked as, and stays with one of those who ask.
  const asked: string[] = [];
  const world = createServer(socket => {
    socket.on('error', () => {}).write(`you are at ${asked.at(-1)}`);
    if (!asked.at(-1)!.startsWith(STAYS)) socket.end();
  }).listen(0, '127.0.0.1');
  t.after(() => world.close());
  await once(world, 'listening');
  const { port } = world.address() as AddressInfo;
  const pods = {
    listener: async (at: Address) => machine.inside.within(() => calls.bound('stream', at.host, at.port)),
    dial: (at: Address, signal?: AbortSignal) => {
      asked.push(addressKey(at));
      return dial({ host: '127.0.0.1', port: refused.includes(at.host) ? 1 : port }, signal);
    },
  } as never;
  const serverAt = (address: Address) => services[addressKey(address)];
  const server = await openWayOut({ host: gateway, port: PORT }, { pods, serverAt, log: silentLog });
  t.after(() => server.close(0));
  /** What a program hears that ends when it has said nothing. */
  const hear = (host: string, port: number) => ask(machine.inside, host, port, { from: gateway });
  return { server, asked, hear, machine };
}

/** A Service that says its name. */
const service = (name: string): Server =>
  ({ accept: (client: Socket) => void client.on('error', () => {}).end(name) }) as unknown as Server;

suite('the way out', { skip: missing ?? false, concurrency: true }, () => {
  test('serves a Service as if it had been asked at its address, also a low port at the one that it has here', async t => {
    const { hear, asked, server } = await wayOut(t, {
      '127.77.1.1:6379': service('cache'),
      '127.77.1.1:8025': service('mail'),
    });
    assert.equal(await hear('127.77.1.1', 6379), 'cache');
    assert.equal(await hear('127.77.1.1', 25), 'mail');
    assert.deepEqual(asked, []);
    assert.equal(server.connections(), 0);
  });

  test('leads everything else on from this machine, and refuses what nobody accepts', async t => {
    const { hear, asked, server } = await wayOut(t, {}, ['203.0.113.9']);
    assert.equal(await hear('203.0.113.5', 443), 'you are at 203.0.113.5:443');
    assert.equal(await hear('203.0.113.9', 443), 'refused');
    assert.deepEqual(asked, ['203.0.113.5:443', '203.0.113.9:443']);
    const none = () => (server.connections() === 0 ? true : undefined);
    await until(none, { what: 'nobody is connected', deadlineMs: 60_000 });
  });

  test('leads what is asked of the bridge to this machine, and neither to itself nor to other loopback addresses', async t => {
    const { hear, asked } = await wayOut(t);
    await hear(gateway, 5432);
    await hear(gateway, 53);
    assert.deepEqual(asked, ['127.0.0.1:5432', `${nameServer()}:53`]);
    assert.equal(await hear(gateway, PORT), 'refused');
    assert.equal(await hear('127.0.0.9', 80), 'refused');
    assert.equal(asked.length, 2);
  });

  test('lets who is there go on while it drains, and ends them when it closes', async t => {
    const { hear, server } = await wayOut(t);
    const heard = hear(STAYS, 80);
    const one = () => (server.connections() === 1 ? true : undefined);
    await until(one, { what: 'somebody is connected', deadlineMs: 60_000 });
    let drained = false;
    const draining = server.drain().then(() => {
      drained = true;
    });
    assert.equal(await hear('203.0.113.5', 443), 'refused');
    assert.equal(drained, false);
    await server.close(0);
    await draining;
    assert.notEqual(await heard, 'silence');
  });
});
