/**
 * What daemon and proxies say to each other, as JSON lines over a unix socket or, with TLS, a network. The proxy connects,
 * and says hello first; the daemon chooses a protocol that both know. A field or a kind that one side does not know is passed over, so a
 * new one needs no new protocol; what means something else than before does.
 */
import type { ErrorBody, ErrorParams } from '../../model/errors.ts';
import type { Address, BranchRoute, DestinationKey, Found, RouteChange } from '../../model/route.ts';
import type { Entry } from '../../model/visit.ts';

/** Newest first. The one before stays until no proxy that speaks only it can be running any more: for one release. */
export const protocols: readonly number[] = [1];

/** Longest line either side takes, in characters; of what a follower from elsewhere may say there is less. */
export const maxLine = 16 * 1024 * 1024;
export const maxLineOfOthers = 64 * 1024;

/** Milliseconds between two words to a follower from elsewhere, so that silence means something. */
export const BEAT_MS = 5_000;

/** Who a proxy is. */
export type ProxyIdentity = {
  readonly version: string;
  readonly pid: number;
  /** See lib/process.ts. */
  readonly startTime: string;
  /** ISO time. */
  readonly startedAt: string;
  /** Of one on another machine, where its pid says nothing. */
  readonly id?: string;
};

/** A place in the history of one daemon's changes. */
export type Place = {
  /** Another one for each life of a daemon. */
  readonly epoch: string;
  /** Grows by one with every step. */
  readonly version: number;
};

export type Counts = {
  /** Connections of HTTP clients, those in a tunnel (WebSocket) included. */
  readonly http: number;
  readonly sql: number;
  /** That pass through; absent from a proxy of an earlier version. */
  readonly tcp?: number;
  /** Since when it only serves the connections that it has: an ISO time. */
  readonly drainingSince?: string;
};

export type WireError = { readonly code: ErrorBody['code']; readonly params: ErrorParams };

export type FromProxy =
  | {
      readonly type: 'hello';
      readonly protocols: readonly number[];
      readonly proxy: ProxyIdentity;
      readonly at?: Place;
    }
  /** Everything up to here is followed, and kept. */
  | { readonly type: 'ack'; readonly place: Place }
  | { readonly type: 'listeners'; readonly states: readonly WireListener[] }
  | { readonly type: 'counts'; readonly counts: Counts }
  /** What was found at ports that nobody had said to speak anything; all of it, each time. */
  | { readonly type: 'found'; readonly found: Readonly<Record<DestinationKey, Found>> }
  /** Branches that have clients now, and those that have none any more. `whole`: all of the first, after each hello. */
  | {
      readonly type: 'uses';
      readonly begun?: readonly string[];
      readonly ended?: readonly string[];
      readonly whole?: true;
    }
  /** `quiet`: nobody is woken for it. */
  | { readonly type: 'ask'; readonly id: number; readonly branch: string; readonly quiet?: true }
  /** A person wants to come into a preview; see http/visits.ts. Answered as `ask` is. */
  | { readonly type: 'enter'; readonly id: number; readonly entry: Entry }
  /** Nobody waits for the answer any more. */
  | { readonly type: 'forget'; readonly id: number }
  | { readonly type: 'replace-failed'; readonly why: string }
  /** The answer to the daemon's. */
  | { readonly type: 'beat' };

export type WireListener = Address & { readonly name: string; readonly error?: WireError };

export type FromDaemon =
  | {
      readonly type: 'hello';
      readonly protocol: number;
      readonly version: string;
      readonly pid: number;
      /** Has it made up its mind what there is? Until then, what the proxy knows is better than nothing. */
      readonly settled: boolean;
    }
  | { readonly type: 'refused'; readonly why: string }
  /** All that is new since the place before. `whole`: everything there is, what is not in it is gone. */
  | {
      readonly type: 'step';
      readonly place: Place;
      readonly items: readonly WireItem[];
      readonly whole?: true;
      /** More of this step follows in the next line. */
      readonly more?: true;
    }
  | {
      readonly type: 'answer';
      readonly id: number;
      readonly branch?: BranchRoute;
      readonly error?: WireError;
    }
  | { readonly type: 'beat' }
  /** Start this program with your listening sockets, and let it take over. */
  | { readonly type: 'replace'; readonly command: Command }
  /** End all connections, at the latest after `graceMs`, and then yourself. */
  | { readonly type: 'stop'; readonly graceMs: number };

export type Command = {
  readonly program: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
};

/** Kind, name, value; without a value it is gone. */
export type WireItem = readonly [kind: string, name: string, value?: unknown];

export const toWire = ({ kind, name, value }: RouteChange): WireItem =>
  value === undefined ? [kind, name] : [kind, name, value];

export const fromWire = ([kind, name, value]: WireItem): RouteChange =>
  ({ kind, name, value }) as RouteChange;
