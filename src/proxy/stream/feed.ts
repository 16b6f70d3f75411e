/**
 * The daemon's end of the stream: holds what is to be known, tells each follower what changed of its part since it last
 * heard, and answers questions. A change is put into words once for each destination that it concerns, be they many or
 * few who follow there. Longer than most: who follows, and what is told, hang together.
 */
import { once } from 'node:events';
import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { readJsonLines } from '../../lib/json-lines.ts';
import type { Log } from '../../lib/log.ts';
import { OffshootError, toOffshootError } from '../../model/errors.ts';
import type { Address, BranchRoute, DestinationKey, Found, RouteChange } from '../../model/route.ts';
import type { FollowerView } from '../../model/view.ts';
import type { Entry } from '../../model/visit.ts';
import { type Book, createBook } from '../book.ts';
import { createUses, type Uses } from '../uses.ts';
import type { Destination } from './destinations.ts';
import { createHistory, wordsOf } from './history.ts';
import {
  BEAT_MS,
  type Command,
  type Counts,
  type FromDaemon,
  type FromProxy,
  maxLine,
  maxLineOfOthers,
  type ProxyIdentity,
  protocols,
} from './messages.ts';

/** A proxy of this machine that follows, as the daemon sees it. */
export type ProxyView = ProxyIdentity & {
  readonly protocol: number;
  readonly counts: Counts;
};

export type ListenerReport = Address & { readonly name: string; readonly error?: OffshootError };

export type FeedOptions = {
  /** Path of the unix socket for proxies of this machine; its directory is made, for the owner only. Absent: there are none. */
  readonly socket?: string;
  /** Of this daemon. */
  readonly version: string;
  /** Makes a branch reachable. @throws OffshootError gateway/branch-unknown, and whatever stands in the way */
  readonly awake: (branch: string, signal: AbortSignal, quiet: boolean) => Promise<BranchRoute>;
  /** Notes that a person comes into a preview, in a way that is told to all; absent: nobody can. @throws OffshootError preview/* */
  readonly enter?: (entry: Entry, signal: AbortSignal) => Promise<void>;
  /** All listeners of a proxy that is not being replaced, whenever one of them changed. */
  readonly onListeners: (states: readonly ListenerReport[]) => void;
  /** What a proxy has found at ports that nobody had said to speak anything: all of it, whenever some of it is new. */
  readonly onFound: (found: Readonly<Record<DestinationKey, Found>>) => void;
  /** Some proxy came, went, or told something new of itself; also when a successor could not take over, and why. */
  readonly onProxies: (replaceFailed?: string) => void;
  /** Somebody from elsewhere came, went, or knows all that there is for its destination. */
  readonly onFollowers?: (destination: Destination) => void;
  /** Does the process of a proxy that is away still run? */
  readonly isAlive: (proxy: ProxyIdentity) => boolean;
  /** Removes the table on disk: it lacks what somebody is about to rely on. */
  readonly dropTable: () => Promise<void>;
  /** Between two words to followers from elsewhere; default `BEAT_MS`. */
  readonly beatMs?: number;
  readonly log: Log;
};

