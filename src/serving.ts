/**
 * Composition of the data path: router, previews and Postgres gateway in a process of their own, which the daemon
 * starts and which goes on without it. It loads nothing that it does not need. A gateway that was started apart is the
 * same (roles/gateway.ts).
 */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { flushCompileCache } from 'node:module';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { bootId } from './lib/boot.ts';
import { version } from './lib/checkout.ts';
import type { IdentitySource } from './lib/identity.ts';
import type { Log } from './lib/log.ts';
import { isOnThisMachine } from './lib/peer.ts';
import { identify } from './lib/process.ts';
import { delay } from './lib/wait.ts';
import { openLog } from './log-output.ts';
import { addressKey, type RouteChange, type RouteSettings } from './model/route.ts';
import { tlsOnly } from './model/tls-refusal.ts';
import { type Book, createBook } from './proxy/book.ts';
import { followCertificates } from './proxy/certificates.ts';
import { meetPredecessor, startSuccessor } from './proxy/hand-over.ts';
import { limitsOf } from './proxy/http/limits.ts';
import { previewLabelOf } from './proxy/http/preview-host.ts';
import { createPreviews } from './proxy/http/previews.ts';
import { createRouter } from './proxy/http/router.ts';
import { type Handler, openServer } from './proxy/http/server.ts';
import { createListeners, type Inherited, type Listeners } from './proxy/listeners.ts';
import { withOwn } from './proxy/own-items.ts';
import { feedSocket, outFile, tableFile } from './proxy/places.ts';
import { createPods } from './proxy/pods.ts';
import { type CancelKeys, createCancelKeys } from './proxy/postgres/cancel-keys.ts';
import { createGateway } from './proxy/postgres/gateway.ts';
import { type Connect, connectAs } from './proxy/postgres/socket.ts';
import { askForVerifiers } from './proxy/postgres/verifiers.ts';
import { createSqlDoor } from './proxy/sql/door.ts';
import { type Follower, follow } from './proxy/stream/follower.ts';
import type { Command } from './proxy/stream/messages.ts';
import { keepTable, readTable, type TableFile } from './proxy/stream/table-file.ts';
import { unixWay, type Way } from './proxy/stream/way.ts';
import { createPassThrough } from './proxy/tcp/pass-through.ts';
import { createDatagrams } from './proxy/udp/datagrams.ts';
import { answerNames } from './proxy/udp/names.ts';
import { createUses, type Uses } from './proxy/uses.ts';
import { openWayOut } from './proxy/way-out.ts';

export type ProxyOptions = {
  readonly home: string;
  readonly runtimeDir: string;
  readonly logLevel: string;
  /** What a predecessor has left for us, in its own words; see proxy/hand-over.ts. */
  readonly inherited?: string | undefined;
  /** Of one that no daemon has started. */
  readonly apart?: Apart;
  /** Aborted: all connections end soon, then it does. */
  readonly signal: AbortSignal;
};

export type Apart = {
  readonly way: Way;
  /** By which the doors of branch nodes know it. */
  readonly identity: IdentitySource;
  /** What it knows by itself: where it listens. */
  readonly own: readonly RouteChange[];
  /** What it serves TLS with. */
  readonly tls: NonNullable<RouteSettings['tls']>;
};

