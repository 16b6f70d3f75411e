/** Composition: chooses the implementations, wires them, starts them in order and stops them backwards. */
import { chmodSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { rmdir } from 'node:fs/promises';
import { flushCompileCache } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pino from 'pino';
import type { ApiContext } from './api/context.ts';
import { keyring, newKey } from './api/keys.ts';
import { type ApiServer, startApi } from './api/server.ts';
import { type Config, makeHome } from './config.ts';
import { type DriverOptions, openDrivers } from './drivers/open.ts';
import { tryExclusive } from './lib/exclusive.ts';
import type { Log } from './lib/log.ts';
import { logSink } from './lib/log-sink.ts';
import { measureLoopDelay } from './lib/loop-delay.ts';
import { loopbackFor } from './lib/loopback.ts';
import { OffshootError } from './model/errors.ts';
import { type Address, addressKey } from './model/route.ts';
import type { DaemonView } from './model/view.ts';
import { createPreviewServer } from './proxy/http/preview-server.ts';
import { createRouter } from './proxy/http/router.ts';
import { createGateway } from './proxy/postgres/gateway.ts';
import { createLoop, type Loop } from './reconcile/loop.ts';
import { baselineId, forkId } from './reconcile/workload-spec.ts';
import { rememberPorts, withRememberedPorts } from './remembered-ports.ts';
import { createProject } from './rules/branches.ts';
import { openStore } from './store/sqlite.ts';

export type Daemon = {
  info(): DaemonView;
  /** Resolves when the daemon was asked to stop, by the API or by `stop`. */
  readonly stopping: Promise<void>;
  stop(): void;
  /** Stops everything that runs; what was stored stays. */
  close(): Promise<void>;
};

const root = fileURLToPath(new URL('..', import.meta.url));
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };

/** Milliseconds that connections get to end when the daemon stops. */
const graceMs = 1_000;

