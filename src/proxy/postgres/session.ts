/** One client of the gateway, from its first byte to its last. */
import type { Socket } from 'node:net';
import type { Certificate } from '../../lib/certificate.ts';
import type { Log } from '../../lib/log.ts';
import { orAborted } from '../../lib/wait.ts';
import { OffshootError, toOffshootError } from '../../model/errors.ts';
import type { BranchRoute, Endpoint } from '../../model/route.ts';
import type { Book } from '../book.ts';
import type { CancelKeys } from './cancel-keys.ts';
import { encodeCancel, encodeFatal, encodeStartup, refusalCode, type Startup } from './codec.ts';
import { branchOfHost, findDestination } from './destination.ts';
import { relayLogin } from './login.ts';
import { type Keys, type Login, logInFor } from './login-by-proof.ts';
import { encodeMessage, readMessage } from './messages.ts';
import { readOpening } from './opening.ts';
import { joinWithPartings } from './parting.ts';
import type { Pretence } from './pretence.ts';
import { challenge, prove } from './sasl.ts';
import { watchSession } from './silence.ts';
import { type Connect, closed, closeSoon, ignore } from './socket.ts';
import { CANNOT_CONNECT_NOW, type Outwait, type Patience } from './starting.ts';
import type { Verifiers } from './verifiers.ts';

/** What the gateway knows of a client; written by `serve` only. */
export type Session = {
  /** Address of the client. */
  readonly peer: string;
  /** Known once the startup message is read. */
  branch: string | undefined;
  user: string | undefined;
  /** `sessions` of the branch's route, as it was when the login was led to its server. */
  number: number | undefined;
  /** From ReadyForQuery on the two sockets are joined, and the gateway says nothing more. */
  loggedIn: boolean;
  /** Aborting it with an OffshootError ends the session: by that error during login, later by hanging up. */
  readonly stop: AbortController;
};

/**
 * Asks the control plane to make a branch reachable. The signal aborts when the client has left or its time is up.
 * @throws OffshootError, gateway/branch-unknown when there is no such branch. One without a SQLSTATE is shown as
 * gateway/branch-not-ready.
 */
export type Awake = (
  branch: string,
  signal: AbortSignal,
  /** Only to hear why it is not there: nobody is woken for that. */
  quiet?: boolean,
) => Promise<BranchRoute & { readonly endpoint: Endpoint }>;

export type SessionDeps = {
  readonly book: Book;
  readonly awake: Awake;
  readonly cancelKeys: CancelKeys;
  readonly connect: Connect;
  readonly outwait: Outwait;
  readonly log: Log;
  /** What TLS begins with; undefined: there is none. */
  readonly certificate: () => Certificate | undefined;
  /** What servers have stored of passwords; undefined: servers alone check them, and connections are bound to nothing. */
  readonly verifiers: Verifiers | undefined;
  readonly pretence: Pretence;
  /**
   * Before it is looked up where the branch is: who is told later that it is elsewhere, or asleep, has heard of us.
   * @returns to be called when the client has left
   * @throws OffshootError gateway/too-many-logins when a branch can take no further login now
   */
  readonly admit: (branch: string) => () => void;
  /** Milliseconds until the startup message must be complete. */
  readonly startupMs: number;
  /** Milliseconds from there until the session must have begun. */
  readonly loginMs: number;
};

/**
 * Serves a client, whose socket must allow half-open connections; resolves when all its sockets are closed. Never rejects.
 * @param how whether it may speak clear text, and the branch that is meant at the port to which it has come
 */
