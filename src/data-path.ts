/**
 * Composition of the daemon's side of the data path: tells proxies what there is to be served, hears from them where
 * they listen, and sees to it that there is one.
 */
import { readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Authority } from './authority.ts';
import type { Baseline } from './baseline/contract.ts';
import type { Config } from './config.ts';
import { keyItem } from './internal-keys.ts';
import { bootId } from './lib/boot.ts';
import { programFile } from './lib/checkout.ts';
import type { Log } from './lib/log.ts';
import { isAlive } from './lib/process.ts';
import { until } from './lib/wait.ts';
import { OffshootError } from './model/errors.ts';
import { type Address, addressKey, type RouteChange, type RouteSettings, type WayIn } from './model/route.ts';
import type { FollowerView, ProxyView } from './model/view.ts';
import { type Keeper, keepProxy, type Runner } from './proxy/keeper.ts';
import { feedSocket, outFile, tableFile } from './proxy/places.ts';
import { mayChangeShortcuts, type Shortcut, shortcutsOf } from './proxy/shortcuts.ts';
import { fileCertificate, openDoor } from './proxy/stream/door.ts';
import { type Feed, type FeedOptions, type ListenerReport, openFeed } from './proxy/stream/feed.ts';
import type { Command } from './proxy/stream/messages.ts';
import { readTable } from './proxy/stream/table-file.ts';
import type { Listening } from './reconcile/baseline.ts';
import { followRoutes, listenerOf, type Routes } from './reconcile/routes.ts';
import type { Store } from './store/contract.ts';

export type DataPathOptions = {
  readonly config: Config;
  readonly version: string;
  /** By which those who follow from elsewhere are known; undefined: none may. */
  readonly house: Pick<Authority, 'server' | 'certificate'> | undefined;
  /** What TLS is served with. */
  readonly tls: NonNullable<RouteSettings['tls']>;
  /** Absent: this machine reaches pods as it is. */
  readonly pods: WayIn | undefined;
  readonly runner: Runner;
  readonly command: Command;
  /** A proxy of an earlier daemon is replaced, also when it is of our version. */
  readonly replace: boolean;
  readonly awake: FeedOptions['awake'];
  /** See proxy/stream/feed.ts. */
  readonly enter: NonNullable<FeedOptions['enter']>;
  /** Whether the router answers at an address has changed. */
  readonly onListening: (address: Address) => void;
  /** What the kernel may lead past the proxies, whenever it is other than before. */
  readonly shorten: (ways: readonly Shortcut[]) => void;
  /** See proxy/stream/feed.ts. */
  readonly onFound: FeedOptions['onFound'];
  readonly log: Log;
};

/** The ports of the last start, for where any free one is asked for. */
export type Gateways = { readonly http: number | undefined; readonly postgres: number | undefined };

export type DataPath = {
  /** Resolves when a proxy has been started, or one is there: from then on it needs the processor as much as we do. */
  readonly proxyStarts: Promise<void>;
  /**
   * Tells everything that the store says, and from then on what changes.
   * @param keys that open previews besides those in the store
   * @returns where the gateways listen
   * @throws OffshootError host/port-taken, proxy/listen-failed, proxy/not-started; api/timeout when it never says where it listens
   */
  begin(
    store: Store,
    baseline: Baseline,
    keys: readonly string[],
    last: Gateways,
  ): Promise<{ readonly previews: Address; readonly postgres: Address }>;
  /** Waits until every proxy does what the store says now; not for one that hangs. @returns false when there is one */
  routed(): Promise<boolean>;
  /** See proxy/stream/feed.ts. */
  readonly uses: Feed['uses'];
  /** Waits until the port of a branch's own is listened at. @throws OffshootError as `begin` */
  opened(branch: string): Promise<unknown>;
  /** Why it is not; undefined: it is, or will be. */
  portProblem(branch: string): string | undefined;
  listening(address: Address, transport?: 'tcp' | 'udp'): Listening;
  proxies(): readonly ProxyView[];
  /** Those who follow from elsewhere. */
  followers(): readonly FollowerView[];
  /** Where they do. */
  readonly door: Address | undefined;
  /** Ends all proxies. */
  stop(graceMs: number): Promise<void>;
  /** Lets them go on without us. */
  leave(): Promise<void>;
};

/** How a proxy of this checkout is started. */
export function proxyCommand(config: Config, env: Readonly<Record<string, string>>): Command {
  const { home, runtimeDir, logLevel } = config;
  return {
    program: process.execPath,
    args: [programFile('proxy'), '--home', home, '--runtime-dir', runtimeDir, '--log-level', logLevel],
    env,
  };
}

