import type { ErrorRow } from '../errors.ts';

/** Of SQL over HTTP. What a server or the gateway has said of a statement or a login is passed on instead. */
export const sqlErrors = {
  'sql/bad-request': {
    fault: 'user',
    http: 400,
    exit: 1,
    retry: false,
    say: p => `the request is not one for SQL: ${p.why}`,
    hint: () => 'POST {"query": "select $1::int", "params": ["1"]}, or {"queries": […]} for a transaction',
  },
  'sql/no-login': {
    fault: 'user',
    http: 400,
    exit: 4,
    retry: false,
    // Never the string: it holds a password.
    say: p => `the request does not say who logs in: ${p.why}`,
    hint: () => '"offshoot branch url" prints a connection string for the header Neon-Connection-String',
  },
  'sql/request-too-large': {
    fault: 'user',
    http: 413,
    exit: 1,
    retry: false,
    say: p => `a request for SQL may have ${p.max} bytes`,
    hint: () => 'send it in parts, or use COPY by an ordinary connection',
  },
  'sql/answer-too-large': {
    fault: 'user',
    http: 507,
    exit: 1,
    retry: false,
    say: p => `the answer has more than ${p.max} bytes`,
    hint: () => 'ask for fewer rows, or use an ordinary connection, which streams them',
  },
  'sql/too-many': {
    fault: 'system',
    http: 503,
    exit: 1,
    retry: true,
    say: p => `${p.max} requests for SQL are answered already`,
    hint: () => 'try again in a moment',
  },
  'sql/too-much': {
    fault: 'system',
    http: 503,
    exit: 1,
    retry: true,
    say: p => `requests for SQL have ${p.max} bytes together already`,
    hint: () => 'try again in a moment',
  },
  'sql/connection-lost': {
    fault: 'system',
    http: 502,
    exit: 1,
    retry: true,
    say: () => 'the server ended the session before it had answered',
    hint: () => 'try again; "offshoot branch get" shows the state of the branch',
  },
} as const satisfies Record<string, ErrorRow>;
