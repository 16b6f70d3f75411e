/**
 * The door of a branch node: the one way from other machines to the servers of its branches, which listen on unix sockets
 * that only they and we reach. TLS in which both sides prove who they are, and nobody but gateways and controllers comes in.
 */
import { constants } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { createServer, type Server } from 'node:tls';
import { closingAtOnce } from '../../lib/close-server.ts';
import { type IdentitySource, identityName } from '../../lib/identity.ts';
import { writeJsonLine } from '../../lib/json-lines.ts';
import type { Log } from '../../lib/log.ts';
import { orAborted } from '../../lib/wait.ts';
import { OffshootError, toOffshootError } from '../../model/errors.ts';
import type { BranchInsight } from '../../model/insight.ts';
import type { ServerLogQuery } from '../../model/log.ts';
import type { Address, Endpoint } from '../../model/route.ts';
import { listen } from '../listen.ts';
import { splice } from '../splice.ts';
import { firstLine } from './first-line.ts';
import {
  asRequest,
  type DoorAnswer,
  type DoorRequest,
  type DoorSpace,
  type DoorVolume,
  longestRequest,
} from './messages.ts';

/** What is behind it. */
export type BehindDoor = {
  /**
   * Where the branch's server listens here; waits for one that is still starting.
   * @throws OffshootError gateway/branch-unknown, gateway/branch-not-ready, gateway/branch-stopped
   */
  awake(id: string, signal: AbortSignal): Promise<Endpoint>;
  /** Somebody has named a branch. @returns to be called when he has left */
  begin?(id: string): () => void;
  space(): Promise<DoorSpace>;
  unclaimed(): Promise<readonly DoorVolume[]>;
  logs(id: string, query: ServerLogQuery, signal: AbortSignal): AsyncIterable<string>;
  insight(id: string, signal: AbortSignal): Promise<BranchInsight | null>;
};

export type DoorOptions = Address & {
  readonly identity: IdentitySource;
  readonly behind: BehindDoor;
  readonly log: Log;
  /** Milliseconds for the handshake, and then for the line that says what is wanted; default 10 000. */
  readonly openingMs?: number;
  /** Connections at once, default 10 000. */
  readonly maxConnections?: number;
};

export type NodeDoorServer = Address & { close(): Promise<void> };

/** Until there is an identity nobody comes in. @throws OffshootError host/port-taken, proxy/listen-failed */
export async function openNodeDoor(o: DoorOptions): Promise<NodeDoorServer> {
  const { host, identity, log, openingMs = OPENING_MS } = o;
  const server = createServer(
    // Half-open, because a server may still have to answer who has said his last word.
    { ...HOW, handshakeTimeout: openingMs, allowHalfOpen: true },
    socket => {
      socket.on('error', () => {}); // "close" follows
      const certificate = socket.getPeerX509Certificate();
      const name = certificate && identityName(certificate);
      if (name === 'gateway' || name === 'controller') return void serve(socket, name, { ...o, openingMs });
      log.warn({ name, peer: socket.remoteAddress }, 'nobody who may come in');
      socket.destroy();
    },
  );
  server.maxConnections = o.maxConnections ?? MAX_CONNECTIONS;
  const close = closingAtOnce(server);
  server.on('connection', (socket: Socket) => socket.setKeepAlive(true, KEEP_ALIVE_MS));
  server.on('tlsClientError', (error, socket) =>
    log.debug({ why: error.message, peer: socket.remoteAddress }, 'somebody could not prove who he is'),
  );
  const stopRenewing = renew(server, identity, log);
  try {
    await listen(server, o, 'the door of a branch node');
  } catch (error) {
    stopRenewing();
    throw error;
  }
  server.on('error', err => log.error({ err }, 'nobody can come in'));
  return {
    ...{ host, port: (server.address() as AddressInfo).port },
    async close() {
      stopRenewing();
      await close();
    },
  };
}

// --- internal ------------------------------------------------------------------------------------

const OPENING_MS = 10_000;
/** As for a login; see postgres/gateway.ts. */
const AWAKE_MS = 60_000;
const MAX_CONNECTIONS = 10_000;
const KEEP_ALIVE_MS = 60_000;

const HOW = {
  requestCert: true,
  rejectUnauthorized: true,
  minVersion: 'TLSv1.3',
  noDelay: true,
  // Each connection proves who it is; none goes on with what another one has proved.
  secureOptions: constants.SSL_OP_NO_TICKET,
} as const;