/** Ends proxies that a daemon which was killed has left. */
export async function endProxies({ home, runtimeDir }: Config, runner: Runner, log: Log): Promise<void> {
  // Also such as are on nobody's record: they come when they see a daemon.
  const feed = await openFeed({
    ...{ socket: feedSocket(runtimeDir), version: '', log },
    awake: () => Promise.reject(new Error('nobody is here for long')),
    onListeners() {},
    onFound() {},
    onProxies() {},
    async dropTable() {},
    isAlive,
  });
  if (readTable(tableFile(home), bootId()) !== undefined) {
    await until(() => feed.proxies()[0], { what: 'a proxy says hello', deadlineMs: COME_MS }).catch(() => {});
    feed.stop(0);
    const gone = () => feed.proxies().length === 0 || undefined;
    await until(gone, { what: 'the proxies end', deadlineMs: END_MS }).catch(() => {});
  }
  await runner.kill();
  await feed.close();
  await rm(tableFile(home), { force: true });
}

/** @throws OffshootError host/port-taken, proxy/listen-failed where others are to follow */
export async function openDataPath(o: DataPathOptions): Promise<DataPath> {
  const { config, log } = o;
  const listeners = new Map<string, ListenerReport>();
  let changed = Promise.withResolvers<void>();
  let keeper: Keeper | undefined;
  let routes: Routes | undefined;

  const onListeners = (states: readonly ListenerReport[]): void => {
    const before = new Map(listeners);
    listeners.clear();
    for (const state of states) listeners.set(state.name, state);
    changed.resolve();
    changed = Promise.withResolvers();
    for (const { name, host, port } of new Map([...before, ...listeners]).values()) {
      if (
        before.get(name)?.error?.message !== listeners.get(name)?.error?.message ||
        before.has(name) !== listeners.has(name)
      )
        o.onListening({ host, port });
    }
  };

  const feed: Feed = await openFeed({
    ...{ socket: feedSocket(config.runtimeDir), version: o.version, awake: o.awake, enter: o.enter, log },
    onListeners,
    onFound: o.onFound,
    onProxies: () => keeper?.look(),
    dropTable: () => rm(tableFile(config.home), { force: true }),
    isAlive,
  });
  const door =
    o.house === undefined || config.feedPort === undefined
      ? undefined
      : await openDoor({
          ...{ host: config.host, port: config.feedPort },
          certificate: fileCertificate(o.house.server),
          ...{ authority: o.house.certificate, admit: feed.admit, log },
        }).catch(async error => {
          await feed.close();
          throw error;
        });
  const closeFeed = async () => {
    await door?.close();
    await feed.close();
  };
  const proxyStarts = Promise.withResolvers<void>();
  const failures: string[] = [];
  const onFailure = (why: string): void => {
    failures.push(why);
    changed.resolve();
    changed = Promise.withResolvers();
  };
  keeper = keepProxy({
    ...{
      feed,
      runner: telling(o.runner, { there: proxyStarts.resolve, onFailure, outFile: outFile(config.home) }),
      command: o.command,
      version: o.version,
      replace: o.replace,
      log,
    },
    mayBeThere: readTable(tableFile(config.home), bootId()) !== undefined,
  });

  /** Where the gateway `name` listens; waits until a proxy has said so. */
  const untilListening = async (name: string, signal: AbortSignal): Promise<Address> => {
    for (;;) {
      const state = listeners.get(name);
      if (state?.error !== undefined) throw state.error;
      if (state !== undefined) return { host: state.host, port: state.port };
      if (failures.length >= TRIES) throw new OffshootError('proxy/not-started', { why: failures.at(-1) });
      if (signal.aborted)
        throw new OffshootError('api/timeout', {
          ...{ after: `${START_MS / 1000} s`, what: `the proxy to listen for ${name}` },
          hint: `see ${join(config.home, 'logs', 'proxy.out')}`,
        });
      const aborted = new Promise<void>(resolve =>
        signal.addEventListener('abort', () => resolve(), { once: true }),
      );
      await Promise.race([changed.promise, aborted]);
    }
  };

  return {
    proxyStarts: proxyStarts.promise,
    async begin(store, baseline, keys, last) {
      feed.publish([...fixedItems(config, o.tls, o.pods, last), ...keys.map(keyItem)]);
      const publish = (changes: readonly RouteChange[]): void => {
        feed.publish(changes);
        if (mayChangeShortcuts(changes)) o.shorten(shortcutsOf(feed.book));
      };
      const { host, cleartext } = config;
      routes = followRoutes(store, baseline, publish, { host, ...(!cleartext && { encrypted: true }) });
      feed.settle();
      const signal = AbortSignal.timeout(START_MS);
      const previews = await untilListening('previews', signal);
      const postgres = await untilListening('postgres', signal);
      // Where any port may be: the next proxy takes the same one, by which everybody knows us.
      feed.publish(gatewayItems(config, { http: previews.port, postgres: postgres.port }));
      return { previews, postgres };
    },
    async routed() {
      routes?.flush();
      return await feed.delivered();
    },
    uses: feed.uses,
    async opened(branch) {
      routes?.flush();
      return await untilListening(listenerOf(branch), AbortSignal.timeout(START_MS));
    },
    portProblem: branch => listeners.get(listenerOf(branch))?.error?.message,
    listening(address, transport = 'tcp') {
      const state = listeners.get(`${transport === 'udp' ? 'udp:' : ''}${addressKey(address)}`);
      if (state === undefined) return 'opening';
      return state.error === undefined ? 'open' : { problem: state.error.message };
    },
    proxies: () =>
      feed.proxies().map(({ version, pid, startedAt, counts: { http, sql, tcp = 0, drainingSince } }) => ({
        ...{ version, pid, startedAt, connections: { http, sql, tcp } },
        ...(drainingSince !== undefined && { drainingSince }),
      })),
    followers: feed.followers,
    door,
    async stop(graceMs) {
      routes?.stop();
      await keeper.stop(graceMs);
      await closeFeed();
      // Its addresses are nobody's now, and soon somebody else's.
      await rm(tableFile(config.home), { force: true });
    },
    async leave() {
      routes?.stop();
      keeper.leave();
      await closeFeed();
    },
  };
}

