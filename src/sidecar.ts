/**
 * Composition of a sidecar: the router of one workload, beside its program. Connections to the workload's ports are led
 * here; a request with the key of a fork goes there, all else to the program. It loads nothing that it does not need.
 */
import { randomUUID, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { networkInterfaces } from 'node:os';
import { bootId } from './lib/boot.ts';
import { dial } from './lib/dial.ts';
import { type IdentitySource, identityName } from './lib/identity.ts';
import type { Log } from './lib/log.ts';
import { delay } from './lib/wait.ts';
import { openLog } from './log-output.ts';
import { OffshootError } from './model/errors.ts';
import type { Address, RouteChange, RouteKind } from './model/route.ts';
import { createBook } from './proxy/book.ts';
import { limitsOf } from './proxy/http/limits.ts';
import { createRouter } from './proxy/http/router.ts';
import { openServer } from './proxy/http/server.ts';
import { createListeners, type ListenerState } from './proxy/listeners.ts';
import { withOwn } from './proxy/own-items.ts';
import { follow } from './proxy/stream/follower.ts';
import { keepTable, readTable } from './proxy/stream/table-file.ts';
import { type IdentityFrom, openIdentity } from './proxy/stream/token-identity.ts';
import { networkWay } from './proxy/stream/way.ts';
import { createPassThrough } from './proxy/tcp/pass-through.ts';

export type SidecarOptions = {
  /** As in `workloadPath`, model/workload.ts. */
  readonly workload: string;
  /** Where the program listens, and where we do for it. */
  readonly ports: readonly { readonly listen: number; readonly program: number }[];
  /** Address to listen on; undefined: all. */
  readonly host: string | undefined;
  /** Where the program is reached: of a pod its own address, so that nobody seems to be on its loopback who is not. */
  readonly programHost: string;
  /** Where it answers that it listens, on all addresses; undefined: nowhere. */
  readonly probePort?: number | undefined;
  /** Who tells where keys lead. */
  readonly controller: Address;
  readonly identity: IdentityFrom;
  /** Further headers that carry a key, for as long as nobody has told which do. */
  readonly headers: readonly string[];
  /** Where to keep the table; undefined: one that is started anew without a controller has none. */
  readonly table?: string | undefined;
  /** Tells it from others of its workload; of a pod its uid. */
  readonly id?: string | undefined;
  readonly version: string;
  readonly logLevel: string;
  /** Aborted: it listens no more, and ends with its last connection or after a while. */
  readonly signal: AbortSignal;
};

/** @throws when the identity cannot be read, or when it cannot listen: OffshootError host/port-taken, proxy/listen-failed */
export async function runSidecar(o: SidecarOptions): Promise<void> {
  const { workload } = o;
  const log = openLog(undefined, o.logLevel);
  const identity = only(`workload/${workload}`, openIdentity(o.identity, o.controller, log), log);
  const host = o.host ?? everywhere();
  const book = withOwn(createBook(), ownItems(o, host));
  let known = false;
  const kept = o.table === undefined ? undefined : readTable(o.table, bootId());
  const table = Promise.withResolvers<ReturnType<typeof keepTable> | undefined>();
  const follower = follow({
    way: networkWay(o.controller, identity),
    ...{ proxy: whoWeAre(o), book, log, onReplace() {}, onStop() {} },
    kept: async () => (await table.promise)?.written(),
  });
  void follower.told.then(() => {
    known = true;
  });

  const limits = limitsOf(book);
  const router = createRouter({
    ...{ book, log, dial },
    mayRoute(keys) {
      if (!known && keys.length > 0) throw new OffshootError('proxy/no-table', { workload });
    },
  });
  const passThrough = createPassThrough({ book, log, dial });
  const problem = Promise.withResolvers<never>();
  problem.promise.catch(() => {}); // thrown below
  const listeners = createListeners({
    ...{ book, drainMs: limits.drainMs },
    open(where, listener) {
      const destination = () => listener().serves;
      return openServer(where, {
        ...{ what: 'the sidecar', limits, handlers: router.handlersFor(destination) },
        intercept: passThrough.interceptFor(destination),
      });
    },
    onState({ name, host, port, error }: ListenerState) {
      if (error !== undefined) return problem.reject(error);
      log.info({ program: Number(name), host, port }, 'listens');
    },
  });
  await using opened = new AsyncDisposableStack();
  const end = async (graceMs: number) => {
    await listeners.close(graceMs);
    follower.close();
    identity.close();
    await (await table.promise)?.close();
    await router.close();
  };
  try {
    await Promise.race([listeners.tried(), problem.promise]);
    if (o.probePort !== undefined) opened.use(await answerProbe(host, o.probePort));
    const heard = await Promise.race([follower.first, delay(PATIENCE_MS, o.signal).catch(() => {})]);
    if (heard !== 'told' && !known && kept !== undefined) {
      log.info({ items: kept.length }, 'the table on disk is served until the controller is heard');
      book.replace(kept.filter(({ kind }) => told.includes(kind)));
      known = true;
    }
    table.resolve(o.table === undefined ? undefined : keepTable(o.table, bootId(), book, log));
    await aborted(o.signal);
    log.info({}, 'the sidecar ends');
    // What comes now is for somebody else; what is here may finish.
    await Promise.race([listeners.drain(), delay(DRAIN_MS)]);
  } finally {
    table.resolve(undefined);
    await end(0);
  }
}

// --- internal -----------------------------------------------------------------------------------

/** For a controller that is there to say something: it may know what the table on disk does not. */
const PATIENCE_MS = 5_000;
/** Less than a pod has to end. */
const DRAIN_MS = 20_000;

/** What of a table is not our own. */
const told: readonly RouteKind[] = ['fork', 'tombstone', 'setting'];

/** All addresses of this machine, of IPv6 as well where there is any. */
const everywhere = (): string =>
  Object.values(networkInterfaces()).some(all => all?.some(({ family }) => family === 'IPv6'))
    ? '::'
    : '0.0.0.0';

/** Who is taken for another workload would be told other keys, and lead his own to the program. */
function only(name: string, source: IdentitySource, log: Log): IdentitySource {
  let logged = false;
  return {
    ...source,
    read() {
      const identity = source.read();
      const said = identityName(new X509Certificate(identity.cert));
      if (said === name) return identity;
      if (!logged)
        log.error({ identity: said, name }, 'this identity is that of somebody else: it follows nobody');
      logged = true;
      throw new Error(`this identity is that of ${said}, not of ${name}`);
    },
  };
}

/** Whoever connects is answered by that. @throws OffshootError host/port-taken */
async function answerProbe(host: string, port: number): Promise<AsyncDisposable> {
  const server = createServer(socket => socket.on('error', () => {}).destroy());
  server.maxConnections = 100;
  await once(server.listen({ host, port }), 'listening').catch((cause: NodeJS.ErrnoException) => {
    throw new OffshootError('host/port-taken', { host, port, what: 'probes' }, { cause });
  });
  server.on('error', () => {}); // one who cannot be taken tries again
  return { [Symbol.asyncDispose]: async () => void server.close() };
}

const ownItems = (
  { workload, ports, programHost, headers }: SidecarOptions,
  host: string,
): readonly RouteChange[] => [
  {
    ...{ kind: 'workload', name: workload },
    value: {
      label: workload,
      target: {
        ready: true,
        ports: Object.fromEntries(
          ports.map(({ program }) => [program, [{ host: programHost, port: program }]]),
        ),
      },
    },
  },
  ...ports.map(
    ({ listen, program }): RouteChange => ({
      ...{ kind: 'listener', name: String(program) },
      value: { host, port: listen, serves: `deploy:${workload}:${program}` },
    }),
  ),
  { kind: 'setting', name: 'proxy', value: { domain: '', headers, keepRevoked: false, drainMs: 0 } },
];

const whoWeAre = ({ version, id = randomUUID() }: SidecarOptions) => ({
  ...{ version, pid: process.pid, startTime: '', startedAt: new Date().toISOString(), id },
});

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise(resolve => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
