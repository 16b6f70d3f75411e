import type { ErrorRow } from '../errors.ts';

/**
 * What the Postgres gateway answers before PostgreSQL itself does. The SQLSTATEs are the ones PostgreSQL
 * uses in the same place (its documentation, appendix "PostgreSQL Error Codes"), so that drivers react
 * as they do to PostgreSQL: 57P03 is worth a second try, 3D000 is not.
 */
export const gatewayErrors = {
  'gateway/bad-startup': {
    fault: 'user',
    http: 400,
    sqlstate: '08P01',
    exit: 1,
    retry: false,
    say: p => `this is not how a PostgreSQL session begins: ${p.why}`,
  },
  'gateway/unsupported-protocol': {
    fault: 'user',
    http: 400,
    sqlstate: '0A000',
    exit: 1,
    retry: false,
    say: p => `unsupported frontend protocol ${p.version}: the server supports 3.x`,
    hint: () => 'use a client library made for PostgreSQL 7.4 or later',
  },
  'gateway/tls-required': {
    fault: 'user',
    http: 400,
    // As PostgreSQL has it for "no pg_hba.conf entry …, no encryption".
    sqlstate: '28000',
    exit: 1,
    retry: false,
    say: () => 'clear text is served to programs of its own machine only',
    hint: () =>
      'connect with TLS: sslmode=require, or verify-full with the certificate that "offshoot ca" prints',
  },
  'gateway/no-branch': {
    fault: 'user',
    http: 400,
    sqlstate: '28000',
    exit: 1,
    retry: false,
    say: () => 'the login does not name a branch',
    hint: () =>
      'use ROLE.BRANCHID as the user name, DATABASE@BRANCHID as the database, or options=-c offshoot.branch=BRANCHID; "offshoot branch url" prints a complete address',
  },
  'gateway/branch-conflict': {
    fault: 'user',
    http: 400,
    sqlstate: '28000',
    exit: 1,
    retry: false,
    say: () => 'the login names two different branches',
    hint: () =>
      'name the branch once: in the user name, the database, the host or offshoot.branch, and at a port of its own not at all',
  },
  'gateway/reserved-role': {
    fault: 'user',
    http: 403,
    sqlstate: '28000',
    exit: 4,
    retry: false,
    say: p => `role "${p.role}" cannot log in here`,
    hint: () => 'use the role of the project; "offshoot branch url" prints a complete address',
  },
  'gateway/login-failed': {
    fault: 'user',
    http: 401,
    sqlstate: '28P01',
    exit: 4,
    retry: false,
    say: p => `password authentication failed for user "${p.user}"`,
    hint: () =>
      'the password is wrong, or there is no such role or branch; "offshoot branch url" prints a complete address',
  },
  'gateway/branch-unknown': {
    fault: 'user',
    http: 404,
    sqlstate: '3D000',
    exit: 3,
    retry: false,
    say: p => `branch "${p.branch}" does not exist`,
    hint: () => 'see "offshoot branch list"',
  },
  'gateway/branch-not-ready': {
    fault: 'system',
    http: 503,
    sqlstate: '57P03',
    exit: 1,
    retry: true,
    // Never why: who asks has not logged in.
    say: p => `branch "${p.branch}" cannot be reached now`,
    hint: () => 'try again; "offshoot branch get" shows its state',
  },
  'gateway/no-control-plane': {
    fault: 'system',
    http: 503,
    sqlstate: '57P03',
    exit: 1,
    retry: true,
    say: p => `branch "${p.branch}" does not answer, and the daemon that could start it is not running`,
    hint: () => '"offshoot up" starts the daemon; branches that run are served without it',
  },
  'gateway/password-changed': {
    fault: 'user',
    http: 401,
    sqlstate: '57P01',
    exit: 4,
    retry: false,
    say: p => `the password of branch "${p.branch}" was changed`,
    hint: () => '"offshoot branch url" prints the address with the new one',
  },
  'gateway/branch-stopped': {
    fault: 'user',
    http: 507,
    sqlstate: '53100',
    exit: 1,
    retry: true,
    // Numbers only: who asks has not logged in.
    say: p =>
      p.limit === undefined
        ? `branch "${p.branch}" is stopped because the disk is nearly full`
        : `branch "${p.branch}" is stopped because it has reached its limit of ${p.limit}`,
    hint: p =>
      p.limit === undefined
        ? 'delete branches that nobody needs, or free space; it comes back by itself'
        : 'raise it with "offshoot branch limit", or delete the branch',
  },
  'gateway/login-timeout': {
    fault: 'user',
    http: 408,
    sqlstate: '57014',
    exit: 5,
    retry: true,
    say: p => `the login was not complete after ${p.after}`,
  },
  'gateway/too-many-logins': {
    fault: 'system',
    http: 503,
    sqlstate: '53300',
    exit: 1,
    retry: true,
    say: p =>
      `${p.max} clients are logging in${p.branch === undefined ? '' : ` to branch "${p.branch}"`} already`,
    hint: () => 'try again in a moment',
  },
  'gateway/shutting-down': {
    fault: 'system',
    http: 503,
    sqlstate: '57P01',
    exit: 1,
    retry: true,
    say: () => 'the gateway is shutting down',
  },
} as const satisfies Record<string, ErrorRow>;
