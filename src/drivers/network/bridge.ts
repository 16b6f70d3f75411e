/**
 * The bridge of one data directory, with all that belongs to it on this machine: its addresses, the rules that keep
 * everybody else out, the way out. Nothing of it outlives `removeBridge`.
 */
import { createHash } from 'node:crypto';
import type { Netlink } from '../../lib/netlink.ts';
import {
  addAddress,
  addBridge,
  addLocalRange,
  addresses,
  configure,
  type Link,
  linkNamed,
  links,
  removeLink,
  routes,
  setting,
  settings,
} from './links.ts';
import { candidates, type Layout, layoutOf, overlap, type Range, readRange } from './range.ts';
import {
  destination,
  drop,
  from,
  masquerade,
  removeTable,
  replaceTable,
  sendTo,
  source,
  tcpPort,
  to,
} from './rules.ts';

import { removeShortcuts } from './shortcuts.ts';

/** Sockets of one network namespace. */
export type Sockets = {
  readonly route: Netlink;
  readonly netfilter: Netlink;
  /** Absent from an outpost of an earlier version. */
  readonly diag?: Netlink;
};

export function closeSockets({ route, netfilter, diag }: Sockets): void {
  route.close();
  netfilter.close();
  diag?.close();
}

export type Bridge = { readonly index: number; readonly name: string; readonly layout: Layout };

const PREFIX = 'offshoot-';

/** Interface names have 15 characters at most. */
const tag = (instance: string): string => createHash('sha256').update(instance).digest('hex').slice(0, 6);
export const bridgeName = (instance: string): string => `${PREFIX}${tag(instance)}`;
/** This machine's end of a pod's pair. */
export const portName = (instance: string, ip: string): string =>
  `ofs-${tag(instance)}-${hardwareAddress(ip).subarray(-2).toString('hex')}`;

/** The same for one address: neighbours that remember it are right when the pod starts again. */
export const hardwareAddress = (ip: string): Buffer => Buffer.from([2, 0x0f, ...ip.split('.').map(Number)]);

/**
 * A part of `pool` that no route of this machine knows.
 * @param machine of which the routes are, `own` is the index there of the bridge that we have
 * @param last the one that we had, which is taken again if possible; as long as the bridge is there, it is
 * @returns undefined when there is none
 */
export function freeRange(
  machine: Netlink,
  own: number | undefined,
  {
    instance,
    pool,
    last,
  }: { readonly instance: string; readonly pool: Range; readonly last?: Range | undefined },
): Range | undefined {
  const known = routes(machine).filter(r => r.to.bits > 0 && r.interface !== own);
  const mine = last !== undefined && overlap(last, pool) ? [last] : [];
  if (own !== undefined && mine.length > 0) return last;
  return [...mine, ...candidates(pool, instance)].find(range => !known.some(r => overlap(r.to, range)));
}

/** Makes what is missing of it. @throws EEXIST when another data directory has just taken the range */
export function ensureBridge(sockets: Sockets, instance: string, home: string, range: Range): Bridge {
  const { route } = sockets;
  const name = bridgeName(instance);
  const layout = layoutOf(range);
  const there = linkNamed(route, name);
  if (there !== undefined && addresses(route, there.index)[0] === layout.gateway)
    return { index: there.index, name, layout };
  if (there !== undefined) route.ask(removeLink(name)); // half made, or for another range
  route.ask(
    addBridge(name, hardwareAddress(layout.gateway), `Offshoot, data directory ${home}`.slice(0, 255)),
  );
  const { index } = linkNamed(route, name)!;
  try {
    route.ask(
      addLocalRange(layout.services, index), // first: of two who want the same range one gets it
      addAddress(index, layout.gateway, range.bits),
      configure(index, { [settings.forwarding]: 1, [settings.routeLocalnet]: 1 }),
    );
  } catch (error) {
    route.ask(removeLink(name));
    throw error;
  }
  return { index, name, layout };
}

/**
 * Nothing outside of this machine reaches the bridge, nor does any other network on it, whatever source it claims; the
 * one thing that comes in from elsewhere are answers. What pods send out seems to come from this machine.
 * @param shared ports of 127.0.0.1 that pods reach at the bridge's address
 */
export function setRules({ netfilter }: Sockets, { name, layout }: Bridge, shared: readonly number[]): void {
  const loopback = readRange('127.0.0.0/8')!;
  const elsewhere = [...from.notInterface(name), ...from.notInterface('lo')];
  replaceTable(netfilter, name, [
    {
      name: 'guard',
      ...{ hook: 'prerouting', type: 'filter' },
      rules: [
        [elsewhere, destination.in(layout.all), drop()],
        [elsewhere, source.in(layout.all), drop()],
        [from.interface(name), source.notIn(layout.all), drop()],
        // The bridge may lead to the loopback interface, but only by the rules below.
        [from.interface(name), destination.in(loopback), drop()],
      ],
    },
    {
      name: 'shared',
      ...{ hook: 'prerouting', type: 'nat' },
      rules: shared.map(port => [
        from.interface(name),
        destination.in(readRange(`${layout.gateway}/32`)!),
        tcpPort(port),
        sendTo('127.0.0.1'),
      ]),
    },
    {
      name: 'out',
      ...{ hook: 'postrouting', type: 'nat' },
      rules: [[source.in(layout.all), to.notInterface(name), to.notInterface('lo'), masquerade()]],
    },
  ]);
}

/**
 * Lets this machine forward what comes back: on the interfaces with a default route, where it does not yet.
 * @returns those of them that did not
 */
export function forwardAnswers({ route }: Sockets): readonly string[] {
  const ways = new Set(
    routes(route)
      .filter(r => r.to.bits === 0)
      .map(r => r.interface),
  );
  return links(route).flatMap(({ index, name }) => {
    if (!ways.has(index) || setting(route, index, settings.forwarding) === 1) return [];
    route.ask(configure(index, { [settings.forwarding]: 1 }));
    return [name];
  });
}

/** @param forwarding what `forwardAnswers` has said; left on while another daemon has a bridge here */
export function removeBridge(
  { route, netfilter }: Sockets,
  instance: string,
  forwarding: readonly string[],
): void {
  const name = bridgeName(instance);
  if (linkNamed(route, name) !== undefined) route.ask(removeLink(name));
  removeTable(netfilter, name);
  removeShortcuts({ netfilter }, name);
  const left = links(route);
  if (left.some(link => link.name.startsWith(PREFIX))) return;
  for (const { index, name } of left)
    if (forwarding.includes(name)) route.ask(configure(index, { [settings.forwarding]: 0 }));
}

/** Ends of pairs that lead to pods, or did until a moment ago. */
export const portsOf = ({ route }: Sockets, instance: string): readonly Link[] =>
  links(route).filter(({ name }) => name.startsWith(`ofs-${tag(instance)}-`));
