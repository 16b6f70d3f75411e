/**
 * A network for each pod: a namespace with an address of its own on a bridge of this machine. A namespace is held by
 * what runs in it and by the daemon that made it, so that nothing of a pod is left when both have ended; a pod that
 * still runs is found again through its processes.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { dial } from '../../lib/dial.ts';
import { libc } from '../../lib/libc.ts';
import type { Log } from '../../lib/log.ts';
import type { NetNamespace } from '../../lib/net-namespace.ts';
import { tcpEnds, tcpEndsByProc } from '../../lib/tcp-ends.ts';
import { until } from '../../lib/wait.ts';
import {
  type Bridge,
  bridgeName,
  ensureBridge,
  freeRange,
  hardwareAddress,
  portName,
  portsOf,
  setRules,
} from './bridge.ts';
import type { Before, Networks, Outside, PodNetwork, Shortcut } from './contract.ts';
import { type Ground, machineGround, type Network } from './ground.ts';
import {
  addAddress,
  addPair,
  addRoute,
  addresses,
  configure,
  everywhere,
  inPod,
  linkNamed,
  removeLink,
  settings,
  setUp,
} from './links.ts';
import { type OutpostOptions, outpostGround, outpostSocket, wayOutPort } from './outpost-ground.ts';
import { ipText, isPodOf, type Layout, type Range, readIp, readRange, serviceAddress } from './range.ts';
import { machineFiles, podResolvConf, writeResolvConf } from './resolv-conf.ts';
import { destination, drop, from, masquerade, replaceTable, sendTo, source, tcpPort, to } from './rules.ts';
import { removeShortcuts, setShortcuts } from './shortcuts.ts';
import { keptNetworkState, type NetworkState, readNetworkState, writeNetworkState } from './state-file.ts';

export type NetworksOptions = {
  /** The data directory; ours is `network.json` in it. */
  readonly home: string;
  /** Differs between data directories, is the same for all daemons on one. */
  readonly instance: string;
  /** Addresses of which we take a part; `host`: pods are to have no network of their own. */
  readonly network: string;
  /** See `share`. */
  readonly shared: readonly number[];
  /** For an ordinary user; absent: he has no networks for pods. */
  readonly outpost?: Omit<OutpostOptions, 'home' | 'instance' | 'log'>;
  /** Where the bridge is made; default: where this process is. Closed with us. */
  readonly machine?: NetNamespace;
  readonly log: Log;
};

export const defaultPool = '10.208.0.0/12';

/** Makes nothing on the machine until somebody needs it, or did in an earlier life. @returns why pods cannot have networks of their own here */
export async function openNetworks(options: NetworksOptions): Promise<Networks | { readonly why: string }> {
  if (options.network === 'host') return { why: 'OFFSHOOT_NETWORK says so' };
  if (process.platform !== 'linux') return { why: `not on ${process.platform}` };
  const pool = readRange(options.network);
  if (pool === undefined || pool.bits > SMALLEST_POOL)
    return { why: `"${options.network}" is no range of addresses` };
  let ground: Ground;
  try {
    const calls = await libc();
    const { home, instance, machine, outpost } = options;
    if (process.getuid!() === 0) ground = machineGround(calls, instance, machine);
    else if (outpost !== undefined)
      ground = await outpostGround(calls, { home, instance, log: options.log, ...outpost });
    else return { why: 'only as root' };
  } catch (error) {
    return { why: (error as Error).message };
  }
  const why = await problemOf(ground, options, pool);
  if (why === undefined) return new BridgedNetworks(ground, pool, options).begin();
  if (ground.outside === undefined) ground.leave();
  else await ground.remove([]);
  return { why };
}

// --- internal -----------------------------------------------------------------------------------

const SMALLEST_POOL = 26;
const HOW_LONG_PODS_DIE_MS = 5_000;

type Pod = {
  readonly ip: string;
  readonly network: Network;
  reached: readonly number[];
  rules: string;
};

class BridgedNetworks implements Networks {
  readonly #ground: Ground;
  readonly #pool: Range;
  readonly #options: NetworksOptions;
  readonly #pods = new Map<string, Pod>();
  readonly #file: string;
  #state: NetworkState;
  #shared: readonly number[];
  #bridge: Bridge | undefined;
  /** As they were set last; undefined: they could not be. */
  #shortcuts: string | undefined = '';
  readonly #save: () => Promise<void>;
  /** What was noted last is on disk, or that has failed and is told. */
  #saved: Promise<void> = Promise.resolve();