/** @throws OffshootError host/already-running, host/port-taken, and whatever the machine lacks */
export async function startDaemon(
  config: Config,
  env: Readonly<Record<string, string | undefined>>,
): Promise<Daemon> {
  const startedAt = new Date().toISOString();
  await using opened = new AsyncDisposableStack();
  await lockHome(config, opened);
  const logFile = join(config.home, 'logs', 'daemon.log');
  const log = await openLog(logFile, config.logLevel);

  const store = openStore(join(config.home, 'state.db'), { log });
  opened.defer(() => store.close());
  const fresh = store.version() === 0;
  const images = () => Object.fromEntries(store.list('image').map(i => [i.name, i.spec]));
  const drivers = await openDrivers(driverOptions(config, env, log, images));
  opened.defer(() => drivers.close());

  const stopping = Promise.withResolvers<void>();
  const cliKey = newKey();
  const stepKey = newKey();
  const keys = keyring(store, [cliKey, stepKey]);
  let api: ApiServer | undefined;
  const problems = new Map<string, string>();
  const preview = { domain: config.domain, scheme: 'http' as const, port: 0 };
  let postgres: Address = { host: config.host, port: 0 };

  const loop = createLoop({
    ...drivers,
    store,
    dropSessions: id => gateway.drop(id),
    gateway: () => postgres,
    site: () => preview,
    scriptEnv: () => ({
      OFFSHOOT_BIN: join(root, 'offshoot'),
      OFFSHOOT_API_URL: `http://${api!.host}:${api!.port}`,
      OFFSHOOT_API_KEY: stepKey,
    }),
    keep: [root, config.home, config.runtimeDir],
    stepMs: 15 * 60_000,
    allocate: allocator(config.instance),
    listenProblem: address => problems.get(addressKey(address)),
    pauses: { baseMs: 500, maxMs: 60_000, soundMs: 60_000 },
    collectEveryMs: 5 * 60_000,
    now: () => new Date(),
    log,
  });
  const { host, customHeaders } = config;
  const wanted = { api: config.apiPort, http: config.httpPort, postgres: config.postgresPort };
  const ports = await withRememberedPorts(config.home, host, wanted);
  const gateway = await naming('OFFSHOOT_POSTGRES_PORT', config, () =>
    createGateway({ host, port: ports.postgres, resolve: onThisNode(loop.awake), log }),
  );
  opened.defer(() => gateway.close());
  postgres = gateway.address;
  const authorise = async (key: string) => keys.accepts(key);
  const { domain } = config;
  const { routes } = loop;
  const previews = await naming('OFFSHOOT_HTTP_PORT', config, () =>
    createPreviewServer({ routes, log, domain, host, port: ports.http, authorise, customHeaders }),
  );
  opened.defer(() => previews.close(graceMs));
  preview.port = previews.port;
  const router = createRouter({
    routes: loop.routes,
    log,
    customHeaders,
    onListener({ host, port, error }) {
      const key = addressKey({ host, port });
      if (error === undefined ? !problems.delete(key) : problems.get(key) === error.message) return;
      if (error !== undefined) problems.set(key, error.message);
      for (const service of store.by('manifest/address', key)) loop.look('manifest', service.name);
    },
  });
  opened.defer(() => router.close(graceMs));
  // Before the gateways, which would wait for the connections that workloads hold.
  opened.defer(() => drivers.workloads.close());
  opened.defer(() => loop.close());

  const metrics = measure(loop.counts);
  opened.defer(() => metrics.close());

  const context: ApiContext = {
    store,
    keys,
    gateway: () => postgres,
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
      api: { host: api!.host, port: api!.port },
      preview,
      postgres,
      log: logFile,
      leftovers: loop
        .leftovers()
        .orphans.filter(id => store.get('branch', id) === undefined)
        .map(id => `volume ${id} belongs to no branch: see "offshoot repair"`),
    }),
    metrics,
    unclaimed: loop.unclaimed,
    doctor: () => drivers.capabilities(),
    logs({ namespace, workload, sandbox, lines }) {
      const id =
        sandbox === undefined ? baselineId(namespace, workload) : forkId(sandbox, namespace, workload);
      return drivers.workloads.logs(id, lines, { signal: AbortSignal.timeout(10_000), log });
    },
    environment: loop.environment,
    stepPathProblem: path => drivers.steps.pathProblem(path),
    shutdown: stopping.resolve,
  };
  api = await naming('OFFSHOOT_API_PORT', config, () => startApi(context, { host, port: ports.api, log }));
  opened.defer(() => api?.close());
  rememberPorts(config.home, { api: api.port, http: previews.port, postgres: postgres.port });

  // Volumes without a branch are somebody's data: "offshoot repair" brings them back under their names.
  if (fresh && (await loop.unclaimed()).length === 0)
    await createProject(store, 'default', { database: 'app', role: 'app' });
  await loop.start();

  const file = join(config.home, 'client.json');
  const url = `http://${api.host}:${api.port}`;
  writeFileSync(file, `${JSON.stringify({ url, apiKey: cliKey, pid: process.pid })}\n`, { mode: 0o600 });
  chmodSync(file, 0o600);
  opened.defer(() => rmSync(file, { force: true }));
  // Otherwise written at exit only: a daemon that is killed would leave the next one to strip all types again.
  flushCompileCache();
  log.info({ version, url, home: config.home, volumes: drivers.branches.name }, 'daemon started');

  const closing = opened.move();
  return {
    info: context.info,
    stopping: stopping.promise,
    stop: () => stopping.resolve(),
    async close() {
      await closing.disposeAsync();
      log.info({}, 'daemon stopped');
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
  const log = await openLog(join(config.home, 'logs', 'daemon.log'), config.logLevel);
  const drivers = await openDrivers(driverOptions(config, env, log, () => ({})));
  opened.defer(() => drivers.close());
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
  const drivers = await openDrivers(driverOptions(config, env, log, () => ({})));
  opened.defer(() => drivers.close());
  return await drivers.capabilities();
}

// --- internal -----------------------------------------------------------------------------------

/** This gateway joins clients to unix sockets only. */
const onThisNode = (awake: Loop['awake']) => async (id: string, signal: AbortSignal) => {
  const endpoint = await awake(id, signal);
  if ('socket' in endpoint) return endpoint;
  throw new TypeError(`branch ${id} is on another node`);
};

/** Says which variable is to blame when `open` cannot listen; servers do not know their names. */
async function naming<T>(variable: PortVariable, { host }: Config, open: () => Promise<T>): Promise<T> {
  try {
    return await open();
  } catch (cause) {
    const { code } = cause as { code?: string };
    if (cause instanceof OffshootError && code === 'host/port-taken')
      throw new OffshootError('host/port-taken', { ...cause.params, variable }, { cause });
    const why = code === undefined ? undefined : hostProblems[code];
    if (why === undefined) throw cause;
    throw new OffshootError('config/invalid', { name: 'OFFSHOOT_HOST', value: host, why }, { cause });
  }
}

type PortVariable = 'OFFSHOOT_API_PORT' | 'OFFSHOOT_HTTP_PORT' | 'OFFSHOOT_POSTGRES_PORT';

const hostProblems: Readonly<Record<string, string>> = {
  ENOTFOUND: 'there is no such host name',
  EAI_AGAIN: 'the host name could not be looked up',
  EADDRNOTAVAIL: 'this machine has no such address',
};

async function lockHome(config: Config, opened: AsyncDisposableStack): Promise<void> {
  makeHome(config.home);
  const release = tryExclusive(join(config.home, 'lock'));
  if (release === undefined) {
    throw new OffshootError('host/already-running', {
      pid: pidOf(config.home) ?? 'unknown',
      home: config.home,
    });
  }
  opened.defer(release);
  opened.defer(() => removeRuntimeDir(config));
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
    '.',
    ...(dirname(runtimeDir).endsWith('/offshoot') ? ['..'] : []),
  ];
  for (const dir of dirs) await rmdir(join(runtimeDir, dir)).catch(() => {});
}