/** @returns the way to stop that */
function renew(server: Server, identity: IdentitySource, log: Log): () => void {
  let known: string | undefined;
  const take = () => {
    try {
      const { cert, key, ca } = identity.read();
      if (cert !== known) server.setSecureContext({ ...HOW, cert, key, ca });
      known = cert;
    } catch (error) {
      log.warn({ why: (error as Error).message }, 'nobody can come in: there is no identity');
    }
  };
  take();
  // One in a file is replaced without a word.
  server.prependListener('connection', take);
  return identity.onRenewed(take);
}

async function serve(
  socket: Socket,
  name: 'gateway' | 'controller',
  { behind, log, openingMs }: DoorOptions & { readonly openingMs: number },
): Promise<void> {
  const gone = new AbortController();
  socket.once('close', () => gone.abort(new Error('who asked has left')));
  const answer = (said: DoorAnswer) => writeJsonLine(socket, said);
  try {
    const limit = AbortSignal.any([gone.signal, AbortSignal.timeout(openingMs)]);
    const request = asRequest(await firstLine(socket, longestRequest, limit));
    if (request === undefined) return void socket.destroy();
    if (request.want === 'branch') {
      const leaves = behind.begin?.(request.id);
      return await lead(socket, request.id, behind, gone.signal).finally(leaves);
    }
    if (name !== 'controller')
      throw new OffshootError('branch/node-refuses', { who: name, what: request.want });
    // What is asked once is no session: more from this side means nothing.
    socket.resume();
    socket.once('end', () => request.want === 'logs' && socket.destroy());
    for await (const value of answers(request, behind, gone.signal, () => answer({ ok: true }))) {
      if (gone.signal.aborted) return;
      if (!socket.write(`${JSON.stringify(value)}\n`)) await once(socket, 'drain', { signal: gone.signal });
    }
    socket.end();
  } catch (thrown) {
    if (gone.signal.aborted) return;
    const { code, params, cause } = toOffshootError(thrown);
    log.debug({ code, err: code === 'internal' ? (cause ?? thrown) : undefined }, 'refused at the door');
    answer({ error: { code, params } });
    socket.end();
    // Who is refused has time to read why, and no more.
    const timer = setTimeout(() => socket.destroy(), openingMs);
    socket.once('close', () => clearTimeout(timer));
    socket.resume();
  }
}

/** Joins the two, when there is a server that takes sessions. */
async function lead(socket: Socket, id: string, behind: BehindDoor, gone: AbortSignal): Promise<void> {
  const signal = AbortSignal.any([gone, AbortSignal.timeout(AWAKE_MS)]);
  const notReady = (cause: unknown) =>
    new OffshootError('gateway/branch-not-ready', { branch: id }, { cause });
  const endpoint = await orAborted(behind.awake(id, signal), signal);
  if (!('socket' in endpoint)) throw notReady(new Error('it is not here'));
  const server = connect({ path: endpoint.socket, allowHalfOpen: true });
  const stop = () => void server.destroy(gone.reason as Error);
  gone.addEventListener('abort', stop, { once: true });
  server.on('error', () => {}); // "close" follows
  try {
    await once(server, 'connect', { signal });
  } catch (error) {
    server.destroy();
    throw notReady(error);
  }
  gone.removeEventListener('abort', stop);
  writeJsonLine(socket, { ok: true } satisfies DoorAnswer);
  await splice(socket, server, undefined);
}

/** @param begin called when nothing stands in the way of an answer */
async function* answers(
  request: Exclude<DoorRequest, { want: 'branch' }>,
  behind: BehindDoor,
  signal: AbortSignal,
  begin: () => void,
): AsyncGenerator<unknown, void> {
  if (request.want === 'logs') {
    begin();
    yield* behind.logs(request.id, request.query, signal);
    return;
  }
  const value = await oneAnswer(request, behind, signal);
  begin();
  yield value;
}

function oneAnswer(
  request: Exclude<DoorRequest, { want: 'branch' | 'logs' }>,
  behind: BehindDoor,
  signal: AbortSignal,
): Promise<unknown> {
  if (request.want === 'insight') return behind.insight(request.id, signal);
  return request.want === 'space' ? behind.space() : behind.unclaimed();
}
