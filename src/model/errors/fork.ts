import type { ErrorRow } from '../errors.ts';

/** What a fork's customizations ask for and the baseline or the sandbox cannot give. */
export const forkErrors = {
  'fork/container-unknown': {
    fault: 'user',
    http: 422,
    exit: 1,
    retry: false,
    say: p => `${p.path}: ${p.workload} has no container "${p.container}"`,
    hint: p => `its containers are: ${p.containers}${p.similar ? `; did you mean "${p.similar}"?` : ''}`,
  },
  'fork/output-missing': {
    fault: 'user',
    http: 422,
    exit: 1,
    retry: false,
    say: p => `${p.path}: resource "${p.resource}" has no output "${p.output}"`,
    hint: p =>
      p.outputs
        ? `its outputs are: ${p.outputs}${p.similar ? `; did you mean "${p.similar}"?` : ''}`
        : `no resource "${p.resource}" of this sandbox has made any output; check spec.resources`,
  },
  'fork/reference-missing': {
    fault: 'user',
    http: 422,
    exit: 1,
    retry: false,
    say: p => `${p.path}: no fork of ${p.workload} in this sandbox answers at a Service`,
    hint: () => 'fork that workload in the same sandbox, and let a Service of the baseline select it',
  },
  'fork/expression-invalid': {
    fault: 'user',
    http: 422,
    exit: 1,
    retry: false,
    say: p => `${p.path}: "${p.part}" is not understood`,
    hint: () => 'an expression may use {{.Service.Host}} and {{.Service.Port}}',
  },
  'fork/patch-failed': {
    fault: 'user',
    http: 422,
    exit: 1,
    retry: false,
    say: p => `${p.path ?? 'patch'}: the ${p.type} patch fails at ${p.where}: ${p.why}`,
  },
  'fork/patched-invalid': {
    fault: 'user',
    http: 422,
    exit: 1,
    retry: false,
    say: p => `${p.path}: after the ${p.type} patch the ${p.kind} is not valid: ${p.where}: ${p.why}`,
  },
  'fork/shares-claim': {
    fault: 'user',
    http: 422,
    exit: 1,
    retry: false,
    say: p =>
      `its volume "${p.volume}" is the claim "${p.claim}" of the baseline, to which a fork never writes`,
    hint: () =>
      'say "volumes: { disks: empty }" in the fork for an empty one, or name another claim in a patch of it',
  },
  'fork/name-taken': {
    fault: 'user',
    http: 409,
    exit: 1,
    retry: false,
    say: p => `${p.kind} ${p.namespace}/${p.name} belongs to somebody else, perhaps another installation`,
    hint: () => 'give the sandbox another name',
  },
} as const satisfies Record<string, ErrorRow>;
