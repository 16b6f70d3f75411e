/** Pods in a network that this machine does not reach as it is: the way in, by an outpost (lib/outpost.ts). */
import { createSocket, type Socket as Datagrams } from 'node:dgram';
import { BlockList } from 'node:net';
import { type Dial, dial as dialHere } from '../lib/dial.ts';
import { type Outpost, reachOutpost } from '../lib/outpost.ts';
import type { Address, WayIn } from '../model/route.ts';
import type { Book } from './book.ts';

export type Pods = {
  /** To a pod or to anybody else. */
  readonly dial: Dial;
  /** Absent: this machine reaches pods as it is. */
  way(): WayIn | undefined;
  /** A socket in the network of the bridge, bound to an address there, that does not listen yet. @throws the system's error */
  listener(address: Address): Promise<number>;
  /** The same for datagrams. */
  datagrams(address: Address): Promise<Datagrams>;
  /** One that reaches `to`, a pod or anybody else. */
  datagramsTo(to: Address): Promise<Datagrams>;
  close(): void;
};

export function createPods(book: Book): Pods {
  let known: { readonly way: WayIn; readonly outpost: Outpost; readonly inside: BlockList } | undefined;
  const way = () => book.get('setting', 'proxy')?.pods;
  const current = () => {
    const now = way();
    if (now === undefined) return undefined;
    if (
      known === undefined ||
      known.way.network !== now.network ||
      known.way.outpost !== now.outpost ||
      known.way.range !== now.range
    ) {
      known?.outpost.close();
      const [net = '', bits] = now.range.split('/');
      const inside = new BlockList();
      inside.addSubnet(net, Number(bits));
      known = { way: now, outpost: reachOutpost(now.outpost), inside };
    }
    return known;
  };
  const socket = async (kind: 'stream' | 'datagrams', address: Address): Promise<number> => {
    const there = current();
    if (there === undefined) throw new Error('there is no network of pods');
    const [fd] = await there.outpost.take({ kind, ...address }, AbortSignal.timeout(ANSWER_MS));
    return fd!;
  };
  const datagrams = async (address: Address): Promise<Datagrams> => {
    const fd = await socket('datagrams', address);
    return createSocket('udp4').bind({ fd });
  };
  return {
    way,
    listener: address => socket('stream', address),
    datagrams,
    async datagramsTo({ host }) {
      if (current()?.inside.check(host)) return await datagrams({ host: '0.0.0.0', port: 0 });
      return createSocket(host.includes(':') ? 'udp6' : 'udp4');
    },
    dial(address, signal) {
      const there = current();
      return there?.inside.check(address.host)
        ? there.outpost.connect(address, signal)
        : dialHere(address, signal);
    },
    close: () => known?.outpost.close(),
  };
}

// --- internal ---

const ANSWER_MS = 5_000;