const passedOn = ['PATH', 'HOME', 'LANG', 'TMPDIR', 'TZ'] as const;

function driverOptions(
  config: Config,
  env: Readonly<Record<string, string | undefined>>,
  log: Log,
  images: DriverOptions['images'],
): DriverOptions {
  const baseEnv = Object.fromEntries(
    passedOn.flatMap(name => (env[name] === undefined ? [] : [[name, env[name]]])),
  );
  return { ...config, baseEnv, nodePath: process.execPath, log, images };
}

/** Every Service gets a loopback IP of its own and keeps its port, as far as the machine allows. */
function allocator(instance: string) {
  const privileged = process.getuid?.() === 0;
  return (service: string, port: number, taken: (address: Address) => boolean): Address => {
    // Ports below 1024 are not for ordinary users: 80 becomes 8080, 443 becomes 8443.
    const own = port < 1024 && !privileged ? port + 8_000 : port;
    for (let attempt = 0; ; attempt++) {
      const host =
        process.platform === 'linux' ? loopbackFor(`${instance}/${service}`, attempt) : '127.0.0.1';
      const candidate = { host, port: process.platform === 'linux' ? own : own + attempt };
      if (!taken(candidate)) return candidate;
    }
  };
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

const maxLogBytes = 10 * 1024 * 1024;

async function openLog(file: string, level: string): Promise<Log> {
  const note = (dropped: number) =>
    `${JSON.stringify({ level: pino.levels.values.warn, time: new Date().toISOString(), dropped, msg: 'log lines were dropped' })}\n`;
  const destination = logSink(file, { maxBytes: maxLogBytes, note });
  process.once('exit', destination.flush);
  const redact = ['password', '*.password', 'apiKey', '*.apiKey', 'connectionString', '*.connectionString'];
  return pino(
    { level, base: null, redact, timestamp: pino.stdTimeFunctions.isoTime },
    destination,
  ) as unknown as Log;
}
