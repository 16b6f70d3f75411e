import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import {
  addAddress,
  addRoute,
  configure,
  linkNamed,
  links,
  routes,
  setting,
  settings,
} from '../../../src/drivers/network/links.ts';
import { readRange } from '../../../src/drivers/network/range.ts';
import { tables } from '../../../src/drivers/network/rules.ts';
import { libc } from '../../../src/lib/libc.ts';
import { families, openNetlink } from '../../../src/lib/netlink.ts';
import {
  anywhere,
  ask,
  neighbour,
  noNetworks,
  own,
  type Place,
  serve,
  silent,
  testMachine,
} from '../../support/networks.ts';
import { tempDir } from '../../support/temp.ts';

const missing = await noNetworks();
const calls = await libc();

describe('networks of pods', { skip: missing ?? false, concurrency: true }, () => {
  it('give each pod an address of its own: programs with one port run side by side, for each other and for the machine', async () => {
    await using machine = await testMachine();
    await using home = await tempDir();
    const networks = await machine.open(home.path);
    const [a, b] = [await networks.ensure('workload/a/0'), await networks.ensure('workload/b/0')];
    {
      await using _a = await serve(a, '0.0.0.0', 8080, 'a');
      await using _b = await serve(b, '::', 8080, 'b');
      const gateway = networks.gateway();
      assert.equal(await ask(a, b.ip, 8080), `b ${a.ip}`);
      assert.equal(await ask(b, a.ip, 8080), `a ${b.ip}`);
      assert.equal(await ask(a, '127.0.0.1', 8080), 'a 127.0.0.1');
      assert.equal(await ask(machine.inside, a.ip, 8080), `a ${gateway}`);
      assert.equal(await ask(machine.inside, b.ip, 8080), `b ${gateway}`);
      assert.equal(await ask(machine.inside, '127.0.0.1', 8080), 'refused');
    }
    await networks.close();
  });

  it('lead out, where pods seem to be the machine, and let nothing in but answers', async () => {
    await using machine = await testMachine();
    await using home = await tempDir();
    const networks = await machine.open(home.path);
    const pod = await networks.ensure('workload/a/0');
    const service = networks.services!.address('users', 0);
    {
      await using _pod = await serve(pod, '0.0.0.0', 8080, 'pod');
      await using _service = await serve(machine.inside, service, 3000, 'service');
      await using _machine = await serve(machine.inside, '0.0.0.0', 9000, 'machine');
      await using _outside = await serve(machine.outside, '0.0.0.0', 80, 'outside');
      assert.equal(await ask(pod, neighbour, 80), `outside ${own}`);
      assert.equal(await ask(pod, service, 3000), `service ${pod.ip}`);
      assert.equal(await ask(machine.inside, service, 3000), `service ${service}`);

      // A neighbour who knows the way, first as himself, then as one of us.
      route(machine.outside, '10.208.0.0/12', own);
      assert.equal(await ask(machine.outside, own, 9000), `machine ${neighbour}`);
      for (const [ip, port] of [
        [pod.ip, 8080],
        [service, 3000],
        [networks.gateway(), 9000],
      ] as const)
        assert.ok(await silent(machine.outside, ip, port), `${ip}:${port}`);
      const claimed = networks.address('workload/other/0');
      await neighbourClaims(claimed, machine.outside);
      for (const [ip, port] of [
        [pod.ip, 8080],
        [service, 3000],
        [own, 9000],
      ] as const)
        assert.ok(await silent(machine.outside, ip, port, claimed), `${ip}:${port} as ${claimed}`);
    }
    await networks.close();
  });

  it('lead connections to ports of Services straight to pods, and back when there are none', async () => {
    await using machine = await testMachine();
    await using home = await tempDir();
    const networks = await machine.open(home.path);
    const [a, b] = [await networks.ensure('workload/a/0'), await networks.ensure('workload/b/0')];
    const host = networks.services!.address('db', 0);
    const pods = [a, b].map(({ ip }) => ({ host: ip, port: 5432 }));
    {
      await using _a = await serve(a, '0.0.0.0', 5432, 'a');
      await using _b = await serve(b, '::', 5432, 'b');
      await using _service = await serve(machine.inside, host, 80, 'proxy');
      // By way of us: pods are neighbours, and would answer each other past the kernel that has led them here.
      const back = networks.gateway();
      networks.shorten([{ host, port: 80, pods: pods.slice(0, 1) }]);
      assert.deepEqual(await Promise.all([a, b, machine.inside].map(place => ask(place, host, 80))), [
        `proxy ${a.ip}`,
        `a ${back}`,
        `a ${back}`,
      ]);
      networks.shorten([{ host, port: 80, pods }]);
      const seen = new Set<string>();
      for (let i = 0; i < 50 && seen.size < 2; i++) seen.add(await ask(machine.inside, host, 80));
      assert.deepEqual([...seen].sort(), [`a ${back}`, `b ${back}`]);

      route(machine.outside, '10.208.0.0/12', own);
      assert.ok(await silent(machine.outside, host, 80));
      for (const none of [[], [{ host, port: 80, pods: [{ host: '127.0.0.1', port: 1 }] }]]) {
        networks.shorten(none);
        assert.equal(await ask(b, host, 80), `proxy ${b.ip}`);
      }
      networks.shorten([{ host, port: 80, pods }]);
    }
    await networks.close();
    assert.deepEqual(
      machine.inside.within(() => tables(openNetlink(calls, families.netfilter))),
      [],
    );
  });

  it('of two data directories on one machine have different addresses and nothing to do with each other', async () => {
    await using machine = await testMachine();
    await using homeA = await tempDir();
    await using homeB = await tempDir();
    const [a, b] = [await machine.open(homeA.path), await machine.open(homeB.path)];
    const [podA, podB] = [await a.ensure('workload/x/0'), await b.ensure('workload/x/0')];
    assert.notEqual(a.gateway(), b.gateway());
    {
      await using _a = await serve(podA, '0.0.0.0', 8080, 'a');
      await using _service = await serve(machine.inside, a.services!.address('users', 0), 3000, 'service');
      assert.ok(await silent(podB, podA.ip, 8080));
      assert.ok(await silent(podB, a.services!.address('users', 0), 3000));
      await b.close();
      assert.equal(await ask(machine.inside, podA.ip, 8080), `a ${a.gateway()}`);
    }
    await a.close();
  });

  it('share chosen ports of the machine: what listens at its 127.0.0.1 is found at that of a pod', async () => {
    await using machine = await testMachine();
    await using home = await tempDir();
    const networks = await machine.open(home.path, { shared: [7432] });
    const pod = await networks.ensure('workload/a/0');
    {
      await using _gateway = await serve(machine.inside, '127.0.0.1', 7432, 'gateway');
      await using _redis = await serve(machine.inside, '127.0.0.1', 6379, 'redis');
      assert.equal(await ask(pod, '127.0.0.1', 7432), `gateway ${pod.ip}`);
      assert.equal(await ask(pod, networks.gateway(), 7432), `gateway ${pod.ip}`);
      assert.equal(await ask(pod, '127.0.0.1', 6379), 'refused');
      assert.equal(await ask(pod, networks.gateway(), 6379), 'refused');
      networks.share([7432, 6379]);
      assert.equal(await ask(pod, '127.0.0.1', 6379), `redis ${pod.ip}`);
      networks.share([6379]);
      assert.equal(await ask(pod, '127.0.0.1', 7432), 'refused');
    }
    await networks.close();
  });

  it('reach what listens at 127.0.0.1 of a pod only', async () => {
    await using machine = await testMachine();
    await using home = await tempDir();
    const networks = await machine.open(home.path);
    const [pod, other] = [await networks.ensure('workload/a/0'), await networks.ensure('workload/b/0')];
    {
      await using _local = await serve(pod, '127.0.0.1', 3000, 'local');
      assert.equal(await ask(machine.inside, pod.ip, 3000), 'refused');
      pod.reach([3000]);
      assert.equal(await ask(machine.inside, pod.ip, 3000), `local ${networks.gateway()}`);
      assert.equal(await ask(other, pod.ip, 3000), `local ${other.ip}`);
      assert.equal(await ask(machine.inside, pod.ip, 3001), 'refused');
    }
    await networks.close();
  });

  it('keep their loopback interfaces for themselves, whatever routes others have', async () => {
    await using machine = await testMachine();
    await using home = await tempDir();
    bridgesAskNoRules(machine.inside);
    const networks = await machine.open(home.path);
    const [pod, other] = [await networks.ensure('workload/a/0'), await networks.ensure('workload/b/0')];
    {
      await using _local = await serve(pod, '127.55.0.1', 3000, 'local');
      await using _machine = await serve(machine.inside, '127.56.0.1', 3000, 'machine');
      assert.equal(await ask(pod, '127.55.0.1', 3000), 'local 127.0.0.1');
      for (const place of [other, machine.inside]) route(place, '127.55.0.0/16', pod.ip, true);
      route(other, '127.56.0.0/16', networks.gateway(), true);
      mayLead(machine.outside);
      for (const range of ['127.55.0.0/16', '127.56.0.0/16']) route(machine.outside, range, own, true);
      const tries = [
        [other, '127.55.0.1'],
        [other, '127.56.0.1'],
        [machine.inside, '127.55.0.1'],
        [machine.outside, '127.55.0.1'],
        [machine.outside, '127.56.0.1'],
      ] as const;
      const heard = await Promise.all(tries.map(([place, ip]) => silent(place, ip, 3000)));
      assert.deepEqual(
        heard,
        tries.map(() => true),
      );
    }
    await networks.close();
  });

  it('have no address of IPv6 that somebody could be led to', async () => {
    await using machine = await testMachine();
    await using home = await tempDir();
    const networks = await machine.open(home.path);
    const pod = await networks.ensure('workload/a/0');
    {
      await using running = await serve(pod, '0.0.0.0', 3000, 'a');
      const lines = (await readFile(`/proc/${running.pid}/net/if_inet6`, 'utf8').catch(() => '')).split('\n');
      const scopes = lines.filter(line => line !== '').map(line => line.split(/\s+/)[3]);
      // Of the interface itself, or of its link, which is the bridge.
      assert.deepEqual(
        scopes.filter(scope => scope !== '10' && scope !== '20'),
        [],
      );
    }
    await networks.close();
  });

  it('are taken over with what runs in them, and have their address again when nothing does', async () => {
    await using machine = await testMachine();
    await using home = await tempDir();
    const first = await machine.open(home.path, { shared: [7432] });
    const before = await first.ensure('workload/a/0');
    await using running = await serve(before, '0.0.0.0', 8080, 'a');
    first.leave();
    route(machine.inside, '10.0.0.0/8', neighbour); // a VPN that comes later ends nothing
    const second = await machine.open(home.path, { shared: [7432] });
    assert.deepEqual(second.list(), ['workload/a/0']);
    const after = await second.ensure('workload/a/0', {
      members: [999_999_999, process.pid, running.pid],
      reached: [],
    });
    assert.equal(after.ip, before.ip);
    assert.deepEqual([before.isNew, after.isNew], [true, false]);
    assert.equal(await ask(machine.inside, after.ip, 8080), `a ${second.gateway()}`);
    await running[Symbol.asyncDispose]();
    second.leave();
    const third = await machine.open(home.path);
    const anew = await third.ensure('workload/a/0', { members: [running.pid], reached: [] });
    assert.equal(anew.ip, before.ip);
    {
      await using _again = await serve(anew, '0.0.0.0', 8080, 'again');
      assert.equal(await ask(machine.inside, anew.ip, 8080), `again ${third.gateway()}`);
    }
    third.remove('workload/a/0');
    assert.deepEqual(third.list(), []);
    await third.close();
  });

  it('leave nothing: no interface, no rule, no forwarding', async () => {
    await using machine = await testMachine();
    await using home = await tempDir();
    const before = await stateOf(machine.inside);
    const networks = await machine.open(home.path);
    assert.deepEqual(await stateOf(machine.inside), before, 'nothing is made before it is needed');
    const pods = await Promise.all([0, 1, 2].map(i => networks.ensure(`workload/a/${i}`)));
    const during = await stateOf(machine.inside);
    assert.equal(during.links.length, before.links.length + 4);
    assert.equal(during.tables.length, before.tables.length + 1);
    assert.equal(during.forwarding, 1);
    networks.remove('workload/a/0');
    assert.equal(pods.length, 3);
    networks.leave(); // a daemon that dies
    const next = await machine.open(home.path);
    await next.close();
    assert.deepEqual(await stateOf(machine.inside), before);
  });

  it('take no addresses that the machine has a route to', async () => {
    await using machine = await testMachine();
    await using home = await tempDir();
    const taken = machine.open(home.path, { network: '198.51.100.0/23' });
    await assert.rejects(taken, /every part of 198\.51\.100\.0\/23 is used by a route of this machine/);
    const elsewhere = await machine.open(home.path, { network: '198.51.102.0/23' });
    assert.equal(elsewhere.gateway(), '198.51.102.1');
    assert.match(elsewhere.services!.address('x', 0), /^198\.51\.103\.\d+$/);
    assert.ok(elsewhere.services!.has(elsewhere.services!.address('x', 0)));
    assert.ok(!elsewhere.services!.has('127.77.0.1'));
    await elsewhere.close();
  });
});

