import type { ErrorRow } from '../errors.ts';

/** What a cluster answers, and what it does not. `what` is e.g. `sandboxes.offshoot.dev "x" in namespace "y"`. */
export const kubernetesErrors = {
  'kubernetes/config': {
    fault: 'user',
    http: 500,
    exit: 2,
    retry: false,
    say: p => `${p.file} does not say how to reach a cluster: ${p.why}`,
    hint: () => 'see "kubectl config view" and "kubectl config get-contexts"; KUBECONFIG names the file',
  },
  'kubernetes/unreachable': {
    fault: 'system',
    http: 503,
    exit: 1,
    retry: true,
    say: p =>
      `the cluster's API server did not answer "${p.verb} ${p.what}": ${p.why}; whether it was done is not known`,
    hint: () => 'see whether "kubectl version" gets an answer; it is tried again',
  },
  'kubernetes/unauthorized': {
    fault: 'system',
    http: 503,
    exit: 4,
    retry: true,
    say: p => `the cluster does not know who asks "${p.verb} ${p.what}" (401)`,
    hint: () => 'the token or certificate has ended or is of another cluster; "kubectl auth whoami" tries it',
  },
  'kubernetes/forbidden': {
    fault: 'system',
    http: 503,
    exit: 4,
    retry: true,
    say: p => `the cluster does not allow "${p.verb} ${p.what}": ${p.why}`,
    hint: p =>
      `a Role must allow the verb "${p.verb}" on "${p.resource}", and a RoleBinding must give it to us`,
  },
  'kubernetes/absent': {
    fault: 'user',
    http: 404,
    exit: 3,
    retry: true,
    say: p => `the cluster has no ${p.what}`,
    hint: p =>
      `"kubectl api-resources" tells whether it knows ${p.resource}; definitions come with the chart`,
  },
  'kubernetes/conflict': {
    fault: 'conflict',
    http: 409,
    exit: 1,
    retry: true,
    say: p => `somebody else was first at "${p.verb} ${p.what}": ${p.why}`,
    hint: () => 'read it again and repeat the change',
  },
  'kubernetes/expired': {
    fault: 'system',
    http: 503,
    exit: 1,
    retry: true,
    say: p => `the cluster has forgotten what "${p.verb} ${p.what}" wants to go on with`,
    hint: () => 'it is listed again',
  },
  'kubernetes/invalid': {
    fault: 'user',
    http: 400,
    exit: 2,
    retry: false,
    say: p => `the cluster refuses "${p.verb} ${p.what}": ${p.why}`,
    hint: () => 'definitions of an older version do not know newer fields: upgrade the chart',
  },
  'kubernetes/unavailable': {
    fault: 'system',
    http: 503,
    exit: 1,
    retry: true,
    say: p => `the cluster cannot do "${p.verb} ${p.what}" now: ${p.why}`,
    hint: () => 'it is tried again',
  },
  'kubernetes/too-long': {
    fault: 'system',
    http: 500,
    exit: 1,
    retry: true,
    say: p => `the cluster's answer to "${p.verb} ${p.what}" is longer than ${p.most} bytes`,
    hint: () => 'a single object is never as long; what stands between us and the API server?',
  },
  'kubernetes/definitions-older': {
    fault: 'user',
    http: 503,
    exit: 1,
    retry: true,
    say: p =>
      `the definitions in the cluster are of an older version: they drop ${p.count} fields that this one has, such as ${p.first}`,
    hint: () => 'kubectl apply --server-side --force-conflicts -f charts/offshoot/crds; Helm does not do it',
  },
  'kubernetes/lease-lost': {
    fault: 'system',
    http: 503,
    exit: 1,
    retry: true,
    say: p =>
      `this controller does not decide any more: the lease "${p.name}" in namespace "${p.namespace}" is not its own (${p.why})`,
    hint: () => 'it starts again and waits for its turn; another one, or the same, goes on',
  },
  'kubernetes/not-kept': {
    fault: 'user',
    http: 400,
    exit: 1,
    retry: false,
    say: p => `a ${p.kind} is not kept in a cluster: the cluster itself is the baseline`,
    hint: () => 'deploy with "kubectl apply"; Offshoot reads what is there',
  },
  'kubernetes/elsewhere': {
    fault: 'user',
    http: 400,
    exit: 2,
    retry: false,
    say: p => `"offshoot ${p.command}" is not for a cluster: ${p.instead}`,
    hint: () => 'without --context and OFFSHOOT_CONTEXT it is about the daemon of this machine',
  },
} as const satisfies Record<string, ErrorRow>;
