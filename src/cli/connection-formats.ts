/** How to reach a branch, in the words of those who connect to it. All of them hold the password, if there is one. */
import { type BranchAddress, connectionString } from '../model/branch.ts';

/** @param password absent: that of a role which we do not know */
export type Connection = Omit<BranchAddress, 'password'> & { readonly password?: string };

export const CONNECTION_FORMATS = ['url', 'psql', 'env', 'jdbc', 'dotnet', 'prisma'] as const;

export type ConnectionFormat = (typeof CONNECTION_FORMATS)[number];

/** One line, or several for `env`. */
export const connectionText = (to: Connection, format: ConnectionFormat): string => FORMATS[format](to);

// --- internal -----------------------------------------------------------------------------------

const FORMATS: Readonly<Record<ConnectionFormat, (to: Connection) => string>> = {
  url: connectionString,

  /** A command; the password in a variable, for an argument is seen by everybody on the machine. */
  psql({ password, ...to }) {
    const secret = password === undefined ? '' : `PGPASSWORD=${quoted(password)} `;
    return `${secret}psql ${quoted(connectionString(to))}`;
  },

  /** Variables of libpq, and the one that most programs read. */
  env(to) {
    const variables = {
      ...{ PGHOST: to.host, PGPORT: String(to.port), PGUSER: to.user, PGPASSWORD: to.password },
      ...{ PGDATABASE: to.database, PGSSLMODE: to.sslmode, PGSSLROOTCERT: to.sslrootcert },
      DATABASE_URL: connectionString(to),
    };
    return Object.entries(variables)
      .flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${quoted(value)}`]))
      .join('\n');
  },

  /** https://jdbc.postgresql.org/documentation/use/ */
  jdbc: ({ host, port, database, user, password, sslmode, sslrootcert }) =>
    `jdbc:postgresql://${host}:${port}/${encodeURIComponent(database)}?${query({ user, password, sslmode, sslrootcert })}`,

  /** https://www.npgsql.org/doc/connection-string-parameters.html */
  dotnet({ host, port, database, user, password, sslmode, sslrootcert }) {
    const mode = sslmode?.replace(/(?:^|-)(\w)/g, (_, letter: string) => letter.toUpperCase());
    const all = {
      ...{ Host: host, Port: String(port), Database: database, Username: user, Password: password },
      ...{ 'SSL Mode': mode, 'Root Certificate': sslrootcert },
    };
    return Object.entries(all)
      .flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${dotnetValue(value)}`]))
      .join(';');
  },

  /** https://www.prisma.io/docs/orm/overview/databases/postgresql: a certificate has other names there. */
  prisma({ sslmode, sslrootcert, ...to }) {
    const verifies = sslmode?.startsWith('verify') ?? false;
    const more = {
      schema: 'public',
      ...(sslmode !== undefined && {
        sslmode: 'require',
        sslaccept: verifies ? 'strict' : 'accept_invalid_certs',
      }),
      sslcert: sslrootcert,
    };
    return `${connectionString(to)}?${query(more)}`;
  },
};

const query = (of: Readonly<Record<string, string | undefined>>): string =>
  Object.entries(of)
    .flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${encodeURIComponent(value)}`]))
    .join('&');

/** As a shell reads it. */
const quoted = (text: string): string =>
  /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;

/** In quotes where it holds what parts the string. */
const dotnetValue = (text: string): string =>
  /[;"'=\s]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