/** Serves until it is told to stop, or a successor has taken over and the last connection has ended. */
export async function runProxy({ home, runtimeDir, logLevel, ...o }: ProxyOptions): Promise<void> {
  const { apart } = o;
  await mkdir(join(home, 'logs'), { recursive: true });
  const logFile = apart === undefined ? join(home, 'logs', 'proxy.log') : undefined;
  const log = openLog(logFile, logLevel).child({ pid: process.pid });
  const file = tableFile(home);
  const life = bootId();
  const book = apart === undefined ? createBook() : withOwn(createBook(), apart.own);
  const connect = connectAs(apart?.identity);
  const cancelKeys = createCancelKeys(connect);
  const predecessor = meetPredecessor(o.inherited, cancelKeys);
  const uses = createUses();
  const end = Promise.withResolvers<End>();
  const times = apart === undefined ? { graceMs: TERM_GRACE_MS } : APART;
  o.signal.addEventListener('abort', () => end.resolve({ ...times, table: 'keep' }));
  const keeping = Promise.withResolvers<TableFile>();
  let replace = (_: Command): void => {};

  const follower = follow({
    ...{ way: apart?.way ?? unixWay(feedSocket(runtimeDir)), proxy: identity(), book, log },
    uses,
    kept: async () => (await keeping.promise).written(),
    onReplace: command => replace(command),
    // Everything stops: at the addresses of the table there will soon be nobody, or somebody else.
    onStop: graceMs => end.resolve({ graceMs, table: 'remove' }),
  });
  await Promise.race([untilKnown(), end.promise]);
  const table = keepTable(file, life, book, log);
  keeping.resolve(table);
  const front = openFront({
    ...{ book, follower, connect, cancelKeys, uses, inherited: predecessor.sockets, log },
    adminSecret: apart === undefined ? join(home, 'admin-secret') : undefined,
    tls: apart?.tls,
  });
  await front.tried();
  predecessor.ready();
  flushCompileCache();
  let drainingSince: string | undefined;
  const tell = () => follower.tellCounts({ ...front.counts(), ...(drainingSince && { drainingSince }) });
  const timer = setInterval(tell, COUNT_EVERY_MS);
  let replacing = false;
  replace = command => {
    if (replacing) return;
    replacing = true;
    void handOver(command).catch(error => {
      replacing = false;
      log.error({ err: error }, 'a new proxy could not take over');
      follower.tellReplaceFailed((error as Error).message);
    });
  };

  const { drainMs = 0, graceMs, table: fate } = await end.promise;
  clearInterval(timer);
  if (drainMs > 0) await Promise.race([front.listeners.drain(), delay(drainMs)]);
  await front.close(graceMs);
  follower.close();
  await table.close();
  // A successor's table is not ours to remove.
  if (fate === 'remove' && drainingSince === undefined) await rm(file, { force: true });
  log.info({}, 'the proxy has ended');

  async function untilKnown(): Promise<void> {
    const heard = await Promise.race([follower.first, delay(PATIENCE_MS)]);
    const kept = heard === 'told' ? undefined : readTable(file, life);
    if (kept === undefined) return await follower.told;
    log.info({ items: kept.length }, 'the table on disk is served until the daemon is heard');
    // Where one listens that was started apart, it may have been told anew.
    book.replace(apart === undefined ? kept : kept.filter(({ kind }) => kind !== 'listener'));
  }

  async function handOver(command: Command): Promise<void> {
    table.onlyAppend(true);
    try {
      await startSuccessor(command, front.listeners.freeze(), cancelKeys, outFile(home));
    } catch (error) {
      front.listeners.thaw();
      table.onlyAppend(false);
      throw error;
    }
    drainingSince = new Date().toISOString();
    log.info({}, 'a new proxy has taken over');
    await table.close();
    tell();
    const limitMs = book.get('setting', 'proxy')?.drainMs ?? DRAIN_MS;
    const drained = Promise.all([front.listeners.drain(), delay(Math.min(limitMs, LEAST_DRAIN_MS))]);
    await Promise.race([drained, delay(limitMs, o.signal)]);
    end.resolve({ graceMs: 0, table: 'keep' });
  }
}

// --- internal -----------------------------------------------------------------------------------

/** For a daemon that is there to say something: it may know what the table on disk does not. */
const PATIENCE_MS = 5_000;
const COUNT_EVERY_MS = 250;
const TERM_GRACE_MS = 1_000;
/**
 * Of one in a cluster, whose pod may take half a minute to end: who asks again on a connection goes elsewhere with the next
 * request, then what is idle goes, and requests and sessions that go on have the rest.
 */
const APART = { drainMs: 3_000, graceMs: 12_000 };
const DRAIN_MS = 3_600_000;
/** For a daemon to take note of the successor, while it is still our child. */
const LEAST_DRAIN_MS = 1_000;

type End = { readonly drainMs?: number; readonly graceMs: number; readonly table: 'keep' | 'remove' };

function identity() {
  const { startTime = '' } = identify(process.pid) ?? {};
  return { version, pid: process.pid, startTime, startedAt: new Date().toISOString(), id: randomUUID() };
}