export async function serve(
  raw: Socket,
  how: { readonly clear: boolean; readonly branch: string | undefined },
  session: Session,
  deps: SessionDeps,
): Promise<void> {
  const { signal } = session.stop;
  const leave = () => session.stop.abort(CLIENT_LEFT);
  let client = raw;
  const attend = (socket: Socket) => {
    client = socket;
    socket.on('error', ignore);
    socket.once('close', leave);
    socket.once('end', leave); // during login a client that has said its last word has left
  };
  attend(raw);
  let timer = expireAfter(deps.startupMs, session);
  let leaves = (): void => {};
  try {
    const opened = await readOpening(raw, deps.certificate(), attend, signal);
    if (opened === undefined) return;
    const { opening } = opened;
    // Also before a cancel request, which carries a key.
    if (opened.certificate === undefined && !how.clear) throw new OffshootError('gateway/tls-required');
    if (opening.kind === 'cancel') return await deps.cancelKeys.forward(opening.packet);
    clearTimeout(timer);
    timer = expireAfter(deps.loginMs, session);
    const site = deps.book.get('setting', 'proxy');
    const { branch, startup } = findDestination(opening.startup, {
      port: how.branch,
      host: branchOfHost(opened.serverName, site),
    });
    leaves = deps.admit(branch);
    session.branch = branch;
    session.user = startup.params.get('user');
    const endPoint = opened.certificate?.endPoint;
    const use = {
      leave: () => leaves(),
      again: () => {
        leaves = deps.admit(branch);
      },
    };
    await relay(client, { startup, endPoint }, session, deps, use, () => {
      clearTimeout(timer);
      raw.off('end', leave);
      client.off('end', leave);
    });
  } catch (error) {
    refuse(client, signal.aborted ? signal.reason : error, session, deps.log);
  } finally {
    clearTimeout(timer);
    closeSoon(client);
    await closed(client);
    raw.destroy();
    await closed(raw);
    leaves();
  }
}

// --- internal ------------------------------------------------------------------------------------

const CLIENT_LEFT = new Error('the client left');

function expireAfter(ms: number, session: Session): NodeJS.Timeout {
  const after = `${ms / 1000} s`;
  return setTimeout(() => session.stop.abort(new OffshootError('gateway/login-timeout', { after })), ms);
}

/** Joins the client and the server of its branch. The server's socket lives no longer than the signal. */
async function relay(
  client: Socket,
  login: Login,
  session: Session,
  deps: SessionDeps,
  use: Use,
  onLogin: () => void,
): Promise<void> {
  const { signal } = session.stop;
  const attempt = (patience: Patience) => enter(client, login, session, deps, patience);
  const entered = await deps.outwait(session.branch!, attempt, signal);
  if (entered === 'refused') return;
  const { server, keys, silentMs, watch, negotiated } = entered;
  let { cancelKey, forgetKey } = entered;
  try {
    session.loggedIn = true;
    deps.pretence.learn(login.startup, negotiated);
    onLogin();
    signal.addEventListener('abort', () => {
      // Cut by us: the server would go on with a statement until it has something to say.
      if (cancelKey !== undefined && signal.reason !== CLIENT_LEFT)
        void deps.cancelKeys.forward(encodeCancel(cancelKey));
      client.destroy();
    });
    if (watch !== undefined && cancelKey !== undefined) {
      const theirs = cancelKey;
      const words = await joinWithPartings(client, server, {
        ...{ silentMs: silentMs!, watch, signal },
        part() {
          forgetKey();
          cancelKey = undefined;
          use.leave();
        },
        async again() {
          use.again();
          const reopened = (patience: Patience) =>
            reopen(client, login.startup, keys!, watch.unnamed(), session, deps, patience);
          const opened = await deps.outwait(session.branch!, reopened, signal);
          cancelKey = opened.key;
          forgetKey = deps.cancelKeys.remember(theirs, opened.endpoint, opened.key);
          return opened.server;
        },
      });
      if (words.includes(SHUTDOWN)) await sayWhy(client, session, deps);
      return;
    }
    let last: Buffer = Buffer.alloc(0);
    server.on('data', (chunk: Buffer) => {
      last = chunk;
    });
    server.pipe(client, { end: false });
    await closed(server);
    if (last.includes(SHUTDOWN)) await sayWhy(client, session, deps);
  } finally {
    server.destroy();
    forgetKey();
  }
}

/** What there is when the client has logged in. */
type Entered = {
  readonly server: Socket;
  /** Absent where the server alone has checked the login. */
  readonly keys: Keys | undefined;
  readonly silentMs: number | undefined;
  /** Follows the session from its first word, where client and server may part. */
  readonly watch: ReturnType<typeof watchSession> | undefined;
  /** The body of NegotiateProtocolVersion. */
  readonly negotiated: Buffer | undefined;
  readonly cancelKey: Buffer | undefined;
  readonly forgetKey: () => void;
};

