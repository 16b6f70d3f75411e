/**
 * The one address of all branches: finds the branch that a PostgreSQL client means, and joins the two. It
 * reads and rewrites only what comes before the session.
 */
import { randomUUID } from 'node:crypto';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import type { Certificate } from '../../lib/certificate.ts';
import type { Log } from '../../lib/log.ts';
import { socketPair } from '../../lib/socket-pair.ts';
import { OffshootError } from '../../model/errors.ts';
import type { Address, RouteChanged } from '../../model/route.ts';
import type { Book } from '../book.ts';
import { fdOf, listen } from '../listen.ts';
import type { Server } from '../listeners.ts';
import { createUses, type Uses } from '../uses.ts';
import { type CancelKeys, createCancelKeys } from './cancel-keys.ts';
import { encodeFatal } from './codec.ts';
import { createPretence } from './pretence.ts';
import { type Awake, type Session, type SessionDeps, serve } from './session.ts';
import { type Connect, closeSoon, connectAs, ignore } from './socket.ts';
import { createOutwait } from './starting.ts';
import type { Verifiers } from './verifiers.ts';

export type GatewayLimits = {
  /** Milliseconds a client has for its startup message, default 10 000. */
  readonly startupMs: number;
  /** Milliseconds from there to the end of the login, waking the branch included; default 60 000. */
  readonly loginMs: number;
  /** Of these, milliseconds in which a server that says it is just starting is asked again; default 30 000. */
  readonly startingMs: number;
  /** Clients whose login is not complete: all together, of one address, to one branch; default 1000, 500, 250. */
  readonly maxLogins: number;
  readonly maxPeerLogins: number;
  readonly maxBranchLogins: number;
};

export type GatewayOptions = {
  /** Tells where branches are. Sessions end when their branch leaves it, or when its number of sessions changes. */
  readonly book: Book;
  /** Asked when the book does not say where a branch is, or nobody is there. */
  readonly awake: Awake;
  readonly log: Log;
  /** What TLS begins with, asked for each client; default: there is none. */
  readonly certificate?: () => Certificate | undefined;
  /** Lets clients bind their login to TLS; see SessionDeps. */
  readonly verifiers?: Verifiers;
  /** See createPretence; default: a new one. */
  readonly pretence?: () => string;
  readonly limits?: Partial<GatewayLimits>;
  /** Is told who uses which branch. */
  readonly uses?: Uses;
  readonly cancelKeys?: CancelKeys;
  /** The way to servers; default: they are on this machine. */
  readonly connect?: Connect;
};

export type Gateway = {
  /**
   * @param clear whether a peer may speak clear text; default: each
   * @param branch that is meant by whoever comes there; default: logins say it
   * @throws OffshootError host/port-taken, proxy/listen-failed
   */
  open(
    where: Address & { readonly fd?: number | undefined },
    options?: { readonly clear?: (peer: Socket) => boolean; readonly branch?: string | undefined },
  ): Promise<Server>;
  /** One end of a connection to it, for a client of this process; it ends when its user ends it. @param peer see Session */
  join(peer: string): Socket;
  /** Clients by branch, from the moment that they have named it until both sockets are closed. */
  connections(): ReadonlyMap<string, number>;
  /** All clients. */
  size(): number;
  /** Follows the book no longer. */
  close(): void;
};

