/** Composition: chooses the implementations, wires them, starts them in order and stops them backwards. */
import { chmodSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ApiContext } from './api/context.ts';
import type { ApiServer } from './api/server.ts';
import type { Config } from './config.ts';
import { endProxies, openDataPath, proxyCommand } from './data-path.ts';
import { labels } from './drivers/labels.ts';
import { openNetworks } from './drivers/network/networks.ts';
import { openProcesses } from './drivers/processes/registry.ts';
import { openEncryption } from './encryption.ts';
import { internalKeys } from './internal-keys.ts';
import { root, version } from './lib/checkout.ts';
import { startProgramsBy } from './lib/exec.ts';
import type { Log } from './lib/log.ts';
import { posixSpawn } from './lib/posix-spawn.ts';
import { orAborted } from './lib/wait.ts';
import { openLog } from './log-output.ts';
import { type Address, addressKey } from './model/route.ts';
import type { DaemonView } from './model/view.ts';
import { destinationNamed } from './proxy/stream/destinations.ts';
import { proxyRunner } from './proxy-runner.ts';
import type { Loop } from './reconcile/loop.ts';
import { freePort, isFree, rememberedPorts, rememberPorts } from './remembered-ports.ts';
import { branchesAtHand, importsAtHand, programsAtHand } from './roles/at-hand.ts';
import { type Deciding, loadDeciding, useSoon } from './roles/deciding.ts';
import { driverOptions, type Env, passedOnFrom, sharedPorts } from './roles/environment.ts';
import { door, givenOut, naming, nearUrl, nowhere } from './roles/given-out.ts';
import { lockHome, removeRuntimeDir } from './roles/home-lock.ts';
import { measure } from './roles/metrics.ts';
import { openState } from './roles/state.ts';
import type { Visits } from './rules/visits.ts';
import { serviceAddresses } from './service-addresses.ts';

export type Daemon = {
  info(): DaemonView;
  /** Resolves when the daemon was asked to stop, by the API or by `stop`. */
  readonly stopping: Promise<End>;
  stop(): void;
  /** Stops everything that runs; what was stored stays. */
  close(): Promise<void>;
  /** Lets everything run, for another daemon to take over. The process must end then. */
  leave(): Promise<void>;
};

/** `leave`: nothing is stopped. */
export type End = 'stop' | 'leave';

export type DaemonOptions = {
  /** The proxy that runs is replaced, also when it is of our version. */
  readonly replaceProxy?: boolean;
  /** Ends the start; what has been made for it is taken back. */
  readonly signal?: AbortSignal;
};

/** Milliseconds that connections get to end when the daemon stops. */
const graceMs = 1_000;

/**
 * @throws OffshootError host/already-running, host/port-taken, and whatever the machine lacks; the signal's reason. Then
 * nothing runs or is mounted that did not before, and a data directory that was new is gone.
 */
