/**
 * The daemon's end of the stream: holds what all proxies shall know, tells each what changed since it last heard, and
 * answers their questions.
 */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { readJsonLines, writeJsonLine } from '../../lib/json-lines.ts';
import type { Log } from '../../lib/log.ts';
import { OffshootError, toOffshootError } from '../../model/errors.ts';
import type { Address, BranchRoute, DestinationKey, Found, RouteChange } from '../../model/route.ts';
import { type Book, createBook } from '../book.ts';
import {
  type Command,
  type Counts,
  type FromDaemon,
  type FromProxy,
  maxLine,
  type ProxyIdentity,
  protocols,
  toWire,
  type WireItem,
} from './messages.ts';

/** A proxy that follows, as the daemon sees it. */
export type ProxyView = ProxyIdentity & {
  readonly protocol: number;
  readonly counts: Counts;
};

export type ListenerReport = Address & { readonly name: string; readonly error?: OffshootError };

export type FeedOptions = {
  /** Path of the unix socket; its directory is made, for the owner only. */
  readonly socket: string;
  /** Of this daemon. */
  readonly version: string;
  /** Makes a branch reachable. @throws OffshootError gateway/branch-unknown, and whatever stands in the way */
  readonly awake: (branch: string, signal: AbortSignal) => Promise<BranchRoute>;
  /** All listeners of a proxy that is not being replaced, whenever one of them changed. */
  readonly onListeners: (states: readonly ListenerReport[]) => void;
  /** What a proxy has found at ports that nobody had said to speak anything: all of it, whenever some of it is new. */
  readonly onFound: (found: Readonly<Record<DestinationKey, Found>>) => void;
  /** Some proxy came, went, or told something new of itself; also when a successor could not take over, and why. */
  readonly onProxies: (replaceFailed?: string) => void;
  /** Does the process of a proxy that is away still run? */
  readonly isAlive: (proxy: ProxyIdentity) => boolean;
  /** Removes the table on disk: it lacks what somebody is about to rely on. */
  readonly dropTable: () => Promise<void>;
  readonly log: Log;
};

export type Feed = {
  /** One step. What is as it was is no change. */
  publish(changes: Iterable<RouteChange>): void;
  /** Until now what was published was only a beginning: from here on it is all there is, and proxies are told. */
  settle(): void;
  /**
   * Waits until every proxy follows what was published so far, and will do so again when it is killed. When there is
   * none, or one that hangs, the next one will not serve a table from before either.
   * @returns false when the time was up: a proxy hangs, or is away
   */
  delivered(deadlineMs?: number): Promise<boolean>;
  proxies(): readonly ProxyView[];
  /** What was published. */
  readonly book: Pick<Book, 'names' | 'get' | 'destination'>;
  /** Tells a proxy to start its successor; how that ends shows in `proxies`. */
  replace(pid: number, command: Command): void;
  /** Tells all proxies to end. */
  stop(graceMs: number): void;
  /** Lets go of the proxies, which go on with what they know. */
  close(): Promise<void>;
};