/** From now on `place` sends packets for `range` to `via`. @param before see `addRoute` */
function route({ within = anywhere }: Place, range: string, via: string, before = false): void {
  const netlink = within(() => openNetlink(calls, families.route));
  netlink.ask(addRoute(readRange(range)!, via, before));
  netlink.close();
}

/** As on a machine without br_netfilter: what one pod sends to another does not pass the rules of the machine. */
function bridgesAskNoRules({ within = anywhere }: Place): void {
  try {
    within(() => writeFileSync('/proc/sys/net/bridge/bridge-nf-call-iptables', '0'));
  } catch {
    // It is one.
  }
}

/** From now on the neighbour sends packets out that are meant for a loopback interface. */
function mayLead({ within = anywhere }: Place): void {
  const netlink = within(() => openNetlink(calls, families.route));
  netlink.ask(configure(linkNamed(netlink, 'eth0')!.index, { [settings.routeLocalnet]: 1 }));
  netlink.close();
}

/** From now on the neighbour has the address `ip`, too. */
async function neighbourClaims(ip: string, { within = anywhere }: Place): Promise<void> {
  const netlink = within(() => openNetlink(calls, families.route));
  netlink.ask(addAddress(linkNamed(netlink, 'eth0')!.index, ip, 32));
  netlink.close();
}

async function stateOf({ within = anywhere }: Place) {
  const [route, netfilter] = within(() => [
    openNetlink(calls, families.route),
    openNetlink(calls, families.netfilter),
  ]);
  const up = linkNamed(route!, 'up0')!.index;
  const state = {
    links: links(route!).map(({ name }) => name),
    tables: tables(netfilter!),
    routes: routes(route!).map(({ to }) => to.text),
    forwarding: setting(route!, up, settings.forwarding),
  };
  route!.close();
  netfilter!.close();
  return state;
}