/** What of the gateway's comes from the superuser's secret, which is read when it is needed first. */
const secrets = (secret: () => string) => ({ verifiers: askForVerifiers(secret), pretence: secret });

type Front = {
  readonly listeners: Listeners;
  /** Resolves when everything that the book wants now was tried once. */
  tried(): Promise<void>;
  counts(): { readonly http: number; readonly sql: number; readonly tcp: number };
  close(graceMs: number): Promise<void>;
};

/** Everything that clients connect to. */
function openFront(o: {
  readonly book: Book;
  readonly follower: Follower;
  readonly connect: Connect;
  readonly cancelKeys: CancelKeys;
  readonly uses: Uses;
  readonly inherited: readonly Inherited[];
  /** File with the superuser's password; undefined: servers alone check those of clients. */
  readonly adminSecret: string | undefined;
  /** In place of what the settings say. */
  readonly tls: RouteSettings['tls'];
  readonly log: Log;
}): Front {
  const { book, follower, adminSecret, log } = o;
  const pods = createPods(book);
  const { dial } = pods;
  const limits = limitsOf(book);
  const router = createRouter({ book, log, dial });
  const previews = createPreviews({ book, log, dial, enter: follower.enter });
  const certificates = followCertificates(book, log, o.tls);
  const gateway = createGateway({
    ...{ book, awake: follower.ask, connect: o.connect, cancelKeys: o.cancelKeys, uses: o.uses, log },
    certificate: () => certificates.current('postgres'),
    ...(adminSecret && secrets(() => readFileSync(adminSecret, 'utf8').trim())),
  });
  const sql = createSqlDoor({ join: gateway.join, log });
  const previewOrSql: Handler = (request, response, head) => {
    const isPreview =
      previewLabelOf(request.headers.host ?? '', book.get('setting', 'proxy')?.domain ?? '') !== undefined;
    if (!isPreview && sql.serves(request.url ?? '')) sql.answer(request, response, head);
    else previews.handlers.http1(request, response, head);
  };
  const passThrough = createPassThrough({
    book,
    log,
    dial,
    onFound: () => follower.tellFound(passThrough.found()),
  });
  const listeners: Listeners = createListeners({
    ...{ book, inherited: o.inherited, drainMs: limits.drainMs },
    open(where, listener) {
      const { serves } = listener();
      if (serves === 'pods')
        return openWayOut(where, { pods, serverAt: at => listeners.server(addressKey(at)), log });
      const clear = (peer: Socket) => listener().encrypted !== true || isOnThisMachine(peer);
      if (serves === 'postgres') return gateway.open(where, { clear, branch: listener().branch });
      const options = { what: serves, limits };
      if (serves === 'previews') {
        const context = () => certificates.current('previews')?.context;
        const front = {
          ...{ context, clear, refusal: tlsOnly, deadlineMs: limits.headerMs },
          protocol: previews.protocol,
        };
        return openServer(where, {
          ...options,
          handlers: { ...previews.handlers, http1: previewOrSql },
          front,
        });
      }
      const destination = () => listener().serves;
      return openServer(where, {
        ...options,
        handlers: router.handlersFor(destination),
        intercept: passThrough.interceptFor(destination),
      });
    },
    onState({ name, host, port, error }) {
      if (error === undefined) log.info({ name, host, port }, 'listens');
      tellStates();
    },
  });
  const datagrams = createDatagrams({ book, log, pods, onState: () => tellStates() });
  const names = answerNames({ book, pods, log });
  const tellStates = () => follower.tellListeners([...listeners.states(), ...datagrams.states()]);
  return {
    listeners,
    async tried() {
      await Promise.all([listeners.tried(), datagrams.tried()]);
    },
    counts() {
      const [sql, tcp] = [gateway.size(), passThrough.connections()];
      return { http: listeners.connections() - sql - tcp, sql, tcp };
    },
    async close(graceMs) {
      await listeners.close(graceMs);
      datagrams.close();
      names.close();
      pods.close();
      gateway.close();
      certificates.close();
      await Promise.all([router.close(), previews.close()]);
    },
  };
}
