/** Peers for tests of the HTTP data path: real servers and clients on loopback, polite ones and hostile ones. */
import {
  type ClientRequest,
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type RequestListener,
  request,
} from 'node:http';
import {
  type AddressInfo,
  connect,
  createServer as createTcpServer,
  type Server,
  type Socket,
} from 'node:net';
import type { Duplex } from 'node:stream';
import { text } from 'node:stream/consumers';
import type { TestContext } from 'node:test';
import { type Log, silentLog } from '../../src/lib/log.ts';
import { until } from '../../src/lib/wait.ts';
import {
  type Address,
  addressKey,
  type DestinationKey,
  type RouteChange,
  type RouteKinds,
  type RouteSettings,
  type Speaks,
  type Target,
} from '../../src/model/route.ts';
import { type Book, createBook } from '../../src/proxy/book.ts';
import { defaultLimits, type Limits, limitsOf } from '../../src/proxy/http/limits.ts';
import { hashOf } from '../../src/proxy/http/preview-key.ts';
import { createRouter, type Router } from '../../src/proxy/http/router.ts';
import { openServer } from '../../src/proxy/http/server.ts';
import { createListeners, type ListenerState, type Listeners } from '../../src/proxy/listeners.ts';
import type { PassLimits } from '../../src/proxy/tcp/limits.ts';
import { createPassThrough, type PassThrough } from '../../src/proxy/tcp/pass-through.ts';

/** An HTTP server on a free port until the end of the test. */
export async function serveHttp(
  t: TestContext,
  handler: RequestListener,
  {
    onUpgrade,
  }: { readonly onUpgrade?: (request: IncomingMessage, socket: Duplex, head: Buffer) => void } = {},
): Promise<Address> {
  const server = createServer(handler);
  if (onUpgrade !== undefined) server.on('upgrade', onUpgrade);
  t.after(() => server.closeAllConnections());
  return listen(t, server);
}

/** A server that speaks whatever `onConnection` says, byte for byte. */
export async function serveTcp(t: TestContext, onConnection: (socket: Socket) => void): Promise<Address> {
  const sockets = new Set<Socket>();
  t.after(() => {
    for (const socket of sockets) socket.destroy();
  });
  const server = createTcpServer(socket => {
    sockets.add(socket);
    socket.on('error', () => {});
    onConnection(socket);
  });
  return listen(t, server);
}

/** A server that answers whatever it gets with exactly these bytes, then ends the way `end` says. */
export const serveBytes = (t: TestContext, bytes: string, end: 'keep' | 'fin' | 'reset' = 'keep') =>
  serveTcp(t, socket => {
    socket.on('data', () => {
      socket.write(bytes, 'latin1', () => {
        if (end === 'fin') socket.end();
        // The bytes must have been read before the reset, which throws away what is on its way.
        if (end === 'reset') void turns().then(() => socket.resetAndDestroy());
      });
    });
  });

/** So many that whoever is in this process has read what it was sent, and has passed it on; after a moment nobody can be sure of that. */
export async function turns(): Promise<void> {
  for (let i = 0; i < 50; i++) await new Promise(setImmediate);
}

async function listen(t: TestContext, server: Server): Promise<Address> {
  t.after(() => void server.close());
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: '127.0.0.1', port: 0 }, resolve);
  });
  const { address, port } = server.address() as AddressInfo;
  return { host: address, port };
}

