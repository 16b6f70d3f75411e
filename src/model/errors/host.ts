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
