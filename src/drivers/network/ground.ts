/** Where networks of pods are made: this machine, as root; or a network of the user's own, see outpost.ts. */
import type { Entrance } from '../../lib/held.ts';
import type { Libc } from '../../lib/libc.ts';
import {
  type NetNamespace,
  netNamespaceOf,
  newNetNamespace,
  ownNetNamespace,
} from '../../lib/net-namespace.ts';
import { families, type Message, type Netlink, openNetlink } from '../../lib/netlink.ts';
import {
  type Bridge,
  bridgeName,
  closeSockets,
  forwardAnswers,
  removeBridge,
  type Sockets,
  setRules,
} from './bridge.ts';
import type { Outside } from './contract.ts';
import { linkNamed } from './links.ts';

export type Ground = {
  /** Of the network that the bridge is in. */
  readonly sockets: Sockets;
  /** Where routes say which addresses are in use, and the index there of the bridge, if there is one. */
  machine(): { readonly route: Netlink; readonly own: number | undefined };
  /** Keeps pods and the rest of the world apart, as far as they are not to meet. @param shared see `setRules` */
  setRules(bridge: Bridge, shared: readonly number[]): void;
  /** @returns see `forwardAnswers` */
  letAnswersIn(): readonly string[];
  /** What a pod's network needs besides its address and its way out. */
  podRoutes(gateway: string): readonly Message[];
  newNetwork(): Promise<Network>;
  /** That of a process. @returns undefined when it has ended, or is in the network of the ground itself */
  networkOf(pid: number): Promise<Network | undefined>;
  /** Absent where this machine reaches pods as it is. */
  readonly outside?: Pick<Outside, 'connect' | 'socket'> & Pick<Outside['way'], 'network'>;
  /** Lets go of everything: what was made goes on. */
  leave(): void;
  /** Takes away what no network of a pod is; they have gone. @param forwarding what `letAnswersIn` has said */
  remove(forwarding: readonly string[]): Promise<void>;
};

/** The network of a pod. */
export type Network = {
  /** Its descriptor. */
  readonly fd: number;
  readonly sockets: Sockets;
  readonly entrance: Entrance;
  close(): void;
};

/** @param machine closed with the ground; default: where this process is */
export function machineGround(calls: Libc, instance: string, machine = ownNetNamespace(calls)): Ground {
  const sockets = machine.within(() => openSockets(calls));
  const networkIn = (namespace: NetNamespace): Network => {
    try {
      const inside = namespace.within(() => openSockets(calls));
      return {
        fd: namespace.fd,
        sockets: inside,
        entrance: { within: namespace.within, through: [] },
        close() {
          closeSockets(inside);
          namespace.close();
        },
      };
    } catch (error) {
      namespace.close();
      throw error;
    }
  };
  const leave = () => {
    closeSockets(sockets);
    machine.close();
  };
  return {
    sockets,
    machine: () => ({ route: sockets.route, own: linkNamed(sockets.route, bridgeName(instance))?.index }),
    setRules: (bridge, shared) => setRules(sockets, bridge, shared),
    letAnswersIn: () => forwardAnswers(sockets),
    podRoutes: () => [],
    newNetwork: async () => networkIn(newNetNamespace(calls)),
    async networkOf(pid) {
      let namespace: NetNamespace;
      try {
        namespace = netNamespaceOf(calls, pid);
      } catch {
        return undefined;
      }
      if (namespace.id !== machine.id) return networkIn(namespace);
      namespace.close();
      return undefined;
    },
    leave,
    async remove(forwarding) {
      try {
        removeBridge(sockets, instance, forwarding);
      } finally {
        leave();
      }
    },
  };
}

// --- internal -----------------------------------------------------------------------------------

const openSockets = (calls: Libc): Sockets => ({
  route: openNetlink(calls, families.route),
  netfilter: openNetlink(calls, families.netfilter),
  diag: openNetlink(calls, families.diag),
});
