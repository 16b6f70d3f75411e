/**
 * An outpost is a process of ours in a network of its own, which a user namespace allows an ordinary user
 * (user_namespaces(7)). It makes sockets and namespaces there, and we take them over: what a socket belongs to is decided
 * when it is made, whoever uses it later. Nothing passes through the outpost. Its process is src/outpost.ts.
 */
import { connect, Socket } from 'node:net';
import { readJsonLines, writeJsonLine } from './json-lines.ts';
import { libc } from './libc.ts';

/** What can be asked for, and the descriptors that are the answer, in their order. */
export type Wish =
  /** A connection. IPv4. */
  | { readonly kind: 'connection'; readonly host: string; readonly port: number }
  /** A socket that is bound, but does not listen yet. */
  | { readonly kind: 'stream' | 'datagrams'; readonly host: string; readonly port: number }
  /** Of the outpost's network: sockets of netlink for routes, for rules and for diagnosis. */
  | { readonly kind: 'netlink' }
  /** A new network, or the one that a process of the outpost's user namespace is in: itself, and its three sockets of netlink. */
  | { readonly kind: 'network'; readonly of?: number };

/** Ours to the outpost; `taken` ends what was asked for, also before there is an answer. */
export type Asked = { readonly id: number; readonly wish: Wish } | { readonly taken: number };

/** The outpost's to us. Its pid comes first. */
export type Told =
  | { readonly pid: number }
  | { readonly id: number; readonly fds: readonly number[] }
  | { readonly id: number; readonly code: string; readonly message: string };

export const MAX_LINE = 1_000;

export type Outpost = {
  /** @returns descriptors that are the caller's. @throws an error like those of node:net, with `code` */
  take(wish: Wish, signal?: AbortSignal): Promise<readonly number[]>;
  /** A connection from the outpost's network. Half-open ones are allowed. */
  connect(address: { readonly host: string; readonly port: number }, signal?: AbortSignal): Promise<Socket>;
  close(): void;
};

/** @param path of the unix socket at which the outpost listens; it is connected to when something is asked for */
export function reachOutpost(path: string): Outpost {
  let link: Promise<Link> | undefined;
  const linked = async (): Promise<Link> => {
    link ??= openLink(path, () => {
      link = undefined;
    });
    return await link;
  };
  const take = async (wish: Wish, signal?: AbortSignal) => await (await linked()).take(wish, signal);
  return {
    take,
    async connect({ host, port }, signal) {
      const [fd] = await take({ kind: 'connection', host, port }, signal);
      const socket = new Socket({ fd: fd!, allowHalfOpen: true, readable: true, writable: true });
      return socket.on('error', () => {}); // "close" follows, also for whoever listens
    },
    close() {
      link?.then(
        open => open.close(),
        () => {},
      );
    },
  };
}

// --- internal -----------------------------------------------------------------------------------

type Link = Pick<Outpost, 'take' | 'close'>;

async function openLink(path: string, onClose: () => void): Promise<Link> {
  const calls = await libc();
  const socket = connect({ path });
  const waiting = new Map<number, (told: Exclude<Told, { pid: number }>) => void>();
  const { promise: pid, resolve, reject } = Promise.withResolvers<number>();
  let last = 0;
  let failure: NodeJS.ErrnoException = Object.assign(new Error('ECONNRESET: the outpost'), {
    code: 'ECONNRESET',
  });
  socket.on('error', error => {
    failure = error;
  });
  socket.on('close', () => {
    onClose();
    reject(failure);
    for (const [id, tell] of waiting)
      tell({ id, code: failure.code ?? 'ECONNRESET', message: failure.message });
  });
  readJsonLines(socket, {
    maxLength: MAX_LINE,
    onValue(value) {
      const told = value as Told;
      if ('pid' in told) resolve(told.pid);
      else waiting.get(told.id)?.(told);
    },
    onBroken: () => socket.destroy(),
  });
  const from = await pid;
  socket.unref();

  return {
    async take(wish, signal) {
      signal?.throwIfAborted();
      const id = ++last;
      const ask = (asked: Asked) => writeJsonLine(socket, asked);
      const answer = Promise.withResolvers<Exclude<Told, { pid: number }>>();
      const aborted = () => answer.reject(signal!.reason);
      waiting.set(id, answer.resolve);
      socket.ref();
      signal?.addEventListener('abort', aborted, { once: true });
      try {
        if (socket.destroyed) throw failure;
        ask({ id, wish });
        const told = await answer.promise;
        if ('code' in told) throw Object.assign(new Error(told.message), { code: told.code });
        return told.fds.map(fd => calls.takeFrom(from, fd));
      } finally {
        waiting.delete(id);
        if (waiting.size === 0) socket.unref(); // nobody is kept from ending
        signal?.removeEventListener('abort', aborted);
        ask({ taken: id });
      }
    },
    close: () => socket.destroy(),
  };
}
