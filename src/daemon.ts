/** Composition: chooses the implementations, wires them, starts them in order and stops them backwards. */
import { chmodSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { rmdir } from 'node:fs/promises';
import { flushCompileCache } from 'node:module';
import type { Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { ApiContext } from './api/context.ts';
import type { ApiServer } from './api/server.ts';
import type { Config } from './config.ts';
import { endProxies, openDataPath, proxyCommand } from './data-path.ts';
import { makeEnterable } from './drivers/enterable.ts';
import { labels } from './drivers/labels.ts';
import { openNetworks } from './drivers/network/networks.ts';
import type { DriverOptions } from './drivers/open.ts';
import { openProcesses } from './drivers/processes/registry.ts';
import { type Encryption, openEncryption } from './encryption.ts';
import { type Home, makeHome } from './home.ts';
import { internalKeys } from './internal-keys.ts';
import { ballast } from './lib/ballast.ts';
import { tryExclusive } from './lib/exclusive.ts';
import type { Log } from './lib/log.ts';
import { measureLoopDelay } from './lib/loop-delay.ts';
import { isLoopback, isOnThisMachine } from './lib/peer.ts';
import { orAborted } from './lib/wait.ts';
import { openLog } from './log-output.ts';
import { type ErrorParams, OffshootError } from './model/errors.ts';
import { isLow } from './model/room.ts';
import { type Address, addressKey } from './model/route.ts';
import type { DaemonView } from './model/view.ts';
import { yaml } from './model/yaml-package.ts';
import { proxyRunner } from './proxy-runner.ts';
import type { Loop } from './reconcile/loop.ts';
import { freePort, rememberedPorts, rememberPorts } from './remembered-ports.ts';
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

const root = fileURLToPath(new URL('..', import.meta.url));
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };

/** Milliseconds that connections get to end when the daemon stops. */
const graceMs = 1_000;

/** Room on the disk for writes of intent (deletes, for example) when there is none any more. */
const keptForState = { bytes: 8 * 1024 * 1024, spareBytes: 64 * 1024 * 1024, everyMs: 60_000 };

/**
 * @throws OffshootError host/already-running, host/port-taken, and whatever the machine lacks; the signal's reason. Then
 * nothing runs or is mounted that did not before, and a data directory that was new is gone.
 */
export async function startDaemon(
  config: Config,
  env: Readonly<Record<string, string | undefined>>,
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
  opened.defer(() => processes.close());
  // The proxy listens there.
  const outpost = { processes, runtimeDir: config.runtimeDir, path: env.PATH ?? '' };
  const networks = await openNetworks({ ...config, shared: sharedPorts(config), outpost, log });
  if (!('why' in networks)) opened.defer(() => networks.close());
  signal.throwIfAborted();
  // First of all, because the proxy takes its time to start, too.
  const command = proxyCommand(config, {
    ...passedOnFrom(env),
    ...labels(config.instance, 'proxy'),
    ...(env.NODE_COMPILE_CACHE !== undefined && { NODE_COMPILE_CACHE: env.NODE_COMPILE_CACHE }),
  });
  const started = Promise.withResolvers<{
    readonly awake: Loop['awake'];
    readonly lookAt: (address: Address) => void;
    readonly noteFound: Deciding['noteFound'];
  }>();
  const dataPath = await openDataPath({
    ...{ config, version, command, log, replace: replaceProxy, tls: encryption.files },
    pods: 'why' in networks ? undefined : networks.outside?.way,
    runner: proxyRunner(processes, config.home, command),
    // Proxies that were here before us ask before we can answer.
    async awake(id, signal) {
      const { awake } = await orAborted(started.promise, signal);
      const endpoint = await awake(id, signal);
      return { endpoint, sessions: store.get('branch', id)?.secret.sessions ?? 0 };
    },
    onListening: address => void started.promise.then(({ lookAt }) => lookAt(address)),
    shorten: ways => void ('why' in networks || networks.shorten(ways)),
    onFound: found =>
      void started.promise
        .then(({ noteFound }) => noteFound(store, found))
        .catch(err => log.error({ err }, 'what ports speak cannot be noted')),
  });
  let dataPathOpen = true;
  const stopDataPath = async () => {
    if (dataPathOpen) await dataPath.stop(graceMs);
    dataPathOpen = false;
  };
  opened.defer(stopDataPath);
  await dataPath.proxyStarts;
  const [{ openStore }, { openDrivers }] = await Promise.all([
    import('./store/sqlite.ts'),
    import('./drivers/open.ts'),
  ]);
  const room = ballast(join(config.home, 'state.ballast'), keptForState.bytes, keptForState.spareBytes);
  const stateFile = join(config.home, 'state.db');
  const onNoSpace = async () => (await room.giveTo(`${stateFile}-wal`)) > 0;
  const store = openStore(stateFile, { log, onNoSpace });
  opened.defer(() => store.close());
  const fresh = store.version() === 0;
  // The programs that it starts, and waits for, run while the rest is loaded.
  const opening = openDrivers(driverOptions(config, env, log), { processes, networks });
  opening.catch(() => {}); // it is waited for below
  opened.defer(async () => (await opening.catch(() => undefined))?.close());
  const { storeBaseline, createLoop, startApi, ...deciding } = await loadDeciding();
  const drivers = await opening;
  const baseline = storeBaseline(store);
  signal.throwIfAborted();
  // Before the servers of its sessions.
  opened.defer(stopDataPath);

  const stopping = Promise.withResolvers<End>();
  const internal = internalKeys(config.home);
  const keys = deciding.keyring(store, [internal.cli, internal.step]);
  let api: ApiServer | undefined;
  let gateways = { previews: nowhere(config), postgres: nowhere(config) };
  const { scheme } = encryption;
  const site = () => ({ domain: config.domain, scheme, port: gateways.previews.port });
  const advertise = ({ port }: Address): Address => ({ host: config.advertised, port });
  const mustEncrypt = !isLoopback(config.advertised) && !config.cleartext;
  const postgres = () => ({
    ...advertise(gateways.postgres),
    ...(mustEncrypt && { sslmode: 'require' as const }),
  });

  const loop = createLoop({
    ...drivers,
    store,
    baseline,
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
    collectEveryMs: 5 * 60_000,
    now: () => new Date(),
    log,
  });
  // Before the gateways, which would wait for the connections that workloads hold.
  opened.defer(() => drivers.workloads.close());
  opened.defer(() => loop.close());

  const metrics = measure(loop.counts);
  opened.defer(() => metrics.close());

  const can = await drivers.workloads.capabilities();
  const keeps = (['volumes', 'memory-volumes', 'names'] as const).filter(kept =>
    can.some(({ name, ok }) => name === `workload/${kept}` && ok),
  );
  const context: ApiContext = {
    store,
    baseline,
    keys,
    gateway: postgres,
    authority: () => encryption.authority?.certificate(),
    routed: dataPath.routed,
    keepRevoked: config.keepRevoked,
    async space() {
      const [room, sizes] = await Promise.all([drivers.branches.room(), drivers.branches.usages()]);
      return { room: { ...room, low: isLow(room) }, sizes };
    },
    trash: { keepMs: config.trashMs },
    info: () => ({
      version,
      pid: process.pid,
      home: config.home,
      startedAt,
      volumes: {
        driver: drivers.branches.name,
        copyOnWrite: drivers.branches.copyOnWrite,
        why: drivers.why.volumes,
      },
      listen: config.host,
      api: { ...advertise(api!), scheme },
      preview: site(),
      postgres: postgres(),
      proxies: dataPath.proxies(),
      log: logFile,
      leftovers: loop
        .leftovers()
        .orphans.filter(id => store.get('branch', id) === undefined)
        .map(id => `volume ${id} belongs to no branch: see "offshoot repair"`),
    }),
    metrics,
    unclaimed: loop.unclaimed,
    keeps: [
      ...drivers.processes.keeps,
      ...(drivers.networks === undefined ? [] : (['ports'] as const)),
      ...keeps,
    ],
    doctor: async () => [...encryption.checks(), ...(await drivers.capabilities())],
    logs: {
      ofWorkload({ workload, sandbox }, query, signal) {
        const id =
          sandbox === undefined ? deciding.logId(store, workload) : deciding.forkId(sandbox, workload);
        return drivers.workloads.logs(id, query, { signal, log });
      },
      ofBranch: (id, query, signal) => drivers.branches.logs(id, query, { signal, log }),
    },
    disks: {
      list: () => drivers.workloads.disks.list({ signal: AbortSignal.timeout(30_000), log }),
      bytes: disk => drivers.workloads.disks.bytes(disk, { signal: AbortSignal.timeout(30_000), log }),
      remove: (namespace, claim) =>
        drivers.workloads.disks.remove(namespace, claim, { signal: AbortSignal.timeout(60_000), log }),
    },
    environment: loop.environment,
    warnings: loop.warnings,
    stepPathProblem: path => drivers.steps.pathProblem(path),
    shutdown: stopping.resolve,
  };

  // Volumes without a branch are somebody's data: "offshoot repair" brings them back under their names.
  if (fresh && (await loop.unclaimed()).length === 0)
    await deciding.createProject(store, 'default', { database: 'app', role: 'app' });
  await loop.start();
  started.resolve({
    awake: loop.awake,
    noteFound: deciding.noteFound,
    lookAt(address) {
      for (const { name } of store.by('manifest/address', addressKey(address))) loop.look('manifest', name);
    },
  });
  const keepRoom = () => room.take().catch(err => log.warn({ err }, 'no room could be kept for the state'));
  const keeping = setInterval(keepRoom, keptForState.everyMs);
  opened.defer(() => clearInterval(keeping));
  void keepRoom();

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
      processes.leave();
      await store.close();
      log.info({}, 'daemon left; what it started goes on');
    },
  };
}

