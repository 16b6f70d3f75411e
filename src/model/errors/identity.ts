import type { ErrorRow } from '../errors.ts';

/** Who programs of ours are to each other in a cluster. */
export const identityErrors = {
  'identity/refused': {
    fault: 'user',
    http: 403,
    exit: 4,
    retry: false,
    say: p => `the controller does not say who this is: ${p.why}`,
    hint: () =>
      'it knows pods of workloads in the namespaces of the baseline, and its own gateway and branch nodes',
  },
  'identity/too-often': {
    fault: 'user',
    http: 429,
    exit: 1,
    retry: true,
    say: () => 'this peer asks too often who it is',
    hint: () => 'it is tried again',
  },
  'identity/none': {
    fault: 'system',
    http: 503,
    exit: 1,
    retry: true,
    say: p => `the controller has not said yet who this is: ${p.why}`,
    hint: p => `see whether ${p.controller} can be reached, and what the controller's log says`,
  },
} as const satisfies Record<string, ErrorRow>;
