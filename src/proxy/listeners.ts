/** One server per listener of the route book: opened and closed as they come and go. */
import { closeSync } from 'node:fs';
import type { Socket } from 'node:net';
import { OffshootError } from '../model/errors.ts';
import { type Address, addressKey, type RouteKinds } from '../model/route.ts';
import type { Book } from './book.ts';

export type Listener = RouteKinds['listener'];

/** Something that listens, whatever it speaks. */
export type Server = Address & {
  /** Of the listening socket, for who takes it over. */
  readonly fd: number;
  connections(): number;
  /** Serves a connection that has come to somebody else. */
  accept?(client: Socket): void;
  /** Stops listening and lets clients go as soon as that cuts nothing; resolves when all have gone. */
  drain(): Promise<void>;
  /** Stops listening and ends clients, at the latest after `graceMs`. */
  close(graceMs: number): Promise<void>;
};

/** A listener that is open, or why it is not. */
export type ListenerState = Address & { readonly name: string; readonly error?: OffshootError };

/** A listening socket of the proxy before us. */
export type Inherited = Address & { readonly name: string; readonly fd: number };

export type Listeners = {
  /** Resolves when everything that the book wants now was tried once. */
  tried(): Promise<void>;
  /** Those that are open, and why others are not. */
  states(): readonly ListenerState[];
  /** Nothing more is opened until `thaw`; what is open is told, to be inherited. */
  freeze(): readonly Inherited[];
  thaw(): void;
  /** What is open under this name. */
  server(name: string): Server | undefined;
  connections(): number;
  /** As a server's, for all of them; and the book is not followed any more. */
  drain(): Promise<void>;
  close(graceMs: number): Promise<void>;
};

export type ListenersOptions = {
  readonly book: Book;
  /** Opens a server; `listener` says what it is to serve at the time of the call. @throws OffshootError */
  readonly open: (
    where: Address & { readonly fd?: number | undefined },
    listener: () => Listener,
  ) => Promise<Server>;
  readonly inherited?: readonly Inherited[];
  /** Called when a listener is open, and once for each new reason why it is not; it is tried again by itself. */
  readonly onState: (state: ListenerState) => void;
  /** Milliseconds that what is in flight has when its listener goes away. */
  readonly drainMs: number;
};

export function createListeners({ book, open, onState, drainMs, ...o }: ListenersOptions): Listeners {
  const slots = new Map<string, Slot>();
  const inherited = new Map((o.inherited ?? []).map(one => [one.name, one]));
  /** Also of slots that are gone again. */
  const openings = new Map<Slot, Promise<void>>();
  /** Also those that drain. */
  const servers = new Set<Server>();
  let retry: NodeJS.Timeout | undefined;
  let frozen = false;

  const openSlot = async (slot: Slot): Promise<void> => {
    const { name } = slot;
    const { host, port } = slot.listener;
    const opened = await tryPorts(slot, takeInherited(slot)).catch((error: OffshootError) => error);
    if (opened instanceof OffshootError) {
      if (slot.retired) return;
      retry ??= setTimeout(openMissing, RETRY_MS);
      const news = slot.failure?.message !== opened.message;
      slot.failure = opened;
      if (news) onState({ name, host, port, error: opened });
      return;
    }
    servers.add(opened);
    if (slot.retired) return void retire(opened, 0);
    slot.server = opened;
    slot.failure = undefined;
    onState({ name, host: opened.host, port: opened.port });
  };

  const takeInherited = ({ name, listener }: Slot): Inherited | undefined => {
    const one = inherited.get(name);
    if (one === undefined) return undefined;
    inherited.delete(name);
    if (one.host === listener.host && (listener.port === 0 || one.port === listener.port)) return one;
    closeSync(one.fd);
    return undefined;
  };

  const tryPorts = async (slot: Slot, taken: Inherited | undefined): Promise<Server> => {
    const { host, port, prefer } = slot.listener;
    const current = () => slot.listener;
    if (taken !== undefined) return open(taken, current);
    if (port !== 0 || prefer === undefined) return open({ host, port }, current);
    return open({ host, port: prefer }, current).catch(() => open({ host, port }, current));
  };

  const openMissing = (): void => {
    clearTimeout(retry);
    retry = undefined;
    if (frozen) return;
    for (const slot of slots.values()) {
      if (slot.server !== undefined || openings.has(slot)) continue;
      openings.set(
        slot,
        openSlot(slot).finally(() => openings.delete(slot)),
      );
    }
  };

  const retire = async (server: Server, graceMs: number): Promise<void> => {
    await server.close(graceMs);
    servers.delete(server);
  };

  const remove = (slot: Slot): void => {
    slots.delete(slot.name);
    slot.retired = true;
    if (slot.server !== undefined) void retire(slot.server, drainMs);
  };

  const want = (name: string, listener: Listener | undefined): void => {
    const slot = slots.get(name);
    if (slot !== undefined) {
      const stays = listener !== undefined && addressKey(slot.listener) === addressKey(listener);
      if (stays) {
        slot.listener = listener;
        return;
      }
      remove(slot);
    }
    if (listener !== undefined) slots.set(name, newSlot(name, listener));
  };

  const follow = (names: Iterable<string>): void => {
    for (const name of names) want(name, book.get('listener', name));
    openMissing();
  };
  follow(book.names('listener'));
  for (const { fd } of inherited.values()) closeSync(fd); // of listeners that nobody wants any more
  inherited.clear();
  const unsubscribe = book.onChange(changed => {
    const names = changed.filter(({ kind }) => kind === 'listener').map(({ name }) => name);
    if (names.length > 0) follow(names);
  });
  const stopFollowing = async (): Promise<void> => {
    unsubscribe();
    clearTimeout(retry);
    for (const slot of slots.values()) slot.retired = true;
    await Promise.all(openings.values());
  };

  return {
    async tried() {
      await Promise.all(openings.values());
    },
    states: () =>
      [...slots.values()].flatMap(({ name, listener, server, failure }): ListenerState[] => {
        if (server !== undefined) return [{ name, host: server.host, port: server.port }];
        return failure === undefined
          ? []
          : [{ name, host: listener.host, port: listener.port, error: failure }];
      }),
    freeze() {
      frozen = true;
      return [...slots.values()].flatMap(({ name, server }) =>
        server === undefined ? [] : [{ name, host: server.host, port: server.port, fd: server.fd }],
      );
    },
    thaw() {
      frozen = false;
      openMissing();
    },
    server: name => slots.get(name)?.server,
    connections: () => [...servers].reduce((sum, server) => sum + server.connections(), 0),
    async drain() {
      await stopFollowing();
      await Promise.all([...servers].map(server => server.drain()));
    },
    async close(graceMs) {
      await stopFollowing();
      await Promise.all([...servers].map(server => retire(server, graceMs)));
    },
  };
}

// --- internal ---

const RETRY_MS = 1_000;

type Slot = {
  readonly name: string;
  listener: Listener;
  server: Server | undefined;
  /** What was reported last. */
  failure: OffshootError | undefined;
  /** No longer wanted. */
  retired: boolean;
};

const newSlot = (name: string, listener: Listener): Slot => ({
  ...{ name, listener },
  ...{ server: undefined, failure: undefined, retired: false },
});