export function createGateway({ book, awake, log, limits, ...o }: GatewayOptions): Gateway {
  const { startupMs, loginMs, startingMs, ...most } = { ...DEFAULT_LIMITS, ...limits };
  const { connect = connectAs(), uses = createUses() } = o;
  const deps: SessionDeps = {
    ...{ book, awake, log, startupMs, loginMs, connect, outwait: createOutwait(startingMs) },
    cancelKeys: o.cancelKeys ?? createCancelKeys(connect),
    certificate: o.certificate ?? (() => undefined),
    verifiers: o.verifiers,
    pretence: createPretence(o.pretence ?? randomUUID),
    admit: branch => admit(branch),
  };
  const sessions = new Map<Session, Promise<void>>();

  const accept = (client: Socket, how: Parameters<typeof serve>[1], own: Set<Session>) => {
    const peer = client.remoteAddress ?? '';
    const logins = [...sessions.keys()].filter(s => !s.loggedIn && !s.stop.signal.aborted);
    const ofPeer = logins.filter(s => s.peer === peer);
    const [among, max] =
      ofPeer.length >= most.maxPeerLogins ? [ofPeer, most.maxPeerLogins] : [logins, most.maxLogins];
    if (among.length >= max) {
      const error = new OffshootError('gateway/too-many-logins', { max });
      // Who has said nothing for longest makes room: silence must not keep out who has something to say.
      const silent = among.find(s => s.branch === undefined);
      if (silent === undefined) return turnAway(client, error);
      silent.stop.abort(error);
    }
    const session: Session = {
      ...{ peer, branch: undefined, user: undefined, number: undefined },
      ...{ loggedIn: false, stop: new AbortController() },
    };
    own.add(session);
    const end = serve(client, how, session, deps).finally(() => {
      sessions.delete(session);
      own.delete(session);
    });
    sessions.set(session, end);
  };
  const admit = (branch: string): (() => void) => {
    const max = most.maxBranchLogins;
    const logins = [...sessions.keys()].filter(s => !s.loggedIn && s.branch === branch);
    if (logins.length >= max) throw new OffshootError('gateway/too-many-logins', { max, branch });
    return uses.begin(branch);
  };
  const end = (error: OffshootError, which: (session: Session) => boolean) => {
    for (const session of sessions.keys()) if (which(session)) session.stop.abort(error);
  };
  const unsubscribe = book.onChange(changed => {
    for (const change of changed) if (change.kind === 'branch') endOutdated(change);
  });
  const endOutdated = ({ name: branch, value }: Extract<RouteChanged, { kind: 'branch' }>) => {
    if (value === undefined)
      return end(new OffshootError('gateway/branch-unknown', { branch }), s => s.branch === branch);
    const outdated = (s: Session) =>
      s.branch === branch && s.number !== undefined && s.number !== value.sessions;
    end(new OffshootError('gateway/password-changed', { branch }), outdated);
  };

  return {
    async open(where, { clear = () => true, branch } = {}) {
      const own = new Set<Session>();
      // Half-open, because the server may still have to answer a client that has said its last word.
      const server = createServer(
        { allowHalfOpen: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS },
        client => accept(client, { clear: clear(client), branch }, own),
      );
      await listen(server, where, 'the Postgres gateway');
      server.on('error', err => log.error({ err }, 'the Postgres gateway cannot accept clients'));
      const stopListening = () => new Promise<void>(done => server.close(() => done()));
      const allGone = async () => {
        await Promise.all([...own].map(session => sessions.get(session)));
      };
      return {
        host: where.host,
        port: (server.address() as AddressInfo).port,
        fd: fdOf(server),
        connections: () => own.size,
        async drain() {
          await stopListening();
          await allGone();
        },
        async close(graceMs) {
          const error = new OffshootError('gateway/shutting-down');
          const stopped = stopListening();
          end(error, s => own.has(s) && !s.loggedIn);
          const grace = setTimeout(() => end(error, s => own.has(s)), graceMs);
          await Promise.all([stopped, allGone()]);
          clearTimeout(grace);
        },
      };
    },
    join(peer) {
      const [client, end] = socketPair(peer);
      accept(client, { clear: true, branch: undefined }, new Set());
      return end;
    },
    connections() {
      const counts = new Map<string, number>();
      for (const { branch } of sessions.keys())
        if (branch !== undefined) counts.set(branch, (counts.get(branch) ?? 0) + 1);
      return counts;
    },
    size: () => sessions.size,
    close: unsubscribe,
  };
}

// --- internal ------------------------------------------------------------------------------------

const DEFAULT_LIMITS: GatewayLimits = {
  ...{ startupMs: 10_000, loginMs: 60_000, startingMs: 30_000 },
  ...{ maxLogins: 1_000, maxPeerLogins: 500, maxBranchLogins: 250 },
};
const KEEP_ALIVE_MS = 60_000;

function turnAway(client: Socket, error: OffshootError): void {
  client.on('error', ignore);
  client.write(encodeFatal(error));
  closeSoon(client);
}
