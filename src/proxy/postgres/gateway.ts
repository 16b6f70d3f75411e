/**
 * The one address of all branches: finds the branch that a PostgreSQL client means, and joins the two. It
 * reads and rewrites only what comes before the session; authentication is between client and server.
 */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import type { Log } from '../../lib/log.ts';
import { OffshootError } from '../../model/errors.ts';
import type { Address } from '../../model/route.ts';
import { createCancelKeys } from './cancel-keys.ts';
import { encodeFatal } from './codec.ts';
import { type Session, type SessionDeps, serve } from './session.ts';
import { closeSoon, ignore } from './socket.ts';

export type GatewayLimits = {
  /** Milliseconds a client has for its startup message, default 10 000. */
  readonly startupMs: number;
  /** Milliseconds from there to the end of the login, waking the branch included; default 60 000. */
  readonly loginMs: number;
  /** Clients whose login is not complete, all together; default 500. */
  readonly maxLogins: number;
  /** Milliseconds that `close` leaves sessions to end by themselves, default 1 000. */
  readonly graceMs: number;
};

export type GatewayOptions = Address & {
  /**
   * Finds the unix socket on which a branch's server listens, and may wake the server for it. The signal aborts
   * when the client has left or its time is up.
   * @throws OffshootError, gateway/branch-unknown when there is no such branch. One without a SQLSTATE is
   * shown as gateway/branch-not-ready.
   */
  readonly resolve: (branch: string, signal: AbortSignal) => Promise<{ readonly socket: string }>;
  readonly log: Log;
  readonly limits?: Partial<GatewayLimits>;
};

export type Gateway = {
  /** Where it listens; the real port when port 0 was asked for. */
  readonly address: Address;
  /** Clients by branch, from the moment that they have named it until both sockets are closed. */
  connections(): ReadonlyMap<string, number>;
  /** Ends all sessions of a branch, logins with gateway/branch-unknown. Call it when the branch is gone for `resolve`. */
  drop(branch: string): void;
  /** Takes no more clients, refuses logins, leaves sessions the grace to end, then ends them. Resolves when all are gone. */
  close(): Promise<void>;
};

/** @throws OffshootError host/port-taken */
export async function createGateway({ host, port, resolve, log, limits }: GatewayOptions): Promise<Gateway> {
  const { maxLogins, graceMs, startupMs, loginMs } = { ...DEFAULT_LIMITS, ...limits };
  const deps: SessionDeps = { resolve, log, startupMs, loginMs, cancelKeys: createCancelKeys() };
  const sessions = new Map<Session, Promise<void>>();

  const accept = (client: Socket) => {
    const logins = [...sessions.keys()].filter(s => !s.loggedIn).length;
    if (logins >= maxLogins)
      return turnAway(client, new OffshootError('gateway/too-many-logins', { max: maxLogins }));
    const session: Session = { branch: undefined, loggedIn: false, stop: new AbortController() };
    sessions.set(
      session,
      serve(client, session, deps).finally(() => sessions.delete(session)),
    );
  };
  const end = (error: OffshootError, which: (session: Session) => boolean) => {
    for (const session of sessions.keys()) if (which(session)) session.stop.abort(error);
  };

  // Half-open, because the server may still have to answer a client that has said its last word.
  const server = createServer(
    { allowHalfOpen: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS },
    accept,
  );
  server.listen({ host, port });
  try {
    await once(server, 'listening');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw cause;
    throw new OffshootError('host/port-taken', { host, port, what: 'the Postgres gateway' }, { cause });
  }
  server.on('error', err => log.error({ err }, 'the Postgres gateway cannot accept clients'));

  return {
    address: { host, port: (server.address() as AddressInfo).port },
    connections() {
      const counts = new Map<string, number>();
      for (const { branch } of sessions.keys())
        if (branch !== undefined) counts.set(branch, (counts.get(branch) ?? 0) + 1);
      return counts;
    },
    drop(branch) {
      end(new OffshootError('gateway/branch-unknown', { branch }), s => s.branch === branch);
    },
    async close() {
      const error = new OffshootError('gateway/shutting-down');
      const stopped = new Promise<void>(done => server.close(() => done()));
      end(error, s => !s.loggedIn);
      const grace = setTimeout(() => end(error, () => true), graceMs);
      await Promise.all([stopped, ...sessions.values()]);
      clearTimeout(grace);
    },
  };
}

// --- internal ------------------------------------------------------------------------------------

const DEFAULT_LIMITS: GatewayLimits = { startupMs: 10_000, loginMs: 60_000, maxLogins: 500, graceMs: 1_000 };
const KEEP_ALIVE_MS = 60_000;

function turnAway(client: Socket, error: OffshootError): void {
  client.on('error', ignore);
  client.write(encodeFatal(error));
  closeSoon(client);
}
