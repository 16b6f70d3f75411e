/**
 * The route table: what the data path needs to know, and nothing else. Computed by a pure function from
 * the store (reconcile/routes.ts), immutable, swapped whole. Plain data, so that it can also travel to a
 * proxy in another process.
 */

/** `svc:<namespace>/<name>:<port>` or `deploy:<namespace>/<name>:<containerPort>`. */
export type DestinationKey = string;

export type Address = { readonly host: string; readonly port: number };

/** `host:port` */
export const addressKey = ({ host, port }: Address): string => `${host}:${port}`;

export type Target =
  | { readonly ready: true; readonly addresses: readonly Address[]; readonly sandbox?: string }
  | {
      readonly ready: false;
      /** Absent: the baseline itself is not ready. */
      readonly sandbox?: string;
      /** CamelCase reason and a sentence; shown to the client in the 503. */
      readonly reason: string;
      readonly message: string;
    };

export type Destination = {
  /** `Deployment <namespace>/<name>`, or the Service when no workload backs it; for messages. */
  readonly label: string;
  readonly baseline: Target;
  /** By routing key. A key that is not in here goes to the baseline. */
  readonly forks: Readonly<Record<string, Target>>;
};

/** A loopback address at which a Service of the baseline answers. */
export type Listener = Address & { readonly destination: DestinationKey };

export type Preview = {
  readonly sandbox: string;
  readonly endpoint: string;
  readonly routingKey: string;
  readonly destination: DestinationKey;
  readonly protocol: 'http' | 'https' | 'grpc';
};

export type RouteTable = {
  /** Grows with every swap. */
  readonly version: number;
  readonly destinations: Readonly<Record<DestinationKey, Destination>>;
  readonly listeners: readonly Listener[];
  /** By the first label of the preview host, `<endpoint>--<sandbox>`. */
  readonly previews: Readonly<Record<string, Preview>>;
};

/** Where a proxy gets its table; in memory here, a watch elsewhere. */
export type RouteSource = {
  current(): RouteTable;
  /** Calls `listener` after every swap. @returns the way to stop that. */
  subscribe(listener: (table: RouteTable) => void): () => void;
};

export const emptyRouteTable: RouteTable = { version: 0, destinations: {}, listeners: [], previews: {} };
