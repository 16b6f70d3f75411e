import type { ErrorRow } from '../errors.ts';

/** What the machine does not have or does not allow. */
export const hostErrors = {
  'config/invalid': {
    fault: 'user',
    http: 500,
    exit: 2,
    retry: false,
    say: p => `${p.name}=${p.value} is not valid: ${p.why}`,
    hint: () => 'see "offshoot up --help" for all variables',
  },
  'host/no-descriptors': {
    fault: 'system',
    http: 503,
    sqlstate: '53000',
    exit: 1,
    retry: true,
    passes: true,
    say: () => 'no file descriptors are left, so nothing can be opened or started',
    hint: () => 'it goes on by itself; raise the limit ("ulimit -n") before the next "offshoot up"',
  },
  'host/clear-text': {
    fault: 'user',
    http: 500,
    exit: 2,
    retry: false,
    say: p => `listening on ${p.host} would let API keys and data pass over the network in clear text`,
    hint: () =>
      'give OFFSHOOT_TLS_CERT and OFFSHOOT_TLS_KEY, or OFFSHOOT_TLS=generated; where the network is trusted, OFFSHOOT_CLEARTEXT=allow',
  },
  'host/tls-only': {
    fault: 'user',
    http: 400,
    exit: 2,
    retry: false,
    say: () => 'this port speaks TLS only, except to programs of its own machine',
    hint: () => 'use a URL that begins with https://',
  },
  'host/nameless': {
    fault: 'user',
    http: 500,
    exit: 2,
    retry: false,
    say: p => `${p.host} means every address of this machine; clients need one of them, or a name`,
    hint: () => 'say in OFFSHOOT_ADVERTISE under which name or address clients reach this machine',
  },
  'host/certificate': {
    fault: 'user',
    http: 500,
    exit: 2,
    retry: false,
    say: p => `${p.file} cannot be used for TLS: ${p.why}`,
    hint: () => 'see OFFSHOOT_TLS_CERT and OFFSHOOT_TLS_KEY in "offshoot up --help"',
  },
  'host/port-taken': {
    fault: 'user',
    http: 500,
    exit: 1,
    retry: false,
    say: p => `cannot listen on ${p.host}:${p.port} for ${p.what}: the port is taken`,
    hint: p => `stop what listens there, or choose another port${p.variable ? ` with ${p.variable}` : ''}`,
  },
  'host/already-running': {
    fault: 'user',
    http: 409,
    exit: 1,
    retry: false,
    say: p => `another offshoot daemon (pid ${p.pid}) already uses ${p.home}`,
    hint: () => 'stop it with "offshoot down", or set OFFSHOOT_HOME to another folder',
  },
} as const satisfies Record<string, ErrorRow>;
