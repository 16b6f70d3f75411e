/** A superuser's session on one of our servers. */
import { Socket } from 'node:net';
import { adminRole } from '../../model/branch.ts';
import { OffshootError } from '../../model/errors.ts';
import type { Ctx } from '../contract.ts';
import { PORT } from './settings.ts';

export type SessionAddress = {
  readonly id: string;
  readonly socketDir: string;
  readonly database: string;
  readonly adminSecret: string;
  /** Of its server; default: ours. */
  readonly major?: number;
};

export type AdminQuery = (
  sql: string,
  params?: readonly unknown[],
) => Promise<{ readonly rows: readonly Record<string, unknown>[] }>;

export type Session = { readonly query: AdminQuery; close(): Promise<void> };

/** Class of SQLSTATE (PostgreSQL, appendix A): trying again does not help. */
const AUTHENTICATION = '28';

/**
 * Outranks what the owner of a database has set for it: a superuser must not find functions of others by a
 * search path of theirs, nor lose his transaction to a timeout of theirs.
 */
const optionsOf = (major: number): string =>
  Object.entries({
    role: 'none',
    search_path: 'pg_catalog',
    standard_conforming_strings: 'on',
    default_transaction_read_only: 'off',
    idle_in_transaction_session_timeout: '0',
    idle_session_timeout: '0',
    ...(major >= 17 && { transaction_timeout: '0', event_triggers: 'off' }),
  })
    .map(([name, value]) => `-c ${name}=${value}`)
    .join(' ');

/** No statement of ours may hang for longer. */
const STATEMENT_MS = 60_000;

/**
 * Opens a session. It ends when `ctx.signal` aborts, and whatever runs in it rejects with the signal's reason.
 * @throws OffshootError postgres/not-running
 */
export async function openSession(address: SessionAddress, { signal }: Ctx): Promise<Session> {
  const { Client } = await import('pg');
  signal.throwIfAborted();
  const socket = new Socket();
  const client = new Client({
    host: address.socketDir,
    port: PORT,
    user: adminRole,
    password: address.adminSecret,
    database: address.database,
    application_name: adminRole,
    connectionTimeoutMillis: 10_000,
    options: optionsOf(address.major ?? 18),
    statement_timeout: STATEMENT_MS,
    query_timeout: STATEMENT_MS + 5_000, // the server's own error says more, so it has the first word
    stream: () => socket,
  });
  client.on('error', () => {}); // a lost connection is seen by the next query
  const abort = () => socket.destroy();
  signal.addEventListener('abort', abort, { once: true });

  const orAborted = async <T>(work: Promise<T>): Promise<T> => {
    try {
      return await work;
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    }
  };
  const session: Session = {
    query: (sql, params) => orAborted(client.query(sql, params === undefined ? undefined : [...params])),
    async close() {
      signal.removeEventListener('abort', abort);
      if (signal.aborted) return;
      await client.end();
    },
  };
  try {
    await client.connect();
    return session;
  } catch (error) {
    signal.removeEventListener('abort', abort);
    socket.destroy();
    signal.throwIfAborted();
    const { code = '', message } = error as NodeJS.ErrnoException;
    if (code.startsWith(AUTHENTICATION)) throw error;
    const why = ['ENOENT', 'ECONNREFUSED'].includes(code) ? undefined : message;
    throw new OffshootError('postgres/not-running', { id: address.id, why }, { cause: error });
  }
}

/** Opens a session that stays when the call that has asked for it is over, until it is closed. */
export async function openLasting(address: SessionAddress, ctx: Ctx): Promise<Session> {
  const lasting = new AbortController();
  const abort = () => lasting.abort(ctx.signal.reason);
  ctx.signal.addEventListener('abort', abort, { once: true });
  try {
    return await openSession(address, { ...ctx, signal: lasting.signal });
  } finally {
    ctx.signal.removeEventListener('abort', abort);
  }
}

/** Runs `body` in a session of its own. */
export async function withSession<T>(
  address: SessionAddress,
  body: (query: AdminQuery) => Promise<T>,
  ctx: Ctx,
): Promise<T> {
  const session = await openSession(address, ctx);
  try {
    return await body(session.query);
  } finally {
    await session.close();
  }
}