/** An address on which nobody listens. Linux has all of 127/8, so tests that run at once do not meet. */
export async function freeAddress(): Promise<Address> {
  const part = () => 1 + Math.floor(Math.random() * 250);
  const host = process.platform === 'linux' ? `127.${part()}.${part()}.${part()}` : '127.0.0.1';
  const server = createTcpServer();
  await new Promise<void>(resolve => server.listen({ host, port: 0 }, resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise(resolve => server.close(resolve));
  return { host, port };
}

// --- routes ---

export type TestTarget =
  | { readonly ready: true; readonly addresses: readonly Address[]; readonly sandbox?: string }
  | {
      readonly ready: false;
      readonly reason: string;
      readonly message: string;
      readonly sandbox?: string;
    };

/** One workload behind one destination, as tests speak of it. */
export type TestDestination = {
  readonly label: string;
  readonly baseline: TestTarget;
  /** By routing key. */
  readonly forks: Readonly<Record<string, TestTarget>>;
  /** Default: http. `unknown`: nobody says it. */
  readonly speaks?: Speaks | 'unknown';
};

export type TestTable = {
  readonly destinations: Readonly<Record<DestinationKey, TestDestination>>;
  readonly listeners: readonly (Address & { readonly destination: DestinationKey })[];
  readonly previews: Readonly<Record<string, RouteKinds['preview']>>;
  /** Routing key → sandbox. */
  readonly tombstones: Readonly<Record<string, string>>;
  readonly apiKeys: readonly string[];
  readonly settings: Partial<RouteSettings>;
};

export type TestRoutes = {
  readonly book: Book;
  current(): TestTable;
  /** Replaces the fields given, in one step. */
  swap(change: Partial<TestTable>): void;
};

export function testRoutes(first: Partial<TestTable>): TestRoutes {
  let table: TestTable = {
    ...{ destinations: {}, listeners: [], previews: {}, tombstones: {}, apiKeys: [], settings: {} },
    ...first,
  };
  const book = createBook(itemsOf(table));
  return {
    book,
    current: () => table,
    swap(change) {
      table = { ...table, ...change };
      book.replace(itemsOf(table));
    },
  };
}

export const defaultSettings: RouteSettings = {
  ...{ domain: 'localhost', headers: [], keepRevoked: false, drainMs: 60_000 },
};

const PORT = 80;

function itemsOf(table: TestTable): RouteChange[] {
  const targetOf = (target: TestTarget): Target =>
    target.ready ? { ready: true, ports: { [PORT]: target.addresses } } : target;
  return [
    ...Object.entries(table.destinations).flatMap(([key, destination]): RouteChange[] => [
      { kind: 'service', name: key, value: serviceOf(key, destination) },
      {
        kind: 'workload',
        name: key,
        value: { label: destination.label, target: targetOf(destination.baseline) },
      },
      ...Object.entries(destination.forks).map(([routingKey, fork]): RouteChange => {
        const value = { sandbox: fork.sandbox ?? routingKey, target: targetOf(fork) };
        return { kind: 'fork', name: `${key}/${routingKey}`, value };
      }),
    ]),
    ...table.listeners.map(({ destination, ...address }): RouteChange => {
      return { kind: 'listener', name: addressKey(address), value: { ...address, serves: destination } };
    }),
    ...Object.entries(table.previews).map(([name, value]): RouteChange => ({ kind: 'preview', name, value })),
    ...Object.entries(table.tombstones).map(
      ([name, sandbox]): RouteChange => ({ kind: 'tombstone', name, value: { sandbox } }),
    ),
    ...table.apiKeys.map((key): RouteChange => ({ kind: 'key', name: hashOf(key), value: {} })),
    { kind: 'setting', name: 'proxy', value: { ...defaultSettings, ...table.settings } },
  ];
}

const serviceOf = (key: string, { label, speaks = 'http' }: TestDestination): RouteKinds['service'] => ({
  ...{ label, behind: [{ workload: key, port: PORT }] },
  ...(speaks !== 'unknown' && { speaks }),
});

export const ready = (...addresses: Address[]): TestTarget => ({ ready: true, addresses });
export const readyFork = (sandbox: string, ...addresses: Address[]): TestTarget => ({
  ...{ ready: true, addresses, sandbox },
});
export const notReady = (sandbox?: string): TestTarget => ({
  ready: false,
  reason: 'CrashLoopBackOff',
  message: 'it exited with code 1',
  ...(sandbox === undefined ? {} : { sandbox }),
});

export const DESTINATION = 'svc:demo/users:80';

export const usersService = (
  baseline: TestTarget,
  forks: Readonly<Record<string, TestTarget>> = {},
): TestDestination => ({ label: 'Deployment demo/users', baseline, forks });

export type ListeningRouter = {
  readonly counters: Router['counters'];
  readonly passThrough: PassThrough;
  readonly states: readonly ListenerState[];
  readonly listeners: Listeners;
  close(graceMs: number): Promise<void>;
};

/** A router that serves the listeners of `routes`, until the end of the test. */
export function routeFor(
  t: TestContext,
  { book }: TestRoutes,
  limits: Partial<Limits> = {},
  log: Log = silentLog,
  passLimits: Partial<PassLimits> = {},
): ListeningRouter {
  const router = createRouter({ book, log, limits });
  const passThrough = createPassThrough({ book, log, limits: passLimits });
  const states: ListenerState[] = [];
  const listeners = createListeners({
    book,
    drainMs: defaultLimits.drainMs,
    onState: state => void states.push(state),
    open: (where, listener) =>
      openServer(where, {
        what: listener().serves,
        limits: limitsOf(book, limits),
        handlers: router.handlersFor(() => listener().serves),
        intercept: passThrough.interceptFor(() => listener().serves),
      }),
  });
  const close = async (graceMs: number) => {
    await listeners.close(graceMs);
    await router.close();
  };
  t.after(() => close(0));
  return { counters: router.counters, passThrough, states, listeners, close };
}

export type TestRouter = ListeningRouter & { readonly address: Address; readonly routes: TestRoutes };

/** A router with one listener that leads to `destination`, until the end of the test. */
export async function startRouter(
  t: TestContext,
  destination: TestDestination,
  {
    customHeaders = [],
    limits,
    passLimits,
    log,
  }: {
    readonly customHeaders?: readonly string[];
    readonly limits?: Partial<Limits>;
    readonly passLimits?: Partial<PassLimits>;
    readonly log?: Log;
  } = {},
): Promise<TestRouter> {
  const address = await freeAddress();
  const routes = testRoutes({
    destinations: { [DESTINATION]: destination },
    listeners: [{ ...address, destination: DESTINATION }],
    settings: { headers: customHeaders },
  });
  const router = routeFor(t, routes, limits, log, passLimits);
  await until(() => router.states[0], { what: 'the router listens', deadlineMs: 60_000 });
  return { ...router, address, routes };
}

// --- clients ---

/** Of everything that a client does. */
const DEADLINE_MS = 60_000;

export type Reply = {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly rawHeaders: readonly string[];
  readonly trailers: NodeJS.Dict<string>;
  readonly body: string;
};

export type Ask = {
  readonly method?: string;
  readonly path?: string;
  /** Flat: names and values in turn; or by name. */
  readonly headers?: OutgoingHttpHeaders | readonly string[];
  readonly body?: string;
};

/** One request on a connection of its own. @throws when the response is broken off */
export async function ask(to: Address, { body, ...options }: Ask = {}): Promise<Reply> {
  const sent = begin(to, options);
  sent.end(body);
  const response = await responseTo(sent);
  return {
    status: response.statusCode!,
    headers: response.headers,
    rawHeaders: response.rawHeaders,
    body: await text(response),
    trailers: response.trailers,
  };
}

/** A request whose body the caller writes. */
export const begin = (
  { host, port }: Address,
  { method, path, headers }: Omit<Ask, 'body'>,
): ClientRequest => {
  const flat = Array.isArray(headers) && !headers.some((text, i) => i % 2 === 0 && /^host$/i.test(text));
  return request({
    ...{ host, port, method, path, agent: false, signal: AbortSignal.timeout(DEADLINE_MS) },
    headers: (flat
      ? ['Host', `${host}:${port}`, ...(headers as string[])]
      : (headers ?? {})) as OutgoingHttpHeaders,
  });
};

export const responseTo = (sent: ClientRequest): Promise<IncomingMessage> =>
  new Promise((resolve, reject) => {
    sent.once('response', resolve);
    sent.once('error', reject);
  });

/** Sends bytes on a connection of its own. @returns all that comes back until the other side ends it */
export async function askRaw({ host, port }: Address, bytes: string): Promise<string> {
  const socket = connect({ host, port, signal: AbortSignal.timeout(DEADLINE_MS) });
  socket.write(bytes, 'latin1');
  return text(socket.setEncoding('latin1'));
}

/** An open connection with what has come back so far. */
export function dial(t: TestContext, { host, port }: Address): { socket: Socket; received: () => string } {
  const socket = connect({ host, port });
  t.after(() => socket.destroy());
  socket.on('error', () => {});
  let received = '';
  socket.setEncoding('latin1').on('data', chunk => {
    received += chunk;
  });
  return { socket, received: () => received };
}
