import type { ErrorRow } from '../errors.ts';

/** The HTTP data path: the router in front of the baseline's services, and the preview gateway. */
export const proxyErrors = {
  'proxy/bad-request': {
    fault: 'user',
    http: 400,
    exit: 1,
    retry: false,
    say: p => `the request is not unambiguous HTTP: ${p.why}`,
  },
  'proxy/headers-too-large': {
    fault: 'user',
    http: 431,
    exit: 1,
    retry: false,
    say: p => `the header block of the request is larger than ${p.limit} bytes`,
    hint: () => 'send fewer or smaller cookies and baggage members',
  },
  'proxy/request-timeout': {
    fault: 'user',
    http: 408,
    exit: 1,
    retry: false,
    say: p => `the header block of the request did not arrive within ${p.limit} ms`,
  },
  'proxy/no-destination': {
    fault: 'system',
    http: 503,
    exit: 1,
    retry: true,
    say: p => `nothing is deployed behind ${p.destination}`,
    hint: () => 'see "offshoot status" for what the baseline has',
  },
  'proxy/fork-not-ready': {
    fault: 'system',
    http: 503,
    exit: 1,
    retry: true,
    say: p => `the fork of ${p.label} in sandbox "${p.sandbox}" is not ready: ${p.reason}: ${p.message}`,
    hint: p => `see "offshoot sandbox get ${p.sandbox}"; the baseline is never used in its place`,
  },
  'proxy/no-table': {
    fault: 'system',
    http: 503,
    exit: 1,
    retry: true,
    say: p => `nobody has told yet where routing keys lead for ${p.workload}`,
    hint: () => 'the sidecar waits for the controller; requests without a key are answered meanwhile',
  },
  'proxy/sandbox-gone': {
    fault: 'user',
    http: 410,
    exit: 3,
    retry: false,
    say: p => `the routing key belonged to sandbox "${p.sandbox}", which was deleted`,
    hint: () =>
      'apply the sandbox again and use its new routing key; the baseline is never used in its place',
  },
  'proxy/baseline-not-ready': {
    fault: 'system',
    http: 503,
    exit: 1,
    retry: true,
    say: p => `the baseline of ${p.label} is not ready: ${p.reason}: ${p.message}`,
    hint: () => 'see "offshoot status"',
  },
  'proxy/upstream-failed': {
    fault: 'system',
    http: 502,
    exit: 1,
    retry: true,
    say: p => `${p.upstream} did not answer properly: ${p.why}`,
    hint: () => 'see the log of the workload',
  },
  'proxy/upstream-timeout': {
    fault: 'system',
    http: 504,
    exit: 5,
    retry: true,
    say: p => `${p.upstream} did not answer within ${p.limit} ms`,
    hint: () => 'see the log of the workload',
  },
  'proxy/too-many-connections': {
    fault: 'system',
    http: 503,
    exit: 1,
    retry: true,
    say: p => `${p.limit} connections pass through already`,
    hint: () => 'see which clients open them: "ss -tn"',
  },
  'proxy/listen-failed': {
    fault: 'system',
    http: 500,
    exit: 1,
    retry: true,
    say: p => `cannot listen on ${p.host}:${p.port} for ${p.what}: ${p.why}`,
    hint: () => 'choose an address that this machine has and may use',
  },
  'preview/unauthorized': {
    fault: 'user',
    http: 401,
    exit: 4,
    retry: false,
    say: p => `previews need a valid API key: ${p.why}`,
    hint: () => 'send it in the header "signadot-api-key"; "offshoot key create NAME" makes one',
  },
  'preview/unknown': {
    fault: 'user',
    http: 404,
    exit: 3,
    retry: false,
    say: p => `there is no preview at "${p.host}"`,
    hint: p =>
      p.similar === undefined
        ? '"offshoot sandbox get NAME" prints the endpoints of a sandbox'
        : `did you mean "${p.similar}"?`,
  },
  'preview/protocol': {
    fault: 'user',
    http: 501,
    exit: 1,
    retry: false,
    say: p =>
      `endpoint "${p.endpoint}" of sandbox "${p.sandbox}" speaks ${p.protocol}, which previews do not yet`,
    hint: () => 'workloads are asked without TLS: give the endpoint an http:// or grpc:// target',
  },
} as const satisfies Record<string, ErrorRow>;
