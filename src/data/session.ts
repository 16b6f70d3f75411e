/** Sessions of an importer: with the source, and with the server that it fills. */
import { isIPv4, isIPv6, type Socket } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import { Client, type ClientConfig } from 'pg';
import { delay } from '../lib/wait.ts';
import { OffshootError } from '../model/errors.ts';
import type { SourceServer } from '../model/import.ts';
import { sourceText } from '../model/source-address.ts';

export type Row = Readonly<Record<string, unknown>>;

export type Session = {
  readonly client: Client;
  query<R extends Row = Row>(sql: string, params?: readonly unknown[]): Promise<readonly R[]>;
  close(): Promise<void>;
};

/**
 * A session with the source.
 * @param answerMs after which a statement that was not answered fails; default: never
 * @throws OffshootError import/unreachable, import/refused
 */
export async function openSource(
  server: SourceServer,
  password: string,
  answerMs?: number,
): Promise<Session> {
  const { host, port, user, database, sslmode } = server;
  const config = {
    ...{ host, port, user, database, password, application_name: 'offshoot import' },
    connectionTimeoutMillis: CONNECT_MS,
    ...(answerMs !== undefined && { query_timeout: answerMs }),
    ...{ keepAlive: true, keepAliveInitialDelayMillis: SILENT_MS },
  };
  const ssl = sslmode === 'disable' ? false : tlsOf(server);
  try {
    return await open({ ...config, ssl });
  } catch (error) {
    const isRefusedTls = /does not support SSL/.test((error as Error).message);
    if (!(sslmode === 'prefer' && isRefusedTls)) throw told(server, error);
  }
  return await open({ ...config, ssl: false }).catch(error => Promise.reject(told(server, error)));
}

export type TargetAddress = {
  readonly socketDir: string;
  readonly user: string;
  readonly password: string;
  readonly database: string;
};

/** A session with the server that is filled; a superuser's. */
export async function openTarget({ socketDir, ...address }: TargetAddress): Promise<Session> {
  const config = { ...address, host: socketDir, port: 5432, connectionTimeoutMillis: CONNECT_MS };
  try {
    return await open({ ...config, options: `${TARGET} -c event_triggers=off` });
  } catch (error) {
    // undefined_object: before version 17 there is none, and a server that is filled has no event triggers.
    if ((error as { code?: string }).code !== '42704') throw error;
    return await open({ ...config, options: TARGET });
  }
}

/** The socket of a session, below TLS's end: what a COPY is led through. */
export const socketOf = ({ client }: Pick<Session, 'client'>): Socket =>
  (client as unknown as { connection: { stream: Socket } }).connection.stream;

/** Whether an error is the connection's end, and no answer of the server. */
export const isLost = (error: unknown): boolean => {
  const { code = '', message = '' } = (error ?? {}) as NodeJS.ErrnoException;
  return (
    /^(ECONN|EPIPE|ETIMEDOUT|57P0|08)/.test(code) ||
    /terminated|connection.*(closed|lost|ended)/i.test(message)
  );
};

// --- internal -----------------------------------------------------------------------------------

const CONNECT_MS = 15_000;

/** After so much silence a source is asked whether it is there; in a few seconds more one that is not is lost. */
const SILENT_MS = 15_000;

/** For a server to hang up when it is told that we leave. */
const CLOSE_MS = 2_000;

/** Nothing that was put into a database may change what our statements mean, or end them. */
const TARGET = Object.entries({
  search_path: 'pg_catalog',
  check_function_bodies: 'off',
  standard_conforming_strings: 'on',
  statement_timeout: '0',
  lock_timeout: '0',
  idle_in_transaction_session_timeout: '0',
  row_security: 'off',
  client_min_messages: 'error',
})
  .map(([name, value]) => `-c ${name}=${value}`)
  .join(' ');

async function open(config: ClientConfig): Promise<Session> {
  const client = new Client(config);
  client.on('error', () => {}); // the next query says so
  try {
    await client.connect();
  } catch (error) {
    client.end().catch(() => {});
    throw error;
  }
  return {
    client,
    async query<R extends Row>(sql: string, params?: readonly unknown[]) {
      const found = await client.query(sql, params === undefined ? undefined : [...params]);
      return (Array.isArray(found) ? (found.at(-1)?.rows ?? []) : found.rows) as readonly R[];
    },
    async close() {
      await delay(CLOSE_MS, undefined, client.end());
      socketOf({ client }).destroy();
    },
  };
}

function tlsOf({ host, sslmode, authorities }: SourceServer): ConnectionOptions {
  const verify = sslmode.startsWith('verify');
  return {
    rejectUnauthorized: verify,
    ...(authorities !== undefined && { ca: authorities }),
    ...(!isIPv4(host) && !isIPv6(host) && { servername: host }),
    ...(sslmode === 'verify-ca' && { checkServerIdentity: () => undefined }),
  };
}

/** Classes of SQLSTATE (PostgreSQL, appendix A) of a login that is refused, 3D000 of a database that is not there. */
const REFUSED = /^(28|3D|53|57P03)/;

function told(server: SourceServer, cause: unknown): OffshootError {
  const { code = '', message } = cause as NodeJS.ErrnoException;
  const source = sourceText(server);
  // One that does not know a password says so itself, before anything is sent.
  const isLogin = REFUSED.test(code) || /password must be a string|SASL/.test(message);
  if (isLogin) return new OffshootError('import/refused', { source, why: message }, { cause });
  const why = message === '' ? code : message;
  return new OffshootError('import/unreachable', { source, why }, { cause });
}
