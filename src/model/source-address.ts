/** Where data come from, read from what people write: a connection URL as libpq has it (PostgreSQL §32.1.1.2). */
import { OffshootError } from './errors.ts';
import { type ImportSource, isFile, type SourceServer } from './import.ts';

export type SourceAddress = { readonly server: SourceServer; readonly password: string };

/**
 * @param text `postgresql://user:password@host:port/database?sslmode=require`
 * @param read gives the contents of the file that `sslrootcert` names
 * @throws OffshootError import/bad-source, whose sentence never holds the password
 */
export function readSourceAddress(text: string, read: (file: string) => string): SourceAddress {
  if (!/^postgres(ql)?:\/\//.test(text)) throw bad('it does not begin with postgresql://');
  const url = parsed(text);
  const query = url.searchParams;
  const named = url.hostname === NO_HOST ? '' : decode(url.hostname).replace(/^\[(.*)\]$/, '$1');
  const host = query.get('host') ?? named;
  if (host === '' || host.includes(',')) throw bad('it names no host, or more than one');
  const user = query.get('user') ?? decode(url.username);
  if (user === '') throw bad('it names no user');
  const database = decode(url.pathname.slice(1)) || (query.get('dbname') ?? user);
  const port = Number(query.get('port') ?? (url.port || '5432'));
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw bad('its port is none');
  const file = query.get('sslrootcert');
  const sslmode = modeOf(query.get('sslmode'), host);
  return {
    server: {
      host,
      port,
      user,
      database,
      sslmode,
      ...(file && file !== 'system' && { authorities: read(file) }),
    },
    password: query.get('password') ?? decode(url.password),
  };
}

/** For people: without the password. */
export const sourceText = (source: ImportSource): string =>
  isFile(source) ? `the file ${source.file}` : serverText(source);

// --- internal -----------------------------------------------------------------------------------

const serverText = ({ host, port, user, database }: SourceServer): string =>
  `${user}@${host.includes(':') ? `[${host}]` : host}:${port}/${database}`;

const NO_HOST = 'none.invalid';

const bad = (why: string) => new OffshootError('import/bad-source', { why });

function parsed(text: string): URL {
  try {
    // An empty host behind a user is fine in libpq's, which may name one further on, and in no other URL.
    return new URL(text.replace(/^(\w+:\/\/[^/?#]*@)(?=[/?:]|$)/, `$1${NO_HOST}`));
  } catch {
    throw bad('it is no URL; letters such as @ / : # % in a password are written as %40 %2F %3A %23 %25');
  }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw bad('a % in it is not followed by two digits; in a password it is written as %25');
  }
}

const MODES = ['disable', 'prefer', 'require', 'verify-ca', 'verify-full'] as const;

function modeOf(text: string | null, host: string): SourceServer['sslmode'] {
  if (text === null || text === 'allow') return host.startsWith('/') ? 'disable' : 'prefer';
  const mode = MODES.find(known => known === text);
  if (mode === undefined) throw bad(`sslmode must be one of ${MODES.join(', ')}`);
  return mode;
}