/** Stops what a daemon that was killed left running, and unmounts; data stays. @throws OffshootError host/already-running */
export async function cleanUp(
  config: Config,
  env: Readonly<Record<string, string | undefined>>,
): Promise<void> {
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
export async function probeDrivers(
  config: Config,
  env: Readonly<Record<string, string | undefined>>,
  log: Log,
) {
  await using opened = new AsyncDisposableStack();
  opened.defer(() => removeRuntimeDir(config));
  const { openDrivers } = await import('./drivers/open.ts');
  const drivers = await openDrivers(driverOptions(config, env, log));
  opened.defer(() => drivers.close());
  return await drivers.capabilities();
}

// --- internal -----------------------------------------------------------------------------------

type Deciding = Awaited<ReturnType<typeof loadDeciding>>;

/** All that decides. One after the other: in between, what goes on meanwhile gets its turn. */
async function loadDeciding() {
  const load = async <T>(module: Promise<T>): Promise<T> => {
    const loaded = await module;
    await setImmediate();
    return loaded;
  };
  const { logId, forkId } = await load(import('./reconcile/workload-spec.ts'));
  const { createLoop } = await load(import('./reconcile/loop.ts'));
  const { noteFound } = await load(import('./reconcile/speech.ts'));
  const { createProject } = await load(import('./rules/branches.ts'));
  const { storeBaseline } = await load(import('./baseline/store-baseline.ts'));
  const { keyring } = await load(import('./api/keys.ts'));
  const { startApi } = await load(import('./api/server.ts'));
  return { logId, forkId, createLoop, noteFound, createProject, storeBaseline, keyring, startApi };
}

/** What whoever waits for the start need not wait for, and who comes then shall not. */
async function useSoon(): Promise<void> {
  await setImmediate();
  yaml();
  await setImmediate();
  // Otherwise written at exit only: a daemon that is killed would leave the next one to strip all types again.
  flushCompileCache();
}

/**
 * For programs of this machine. To them the API speaks clear text also where it asks TLS of others, so nobody has to
 * trust a certificate in order to talk to himself.
 */
const nearUrl = ({ host }: Config, { port }: Address): string =>
  `http://${/^0+(\.0+)*$/.test(host) ? '127.0.0.1' : host}:${port}`;

const door = ({ host, advertised, cleartext }: Config, { api }: Encryption) => ({
  names: [host, advertised],
  ...(api !== undefined && { certificate: () => api.current() }),
  clear: (peer: Socket) => cleartext || isOnThisMachine(peer),
});

const nowhere = ({ host }: Config): Address => ({ host, port: 0 });

/** Says which variable is to blame when `open` cannot listen; servers do not know their names. */
async function naming<T>({ host }: Config, open: () => Promise<T>): Promise<T> {
  try {
    return await open();
  } catch (cause) {
    const error = cause as { readonly code?: string; readonly params?: ErrorParams };
    if (error.code === 'host/port-taken') {
      const variable = portVariables[String(error.params?.what)];
      throw new OffshootError('host/port-taken', { ...error.params, variable }, { cause });
    }
    const why =
      hostProblems[error.code === 'proxy/listen-failed' ? String(error.params?.why) : (error.code ?? '')];
    if (why === undefined) throw cause;
    throw new OffshootError('config/invalid', { name: 'OFFSHOOT_HOST', value: host, why }, { cause });
  }
}

/** By what listens. */
const portVariables: Readonly<Record<string, string>> = {
  'the API': 'OFFSHOOT_API_PORT',
  previews: 'OFFSHOOT_HTTP_PORT',
  'the Postgres gateway': 'OFFSHOOT_POSTGRES_PORT',
};

const hostProblems: Readonly<Record<string, string>> = {
  ENOTFOUND: 'there is no such host name',
  EAI_AGAIN: 'the host name could not be looked up',
  EADDRNOTAVAIL: 'this machine has no such address',
};

async function lockHome(config: Config, opened: AsyncDisposableStack): Promise<Home> {
  const home = makeHome(config.home);
  // Before anything else is made in it: the servers' user must get through.
  await makeEnterable(config.runtimeDir);
  const release = tryExclusive(join(config.home, 'lock'));
  if (release === undefined) {
    throw new OffshootError('host/already-running', {
      pid: pidOf(config.home) ?? 'unknown',
      home: config.home,
    });
  }
  opened.defer(release);
  opened.defer(() => removeRuntimeDir(config));
  return home;
}

function pidOf(home: string): number | undefined {
  try {
    return (JSON.parse(readFileSync(join(home, 'client.json'), 'utf8')) as { pid: number }).pid;
  } catch {
    return undefined;
  }
}

/** Only when nothing is mounted in it any more, hence no recursive removal of directories. */
async function removeRuntimeDir({ runtimeDir }: Config): Promise<void> {
  rmSync(join(runtimeDir, 'pg_hba.conf'), { force: true });
  const dirs = [
    's',
    'pool',
    'pgsql',
    'volumes',
    'proxy',
    'network',
    '.',
    ...(dirname(runtimeDir).endsWith('/offshoot') ? ['..'] : []),
  ];
  for (const dir of dirs) await rmdir(join(runtimeDir, dir)).catch(() => {});
}

const passedOn = ['PATH', 'HOME', 'LANG', 'TMPDIR', 'TZ'] as const;

const passedOnFrom = (env: Readonly<Record<string, string | undefined>>): Record<string, string> =>
  Object.fromEntries(passedOn.flatMap(name => (env[name] === undefined ? [] : [[name, env[name]]])));

function driverOptions(
  config: Config,
  env: Readonly<Record<string, string | undefined>>,
  log: Log,
): DriverOptions {
  const shared = sharedPorts(config);
  return { ...config, shared, baseEnv: passedOnFrom(env), nodePath: process.execPath, log };
}

/** What addresses that we give out lead to, as of now, and what was asked for. */
function sharedPorts({ home, hostPorts }: Config): readonly number[] {
  const { api, http, postgres } = rememberedPorts(home);
  return [...new Set([api, http, postgres, ...hostPorts].filter(port => port !== undefined))];
}

function measure(scheduler: Loop['counts']): ApiContext['metrics'] & { close(): void } {
  const delay = measureLoopDelay();
  let since = new Date();
  let before = process.cpuUsage();
  return {
    read() {
      const { user, system } = process.cpuUsage(before);
      return {
        since: since.toISOString(),
        loopDelay: delay.read(),
        cpuMs: Math.round((user + system) / 1000),
        scheduler: scheduler(),
      };
    },
    reset() {
      delay.reset();
      since = new Date();
      before = process.cpuUsage();
    },
    close: delay.close,
  };
}
