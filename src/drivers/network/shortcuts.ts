/**
 * Ports of Services that pass through, led to their pods by the kernel, as a cluster does it: no byte goes by way of a
 * program. Only new connections ask; where there is no pod to lead to, the proxy that listens there answers.
 */
import type { Bridge, Sockets } from './bridge.ts';
import type { Shortcut } from './contract.ts';
import { isPodOf, type Range, readRange } from './range.ts';
import {
  destination,
  from,
  leave,
  masquerade,
  type Rule,
  removeTable,
  replaceTable,
  sendTo,
  sentOn,
  source,
  sourcePortShare,
  tcpPort,
  to,
} from './rules.ts';

/** Replaces those that there were. Such as would lead elsewhere than to pods of the bridge are left out. */
export function setShortcuts(
  { netfilter }: Sockets,
  { name, layout }: Bridge,
  all: readonly Shortcut[],
): void {
  const ways = all.filter(({ pods }) => pods.length > 0 && pods.every(({ host }) => isPodOf(layout, host)));
  if (ways.length === 0) return void removeTable(netfilter, tableOf(name));
  replaceTable(netfilter, tableOf(name), [
    {
      name: 'arriving',
      ...{ hook: 'prerouting', type: 'nat' },
      rules: ways.flatMap(way => [
        // A bridge gives nothing back to where it came from: a pod that asks for itself goes by the proxy.
        ...way.pods.map(({ host }) => [
          from.interface(name),
          source.in(only(host)),
          ...askedFor(way),
          leave(),
        ]),
        ...rulesOf(way).map(rule => [from.interface(name), ...rule]),
      ]),
    },
    { name: 'own', ...{ hook: 'output', type: 'nat' }, rules: ways.flatMap(rulesOf) },
    // Pods are neighbours: an answer that does not come back by way of us would be a stranger's.
    {
      name: 'back',
      ...{ hook: 'postrouting', type: 'nat' },
      rules: [[to.interface(name), sentOn(), masquerade()]],
    },
  ]);
}

export const removeShortcuts = ({ netfilter }: Pick<Sockets, 'netfilter'>, bridge: string): void =>
  removeTable(netfilter, tableOf(bridge));

// --- internal -----------------------------------------------------------------------------------

/** Beside the table of the bridge, so that a pod that comes or goes touches nothing of what keeps strangers out. */
const tableOf = (bridge: string): string => `${bridge}-services`;

const only = (ip: string): Range => readRange(`${ip}/32`)!;

const askedFor = ({ host, port }: Shortcut): Rule => [destination.in(only(host)), tcpPort(port)];

/** The port that a client has by chance says which of several pods it gets. */
const rulesOf = (way: Shortcut): readonly Rule[] =>
  way.pods.map(({ host, port }, i, { length }) => [
    ...askedFor(way),
    ...(i === length - 1 ? [] : [sourcePortShare((i + 1) / length)]),
    sendTo(host, port),
  ]);