/** Leads the client's login to the server of its branch. The server's socket lives no longer than the signal. */
async function enter(
  client: Socket,
  login: Login,
  session: Session,
  deps: SessionDeps,
  patience: Patience,
): Promise<Entered | 'refused' | 'starting'> {
  const { signal } = session.stop;
  const { user = '' } = session;
  const instead = () => deps.pretence.verifier(session.branch!, user);
  const reached = await reach(session, deps, patience).catch(async (error: unknown) => {
    if (!(error instanceof OffshootError) || error.code !== 'gateway/branch-unknown') throw error;
    // Who does not know a password of it must not learn that there is no such branch.
    client.write(deps.pretence.greeting(login.startup));
    await challenge(client, { verifier: undefined, instead, endPoint: login.endPoint, user, signal });
    throw error;
  });
  if (reached === undefined) return 'starting';
  const { server, endpoint } = reached;
  let forgetKey = () => {};
  let entered = false;
  let cancelKey: Buffer | undefined;
  let negotiated: Buffer | undefined;
  const onNegotiation = (body: Buffer) => {
    negotiated = Buffer.from(body);
  };
  try {
    server.write(encodeStartup(login.startup));
    const { verifiers } = deps;
    const silentMs = login.startup.params.has('replication')
      ? undefined
      : deps.book.get('branch', session.branch!)?.silentMs;
    let keys: Keys | undefined;
    if ((login.endPoint !== undefined || silentMs !== undefined) && verifiers !== undefined) {
      const how = { verifiers, instead, onNegotiation, patience, stop: signal };
      const proved = await logInFor(client, server, endpoint, login, how);
      if (proved === 'refused' || proved === 'starting') return proved;
      keys = proved;
    }
    const watch = keys !== undefined && silentMs !== undefined ? watchSession() : undefined;
    if (watch === undefined) client.pipe(server);
    const outcome = await relayLogin(server, client, {
      ...(watch && { rest: watch.server }),
      patience: keys === undefined ? patience : undefined,
      negotiation: onNegotiation,
      cancelKey(key) {
        forgetKey = deps.cancelKeys.remember(key, endpoint);
        cancelKey = key;
      },
    });
    if (outcome === 'wrong-password') throw new OffshootError('gateway/login-failed', { user });
    if (outcome !== 'ready') return outcome;
    entered = true;
    return { server, keys, silentMs, watch, negotiated, cancelKey, forgetKey };
  } finally {
    if (!entered) {
      client.unpipe(server);
      server.destroy();
      forgetKey();
    }
  }
}

/** Of the branch, by this session. */
type Use = { readonly leave: () => void; readonly again: () => void };

/**
 * Another server's session for a client that has logged in before, which hears of it what has changed, and nothing else.
 * The server's socket lives no longer than the signal.
 * @param unnamed a statement that the client may use again
 */
