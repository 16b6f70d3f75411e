/**
 * A network for each pod: a namespace with an address of its own on a bridge of this machine. A namespace is held by
 * what runs in it and by the daemon that made it, so that nothing of a pod is left when both have ended; a pod that
 * still runs is found again through its processes.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { type Libc, libc } from '../../lib/libc.ts';
import type { Log } from '../../lib/log.ts';
import {
  type NetNamespace,
  netNamespaceOf,
  newNetNamespace,
  ownNetNamespace,
} from '../../lib/net-namespace.ts';
import { families, openNetlink } from '../../lib/netlink.ts';
import { until } from '../../lib/wait.ts';
import {
  type Bridge,
  bridgeName,
  ensureBridge,
  forwardAnswers,
  freeRange,
  hardwareAddress,
  portName,
  portsOf,
  removeBridge,
  type Sockets,
  setRules,
} from './bridge.ts';
import type { Before, Networks, PodNetwork, Shortcut } from './contract.ts';
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
import { ipText, isPodOf, type Layout, type Range, readIp, readRange, serviceAddress } from './range.ts';
import { machineFiles, podResolvConf, writeResolvConf } from './resolv-conf.ts';
import { destination, from, masquerade, replaceTable, sendTo, source, tcpPort, to } from './rules.ts';
import { removeShortcuts, setShortcuts } from './shortcuts.ts';
import { type NetworkState, readNetworkState, writeNetworkState } from './state-file.ts';

export type NetworksOptions = {
  /** The data directory; ours is `network.json` in it. */
  readonly home: string;
  /** Differs between data directories, is the same for all daemons on one. */
  readonly instance: string;
  /** Addresses of which we take a part; `host`: pods are to have no network of their own. */
  readonly network: string;
  /** See `share`. */
  readonly shared: readonly number[];
  /** Where the bridge is made; default: where this process is. Closed with us. */
  readonly machine?: NetNamespace;
  readonly log: Log;
};

export const defaultPool = '10.208.0.0/12';

/** Makes nothing on the machine until somebody needs it, or did in an earlier life. @returns why pods cannot have networks of their own here */
export async function openNetworks(options: NetworksOptions): Promise<Networks | { readonly why: string }> {
  if (options.network === 'host') return { why: 'OFFSHOOT_NETWORK says so' };
  if (process.platform !== 'linux') return { why: `not on ${process.platform}` };
  if (process.getuid?.() !== 0) return { why: 'only as root' };
  const pool = readRange(options.network);
  if (pool === undefined || pool.bits > SMALLEST_POOL)
    return { why: `"${options.network}" is no range of addresses` };
  let calls: Libc;
  try {
    calls = await libc();
    tryOnce(calls);
  } catch (error) {
    return { why: (error as Error).message };
  }
  const networks = new BridgedNetworks(calls, pool, options);
  if (networks.free() !== undefined) return networks.begin();
  networks.leave();
  return {
    why: `every part of ${options.network} is used by a route of this machine; OFFSHOOT_NETWORK names another`,
  };
}

// --- internal -----------------------------------------------------------------------------------

const SMALLEST_POOL = 26;
const HOW_LONG_PODS_DIE_MS = 5_000;

type Pod = {
  readonly ip: string;
  readonly namespace: NetNamespace;
  readonly inside: Sockets;
  reached: readonly number[];
  rules: string;
};

class BridgedNetworks implements Networks {
  readonly #calls: Libc;
  readonly #pool: Range;
  readonly #options: NetworksOptions;
  readonly #machine: NetNamespace;
  readonly #sockets: Sockets;
  readonly #pods = new Map<string, Pod>();
  readonly #file: string;
  #state: NetworkState;
  #shared: readonly number[];
  #bridge: Bridge | undefined;
  /** As they were set last; undefined: they could not be. */
  #shortcuts: string | undefined = '';
  #saving: NodeJS.Immediate | undefined;

  constructor(calls: Libc, pool: Range, options: NetworksOptions) {
    this.#calls = calls;
    this.#pool = pool;
    this.#options = options;
    this.#machine = options.machine ?? ownNetNamespace(calls);
    this.#sockets = this.#machine.within(() => openSockets(calls));
    this.#file = join(options.home, 'network.json');
    this.#state = readNetworkState(this.#file);
    this.#shared = options.shared;
  }