export async function startDaemon(
  config: Config,
  env: Env,
  { replaceProxy = false, signal = new AbortController().signal }: DaemonOptions = {},
): Promise<Daemon> {
  const startedAt = new Date().toISOString();
  await using opened = new AsyncDisposableStack();
  const home = await lockHome(config, opened);
  let isUp = false;
  opened.defer(async () => {
    if (!isUp) await home.takeBack();
  });
  const logFile = join(config.home, 'logs', 'daemon.log');
  const log = openLog(logFile, config.logLevel);

  const encryption = openEncryption(config, log);
  opened.defer(() => encryption.close());
  const processes = await openProcesses({ ...config, path: env.PATH ?? '', log });
  void posixSpawn().then(starter => startProgramsBy(starter, env));
  opened.defer(() => processes.close());
  // The proxy listens there.
  const outpost = { processes, runtimeDir: config.runtimeDir, path: env.PATH ?? '' };
  const openingNetworks = openNetworks({ ...config, shared: sharedPorts(config), outpost, log });
  opened.defer(async () => {
    const networks = await openingNetworks.catch(() => undefined);
    if (networks !== undefined && !('why' in networks)) await networks.close();
  });
  // At once: drivers wait longest, for the programs that they start; the rest is loaded meanwhile.
  const { openDrivers } = await import('./drivers/open.ts');
  const opening = openDrivers(driverOptions(config, env, log), { processes, networks: openingNetworks });
  opening.catch(() => {}); // it is waited for below
  opened.defer(async () => (await opening.catch(() => undefined))?.close());
  const networks = await openingNetworks;
  signal.throwIfAborted();
  // Early, because the proxy takes its time to start, too.
  const command = proxyCommand(config, {
    ...passedOnFrom(env),
    ...labels(config.instance, 'proxy'),
    ...(env.NODE_COMPILE_CACHE !== undefined && { NODE_COMPILE_CACHE: env.NODE_COMPILE_CACHE }),
  });
  const started = Promise.withResolvers<{
    readonly awake: Loop['awake'];
    readonly lookAt: (address: Address) => void;
    readonly noteFound: Deciding['noteFound'];
    readonly enter: Visits['enter'];
  }>();
  const dataPath = await naming(config, () =>
    openDataPath({
      ...{
        config,
        version,
        command,
        log,
        replace: replaceProxy,
        tls: encryption.files,
        house: encryption.house,
      },
      pods: 'why' in networks ? undefined : networks.outside?.way,
      runner: proxyRunner(processes, config.home, command),
      // Proxies that were here before us ask before we can answer.
      async awake(id, signal, quiet) {
        const { awake } = await orAborted(started.promise, signal);
        const endpoint = await awake(id, signal, quiet);
        return { endpoint, sessions: store.get('branch', id)?.secret.sessions ?? 0 };
      },
      async enter(entry, signal) {
        const { enter } = await orAborted(started.promise, signal);
        await enter(entry);
        await dataPath.routed();
      },
      onListening: address => void started.promise.then(({ lookAt }) => lookAt(address)),
      shorten: ways => void ('why' in networks || networks.shorten(ways)),
      onFound: found =>
        void started.promise
          .then(({ noteFound }) => noteFound(store, found))
          .catch(err => log.error({ err }, 'what ports speak cannot be noted')),
    }),
  );
  let dataPathOpen = true;
  const stopDataPath = async () => {
    if (dataPathOpen) await dataPath.stop(graceMs);
    dataPathOpen = false;
  };
  opened.defer(stopDataPath);
  await dataPath.proxyStarts;
  const { store, fresh, keepRoom } = await openState(config.home, log);
  opened.defer(() => store.close());
  const { storeBaseline, createLoop, startApi, ...deciding } = await loadDeciding();
  const drivers = await opening;
  const baseline = storeBaseline(store);
  signal.throwIfAborted();
  // Before the servers of its sessions.
  opened.defer(stopDataPath);

  const stopping = Promise.withResolvers<End>();
  const internal = internalKeys(config.home);
  const keys = deciding.keyring(store, [internal.cli, internal.step]);
  const visiting = deciding.visits(store, keys.knows);
  let api: ApiServer | undefined;
  let gateways = { previews: nowhere(config), postgres: nowhere(config) };
  const { scheme } = encryption;
  const { site, advertise, postgres } = givenOut(config, scheme, () => gateways);

  const loop = createLoop({
    store,
    baseline,
    branches: drivers.branches,
    programs: drivers,
    gateway: () => advertise(gateways.postgres),
    site,
    scriptEnv: () => ({
      OFFSHOOT_BIN: join(root, 'offshoot'),
      OFFSHOOT_API_URL: nearUrl(config, api!),
      OFFSHOOT_API_KEY: internal.step,
    }),
    keep: [root, config.home, config.runtimeDir],
    stepMs: 15 * 60_000,
    addresses: serviceAddresses(config.instance, drivers.networks),
    listening: dataPath.listening,
    routed: dataPath.routed,
    uses: dataPath.uses,
    async resumed() {
      const last = rememberedPorts(config.home);
      gateways = await naming(config, () =>
        dataPath.begin(store, baseline, Object.values(internal), {
          http: last.http,
          postgres: last.postgres,
        }),
      );
      await dataPath.routed();
      const { host, apiPort } = config;
      const port = await freePort(host, apiPort, last.api);
      api = await naming(config, () =>
        startApi(context, { ...{ host, port, log }, ...door(config, encryption) }),
      );
      opened.defer(() => api?.close());
      rememberPorts(config.home, {
        ...{ api: api.port, http: gateways.previews.port, postgres: gateways.postgres.port },
      });
      drivers.networks?.share(sharedPorts(config));
    },
    deletedKeysMs: config.deletedKeysMs,
    pauses: { baseMs: 500, maxMs: 60_000, soundMs: 60_000 },
    trashMs: config.trashMs,
    collectEveryMs: 5 * 60_000,
    now: () => new Date(),
    log,
  });
  // Before the gateways, which would wait for the connections that workloads hold.
  opened.defer(() => drivers.workloads.close());
  opened.defer(() => loop.close());

  const metrics = measure(loop.counts);
  opened.defer(() => metrics.close());

  const branches = branchesAtHand(drivers, loop, log);
  const context: ApiContext = {
    store,
    baseline,
    keys,
    gateway: postgres,
    authority: () => encryption.authority?.certificate(),
    identity: name => (destinationNamed(name) === undefined ? undefined : encryption.house?.identity(name)),
    routed: dataPath.routed,
    keepRevoked: config.keepRevoked,
    branches,
    ports: {
      isFree: port => isFree(config.host, port),
      opened: dataPath.opened,
      problem: dataPath.portProblem,
    },
    programs: await programsAtHand(
      drivers,
      ({ workload, sandbox }) =>
        sandbox === undefined ? deciding.logId(store, workload) : deciding.forkId(sandbox, workload),
      loop.migrations,
      log,
    ),
    visits: { link: visiting.link, ownKey: keys.hashOf(internal.cli)! },
    imports: await importsAtHand(config, env, () => drivers.branches.room()),
    trash: { keepMs: config.trashMs },
    info: () => ({
      version,
      pid: process.pid,
      home: config.home,
      startedAt,
      volumes: branches.volumes(),
      listen: config.host,
      api: { ...advertise(api!), scheme },
      preview: site(),
      postgres: postgres(),
      proxies: dataPath.proxies(),
      ...(dataPath.door && { feed: { ...advertise(dataPath.door), followers: dataPath.followers() } }),
      ...(context.programs.engine() && { engine: context.programs.engine()! }),
      log: logFile,
      leftovers: branches
        .orphans()
        .filter(id => store.get('branch', id) === undefined)
        .map(id => `volume ${id} belongs to no branch: see "offshoot repair"`),
    }),
    metrics,
    doctor: async () => [...encryption.checks(), ...(await drivers.capabilities())],
    environment: loop.environment,
    warnings: loop.warnings,
    shutdown: stopping.resolve,
  };

  // Volumes without a branch are somebody's data: "offshoot repair" brings them back under their names.
  if (fresh && (await loop.unclaimed()).length === 0)
    await deciding.createProject(store, 'default', { database: 'app', role: 'app' });
  await loop.start();
  started.resolve({
    awake: loop.awake,
    noteFound: deciding.noteFound,
    enter: visiting.enter,
    lookAt(address) {
      for (const { name } of store.by('manifest/address', addressKey(address))) loop.look('manifest', name);
    },
  });
  opened.defer(keepRoom());
  opened.defer(deciding.followWorktrees(store, log));

  signal.throwIfAborted();
  const file = join(config.home, 'client.json');
  const url = nearUrl(config, api!);
  writeFileSync(file, `${JSON.stringify({ url, apiKey: internal.cli, pid: process.pid })}\n`, {
    mode: 0o600,
  });
  chmodSync(file, 0o600);
  opened.defer(() => rmSync(file, { force: true }));
  void useSoon().catch(err => log.error({ err }, 'what is needed soon cannot be loaded'));
  log.info({ version, url, home: config.home, volumes: drivers.branches.name }, 'daemon started');

  isUp = true;
  const closing = opened.move();
  return {
    info: context.info,
    stopping: stopping.promise,
    stop: () => stopping.resolve('stop'),
    async close() {
      await closing.disposeAsync();
      log.info({}, 'daemon stopped');
    },
    async leave() {
      rmSync(file, { force: true });
      await api!.close();
      await loop.close();
      await dataPath.leave();
      drivers.networks?.leave();
      drivers.engine.leave();
      processes.leave();
      await store.close();
      log.info({}, 'daemon left; what it started goes on');
    },
  };
}

