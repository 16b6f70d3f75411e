/**
 * What the data path needs to know, and nothing else: small items, each of a kind and under a name. The control plane
 * computes them (reconcile/routes.ts) and tells the proxies what changed (proxy/stream); a proxy looks them up
 * (proxy/book.ts). Plain data throughout, because it travels and is kept on disk.
 */

import type { WorkloadKey } from './sandbox.ts';
import type { Visit } from './visit.ts';
import { workloadPath } from './workload.ts';

export type Address = { readonly host: string; readonly port: number };

/** Of a branch node, which leads to the servers of its branches; see proxy/branches. */
export type NodeDoor = Address & {
  /** Whom to meet there. */
  readonly node: string;
  /** Host under which it is found when it is not at that address any more. */
  readonly name?: string;
};

/** Where a branch's server listens: a unix socket on this machine, or behind the door of another. */
export type Endpoint = { readonly socket: string } | (NodeDoor & { readonly branch: string });

/** `svc:<namespace>/<name>:<port>`, with `/udp` behind it where it is one of UDP, or `deploy:<workload>:<containerPort>`. */
export type DestinationKey = string;

/** Where a baseline or a fork answers. */
export type Target =
  | {
      readonly ready: true;
      /** By container port; replicas take turns. */
      readonly ports: Readonly<Record<number, readonly Address[]>>;
      /** Of pods with a network of their own, which answer at any port, UDP ones among them. */
      readonly ips?: readonly string[];
    }
  | {
      readonly ready: false;
      /** CamelCase reason and a sentence; shown to the client in the 503. */
      readonly reason: string;
      readonly message: string;
    };

export type BranchRoute = {
  /** Where its server listens; absent when it has to be started, or its password set, before anybody may log in. */
  readonly endpoint?: Endpoint;
  /** Sessions that began under another number have to end. */
  readonly sessions: number;
  /** Milliseconds of silence after which a session that holds nothing has no server; absent: each keeps its own. */
  readonly silentMs?: number;
};

/** Paths on this machine; of PEM files. */
export type CertificateFiles = { readonly cert: string; readonly key: string };

export type RouteSettings = {
  /** Previews are at `*.preview.<domain>`. */
  readonly domain: string;
  /** Further headers whose value is a routing key. */
  readonly headers: readonly string[];
  /** Connections whose API key was revoked go on. */
  readonly keepRevoked: boolean;
  /** The name under which clients reach this machine. */
  readonly advertised?: string;
  /** Files of the certificate for previews, and of the one for PostgreSQL; absent: there is no TLS. */
  readonly tls?: { readonly previews?: CertificateFiles; readonly postgres?: CertificateFiles };
  /** Milliseconds that a proxy which was replaced goes on serving its connections. */
  readonly drainMs: number;
  /** Of a header block, of requests and of answers; absent: as in proxy/http/limits.ts. */
  readonly headerBytes?: number;
  /** Pods are in a network that this machine does not reach as it is. */
  readonly pods?: WayIn;
};

/** The way into a network of pods, by an outpost in it, and out of it. */
export type WayIn = {
  /** Which one it is: a socket in one that is gone is reached by nobody. */
  readonly network: string;
  /** Path of the outpost's unix socket. */
  readonly outpost: string;
  /** Addresses of pods and of the bridge, e.g. `10.208.16.0/20`. */
  readonly range: string;
  /** Of the bridge; pods ask for names there. */
  readonly gateway: string;
  /** There comes in what pods want of others. */
  readonly port: number;
};

/**
 * What a port of a Service speaks: `http` of any version, gRPC included, is routed by key; the others pass through to
 * the baseline.
 */
export type Speaks = 'http' | 'tcp' | 'udp';

/** What was found at a port that nobody had said to speak anything. */
export type Found = Exclude<Speaks, 'udp'>;

/** Every kind of item, by the name under which it is found. */
export type RouteKinds = {
  /** A workload of the baseline; see `workloadPath` in model/workload.ts. */
  workload: { readonly label: string; readonly target: Target };
  /** `<workload>/<routing key>`: a sandbox's fork of that workload. While it is here, its key never leads to the baseline. */
  fork: { readonly sandbox: string; readonly target: Target };
  /** `svc:…`: which container ports of which workloads are behind a port of a Service. */
  service: {
    readonly label: string;
    readonly behind: readonly { readonly workload: string; readonly port: number }[];
    /** Of a Service that selects nothing: where else it leads. */
    readonly outside?: readonly Address[];
    /** Absent: its first bytes say it. */
    readonly speaks?: Speaks;
    /** Name of a port that none of the containers has which the Service selects. */
    readonly missingPort?: string;
  };
  /**
   * `<host>:<port>` of a Service, or the name of a gateway. Port 0: any free one, `prefer` first.
   */
  listener: Address & {
    /** `pods`: what pods want of others; see `WayIn`. */
    readonly serves: DestinationKey | 'previews' | 'postgres' | 'pods';
    readonly prefer?: number;
    /** Clear text only for peers on this machine. */
    readonly encrypted?: true;
    /** Of PostgreSQL: the branch that is meant by whoever comes here. */
    readonly branch?: string;
  };
  /** `<host>:<port>` of a Service's UDP port. */
  datagrams: Address & { readonly serves: DestinationKey };
  /** `<endpoint>--<sandbox>`, the first label of its host. */
  preview: {
    readonly sandbox: string;
    readonly endpoint: string;
    readonly routingKey: string;
    readonly destination: DestinationKey;
    readonly protocol: 'http' | 'https' | 'grpc';
  };
  /** A routing key that was a sandbox's; it leads nowhere any more. */
  tombstone: {
    readonly sandbox: string;
    /** Of what the sandbox had forks. */
    readonly workloads?: readonly string[];
  };
  /** SHA-256 of an API key in hexadecimal: it opens previews. */
  key: Readonly<Record<string, never>>;
  /**
   * SHA-256 of a token that a person's browser holds, in hexadecimal: it opens one preview, as long as the key is there
   * that it was given for.
   */
  visit: Visit;
  /** By branch id. */
  branch: BranchRoute;
  /** `proxy`: the one there is. */
  setting: RouteSettings;
};

export type RouteKind = keyof RouteKinds;

/** One item that is new or other than before; without a value: that is gone. */
export type RouteChange = {
  readonly [K in RouteKind]: {
    readonly kind: K;
    readonly name: string;
    readonly value?: RouteKinds[K] | undefined;
  };
}[RouteKind];

/** The same, and what it was before. */
export type RouteChanged = {
  readonly [K in RouteKind]: Extract<RouteChange, { kind: K }> & {
    readonly before?: RouteKinds[K] | undefined;
  };
}[RouteKind];

export const forkRoute = (forkOf: WorkloadKey, routingKey: string): string =>
  `${workloadPath(forkOf)}/${routingKey}`;

/** `host:port`, with the brackets of an IPv6 host. */
export const addressKey = ({ host, port }: Address): string =>
  host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
