/** What a client of SQL over HTTP asks for: headers and body in, statements and a login out. Pure. */
import type { IncomingHttpHeaders } from 'node:http';
import { OffshootError } from '../../model/errors.ts';

export type Login = {
  /** As in a startup message: `role.branchId`, or another way to name a branch (postgres/destination.ts). */
  readonly user: string;
  readonly password: string;
  readonly database: string | undefined;
  readonly options: string | undefined;
  readonly applicationName: string | undefined;
};

export type Statement = {
  readonly text: string;
  readonly values: readonly unknown[];
  /** Rows as arrays, instead of objects. */
  readonly asArray: boolean;
};

export type SqlRequest = {
  readonly login: Login;
  readonly statements: readonly Statement[];
  /** The statement with which they begin that are one transaction; undefined: there is one, by itself. */
  readonly begin: string | undefined;
  /** Values as PostgreSQL writes them, instead of those of JSON where there are such. */
  readonly rawText: boolean;
};

/** @throws OffshootError sql/bad-request, sql/no-login */
export function readSqlRequest(headers: IncomingHttpHeaders, body: Buffer): SqlRequest {
  // The driver of Neon puts its name before each header; Xata's does not.
  const header = (name: string) =>
    [headers[`neon-${name}`], headers[name]].flat().find(text => text !== undefined);
  const isOn = (name: string) => header(name)?.toLowerCase() === 'true';
  const login = readLogin(header('connection-string'));
  const json = parse(body);
  const asArray = isOn('array-mode');
  const isBatch = Array.isArray(json) || (isObject(json) && 'queries' in json);
  const queries: unknown = Array.isArray(json)
    ? json
    : isBatch
      ? (json as { queries: unknown }).queries
      : [json];
  if (!Array.isArray(queries) || queries.length === 0)
    throw bad('"queries" is not a list with a query in it');
  if (queries.length > MAX_QUERIES)
    throw bad(`there are ${queries.length} queries, more than ${MAX_QUERIES}`);
  return {
    ...{
      login,
      statements: queries.map(query => readStatement(query, asArray)),
      rawText: isOn('raw-text-output'),
    },
    begin: isBatch
      ? beginOf(header('batch-isolation-level'), isOn('batch-read-only'), isOn('batch-deferrable'))
      : undefined,
  };
}

// --- internal ------------------------------------------------------------------------------------

/** Of one transaction; as many as Xata's gateway takes. */
const MAX_QUERIES = 100;

const bad = (why: string) => new OffshootError('sql/bad-request', { why });
const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Nothing of it may get into an error: it holds a password. */
function readLogin(text: string | undefined): Login {
  if (text === undefined)
    throw new OffshootError('sql/no-login', { why: 'the header Neon-Connection-String is missing' });
  const url = URL.parse(text);
  if (url === null || !/^postgres(ql)?:$/.test(url.protocol))
    throw new OffshootError('sql/no-login', {
      why: 'the header Neon-Connection-String is not postgresql://…',
    });
  const [user, password] = [decode(url.username), decode(url.password)];
  if (user === '' || password === '')
    throw new OffshootError('sql/no-login', { why: 'the connection string has no user, or no password' });
  const given = (value: string | null) => (value === null || value === '' ? undefined : value);
  return {
    ...{ user, password, database: given(decode(url.pathname.slice(1))) },
    options: given(url.searchParams.get('options')),
    applicationName: given(url.searchParams.get('application_name')),
  };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new OffshootError('sql/no-login', { why: 'the connection string has a % that begins nothing' });
  }
}

/** By its form, not by its content type: the driver says text/plain. */
function parse(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString());
  } catch {
    throw bad('its body is not JSON');
  }
}

function readStatement(query: unknown, asArray: boolean): Statement {
  if (!isObject(query) || typeof query.query !== 'string') throw bad('a query has no text "query"');
  const { params = [], arrayMode = asArray } = query;
  if (!Array.isArray(params)) throw bad('"params" is not a list');
  return { text: query.query, values: params, asArray: arrayMode === true };
}

const LEVELS: Readonly<Record<string, string>> = {
  ReadUncommitted: 'READ UNCOMMITTED',
  ReadCommitted: 'READ COMMITTED',
  RepeatableRead: 'REPEATABLE READ',
  Serializable: 'SERIALIZABLE',
};

function beginOf(level: string | undefined, readOnly: boolean, deferrable: boolean): string {
  const isolation = level === undefined ? '' : LEVELS[level];
  if (isolation === undefined) throw bad(`the isolation level is none of ${Object.keys(LEVELS).join(', ')}`);
  const words = [
    isolation && `ISOLATION LEVEL ${isolation}`,
    readOnly && 'READ ONLY',
    deferrable && 'DEFERRABLE',
  ];
  return ['BEGIN', ...words.filter(Boolean)].join(' ');
}