/** Stops what a daemon that was killed left running, and unmounts; data stays. @throws OffshootError host/already-running */
export async function cleanUp(config: Config, env: Env): Promise<void> {
  await using opened = new AsyncDisposableStack();
  await lockHome(config, opened);
  const log = openLog(join(config.home, 'logs', 'daemon.log'), config.logLevel);
  const { openDrivers } = await import('./drivers/open.ts');
  const drivers = await openDrivers(driverOptions(config, env, log));
  opened.defer(() => drivers.close());
  await endProxies(config, proxyRunner(drivers.processes, config.home, proxyCommand(config, {})), log);
  const ctx = { signal: AbortSignal.timeout(60_000), log };
  await Promise.all((await drivers.steps.list(ctx)).map(id => drivers.steps.remove(id, ctx)));
  rmSync(join(config.home, 'client.json'), { force: true });
}

/** What the machine can do, found out in `config.home`, which should be a temporary one. */
export async function probeDrivers(config: Config, env: Env, log: Log) {
  await using opened = new AsyncDisposableStack();
  opened.defer(() => removeRuntimeDir(config));
  const { openDrivers } = await import('./drivers/open.ts');
  const drivers = await openDrivers(driverOptions(config, env, log));
  opened.defer(() => drivers.close());
  return await drivers.capabilities();
}