export async function openFeed(options: FeedOptions): Promise<Feed> {
  const { socket: path, log } = options;
  const epoch = randomUUID();
  const book = createBook();
  const members = new Map<number, Member>();
  const sockets = new Set<Socket>();
  let settled = false;
  let closing = false;
  let version = 0;
  /** The newest steps, for those who only missed some. */
  let history: { readonly version: number; readonly lines: readonly FromDaemon[] }[] = [];
  let waiting: (() => void)[] = [];
  /** Up to here the table on disk knows everything, or there is none. */
  let onDisk = 0;

  const place = () => ({ epoch, version });
  const wake = () => {
    const all = waiting;
    waiting = [];
    for (const resolve of all) resolve();
  };

  book.onChange(changed => {
    if (!settled) return;
    version += 1;
    const step = linesOf(changed.map(toWire), place());
    history.push({ version, lines: step });
    if (history.length > MAX_HISTORY) history = history.slice(-MAX_HISTORY / 2);
    for (const { connection } of members.values()) connection?.send(step);
  });

  const catchUp = (connection: Connection, at: { epoch: string; version: number } | undefined): void => {
    const first = history[0]?.version ?? version + 1;
    if (at?.epoch === epoch && at.version + 1 >= first && at.version <= version) {
      for (const step of history) if (step.version > at.version) connection.send(step.lines);
      // Also when nothing was missed: what it has acknowledged to an earlier connection counts again.
      connection.send([{ type: 'step', place: place(), items: [] }]);
    } else connection.send(linesOf([...book.all()].map(toWire), place(), true));
  };

  const greet = (connection: Connection, hello: Extract<FromProxy, { type: 'hello' }>): void => {
    const protocol = protocols.find(known => hello.protocols.includes(known));
    const { proxy } = hello;
    if (protocol === undefined) {
      const why = `it speaks ${hello.protocols}, this daemon ${protocols}`;
      log.warn({ proxy: proxy.pid, version: proxy.version, why }, 'a proxy cannot follow this daemon');
      connection.send([{ type: 'refused', why }]);
      return;
    }
    members.get(proxy.pid)?.connection?.socket.destroy();
    const member: Member = {
      ...{ proxy, protocol, connection, acked: -1, stuck: false, counts: { http: 0, sql: 0 } },
    };
    members.set(proxy.pid, member);
    connection.member = member;
    connection.send([{ type: 'hello', protocol, version: options.version, pid: process.pid, settled }]);
    if (settled) catchUp(connection, hello.at);
    log.info({ proxy: proxy.pid, version: proxy.version, protocol }, 'a proxy follows');
    options.onProxies();
  };

  const answer = async (connection: Connection, id: number, branch: string): Promise<void> => {
    const abort = new AbortController();
    connection.asked.set(id, abort);
    try {
      const route = await options.awake(branch, abort.signal);
      connection.send([{ type: 'answer', id, branch: route }]);
    } catch (thrown) {
      if (abort.signal.aborted) return;
      const error = toOffshootError(thrown);
      if (error.code === 'internal')
        log.warn({ err: error.cause, branch }, 'a branch could not be looked for');
      connection.send([{ type: 'answer', id, error: { code: error.code, params: error.params } }]);
    } finally {
      connection.asked.delete(id);
    }
  };

  const hears: Hears = {
    ack({ place: { epoch: theirs, version: followed } }, { member }) {
      if (theirs === epoch) member.acked = followed;
      // One that is being replaced writes no table any more.
      if (member.counts.drainingSince === undefined) onDisk = Math.max(onDisk, member.acked);
      if (member.acked === version) member.stuck = false;
      wake();
    },
    listeners({ states }) {
      options.onListeners(
        states.map(({ error, ...state }) => ({
          ...state,
          ...(error && { error: new OffshootError(error.code, error.params) }),
        })),
      );
    },
    counts({ counts }, { member }) {
      member.counts = counts;
      options.onProxies();
    },
    found: ({ found }) => options.onFound(found),
    ask: ({ id, branch }, connection) => void answer(connection, id, branch),
    forget: ({ id }, { asked }) => asked.get(id)?.abort(new Error('nobody waits for the answer')),
    'replace-failed'({ why }, { member: { proxy } }) {
      log.error({ proxy: proxy.pid, why }, 'a new proxy could not take over');
      options.onProxies(why);
    },
  };
  const hear = (connection: Connection, message: FromProxy) => {
    if (message.type === 'hello') return greet(connection, message);
    const heard = hears[message.type] as ((message: FromProxy, from: Connection) => void) | undefined;
    if (connection.member !== undefined) heard?.(message, connection);
  };

  /** It comes again, unless it is dead; then nobody has to wait for it. */
  const waitFor = (member: Member): void => {
    const { pid } = member.proxy;
    if (closing || members.get(pid) !== member || member.connection !== undefined) return;
    if (options.isAlive(member.proxy)) return void setTimeout(waitFor, AWAY_MS, member).unref();
    log.info({ proxy: pid }, 'a proxy has ended');
    members.delete(pid);
    wake();
    options.onProxies();
  };

  const accept = (socket: Socket): void => {
    const connection: Connection = {
      socket,
      member: undefined,
      asked: new Map(),
      send(messages) {
        for (const message of messages) writeJsonLine(socket, message);
        // It does not read; later it can have everything at once.
        if (socket.writableLength > MAX_BEHIND) socket.destroy();
      },
    };
    sockets.add(socket);
    socket.on('error', () => {}); // "close" follows
    socket.on('close', () => {
      sockets.delete(socket);
      for (const abort of connection.asked.values()) abort.abort(new Error('the proxy has left'));
      const { member } = connection;
      if (member?.connection !== connection) return;
      member.connection = undefined;
      options.onProxies();
      waitFor(member);
    });
    readJsonLines(socket, {
      maxLength: maxLine,
      onValue: value => hear(connection, value as FromProxy),
      onBroken(why) {
        log.error({ why, proxy: connection.member?.proxy.pid }, 'a proxy sent nonsense');
        socket.destroy();
      },
    });
  };

  const keepNoneBefore = async (wanted: number): Promise<void> => {
    if (onDisk >= wanted) return;
    await options.dropTable();
    onDisk = Math.max(onDisk, wanted);
  };

  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  chmodSync(dirname(path), 0o700);
  rmSync(path, { force: true }); // of a daemon that was killed
  const server = createServer(accept).listen(path);
  await once(server, 'listening');
  server.on('error', err => log.error({ err }, 'proxies cannot connect'));

  return {
    publish: changes => book.apply(changes),
    settle() {
      settled = true;
      version += 1;
      const all = linesOf([...book.all()].map(toWire), place(), true);
      for (const { connection } of members.values()) connection?.send(all);
    },
    async delivered(deadlineMs = DELIVERY_MS) {
      const wanted = version;
      const isBehind = () => [...members.values()].some(m => m.acked < wanted && !m.stuck);
      const end = performance.now() + deadlineMs;
      while (isBehind()) {
        const left = end - performance.now();
        if (left <= 0) {
          // Not again for each thing that is told from now on.
          for (const member of members.values()) member.stuck ||= member.acked < wanted;
          log.warn({ wanted }, 'a proxy does not follow');
          await keepNoneBefore(wanted);
          return false;
        }
        const { promise, resolve } = Promise.withResolvers<void>();
        const timer = setTimeout(resolve, left);
        waiting.push(resolve);
        await promise;
        clearTimeout(timer);
      }
      await keepNoneBefore(wanted);
      return true;
    },
    book,
    proxies: () =>
      [...members.values()].flatMap(({ connection, proxy, protocol, counts }) =>
        connection === undefined ? [] : [{ ...proxy, protocol, counts }],
      ),
    replace: (pid, command) => members.get(pid)?.connection?.send([{ type: 'replace', command }]),
    stop(graceMs) {
      for (const { connection } of members.values()) connection?.send([{ type: 'stop', graceMs }]);
    },
    async close() {
      closing = true;
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
      wake();
    },
  };
}

