import type { ErrorRow } from '../errors.ts';

/** The door: who may come in, and what is not there. */
export const apiErrors = {
  internal: {
    fault: 'system',
    http: 500,
    sqlstate: 'XX000',
    exit: 1,
    retry: true,
    say: () => 'something went wrong inside offshoot',
    hint: () => 'the daemon log has the cause: see "offshoot status" for its place',
  },
  'api/unauthorized': {
    fault: 'user',
    http: 401,
    exit: 4,
    retry: false,
    say: p => `${p.where ?? 'the API'} needs a valid API key: ${p.why ?? 'none was sent'}`,
    hint: () =>
      'send it in the header "signadot-api-key" or set OFFSHOOT_API_KEY; "offshoot key create NAME" makes one',
  },
  'api/not-found': {
    fault: 'user',
    http: 404,
    exit: 3,
    retry: false,
    say: p => `${p.kind} "${p.name}" does not exist`,
    hint: p => (p.hint === undefined ? `see "offshoot ${p.kind} list"` : String(p.hint)),
  },
  'api/bad-request': {
    fault: 'user',
    http: 400,
    exit: 2,
    retry: false,
    say: p => `the request is not valid: ${p.why}`,
  },
  'api/conflict': {
    fault: 'conflict',
    http: 409,
    exit: 1,
    retry: true,
    say: p => `${p.kind} "${p.name}" was changed by somebody else at the same time`,
    hint: () => 'read it again and repeat the change',
  },
  'key/exists': {
    fault: 'user',
    http: 409,
    exit: 1,
    retry: false,
    say: p => `there is an API key named "${p.name}" already`,
    hint: p => `revoke it with "offshoot key revoke ${p.name}", or choose another name`,
  },
  'api/no-authority': {
    fault: 'user',
    http: 404,
    exit: 3,
    retry: false,
    say: () => 'there is no authority of our own: TLS is served with the certificate in OFFSHOOT_TLS_CERT',
    hint: () => 'clients have to trust whoever issued that one',
  },
  'api/no-feed': {
    fault: 'user',
    http: 404,
    exit: 3,
    retry: false,
    say: () => 'nobody can follow this daemon from elsewhere',
    hint: () => 'start it with OFFSHOOT_FEED_PORT, see docs/operating.md',
  },
  'api/untrusted': {
    fault: 'user',
    http: 502,
    exit: 1,
    retry: false,
    say: p => `the certificate of ${p.url} is not trusted: ${p.why}`,
    hint: () =>
      'OFFSHOOT_API_CA names a file with the authority to trust; "offshoot ca" prints it on the server',
  },
  'api/host-refused': {
    fault: 'user',
    http: 403,
    exit: 4,
    retry: false,
    say: p => `requests for host "${p.host}" are refused`,
    hint: () => 'use the address that "offshoot status" prints',
  },
  'api/unreachable': {
    fault: 'user',
    http: 503,
    exit: 1,
    retry: true,
    say: p => `no offshoot daemon answers at ${p.url}`,
    hint: () =>
      'start it with "offshoot up", or set OFFSHOOT_HOME to its data directory, or OFFSHOOT_API_URL',
  },
  'api/timeout': {
    fault: 'system',
    http: 504,
    exit: 5,
    retry: true,
    say: p => `timed out after ${p.after} waiting for ${p.what}${p.last ? `; last seen: ${p.last}` : ''}`,
    hint: p => (p.hint === undefined ? 'wait longer with --wait-timeout' : String(p.hint)),
  },
} as const satisfies Record<string, ErrorRow>;
