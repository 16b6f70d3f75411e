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
import { text } from 'node:stream/consumers';
import type { TestContext } from 'node:test';
import { silentLog } from '../../src/lib/log.ts';
import { until } from '../../src/lib/wait.ts';
import {
  type Address,
  type Destination,
  emptyRouteTable,
  type RouteSource,
  type RouteTable,
  type Target,
} from '../../src/model/route.ts';
import type { ListenerState } from '../../src/proxy/http/listeners.ts';
import { createRouter, type Router, type RouterOptions } from '../../src/proxy/http/router.ts';

/** An HTTP server on a free port until the end of the test. */
export async function serveHttp(t: TestContext, handler: RequestListener): Promise<Address> {
  const server = createServer(handler);
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
        if (end === 'reset') setTimeout(() => socket.resetAndDestroy(), 30);
      });
    });
  });

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

export type TestRoutes = RouteSource & {
  /** Replaces the fields given. */
  swap(change: Partial<RouteTable>): void;
};

export function testRoutes(first: Partial<RouteTable>): TestRoutes {
  let table: RouteTable = { ...emptyRouteTable, ...first };
  const listeners = new Set<(table: RouteTable) => void>();
  return {
    current: () => table,
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    swap(change) {
      table = { ...table, ...change, version: table.version + 1 };
      for (const listener of listeners) listener(table);
    },
  };
}

export const ready = (...addresses: Address[]): Target => ({ ready: true, addresses });
export const readyFork = (sandbox: string, ...addresses: Address[]): Target => ({
  ready: true,
  addresses,
  sandbox,
});
export const notReady = (sandbox?: string): Target => ({
  ready: false,
  reason: 'CrashLoopBackOff',
  message: 'it exited with code 1',
  ...(sandbox === undefined ? {} : { sandbox }),
});

export const DESTINATION = 'svc:demo/users:80';

export const usersService = (
  baseline: Target,
  forks: Readonly<Record<string, Target>> = {},
): Destination => ({
  label: 'Deployment demo/users',
  baseline,
  forks,
});

export type TestRouter = Router & {
  readonly address: Address;
  readonly routes: TestRoutes;
  readonly states: readonly ListenerState[];
};

/** A router with one listener that leads to `destination`, until the end of the test. */
export async function startRouter(
  t: TestContext,
  destination: Destination,
  options: Partial<RouterOptions> = {},
): Promise<TestRouter> {
  const address = await freeAddress();
  const routes = testRoutes({
    destinations: { [DESTINATION]: destination },
    listeners: [{ ...address, destination: DESTINATION }],
  });
  const states: ListenerState[] = [];
  const router = createRouter({
    ...{ routes, log: silentLog },
    onListener: state => void states.push(state),
    ...options,
  });
  t.after(() => router.close(0));
  await until(() => states[0], { what: 'the router listens', deadlineMs: 5_000 });
  return { ...router, address, routes, states };
}

// --- clients ---

/** Of everything that a client does. */
const DEADLINE_MS = 10_000;

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
