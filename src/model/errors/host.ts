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
  'host/command-missing': {
    fault: 'user',
    http: 500,
    exit: 1,
    retry: false,
    say: p => `the program "${p.command}" was not found`,
    hint: p => String(p.hint ?? 'install it, or see "offshoot doctor"'),
  },
  'host/command-failed': {
    fault: 'system',
    http: 500,
    exit: 1,
    retry: true,
    say: p => `"${p.command}" failed: ${p.why}`,
  },
} as const satisfies Record<string, ErrorRow>;
