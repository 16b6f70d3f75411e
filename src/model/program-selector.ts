/** Which program is meant, in the words of the command line. Pure. */
import { OffshootError } from './errors.ts';
import type { WorkloadKind } from './kubernetes.ts';
import { workloadKinds } from './workload.ts';

export type ProgramSelector =
  /** Of the baseline; without a kind all that have the name. */
  | { readonly of: 'workload'; readonly kind?: WorkloadKind; readonly name: string }
  /** All forks of a sandbox, or that of one workload. */
  | { readonly of: 'sandbox'; readonly sandbox: string; readonly fork?: string }
  /** What a resource's failed step has said. */
  | { readonly of: 'resource'; readonly sandbox: string; readonly name: string }
  /** What its migrations have said. */
  | { readonly of: 'migration'; readonly sandbox: string }
  | { readonly of: 'branch'; readonly name: string };

/**
 * `users`, `deployment/users`, `sandbox/fix-42`, `sandbox/fix-42/users`, `resource/fix-42/usersDb`, `migration/fix-42`,
 * `branch/main`; kinds in any case, and short as kubectl has them.
 * @throws OffshootError api/bad-request
 */
export function parseProgramSelector(text: string): ProgramSelector {
  const [first = '', ...rest] = text.split('/');
  const [name = '', second] = rest;
  const word = first.toLowerCase();
  if (rest.some(part => part === '') || first === '' || rest.length > 2) throw unknown(text);
  if (rest.length === 0) return { of: 'workload', name: first };
  if (word === 'sandbox' || word === 'sb')
    return { of: 'sandbox', sandbox: name, ...(second !== undefined && { fork: second }) };
  if (word === 'resource' && second !== undefined) return { of: 'resource', sandbox: name, name: second };
  if (second !== undefined) throw unknown(text);
  if (word === 'migration') return { of: 'migration', sandbox: name };
  if (word === 'branch') return { of: 'branch', name };
  const kind = shortKinds[word] ?? workloadKinds.find(kind => kind.toLowerCase() === word);
  if (kind === undefined) throw unknown(text);
  return { of: 'workload', kind, name };
}

// --- internal -----------------------------------------------------------------------------------

/** https://kubernetes.io/docs/reference/kubectl/#resource-types */
const shortKinds: Readonly<Record<string, WorkloadKind>> = {
  deploy: 'Deployment',
  sts: 'StatefulSet',
  ds: 'DaemonSet',
  rs: 'ReplicaSet',
  rc: 'ReplicationController',
  cj: 'CronJob',
  po: 'Pod',
};

const unknown = (text: string): OffshootError =>
  new OffshootError('api/bad-request', {
    why: `"${text}" names no program: write NAME, KIND/NAME, sandbox/NAME, sandbox/NAME/FORK, resource/SANDBOX/NAME, migration/SANDBOX or branch/NAME`,
  });
