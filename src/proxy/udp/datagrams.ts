/**
 * UDP ports of Services pass through to the baseline. A client (address and port) has a session for as long as packets
 * go either way: a socket of its own, so that answers find back, and always the same pod while that is there.
 *
 * Another proxy that takes our place binds the same ports beside us: it gets what comes from then on, and answers to
 * our sessions still leave through ours.
 */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import type { Log } from '../../lib/log.ts';
import { OffshootError } from '../../model/errors.ts';
import { type Address, addressKey, type RouteKinds } from '../../model/route.ts';
import type { Book } from '../book.ts';
import type { ListenerState } from '../listeners.ts';
import type { Pods } from '../pods.ts';

export type DatagramLimits = {
  /** Milliseconds without a packet, either way, after which a session is over. */
  readonly idleMs: number;
  /** Sessions of one port; the one that was silent for longest makes room. */
  readonly sessions: number;
};

export type Datagrams = {
  /** Resolves when every port that the book wants now was tried once. */
  tried(): Promise<void>;
  /** Those that are open, and why others are not. */
  states(): readonly ListenerState[];
  close(): void;
};

export function createDatagrams(o: {
  readonly book: Book;
  readonly log: Log;
  readonly limits?: Partial<DatagramLimits>;
  /** Absent: this machine reaches pods as it is. */
  readonly pods?: Pods;
  /** Some state is another one. */
  readonly onState: () => void;
}): Datagrams {
  const { book } = o;
  const limits = { ...defaultDatagramLimits, ...o.limits };
  const ports = new Map<string, Port>();

  const follow = (names: Iterable<string>): void => {
    for (const name of names) {
      const wanted = book.get('datagrams', name);
      const open = ports.get(name);
      if (open !== undefined && wanted !== undefined) open.serves = wanted.serves;
      else if (open !== undefined) {
        ports.delete(name);
        open.close();
      } else if (wanted !== undefined) ports.set(name, openPort(name, wanted, { ...o, limits }));
    }
  };
  follow(book.names('datagrams'));
  const unsubscribe = book.onChange(changed => {
    if (changed.some(({ kind }) => kind === 'setting')) for (const port of ports.values()) port.bindInside();
    follow(changed.filter(({ kind }) => kind === 'datagrams').map(({ name }) => name));
  });
  return {
    async tried() {
      await Promise.all([...ports.values()].map(({ tried }) => tried));
    },
    states: () => [...ports.values()].flatMap(({ state }) => state() ?? []),
    close() {
      unsubscribe();
      for (const port of ports.values()) port.close();
      ports.clear();
    },
  };
}

// --- internal ---

const defaultDatagramLimits: DatagramLimits = { idleMs: 60_000, sessions: 1_000 };

const RETRY_MS = 1_000;
/** Packets of a new session. */
const MAX_WAITING = 16;

type Port = {
  serves: string;
  readonly tried: Promise<void>;
  state(): ListenerState | undefined;
  /** Where pods are now, if that is another network than before. */
  bindInside(): void;
  close(): void;
};

type Session = {
  readonly to: Address;
  readonly timer: NodeJS.Timeout;
  /** Absent until it is open: what comes before that waits. */
  socket?: Socket;
  readonly waiting: Buffer[];
};