  capabilities() {
    const name = bridgeName(this.#options.instance);
    const reached = podResolvConf(machineFiles) !== undefined;
    return [
      { name: 'network/pods', ok: true, detail: `each pod has an address of its own, on the bridge ${name}` },
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
    const found = this.#pods.get(pod) ?? this.#find(ip, before);
    const known = found ?? (await this.#make(ip));
    this.#pods.set(pod, known);
    this.#setPodRules(known);
    return {
      ip,
      isNew: found === undefined,
      within: known.namespace.within,
      reach: ports => {
        known.reached = ports;
        this.#setPodRules(known);
      },
    };
  }

  remove(pod: string): void {
    const known = this.#pods.get(pod);
    this.#pods.delete(pod);
    if (known !== undefined) letGo(known);
    const { [pod]: gone, ...pods } = this.#state.pods;
    if (gone !== undefined) this.#savePods(pods);
  }

  resolvConf(): string | undefined {
    const found = podResolvConf(machineFiles);
    if (found === undefined || found.same) return undefined;
    const file = join(this.#options.home, 'resolv.conf');
    writeResolvConf(file, found.text);
    return file;
  }

  list(): readonly string[] {
    return Object.keys(this.#state.pods);
  }

  serviceAddress(key: string, attempt: number): string {
    return serviceAddress(this.#use().layout, key, attempt);
  }

  isServiceAddress(ip: string): boolean {
    const { services } = this.#use().layout;
    const value = readIp(ip) ?? 0;
    return value >= services.first && value < services.first + 2 ** (32 - services.bits);
  }

  share(ports: readonly number[]): void {
    if (String(ports) === String(this.#shared)) return;
    this.#shared = ports;
    if (this.#bridge === undefined) return;
    setRules(this.#sockets, this.#bridge, ports);
    for (const pod of this.#pods.values()) this.#setPodRules(pod);
  }

  shorten(ways: readonly Shortcut[]): void {
    const wanted = JSON.stringify(ways);
    if (wanted === this.#shortcuts || (ways.length === 0 && this.#bridge === undefined)) return;
    try {
      setShortcuts(this.#sockets, this.#use(), ways);
      this.#shortcuts = wanted;
    } catch (err) {
      // What was led there before must not be any longer.
      removeShortcuts(this.#sockets, this.#use().name);
      if (this.#shortcuts !== undefined)
        this.#options.log.warn({ err }, 'the proxies pass everything through');
      this.#shortcuts = undefined;
    }
  }

  leave(): void {
    if (this.#saving !== undefined) this.#save({});
    for (const pod of this.#pods.values()) letGo(pod);
    this.#pods.clear();
    closeSockets(this.#sockets);
    this.#machine.close();
  }

  async close(): Promise<void> {
    const { instance, log } = this.#options;
    if (this.#saving !== undefined) this.#save({});
    for (const pod of this.#pods.values()) letGo(pod);
    this.#pods.clear();
    // The kernel takes an empty namespace away in its own time, and with it the pair that leads there.
    const gone = () => (portsOf(this.#sockets, instance).length === 0 ? true : undefined);
    await until(gone, {
      what: 'networks of pods end',
      deadlineMs: HOW_LONG_PODS_DIE_MS,
      intervalMs: 5,
    }).catch(() => {
      for (const { name } of portsOf(this.#sockets, instance)) this.#sockets.route.ask(removeLink(name));
    });
    try {
      removeBridge(this.#sockets, instance, this.#state.forwarding);
      if (this.#state.forwarding.length > 0) this.#save({ forwarding: [] });
    } catch (err) {
      log.warn({ err }, 'the bridge is left');
    }
    closeSockets(this.#sockets);
    this.#machine.close();
  }

  /** Whoever has listened on the bridge wants to again. */
  begin(): this {
    if (this.#state.range !== undefined) this.#use();
    return this;
  }

  free(): Range | undefined {
    const last = readRange(this.#state.range ?? '');
    return freeRange(this.#sockets, { instance: this.#options.instance, pool: this.#pool, last });
  }

  /** The bridge, which is made when it is used for the first time. */
  #use(): Bridge {
    this.#bridge ??= this.#open();
    return this.#bridge;
  }

  #open(): Bridge {
    const { instance, home, log } = this.#options;
    const last = readRange(this.#state.range ?? '');
    const range = freeRange(this.#sockets, { instance, pool: this.#pool, last });
    if (range === undefined)
      throw new Error(`every part of ${this.#pool.text} is used by a route of this machine`);
    const bridge = ensureBridge(this.#sockets, instance, home, range);
    setRules(this.#sockets, bridge, this.#shared);
    const forwarding = [...new Set([...this.#state.forwarding, ...forwardAnswers(this.#sockets)])];
    this.#save({ range: range.text, forwarding });
    log.info({ bridge: bridge.name, range: range.text }, 'pods have networks of their own');
    return bridge;
  }

  /** A pod that an earlier daemon has started, if something of it lives. */
  #find(ip: string, { members, reached }: Before): Pod | undefined {
    for (const pid of members) {
      let namespace: NetNamespace;
      try {
        namespace = netNamespaceOf(this.#calls, pid);
      } catch {
        continue; // it has ended
      }
      if (namespace.id !== this.#machine.id) {
        const inside = namespace.within(() => openSockets(this.#calls));
        const eth = linkNamed(inside.route, inPod);
        if (eth !== undefined && addresses(inside.route, eth.index).includes(ip))
          return { ip, namespace, inside, reached, rules: '' };
        closeSockets(inside);
      }
      namespace.close();
    }
    return undefined;
  }

  /** In steps, none of which takes long, with a pause after each: others want to be served meanwhile. */
  async #make(ip: string): Promise<Pod> {
    const { index, layout } = this.#use();
    const port = portName(this.#options.instance, ip);
    const { route } = this.#sockets;
    // Of a namespace that is being taken away.
    if (linkNamed(route, port) !== undefined) route.ask(removeLink(port));
    const namespace = newNetNamespace(this.#calls);
    const inside = namespace.within(() => openSockets(this.#calls));
    try {
      route.ask(addPair(port, index, namespace.fd, hardwareAddress(ip)));
      await turn();
      const eth = linkNamed(inside.route, inPod)!.index;
      inside.route.ask(
        setUp(LOOPBACK),
        setUp(eth),
        addAddress(eth, ip, layout.all.bits),
        addRoute(everywhere, layout.gateway),
        configure(eth, { [settings.routeLocalnet]: 1 }),
      );
      await turn();
      return { ip, namespace, inside, reached: [], rules: '' };
    } catch (error) {
      closeSockets(inside);
      namespace.close();
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
    replaceTable(pod.inside.netfilter, 'offshoot', chains);
    pod.rules = rules;
  }

  /** Those of one turn together, since all are written each time. One that is lost is chosen again, and is the same. */
  #savePods(pods: NetworkState['pods']): void {
    this.#state = { ...this.#state, pods };
    this.#saving ??= setImmediate(() => {
      try {
        this.#save({});
      } catch (err) {
        this.#options.log.warn({ err }, 'the addresses of pods are not on disk');
      }
    });
  }

  #save(change: Partial<NetworkState>): void {
    clearImmediate(this.#saving);
    this.#saving = undefined;
    this.#state = { ...this.#state, ...change };
    writeNetworkState(this.#file, this.#state);
  }
}

const LOOPBACK = 1;
const localhost = readRange('127.0.0.1/32')!;

const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve));

const openSockets = (calls: Libc): Sockets => ({
  route: openNetlink(calls, families.route),
  netfilter: openNetlink(calls, families.netfilter),
});

function closeSockets({ route, netfilter }: Sockets): void {
  route.close();
  netfilter.close();
}

function letGo({ inside, namespace }: Pod): void {
  closeSockets(inside);
  namespace.close();
}

/** The same for one pod whenever it is free. */
function freeAddress({ pods: [first, end] }: Layout, taken: ReadonlySet<string>, pod: string): string {
  const start = createHash('sha256').update(pod).digest().readUInt32BE(0) % (end - first);
  for (let i = 0; i < end - first; i++) {
    const ip = ipText(first + ((start + i) % (end - first)));
    if (!taken.has(ip)) return ip;
  }
  throw new Error('all addresses of pods are taken');
}

/** Everything once, in a network that nobody else sees. @throws the first error, e.g. EPERM, EOPNOTSUPP */
function tryOnce(calls: Libc): void {
  const machine = newNetNamespace(calls);
  const sockets = machine.within(() => openSockets(calls));
  try {
    const bridge = ensureBridge(sockets, 'try', '', readRange('10.208.0.0/20')!);
    setRules(sockets, bridge, [1]);
    sockets.route.ask(addPair('try', bridge.index, machine.fd, hardwareAddress(bridge.layout.gateway)));
  } finally {
    closeSockets(sockets);
    machine.close();
  }
}
