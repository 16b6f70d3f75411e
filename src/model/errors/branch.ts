import type { ErrorRow } from '../errors.ts';

/** Projects, branches and the PostgreSQL servers on them. */
export const branchErrors = {
  'branch/node-refuses': {
    fault: 'user',
    http: 403,
    exit: 4,
    retry: false,
    say: p => `a branch node tells a ${p.who} nothing of its ${p.what}`,
  },
  'branch/volume-lost': {
    fault: 'system',
    http: 503,
    exit: 1,
    retry: true,
    say: p => `the volume of branch "${p.name}" of project "${p.project}" is not there any more`,
    hint: () =>
      'bring back the disk that it was on; or reset the branch, or delete it and what grows from it: no empty one takes its place by itself',
  },
  'branch/parent-missing': {
    fault: 'user',
    http: 422,
    sqlstate: '3D000',
    exit: 1,
    retry: false,
    say: p => `parent branch "${p.parent}" does not exist in project "${p.project}"`,
    hint: p => `see "offshoot branch list --project ${p.project}"`,
  },
  'branch/exists': {
    fault: 'user',
    http: 409,
    exit: 1,
    retry: false,
    say: p =>
      `branch "${p.name}" already exists in project "${p.project}"${p.owner ? ` and belongs to ${p.owner}` : ''}`,
    hint: () => 'choose another name, or delete it first',
  },
  'branch/has-children': {
    fault: 'user',
    http: 409,
    exit: 1,
    retry: false,
    say: p => `branch "${p.name}" has children: ${p.children}`,
    hint: p =>
      String(p.hint ?? 'delete the children first, or repeat with --recursive, which deletes them too'),
  },
  'branch/is-root': {
    fault: 'user',
    http: 409,
    exit: 1,
    retry: false,
    say: p => `branch "${p.name}" is the root of project "${p.project}"`,
    hint: p => `delete the whole project with "offshoot project delete ${p.project}"`,
  },
  'branch/reset-root': {
    fault: 'user',
    http: 409,
    exit: 1,
    retry: false,
    say: p =>
      `branch "${p.name}" is the root of project "${p.project}": it grows from nothing that it could be reset to`,
    hint: () => 'make a branch of it, and reset that',
  },
  'branch/not-ancestor': {
    fault: 'user',
    http: 422,
    exit: 1,
    retry: false,
    say: p => `branch "${p.name}" does not grow from "${p.to}"`,
    hint: p => `it can be reset to ${p.ancestors}`,
  },
  'branch/protected': {
    fault: 'user',
    http: 409,
    exit: 1,
    retry: false,
    say: p => `branch "${p.name}" is protected`,
    hint: p => `end that first: "offshoot branch unprotect ${p.name}"`,
  },
  'branch/owned': {
    fault: 'user',
    http: 409,
    exit: 1,
    retry: false,
    say: p => `branch "${p.name}" belongs to ${p.owner}`,
    hint: p => String(p.hint ?? `delete ${p.owner} instead, or repeat with --force`),
  },
  'branch/bad-name': {
    fault: 'user',
    http: 422,
    exit: 2,
    retry: false,
    say: p => `"${p.name}" is not a valid ${p.what ?? 'branch'} name: ${p.why}`,
    hint: p =>
      p.similar === undefined
        ? 'use lowercase letters, digits and single hyphens, a letter first, at most 63 characters'
        : `did you mean "${p.similar}"?`,
  },
  'branch/over-limit': {
    fault: 'user',
    http: 507,
    sqlstate: '53100',
    exit: 1,
    retry: true,
    say: p => `branch "${p.name}" was stopped: it takes ${p.taken}, and its limit is ${p.limit}`,
    hint: p =>
      `raise the limit with "offshoot branch limit ${p.name} SIZE", or delete the branch; what is committed is kept`,
  },
  'branch/no-room': {
    fault: 'system',
    http: 507,
    sqlstate: '53100',
    exit: 1,
    retry: true,
    say: p => `branch "${p.name}" is stopped: only ${p.left} are left on the disk for branches`,
    hint: () =>
      'delete branches that nobody needs ("offshoot branch list" shows sizes), or free space; it comes back by itself',
  },
  'branch/bad-limit': {
    fault: 'user',
    http: 422,
    exit: 2,
    retry: false,
    say: p => `a branch cannot have the limit "${p.limit}": ${p.why}`,
    hint: () => 'write a size such as 512M or 20G, at least 64M; or "none"',
  },
  'branch/failed': {
    fault: 'system',
    http: 503,
    exit: 1,
    retry: true,
    say: p => `branch "${p.name}" could not be made ready: ${p.why}`,
    hint: p => String(p.hint ?? `see "offshoot branch get ${p.name}"; it is tried again by itself`),
  },
  'branch/delete-failed': {
    fault: 'system',
    http: 503,
    exit: 1,
    retry: true,
    say: p => `branch "${p.name}" could not be removed: ${p.why}`,
    hint: () => 'it is tried again by itself',
  },
  'sql/failed': {
    fault: 'user',
    http: 422,
    exit: 1,
    retry: false,
    say: p =>
      `${p.place ? `${p.place}: ` : ''}PostgreSQL says: ${p.why}${p.state ? ` (SQLSTATE ${p.state})` : ''}${p.position ? `, at character ${p.position}` : ''}`,
    hint: p => String(p.hint ?? 'mend the statement, then repeat'),
  },
  'project/not-empty': {
    fault: 'user',
    http: 409,
    exit: 1,
    retry: false,
    say: p => `project "${p.project}" still has branches: ${p.branches}`,
    hint: () => 'delete them first',
  },
  'project/in-use': {
    fault: 'user',
    http: 409,
    exit: 1,
    retry: false,
    say: p => `project "${p.project}" is used by ${p.users}`,
    hint: () => 'take its address out of their environment, or delete them, first',
  },
  'project/exists': {
    fault: 'user',
    http: 409,
    exit: 1,
    retry: false,
    say: p => `project "${p.project}" already exists`,
  },
} as const satisfies Record<string, ErrorRow>;