// --- internal ---

const MAX_HISTORY = 2_000;
const MAX_BEHIND = 64 * 1024 * 1024;
const DELIVERY_MS = 2_000;
const AWAY_MS = 25;
const ITEMS_PER_LINE = 500;

type Connection = {
  readonly socket: Socket;
  member: Member | undefined;
  readonly asked: Map<number, AbortController>;
  send(messages: readonly FromDaemon[]): void;
};

type Hears = {
  readonly [T in Exclude<FromProxy['type'], 'hello'>]: (
    message: Extract<FromProxy, { type: T }>,
    from: Connection & { readonly member: Member },
  ) => void;
};

type Member = {
  readonly proxy: ProxyIdentity;
  readonly protocol: number;
  /** Undefined while it is away; it comes again, or is forgotten. */
  connection: Connection | undefined;
  acked: number;
  /** It did not follow in time, and has not caught up since. */
  stuck: boolean;
  counts: Counts;
};

function linesOf(
  items: readonly WireItem[],
  place: { readonly epoch: string; readonly version: number },
  whole = false,
): FromDaemon[] {
  const count = Math.max(1, Math.ceil(items.length / ITEMS_PER_LINE));
  return Array.from({ length: count }, (_, i) => ({
    ...{ type: 'step', place, items: items.slice(i * ITEMS_PER_LINE, (i + 1) * ITEMS_PER_LINE) },
    ...(whole && { whole }),
    ...(i < count - 1 && { more: true }),
  })) as FromDaemon[];
}