export type Feed = {
  /** Takes a connection of one from elsewhere who has proved that it is this destination. */
  admit(socket: Socket, destination: Destination): void;
  /** One step. What is as it was is no change. */
  publish(changes: Iterable<RouteChange>): void;
  /** Until now what was published was only a beginning: from here on it is all there is, and proxies are told. */
  settle(): void;
  /**
   * Waits until all who follow know what was published so far of their part, those of this machine also when they are
   * killed then: when there is none, or one that hangs, the next one will not serve a table from before either. Who is
   * not connected from elsewhere is not waited for; see `followers`.
   * @returns false when the time was up: a proxy hangs, or is away
   */
  delivered(deadlineMs?: number): Promise<boolean>;
  /** Which branches clients of proxies and gateways use; those of a proxy of this machine also while that is away for a moment. */
  readonly uses: Pick<Uses, 'has' | 'onChange'>;
  proxies(): readonly ProxyView[];
  /** Those from elsewhere. */
  followers(): readonly FollowerView[];
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
  const { socket: path, log, beatMs = BEAT_MS } = options;
  const book = createBook();
  const history = createHistory(book);
  const members = new Map<MemberKey, Member>();
  const audiences = new Map<Destination, Audience>();
  const sockets = new Set<Socket>();
  const uses = createUses();
  let settled = false;
  let closing = false;
  let waiting: (() => void)[] = [];
  /** Up to here the table on disk knows everything, or there is none. */
  let onDisk = 0;

  const toldOf = (destination: Destination): void => {
    if (destination !== 'all') options.onFollowers?.(destination);
  };
  const wake = () => {
    const all = waiting;
    waiting = [];
    for (const resolve of all) resolve();
  };

  book.onChange(changed => {
    if (!settled) return;
    for (const [destination, words] of history.step(changed, new Set(audiences.keys())))
      tell(audiences.get(destination)!, words);
  });

  const tell = (audience: Audience, words: string): void => {
    audience.newest = history.version();
    for (const { connection } of audience.members) connection?.write(words);
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
    const { destination } = connection;
    const key: MemberKey = destination === 'all' ? proxy.pid : `${destination} ${proxy.id}`;
    leave(members.get(key));
    const audience: Audience = audiences.get(destination) ?? {
      ...{ destination, members: new Set(), newest: history.version() },
    };
    audiences.set(destination, audience);
    const member: Member = {
      ...{ key, audience, proxy, protocol, connection, acked: -1, stuck: false, counts: { http: 0, sql: 0 } },
      uses: new Map(),
    };
    members.set(key, member);
    audience.members.add(member);
    connection.member = member;
    connection.send([{ type: 'hello', protocol, version: options.version, pid: process.pid, settled }]);
    if (settled) connection.write(history.since(destination, hello.at));
    log.info({ proxy: key, version: proxy.version, protocol }, 'a proxy follows');
    if (destination === 'all') options.onProxies();
  };

  const endUses = (member: Member, which: (branch: string) => boolean): void => {
    for (const [branch, end] of member.uses) {
      if (!which(branch)) continue;
      member.uses.delete(branch);
      end();
    }
  };
  const forget = (member: Member): void => {
    endUses(member, () => true);
    const { key, audience } = member;
    if (members.get(key) === member) members.delete(key);
    audience.members.delete(member);
    if (audience.members.size === 0) audiences.delete(audience.destination);
  };
  /** Its place is taken by a newer connection of its own. */
  const leave = (member: Member | undefined): void => {
    if (member === undefined) return;
    forget(member);
    const { connection } = member;
    member.connection = undefined;
    connection?.socket.destroy();
  };

  const answer = async (
    connection: Connection,
    id: number,
    look: (signal: AbortSignal) => Promise<BranchRoute | undefined>,
  ): Promise<void> => {
    const abort = new AbortController();
    connection.asked.set(id, abort);
    try {
      const branch = await look(abort.signal);
      connection.send([{ type: 'answer', id, ...(branch && { branch }) }]);
    } catch (thrown) {
      if (abort.signal.aborted) return;
      const error = toOffshootError(thrown);
      if (error.code === 'internal') log.warn({ err: error.cause }, 'a question could not be answered');
      connection.send([{ type: 'answer', id, error: { code: error.code, params: error.params } }]);
    } finally {
      connection.asked.delete(id);
    }
  };

  const hears: Hears = {
    ack({ place }, { member }) {
      if (history.isOurs(place)) member.acked = place.version;
      // One that is being replaced writes no table any more, and others not ours.
      if (member.audience.destination === 'all' && member.counts.drainingSince === undefined)
        onDisk = Math.max(onDisk, member.acked);
      if (member.acked >= member.audience.newest) {
        member.stuck = false;
        toldOf(member.audience.destination);
      }
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
      if (member.audience.destination === 'all') options.onProxies();
    },
    found: ({ found }) => options.onFound(found),
    uses({ begun = [], ended = [], whole }, { member }) {
      if (whole) endUses(member, branch => !begun.includes(branch));
      for (const branch of begun) if (!member.uses.has(branch)) member.uses.set(branch, uses.begin(branch));
      endUses(member, branch => ended.includes(branch));
    },
    ask: ({ id, branch, quiet = false }, connection) =>
      void answer(connection, id, signal => options.awake(branch, signal, quiet)),
    enter: ({ id, entry }, connection) =>
      void answer(connection, id, async signal => {
        if (options.enter === undefined) throw new OffshootError('preview/no-entry', {});
        await options.enter(entry, signal);
        return undefined;
      }),
    forget: ({ id }, { asked }) => asked.get(id)?.abort(new Error('nobody waits for the answer')),
    'replace-failed'({ why }, { member: { proxy } }) {
      log.error({ proxy: proxy.pid, why }, 'a new proxy could not take over');
      options.onProxies(why);
    },
    beat() {},
  };
  const hear = (connection: Connection, message: FromProxy) => {
    if (message.type === 'hello') return greet(connection, message);
    if (!mayTell(connection.destination, message.type)) return;
    const heard = hears[message.type] as ((message: FromProxy, from: Connection) => void) | undefined;
    if (connection.member !== undefined) heard?.(message, connection);
  };

  /** It comes again, unless it is dead; then nobody has to wait for it. */
  const waitFor = (member: Member): void => {
    const { key, audience } = member;
    if (closing || members.get(key) !== member || member.connection !== undefined) return;
    const isOurs = audience.destination === 'all';
    if (isOurs && options.isAlive(member.proxy)) return void setTimeout(waitFor, AWAY_MS, member).unref();
    log.info({ proxy: key }, 'a proxy has ended');
    forget(member);
    wake();
    toldOf(audience.destination);
    if (isOurs) options.onProxies();
  };

  const admit = (socket: Socket, destination: Destination): void => {
    const connection: Connection = {
      ...{ socket, destination, member: undefined, asked: new Map() },
      write(words) {
        if (socket.writable) socket.write(words);
        // It does not read; later it can have everything at once.
        if (socket.writableLength > MAX_BEHIND) socket.destroy();
      },
      send: messages => connection.write(wordsOf(messages)),
    };
    sockets.add(socket);
    if (destination !== 'all') {
      // Counted in beats, not by the clock: who was asleep for a while, as a whole machine may be, has asked nothing meanwhile.
      let unanswered = 0;
      const beat = setInterval(() => {
        if (unanswered++ === SILENT_BEATS) return void socket.destroy();
        if (connection.member !== undefined) connection.write(BEAT);
      }, beatMs).unref();
      socket.on('data', () => {
        unanswered = 0;
      });
      socket.once('close', () => clearInterval(beat));
    }
    socket.on('error', () => {}); // "close" follows
    socket.on('close', () => {
      sockets.delete(socket);
      for (const abort of connection.asked.values()) abort.abort(new Error('the proxy has left'));
      const { member } = connection;
      if (member?.connection !== connection) return;
      member.connection = undefined;
      if (destination === 'all') options.onProxies();
      waitFor(member);
    });
    readJsonLines(socket, {
      maxLength: destination === 'all' ? maxLine : maxLineOfOthers,
      onValue: value => hear(connection, value as FromProxy),
      onBroken(why) {
        log.error({ why, proxy: connection.member?.key ?? destination }, 'a proxy sent nonsense');
        socket.destroy();
      },
    });
  };

  const keepNoneBefore = async (wanted: number): Promise<void> => {
    if (onDisk >= wanted) return;
    await options.dropTable();
    onDisk = Math.max(onDisk, wanted);
  };

  const server = path === undefined ? undefined : await listen(path, socket => admit(socket, 'all'));
  server?.on('error', err => log.error({ err }, 'proxies cannot connect'));

  return {
    admit,
    publish: changes => book.apply(changes),
    settle() {
      settled = true;
      history.begin();
      for (const audience of audiences.values()) tell(audience, history.whole(audience.destination));
    },
    async delivered(deadlineMs = DELIVERY_MS) {
      const wanted = history.version();
      const newest = new Map([...audiences.values()].map(audience => [audience, audience.newest]));
      const lacks = (m: Member) => m.acked < (newest.get(m.audience) ?? wanted);
      const isBehind = () => [...members.values()].some(m => !m.stuck && lacks(m));
      const end = performance.now() + deadlineMs;
      while (isBehind()) {
        const left = end - performance.now();
        if (left <= 0) {
          // Not again for each thing that is told from now on.
          for (const member of members.values()) member.stuck ||= lacks(member);
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
    uses,
    proxies: () =>
      [...members.values()].flatMap(({ connection, audience, proxy, protocol, counts }) =>
        connection === undefined || audience.destination !== 'all' ? [] : [{ ...proxy, protocol, counts }],
      ),
    followers: () =>
      [...members.values()].flatMap(({ connection, audience, proxy, acked }) =>
        connection === undefined || audience.destination === 'all'
          ? []
          : [
              {
                destination: audience.destination,
                peer: connection.socket.remoteAddress ?? '',
                ...(proxy.id !== undefined && { id: proxy.id }),
                version: proxy.version,
                upToDate: acked >= audience.newest,
              },
            ],
      ),
    replace: (pid, command) => members.get(pid)?.connection?.send([{ type: 'replace', command }]),
    stop(graceMs) {
      const ours = audiences.get('all')?.members ?? [];
      for (const { connection } of ours) connection?.send([{ type: 'stop', graceMs }]);
    },
    async close() {
      closing = true;
      const closed = server && once(server, 'close');
      server?.close();
      for (const socket of sockets) socket.destroy();
      await closed;
      wake();
    },
  };
}

// --- internal ---

async function listen(path: string, onSocket: (socket: Socket) => void): Promise<Server> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  chmodSync(dirname(path), 0o700);
  rmSync(path, { force: true }); // of a daemon that was killed
  const server = createServer(onSocket).listen(path);
  await once(server, 'listening');
  return server;
}

const MAX_BEHIND = 64 * 1024 * 1024;
const DELIVERY_MS = 2_000;
const AWAY_MS = 25;
/** After so many beats without a word in between nobody is there any more. */
const SILENT_BEATS = 3;

/** Of one on this machine its pid, of others destination and id. */
type MemberKey = number | string;

/** All who follow as one destination. */
type Audience = {
  readonly destination: Destination;
  readonly members: Set<Member>;
  /** Version of the last step that they were told. */
  newest: number;
};

type Connection = {
  readonly socket: Socket;
  readonly destination: Destination;
  member: Member | undefined;
  readonly asked: Map<number, AbortController>;
  /** @param words as `wordsOf` makes them */
  write(words: string): void;
  send(messages: readonly FromDaemon[]): void;
};

type Hears = {
  readonly [T in Exclude<FromProxy['type'], 'hello'>]: (
    message: Extract<FromProxy, { type: T }>,
    from: Connection & { readonly member: Member },
  ) => void;
};

type Member = {
  readonly key: MemberKey;
  readonly audience: Audience;
  readonly proxy: ProxyIdentity;
  readonly protocol: number;
  /** Undefined while it is away; it comes again, or is forgotten. */
  connection: Connection | undefined;
  acked: number;
  /** It did not follow in time, and has not caught up since. */
  stuck: boolean;
  counts: Counts;
  /** Branches that clients of it use, and how that ends. */
  readonly uses: Map<string, () => void>;
};

const BEAT = wordsOf([{ type: 'beat' }]);

/** Where others listen, and what they find, is their own matter; and a sidecar has no business with branches. */
function mayTell(destination: Destination, type: FromProxy['type']): boolean {
  if (destination === 'all') return true;
  if (destination === 'gateway' && ['ask', 'enter', 'forget', 'uses'].includes(type)) return true;
  return type === 'ack' || type === 'counts' || type === 'beat';
}
