/** The data path of a controller: it runs no proxy, and tells those who follow from elsewhere what there is to be served. */
import type { Baseline } from './baseline/contract.ts';
import type { Config } from './config.ts';
import type { Entrance } from './lib/entrance.ts';
import type { Log } from './lib/log.ts';
import type { Address, BranchRoute, RouteChange } from './model/route.ts';
import type { FollowerView } from './model/view.ts';
import { type Door, openDoor } from './proxy/stream/door.ts';
import { type FeedOptions, openFeed } from './proxy/stream/feed.ts';
import { followRoutes, type Routes } from './reconcile/routes.ts';
import type { House } from './roles/cluster-house.ts';
import type { Store } from './store/contract.ts';

export type TellingOptions = {
  /** Where they follow. */
  readonly at: Entrance;
  /** By which they are known. */
  readonly house: House;
  readonly version: string;
  /** Makes a branch reachable. @throws OffshootError gateway/branch-unknown, and whatever stands in the way */
  readonly awake: (branch: string, signal: AbortSignal) => Promise<BranchRoute>;
  /** See proxy/stream/feed.ts. */
  readonly enter: NonNullable<FeedOptions['enter']>;
  /** Of those who follow somebody came, went, or knows all that there is for its destination. */
  readonly onFollowers?: (destination: string) => void;
  readonly log: Log;
};

export type Telling = {
  readonly door: Address;
  /** Tells everything that store and baseline say, and from then on what changes. @param own items besides */
  begin(store: Store, baseline: Baseline, own: readonly RouteChange[]): void;
  /** Waits until everybody who is connected does what the store says now; not for one that hangs. */
  routed(): Promise<void>;
  followers(): readonly FollowerView[];
  close(): Promise<void>;
};

export async function openTelling({
  at,
  house,
  version,
  awake,
  enter,
  onFollowers,
  log,
}: TellingOptions): Promise<Telling> {
  const feed = await openFeed({
    ...{ version, awake, enter, log, ...(onFollowers && { onFollowers }) },
    // All that is of proxies on this machine: there is none.
    onListeners() {},
    onFound() {},
    onProxies() {},
    isAlive: () => false,
    async dropTable() {},
  });
  let door: Door;
  try {
    const { certificate, authority, exchange } = house;
    door = await openDoor({
      ...{ host: at.host, port: at.port, entrance: at },
      certificate,
      authority,
      ...(exchange && { exchange }),
      admit: feed.admit,
      log,
    });
  } catch (error) {
    await feed.close();
    throw error;
  }
  let routes: Routes | undefined;
  return {
    door,
    begin(store, baseline, own) {
      feed.publish(own);
      routes = followRoutes(store, baseline, feed.publish);
      feed.settle();
    },
    async routed() {
      routes?.flush();
      await feed.delivered();
    },
    followers: feed.followers,
    async close() {
      routes?.stop();
      await door.close();
      await feed.close();
    },
  };
}

/** What all who follow are to know of how it is served. */
export const settingItem = ({
  domain,
  advertised,
  customHeaders: headers,
  keepRevoked,
  drainMs,
  headerBytes,
}: Config): RouteChange => ({
  ...{ kind: 'setting', name: 'proxy' },
  value: { domain, advertised, headers, keepRevoked, drainMs, headerBytes },
});
