/** psql's variables, and the words of its commands, in which they stand. */
import { OffshootError } from '../../model/errors.ts';
import type { SqlSession } from '../../sql/session.ts';
import type { UsageError } from '../output.ts';

export type Variables = {
  get(name: string): string | undefined;
  set(name: string, value: string): void;
  delete(name: string): void;
  all(): ReadonlyMap<string, string>;
  /** Words of a command as psql reads them: quotes, escapes in single ones, variables. */
  words(rest: string, refuse: (why: string) => UsageError): readonly string[];
  /** What psql says in variables of the statement that has ended. */
  succeeded(): void;
  failed(error: unknown): void;
};

export function createVariables(session: SqlSession, given: Readonly<Record<string, string>>): Variables {
  const own = new Map(Object.entries(given));
  const fromSession: Readonly<Record<string, () => string | undefined>> = {
    DBNAME: () => session.database,
    USER: () => session.role,
    ENCODING: () => session.parameter('client_encoding'),
    SERVER_VERSION_NAME: () => session.parameter('server_version'),
    SERVER_VERSION_NUM: () => versionNumber(session.parameter('server_version') ?? ''),
  };
  const get = (name: string): string | undefined =>
    own.get(name) ?? (Object.hasOwn(fromSession, name) ? fromSession[name]!() : undefined);
  return {
    get,
    set: (name, value) => void own.set(name, value),
    delete: name => void own.delete(name),
    all: () => own,
    words(rest, refuse) {
      if (/^(?:[^'"]|'[^']*'|"[^"]*")*`/.test(rest)) throw refuse('programs are not run from here');
      return [...rest.matchAll(/(?::'\w+'|:"\w+"|'(?:[^'\\]|\\.|'')*'|"[^"]*"|[^\s'"])+/g)].map(([word]) =>
        word.replace(
          /:\{\?([\w\x80-\xff]+)\}|:'([\w\x80-\xff]+)'|:"([\w\x80-\xff]+)"|'((?:[^'\\]|\\.|'')*)'|"([^"]*)"|:([\w\x80-\xff]+)/g,
          (whole, test, literal, name, single, double, plain) => {
            if (test !== undefined) return get(test) === undefined ? 'FALSE' : 'TRUE';
            if (single !== undefined)
              return single.replaceAll(/''|\\(.)/g, (_: string, c?: string) => ESCAPES[c ?? "'"] ?? c!);
            if (double !== undefined) return double;
            const value = get(literal ?? name ?? plain);
            if (value === undefined) return whole;
            if (literal !== undefined) return `'${value.replaceAll("'", "''")}'`;
            return name === undefined ? value : `"${value.replaceAll('"', '""')}"`;
          },
        ),
      );
    },
    succeeded() {
      own.set('ERROR', 'false').set('SQLSTATE', '00000');
    },
    failed(error) {
      if (!(error instanceof OffshootError)) return;
      const { why = '', state = '' } = error.params;
      own.set('ERROR', 'true').set('SQLSTATE', String(state));
      own.set('LAST_ERROR_MESSAGE', String(why)).set('LAST_ERROR_SQLSTATE', String(state));
    },
  };
}

/** As psql reads a boolean. */
export const isOn = (value: string | undefined): boolean =>
  value !== undefined && /^(on|true|yes|1|t|y)$/i.test(value);

// --- internal -----------------------------------------------------------------------------------

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', b: '\b', f: '\f', "'": "'" };

/** 18.4 → 180004 */
function versionNumber(version: string): string {
  const [major = 0, minor = 0] = version.split(/[^\d]/).map(Number);
  return String(major * 10_000 + minor);
}
