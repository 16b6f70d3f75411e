import type { ErrorRow } from '../errors.ts';

/** The baseline: whose it is, and how it gets here. */
export const deployErrors = {
  'namespace/taken': {
    fault: 'conflict',
    http: 409,
    exit: 1,
    retry: false,
    say: p => `namespace "${p.namespace}" belongs to the folder ${p.owner}, and this is ${p.folder}`,
    hint: () =>
      'deploy from that folder, choose another namespace, or make it this folder\'s own with "--take-over"',
  },
  'image/in-use': {
    fault: 'user',
    http: 409,
    exit: 1,
    retry: false,
    say: p => `the image "${p.image}" is what runs ${p.users}`,
    hint: () => 'change or remove what runs by it first',
  },
} as const satisfies Record<string, ErrorRow>;
