import type { ErrorRow } from '../errors.ts';

/** `offshoot ca --install`. */
export const trustErrors = {
  'trust/no-authority': {
    fault: 'user',
    http: 422,
    exit: 2,
    retry: false,
    say: p => `this is not to be trusted: ${p.why}`,
    hint: () => 'give the file that "offshoot ca" has printed',
  },
  'trust/unknown-system': {
    fault: 'user',
    http: 500,
    exit: 1,
    retry: false,
    say: () => 'nobody knows here where this system keeps whom it trusts',
    hint: () =>
      'docs/encryption.md says how programs are told one by one, for example with NODE_EXTRA_CA_CERTS',
  },
  'trust/not-allowed': {
    fault: 'user',
    http: 500,
    exit: 4,
    retry: false,
    say: p => `${p.folder} is not yours to write to`,
    hint: () => '"offshoot ca > offshoot-ca.pem", then "sudo offshoot ca --install offshoot-ca.pem"',
  },
  'trust/failed': {
    fault: 'system',
    http: 500,
    exit: 1,
    retry: true,
    say: p => `${p.program} failed: ${p.why}`,
  },
} as const satisfies Record<string, ErrorRow>;