// --- internal -----------------------------------------------------------------------------------

/** Until a proxy is up and listens. */
const START_MS = 30_000;
/** Until proxies that see a daemon have come, and until those that are told to end have ended. */
const COME_MS = 300;
const END_MS = 3_000;
/** Starts of a proxy that come to nothing before there is no use in waiting. */
const TRIES = 3;
const LAST_WORDS = 10_000;

/**
 * @param o.there called when there is a proxy, or none could be started at the first try
 * @param o.onFailure called when one could not be started, or has ended
 */
const telling = (
  runner: Runner,
  o: {
    readonly there: () => void;
    readonly onFailure: (why: string) => void;
    readonly outFile: string;
  },
): Runner => ({
  ...runner,
  find() {
    const found = runner.find();
    if (found !== undefined) o.there();
    return found;
  },
  async start() {
    try {
      const running = await runner.start();
      void running.ended.then(() => o.onFailure(lastWords(o.outFile)));
      return running;
    } catch (error) {
      o.onFailure((error as Error).message);
      throw error;
    } finally {
      o.there();
    }
  },
  succeed: leader => runner.succeed(leader).finally(o.there),
});

/** What a program of ours that has ended said at last: its error, or its last line. */
function lastWords(file: string): string {
  try {
    const lines = readFileSync(file, 'utf8').slice(-LAST_WORDS).split('\n').filter(Boolean);
    return lines.findLast(line => /^\w*Error\b/.test(line)) ?? lines.at(-1) ?? 'it ends without a word';
  } catch (error) {
    return (error as Error).message;
  }
}

function fixedItems(
  config: Config,
  tls: NonNullable<RouteSettings['tls']>,
  pods: WayIn | undefined,
  last: Gateways,
): readonly RouteChange[] {
  const { advertised, domain, customHeaders, keepRevoked, drainMs, headerBytes } = config;
  return [
    {
      ...{ kind: 'setting', name: 'proxy' },
      value: {
        ...{ domain, advertised, headers: customHeaders, keepRevoked, drainMs, headerBytes, tls },
        ...(pods && { pods }),
      },
    },
    ...gatewayItems(config, last),
    ...(pods === undefined
      ? []
      : [
          {
            ...{ kind: 'listener' as const, name: `pods ${pods.network}` },
            value: { host: pods.gateway, port: pods.port, serves: 'pods' },
          },
        ]),
  ];
}

/** @param last where they have been, or are */
function gatewayItems({ host, cleartext, ...config }: Config, last: Gateways): readonly RouteChange[] {
  const gateway = (name: 'previews' | 'postgres', port: number, prefer: number | undefined): RouteChange => ({
    ...{ kind: 'listener', name },
    value: {
      ...{ host, port, serves: name },
      ...(port === 0 && prefer !== undefined && { prefer }),
      ...(!cleartext && { encrypted: true }),
    },
  });
  return [
    gateway('previews', config.httpPort, last.http),
    gateway('postgres', config.postgresPort, last.postgres),
  ];
}
