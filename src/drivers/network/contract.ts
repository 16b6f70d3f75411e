/** Networks of pods, as drivers see them. Types only. */
import type { Socket } from 'node:net';
import type { Entrance } from '../../lib/held.ts';
import type { TcpEnd, TcpState } from '../../lib/tcp-ends.ts';
import type { Address, WayIn } from '../../model/route.ts';
import type { Capability } from '../contract.ts';

/** A pod is named by the part of its workload and its place in it, e.g. `workload/base.demo.users/0`. */
export type Networks = {
  /** Where it is said in `doctor`. */
  capabilities(): readonly Capability[];
  /** What pods see of this machine: it is their way out. */
  gateway(): string;
  /** The address of a pod, which it keeps until `remove`. */
  address(pod: string): string;
  /**
   * The network of a pod: the one that it has, or a new one when nothing lives in it any more.
   * @param before pids of processes that an earlier daemon may have started in it, and what it had let `reach`
   */
  ensure(pod: string, before?: Before): Promise<PodNetwork>;
  /** Its processes must have ended. One that is not there is a success. */
  remove(pod: string): void;
  /** A file that pods are to see as /etc/resolv.conf, as of now; undefined: the machine's own will do. */
  resolvConf(): string | undefined;
  /** All pods that have an address. */
  list(): readonly string[];
  /** Absent where Services have addresses of the loopback interface, which pods reach, too. */
  readonly services:
    | {
        /** The `attempt`-th address of a Service; pods and this machine reach it, nobody else. */
        address(key: string, attempt: number): string;
        /** Whether `address` could have given it. */
        has(ip: string): boolean;
      }
    | undefined;
  /** Absent where this machine reaches pods as it is. */
  readonly outside: Outside | undefined;
  /** Pods find what listens at these ports of this machine's 127.0.0.1 at their own, too; until told otherwise. */
  share(ports: readonly number[]): void;
  /**
   * Leads new connections to ports of Services straight to pods, where the kernel can; replaces what was said before.
   * Nobody may rely on it: whoever listens at the Service's address gets what is not led elsewhere.
   */
  shorten(ways: readonly Shortcut[]): void;
  /** Lets go of everything: what runs goes on, for the next daemon. */
  leave(): void;
  /** Removes all but what is on disk. Nothing may run in any of them. */
  close(): Promise<void>;
};

/** A TCP port of a Service, and where its pods listen. */
export type Shortcut = Address & { readonly pods: readonly Address[] };

export type Before = { readonly members: readonly number[]; readonly reached: readonly number[] };

/** How what is outside of the networks of pods reaches into them. */
export type Outside = {
  readonly way: WayIn;
  connect(address: Address, signal?: AbortSignal): Promise<Socket>;
  /** A socket in the network of the bridge, that is bound to `address` and does not listen yet. @returns its descriptor */
  socket(kind: 'stream' | 'datagrams', address: Address): Promise<number>;
};

export type PodNetwork = Entrance & {
  readonly ip: string;
  /** By which another process of this machine finds it as long as we hold it; absent where only ours can enter. */
  readonly path?: string;
  /** A connection to it. Half-open ones are allowed. @throws the system's error; the signal's reason */
  connect(port: number, signal?: AbortSignal): Promise<Socket>;
  /** The TCP sockets in it. @param pid a process in it, whose /proc is read where the kernel says it no other way */
  ends(state: TcpState, pid: number): Promise<readonly TcpEnd[]>;
  /** Nothing has lived in it yet. */
  readonly isNew: boolean;
  /** TCP ports at which something in the pod listens at 127.0.0.1 alone; others have no way to it but through us. */
  reach(ports: readonly number[]): void;
};
