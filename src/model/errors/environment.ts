import type { ErrorRow } from '../errors.ts';

/** Environments of git branches. */
export const environmentErrors = {
  'environment/name-taken': {
    fault: 'conflict',
    http: 409,
    exit: 1,
    retry: false,
    say: p => `sandbox "${p.name}" is ${p.is}`,
    hint: () =>
      'choose another name; the environment of a git branch is changed and removed by "offshoot env" in its worktree',
  },
  'environment/grown': {
    fault: 'user',
    http: 409,
    exit: 1,
    retry: false,
    say: p => `the database of environment "${p.name}" has grown from ${p.from} already`,
    hint: () => 'to begin anew, "offshoot env down" first; its database goes into the trash',
  },
  'environment/nothing-to-fork': {
    fault: 'user',
    http: 422,
    exit: 1,
    retry: false,
    say: p =>
      `no workload of the baseline runs an image of ${p.file}, so there is nothing to make an environment of`,
    hint: () =>
      'deploy the baseline first ("offshoot deploy"), or name workloads: environment: {forks: [NAMESPACE/NAME]}',
  },
  'environment/missing': {
    fault: 'user',
    http: 404,
    exit: 3,
    retry: false,
    say: p => `${p.owner} has no environment`,
    hint: () => 'make it with "offshoot env up"; "offshoot env list --all" shows all there are',
  },
  'environment/no-repository': {
    fault: 'user',
    http: 422,
    exit: 2,
    retry: false,
    say: p => `${p.folder} is not in the worktree of a git repository: ${p.why}`,
    hint: () => 'an environment belongs to a git branch; without one, use "offshoot sandbox apply"',
  },
} as const satisfies Record<string, ErrorRow>;
