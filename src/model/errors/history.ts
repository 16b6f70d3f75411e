import type { ErrorRow } from '../errors.ts';

/** Moments of a branch that are over. */
export const historyErrors = {
  'history/none': {
    fault: 'user',
    http: 409,
    exit: 1,
    retry: false,
    say: p => `branch "${p.name}" keeps no history`,
    hint: p => `from now on it does with "offshoot branch history ${p.name} --keep 24h"`,
  },
  'history/out-of-range': {
    fault: 'user',
    http: 422,
    exit: 1,
    retry: false,
    say: p => `what branch "${p.name}" held at ${p.moment} is not known; it is known from ${p.range}`,
    hint: p => `see "offshoot branch history ${p.name}"`,
  },
  'history/bad-moment': {
    fault: 'user',
    http: 422,
    exit: 2,
    retry: false,
    say: p => `"${p.moment}" is no moment`,
    hint: () => 'write 10:42, 10:42:30, 2026-11-27T10:42:30+01:00, or "15m ago"',
  },
  'history/bad-keep': {
    fault: 'user',
    http: 422,
    exit: 2,
    retry: false,
    say: p => `history cannot be kept so: ${p.why}`,
    hint: () => 'for example "--keep 24h --every 1h"; at most 90 days, and a snapshot every 10 seconds',
  },
  'history/not-recovered': {
    fault: 'system',
    http: 503,
    exit: 1,
    retry: true,
    say: p => `what was held ${p.moment ? `at ${p.moment}` : 'then'} could not be brought back: ${p.why}`,
    hint: () => 'it is tried again by itself; another moment may be reached',
  },
  'history/in-a-cluster': {
    fault: 'user',
    http: 422,
    exit: 1,
    retry: false,
    say: () => 'branches of a cluster keep no history yet',
  },
} as const satisfies Record<string, ErrorRow>;