  constructor(ground: Ground, pool: Range, options: NetworksOptions) {
    this.#ground = ground;
    this.#pool = pool;
    this.#options = options;
    this.#file = join(options.home, 'network.json');
    this.#state = readNetworkState(this.#file);
    this.#save = keptNetworkState(this.#file, () => this.#state);
    this.#shared = options.shared;
  }

  capabilities() {
    const name = bridgeName(this.#options.instance);
    const own = this.#ground.outside !== undefined;
    const reached = own || podResolvConf(machineFiles) !== undefined;
    return [
      {
        name: 'network/pods',
        ok: true,
        detail: own
          ? 'each pod has an address of its own, in a network of your own (user namespace), which nobody else reaches'
          : `each pod has an address of its own, on the bridge ${name}`,
      },
      {
        name: 'network/out',
        ok: !own,
        detail: own
          ? 'connections (TCP) and questions for names leave pods through the proxy; other UDP and ICMP do not: that takes root'
          : 'pods reach what this machine reaches',
      },
      {
        name: 'network/names',
        ok: reached,
        detail: reached
          ? 'pods ask the name servers of this machine'
          : 'no name server of this machine but such as listen at loopback: names from outside do not resolve in pods',
      },
    ];
  }

  gateway(): string {
    return this.#use().layout.gateway;
  }

  address(pod: string): string {
    const { layout } = this.#use();
    const known = this.#state.pods[pod];
    if (known !== undefined && isPodOf(layout, known)) return known;
    const ip = freeAddress(layout, new Set(Object.values(this.#state.pods)), pod);
    this.#savePods({ ...this.#state.pods, [pod]: ip });
    return ip;
  }

  async ensure(pod: string, before: Before = { members: [], reached: [] }): Promise<PodNetwork> {
    const ip = this.address(pod);
    const found = this.#pods.get(pod) ?? (await this.#find(ip, before));
    const known = found ?? (await this.#make(ip));
    this.#pods.set(pod, known);
    this.#setPodRules(known);
    await this.#saved; // the next daemon has to know of what runs in it
    return {
      ip,
      isNew: found === undefined,
      ...(this.#ground.outside === undefined && { path: `/proc/${process.pid}/fd/${known.network.fd}` }),
      ...known.network.entrance,
      connect: (port, signal) => (this.#ground.outside?.connect ?? dial)({ host: ip, port }, signal),
      async ends(state, pid) {
        try {
          const { diag } = known.network.sockets;
          if (diag !== undefined) return tcpEnds(diag, state);
        } catch {
          // A kernel without it.
        }
        return await tcpEndsByProc(pid, state);
      },
      reach: ports => {
        known.reached = ports;
        this.#setPodRules(known);
      },
    };
  }

  remove(pod: string): void {
    const known = this.#pods.get(pod);
    this.#pods.delete(pod);
    known?.network.close();
    const { [pod]: gone, ...pods } = this.#state.pods;
    if (gone !== undefined) this.#savePods(pods);
  }

  resolvConf(): string | undefined {
    const found = podResolvConf(machineFiles, this.#ground.outside && this.gateway());
    if (found === undefined || found.same) return undefined;
    const file = join(this.#options.home, 'resolv.conf');
    writeResolvConf(file, found.text);
    return file;
  }

  list(): readonly string[] {
    return Object.keys(this.#state.pods);
  }

  get services(): Networks['services'] {
    if (this.#ground.outside !== undefined) return undefined;
    return {
      address: (key, attempt) => serviceAddress(this.#use().layout, key, attempt),
      has: ip => {
        const { services } = this.#use().layout;
        const value = readIp(ip) ?? 0;
        return value >= services.first && value < services.first + 2 ** (32 - services.bits);
      },
    };
  }

  get outside(): Outside | undefined {
    const { outside } = this.#ground;
    if (outside === undefined) return undefined;
    const { layout } = this.#use();
    const { network, ...ways } = outside;
    const way = { network, range: layout.all.text, gateway: layout.gateway, port: wayOutPort };
    return { ...ways, way: { outpost: outpostSocket(this.#options.outpost!.runtimeDir), ...way } };
  }

  share(ports: readonly number[]): void {
    if (String(ports) === String(this.#shared)) return;
    this.#shared = ports;
    if (this.#bridge === undefined) return;
    this.#ground.setRules(this.#bridge, ports);
    for (const pod of this.#pods.values()) this.#setPodRules(pod);
  }

  shorten(ways: readonly Shortcut[]): void {
    const wanted = JSON.stringify(ways);
    if (wanted === this.#shortcuts || (ways.length === 0 && this.#bridge === undefined)) return;
    try {
      setShortcuts(this.#ground.sockets, this.#use(), ways);
      this.#shortcuts = wanted;
    } catch (err) {
      // What was led there before must not be any longer.
      removeShortcuts(this.#ground.sockets, this.#use().name);
      if (this.#shortcuts !== undefined)
        this.#options.log.warn({ err }, 'the proxies pass everything through');
      this.#shortcuts = undefined;
    }
  }

  leave(): void {
    for (const { network } of this.#pods.values()) network.close();
    this.#pods.clear();
    this.#ground.leave();
  }

  async close(): Promise<void> {
    const { instance, log } = this.#options;
    const { sockets } = this.#ground;
    for (const { network } of this.#pods.values()) network.close();
    this.#pods.clear();
    // The kernel takes an empty namespace away in its own time, and with it the pair that leads there.
    const gone = () => (portsOf(sockets, instance).length === 0 ? true : undefined);
    await until(gone, {
      what: 'networks of pods end',
      deadlineMs: HOW_LONG_PODS_DIE_MS,
      intervalMs: 5,
    }).catch(() => {
      for (const { name } of portsOf(sockets, instance)) sockets.route.ask(removeLink(name));
    });
    try {
      const { forwarding } = this.#state;
      await this.#ground.remove(forwarding);
      this.#state = { ...this.#state, forwarding: [] };
      if (this.#bridge !== undefined || forwarding.length > 0) await this.#save();
    } catch (err) {
      log.warn({ err }, 'the bridge is left');
    }
  }

  /** Whoever has listened on the bridge wants to again. */
  begin(): this {
    if (this.#state.range !== undefined || this.#ground.outside !== undefined) this.#use();
    return this;
  }

  /** The bridge, which is made when it is used for the first time. */
  #use(): Bridge {
    this.#bridge ??= this.#open();
    return this.#bridge;
  }

  #open(): Bridge {
    const { instance, home, log } = this.#options;
    const range = rangeFor(this.#ground, this.#pool, instance, this.#state);
    if (range === undefined)
      throw new Error(`every part of ${this.#pool.text} is used by a route of this machine`);
    const bridge = ensureBridge(this.#ground.sockets, instance, home, range);
    this.#ground.setRules(bridge, this.#shared);
    const forwarding = [...new Set([...this.#state.forwarding, ...this.#ground.letAnswersIn()])];
    this.#state = { ...this.#state, range: range.text, forwarding };
    writeNetworkState(this.#file, this.#state); // before there is a pod on it
    log.info({ bridge: bridge.name, range: range.text }, 'pods have networks of their own');
    return bridge;
  }

  /** A pod that an earlier daemon has started, if something of it lives. */
  async #find(ip: string, { members, reached }: Before): Promise<Pod | undefined> {
    for (const pid of members) {
      const network = await this.#ground.networkOf(pid);
      if (network === undefined) continue;
      const { route } = network.sockets;
      const eth = linkNamed(route, inPod);
      if (eth !== undefined && addresses(route, eth.index).includes(ip))
        return { ip, network, reached, rules: '' };
      network.close();
    }
    return undefined;
  }

  /** In steps, none of which takes long, with a pause after each: others want to be served meanwhile. */
  async #make(ip: string): Promise<Pod> {
    const { index, layout } = this.#use();
    const port = portName(this.#options.instance, ip);
    const { route } = this.#ground.sockets;
    // Of a namespace that is being taken away.
    if (linkNamed(route, port) !== undefined) route.ask(removeLink(port));
    const network = await this.#ground.newNetwork();
    try {
      route.ask(addPair(port, index, network.fd, hardwareAddress(ip)));
      await turn();
      const inside = network.sockets.route;
      const eth = linkNamed(inside, inPod)!.index;
      inside.ask(
        setUp(LOOPBACK),
        setUp(eth),
        addAddress(eth, ip, layout.all.bits),
        addRoute(everywhere, layout.gateway),
        ...this.#ground.podRoutes(layout.gateway),
        configure(eth, { [settings.routeLocalnet]: 1 }),
      );
      await turn();
      return { ip, network, reached: [], rules: '' };
    } catch (error) {
      network.close();
      throw error;
    }
  }

  /** What a pod asks for at its own 127.0.0.1 may be this machine's, what others ask for at its address may be at its 127.0.0.1. */
  #setPodRules(pod: Pod): void {
    const shared = this.#shared;
    const rules = JSON.stringify([shared, pod.reached]);
    if (rules === pod.rules) return;
    const { gateway } = this.#use().layout;
    const chains = [
      {
        // Rules let its loopback interface be led to; nobody else may ask for that, whatever his routes are.
        name: 'guard',
        ...({ hook: 'prerouting', type: 'filter' } as const),
        rules: [[from.interface(inPod), destination.in(loopback), drop()]],
      },
      {
        name: 'shared',
        ...({ hook: 'output', type: 'nat' } as const),
        rules: shared.map(port => [destination.in(localhost), tcpPort(port), sendTo(gateway)]),
      },
      {
        name: 'source',
        ...({ hook: 'postrouting', type: 'nat' } as const),
        rules: [[source.in(localhost), to.interface(inPod), masquerade()]],
      },
      {
        name: 'reached',
        ...({ hook: 'prerouting', type: 'nat' } as const),
        rules: pod.reached.map(port => [from.interface(inPod), tcpPort(port), sendTo('127.0.0.1')]),
      },
    ].filter(chain => chain.rules.length > 0);
    replaceTable(pod.network.sockets.netfilter, 'offshoot', chains);
    pod.rules = rules;
  }

  /** One that is lost is chosen again, and is the same. */
  #savePods(pods: NetworkState['pods']): void {
    this.#state = { ...this.#state, pods };
    this.#saved = this.#save().catch(err =>
      this.#options.log.warn({ err }, 'the addresses of pods are not on disk'),
    );
  }
}

const LOOPBACK = 1;
const localhost = readRange('127.0.0.1/32')!;
const loopback = readRange('127.0.0.0/8')!;

const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve));

/** The same for one pod whenever it is free. */
function freeAddress({ pods: [first, end] }: Layout, taken: ReadonlySet<string>, pod: string): string {
  const start = createHash('sha256').update(pod).digest().readUInt32BE(0) % (end - first);
  for (let i = 0; i < end - first; i++) {
    const ip = ipText(first + ((start + i) % (end - first)));
    if (!taken.has(ip)) return ip;
  }
  throw new Error('all addresses of pods are taken');
}

const rangeFor = (ground: Ground, pool: Range, instance: string, { range = '' }: NetworkState) => {
  const { route, own } = ground.machine();
  return freeRange(route, own, { instance, pool, last: readRange(range) });
};

/** @returns why there can be no networks of pods; undefined when there can */
async function problemOf(
  ground: Ground,
  { home, instance, network }: NetworksOptions,
  pool: Range,
): Promise<string | undefined> {
  try {
    await tryOnce(ground);
  } catch (error) {
    return (error as Error).message; // e.g. EPERM, EOPNOTSUPP
  }
  const state = readNetworkState(join(home, 'network.json'));
  if (rangeFor(ground, pool, instance, state) !== undefined) return undefined;
  return `every part of ${network} is used by a route of this machine; OFFSHOOT_NETWORK names another`;
}

/** Everything once, in a network that nobody else sees. @throws the first error */
async function tryOnce(ground: Ground): Promise<void> {
  const machine = await ground.newNetwork();
  const { sockets, fd } = machine;
  try {
    const bridge = ensureBridge(sockets, 'try', '', readRange('10.208.0.0/20')!);
    setRules(sockets, bridge, [1]);
    sockets.route.ask(addPair('try', bridge.index, fd, hardwareAddress(bridge.layout.gateway)));
  } finally {
    machine.close();
  }
}