function openPort(
  name: string,
  { host, port, serves }: RouteKinds['datagrams'],
  {
    book,
    log,
    limits,
    pods,
    onState,
  }: { book: Book; log: Log; limits: DatagramLimits; pods?: Pods; onState: () => void },
): Port {
  /** By client; the one that was heard of last comes last. */
  const sessions = new Map<string, Session>();
  const { promise: tried, resolve } = Promise.withResolvers<void>();
  let listening: Socket | undefined;
  /** At the same address in the network of pods, where it is theirs. */
  let inside: Socket | undefined;
  let insideOf: string | undefined;
  let failure: OffshootError | undefined;
  let retry: NodeJS.Timeout | undefined;
  let insideRetry: NodeJS.Timeout | undefined;
  let closed = false;
  let turn = 0;
  let said = '';

  const end = (client: string): void => {
    const session = sessions.get(client);
    if (session === undefined) return;
    sessions.delete(client);
    clearTimeout(session.timer);
    session.socket?.close();
  };

  const begin = (client: string, from: RemoteInfo, to: Address, by: Socket): Session => {
    const [oldest] = sessions.keys();
    if (sessions.size >= limits.sessions && oldest !== undefined) end(oldest);
    const session: Session = { to, timer: setTimeout(end, limits.idleMs, client), waiting: [] };
    sessions.set(client, session);
    const isOpen = () => sessions.get(client) === session;
    const opened = (socket: Socket) => {
      if (!isOpen()) return socket.close();
      session.socket = socket;
      // Nobody is there just now; the next packet tries again.
      socket.on('error', () => isOpen() && end(client));
      socket.on('message', (packet, sender) => {
        if (sender.address !== to.host || sender.port !== to.port) return; // nobody that we have asked
        session.timer.refresh();
        by.send(packet, from.port, from.address, () => {});
      });
      for (const packet of session.waiting) socket.send(packet, to.port, to.host, () => {});
      return;
    };
    if (pods?.way() === undefined) opened(createSocket(to.host.includes(':') ? 'udp6' : 'udp4'));
    else pods.datagramsTo(to).then(opened, () => isOpen() && end(client));
    return session;
  };

  const addresses = (): readonly Address[] => {
    const target = book.destination(self.serves)?.baseline();
    if (target?.ready) return target.addresses;
    const why = target === undefined ? 'nothing is deployed' : `${target.reason}: ${target.message}`;
    if (why !== said) log.warn({ destination: self.serves, why }, 'packets are dropped');
    said = why;
    return [];
  };

  const onPacket = (by: Socket, packet: Buffer, from: RemoteInfo): void => {
    const client = addressKey({ host: from.address, port: from.port });
    const there = addresses();
    const known = sessions.get(client);
    if (known !== undefined && !there.some(one => addressKey(one) === addressKey(known.to))) end(client);
    if (there.length === 0) return;
    const session = sessions.get(client) ?? begin(client, from, there[turn++ % there.length]!, by);
    session.timer.refresh();
    sessions.delete(client);
    sessions.set(client, session);
    if (session.socket !== undefined) session.socket.send(packet, session.to.port, session.to.host, () => {});
    else if (session.waiting.length < MAX_WAITING) session.waiting.push(packet);
  };

  const bind = (): void => {
    const socket = createSocket({ type: host.includes(':') ? 'udp6' : 'udp4', reuseAddr: true });
    socket.on('message', (packet, from) => onPacket(socket, packet, from));
    socket.once('error', cause => {
      socket.close();
      if (closed) return;
      const { code } = cause as NodeJS.ErrnoException;
      const error = code === 'EADDRINUSE' ? 'host/port-taken' : 'proxy/listen-failed';
      listening = undefined;
      failure = new OffshootError(error, { host, port, what: serves, why: code }, { cause });
      retry = setTimeout(bind, RETRY_MS);
      resolve();
      onState();
    });
    socket.bind(port, host, () => {
      if (closed) return socket.close();
      listening = socket;
      failure = undefined;
      resolve();
      onState();
    });
  };

  const bindInside = async (): Promise<void> => {
    clearTimeout(insideRetry);
    const network = pods?.way()?.network;
    if (pods === undefined || network === insideOf || closed) return;
    insideOf = network;
    if (inside !== undefined) for (const client of [...sessions.keys()]) end(client); // it was to answer
    inside?.close();
    inside = undefined;
    if (network === undefined) return;
    try {
      const socket = await pods.datagrams({ host, port });
      if (closed || network !== insideOf) return void socket.close();
      inside = socket;
      socket.on('error', () => {}); // of one answer; the others are not lost
      socket.on('message', (packet, from) => onPacket(socket, packet, from));
    } catch (err) {
      log.warn({ err, destination: self.serves }, 'pods cannot send packets');
      if (network !== insideOf || closed) return;
      insideOf = undefined;
      insideRetry = setTimeout(bindInside, RETRY_MS);
    }
  };

  const self: Port = {
    serves,
    tried,
    state() {
      if (failure !== undefined) return { name: `udp:${name}`, host, port, error: failure };
      return listening === undefined ? undefined : { name: `udp:${name}`, host, port };
    },
    bindInside: () => void bindInside(),
    close() {
      closed = true;
      clearTimeout(retry);
      clearTimeout(insideRetry);
      inside?.close();
      for (const client of [...sessions.keys()]) end(client);
      listening?.close();
      resolve();
    },
  };
  bind();
  void bindInside();
  return self;
}