async function reopen(
  client: Socket,
  startup: Startup,
  keys: Keys,
  unnamed: Buffer | undefined,
  session: Session,
  deps: SessionDeps,
  patience: Patience,
): Promise<{ readonly server: Socket; readonly endpoint: Endpoint; readonly key: Buffer } | 'starting'> {
  const { number, branch = '' } = session;
  session.loggedIn = false;
  const timer = expireAfter(deps.loginMs, session);
  const reached = await reach(session, deps, patience);
  if (reached === undefined) {
    clearTimeout(timer);
    return 'starting';
  }
  const { server, endpoint } = reached;
  const gone = new AbortController();
  server.once('close', () => gone.abort(new Error('the server closed the connection during login')));
  const signal = AbortSignal.any([session.stop.signal, gone.signal]);
  try {
    const changed = new OffshootError('gateway/password-changed', { branch });
    if (session.number !== number) throw changed;
    server.write(encodeStartup(startup));
    let key: Buffer | undefined;
    for (let asked = false; ; ) {
      const message = await readMessage(server, signal);
      const { type, body, whole } = message;
      if (type === 'E' && !asked && patience.patient && refusalCode(whole) === CANNOT_CONNECT_NOW) {
        server.destroy();
        return 'starting';
      }
      if (type === 'R' && !asked) {
        asked = true;
        patience.answered();
        if ((await prove(server, message, () => keys, signal)) !== undefined) throw changed;
      } else if (type === 'K') key = Buffer.from(body);
      else if (type === 'S' || type === 'N') client.write(whole);
      else if (type === 'E') throw new Error(`the server refuses the session: ${refusalCode(whole)}`);
      else if (type === 'Z') break;
    }
    if (key === undefined) throw new RangeError('a server without cancel keys');
    if (unnamed !== undefined) {
      server.write(Buffer.concat([unnamed, encodeMessage('S')]));
      while ((await readMessage(server, signal)).type !== 'Z'); // if it is refused now, it would be then
    }
    session.loggedIn = true;
    return { server, endpoint, key };
  } catch (error) {
    server.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** In PostgreSQL's last words: admin_shutdown, somebody stopped it (appendix "PostgreSQL Error Codes"). */
const SHUTDOWN = 'C57P01\0';

/** Milliseconds that a client waits to hear more than that. */
const WHY_MS = 1_000;

/** Its server was stopped, and has said so: if that is for want of room, the client hears what to do about it. */
async function sayWhy(client: Socket, { branch, stop }: Session, { awake }: SessionDeps): Promise<void> {
  const signal = AbortSignal.any([stop.signal, AbortSignal.timeout(WHY_MS)]);
  try {
    await orAborted(awake(branch!, signal, true), signal);
  } catch (error) {
    const full = error instanceof OffshootError && error.code === 'gateway/branch-stopped';
    if (full && client.writable) client.write(encodeFatal(error));
  }
}

/**
 * Connects to the server of the session's branch. Where the book knows it, nobody is asked; not even when there is no
 * control plane just now.
 * @returns undefined when nobody is there, and there is time to ask again: a server that ended a moment ago, of which nobody
 * has heard yet, or a branch node whose pod is being replaced
 */
async function reach(session: Session, { book, awake, connect }: SessionDeps, { patient }: Patience) {
  const { signal } = session.stop;
  const branch = session.branch!;
  const lead = async ({ endpoint, sessions }: BranchRoute & { readonly endpoint: Endpoint }) => {
    session.number = sessions;
    return { endpoint, server: await connect(endpoint, signal) };
  };
  const { endpoint, sessions } = book.get('branch', branch) ?? {};
  if (endpoint !== undefined && sessions !== undefined) {
    // Nobody there: it stopped a moment ago, or it moves.
    const reached = await lead({ endpoint, sessions }).catch(() => signal.throwIfAborted());
    if (reached !== undefined) return reached;
  }
  const route = await orAborted(awake(branch, signal), signal);
  try {
    return await lead(route);
  } catch (error) {
    signal.throwIfAborted();
    if (patient && !(error instanceof OffshootError)) return undefined;
    throw error;
  }
}

/** Says why, where a message can still be said, and writes the whole reason to the log. */
function refuse(client: Socket, thrown: unknown, session: Session, log: Log): void {
  const { branch, loggedIn } = session;
  if (thrown === CLIENT_LEFT) return;
  const error = presentable(thrown, session);
  const level = error.row.fault === 'user' ? 'debug' : 'warn';
  log[level]({ branch, code: error.code, err: error.cause }, 'client refused');
  if (!loggedIn && client.writable) client.write(encodeFatal(error));
}

/** Errors made for PostgreSQL clients have a SQLSTATE; all others may say too much to somebody who has not logged in. */
function presentable(thrown: unknown, { branch, user = '' }: Session): OffshootError {
  // That it is deleted, too, is for those to know who have logged in.
  if (thrown instanceof OffshootError && thrown.code === 'gateway/branch-unknown' && branch !== undefined)
    return new OffshootError('gateway/login-failed', { user });
  if (thrown instanceof OffshootError && thrown.row.sqlstate !== undefined) return thrown;
  if (branch === undefined) return toOffshootError(thrown);
  return new OffshootError('gateway/branch-not-ready', { branch }, { cause: thrown });
}
