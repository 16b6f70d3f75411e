/** Which branch a login means, and the login as that branch's server shall see it. Pure. */
import { adminRole, branchIdPattern } from '../../model/branch.ts';
import { OffshootError } from '../../model/errors.ts';
import type { Startup } from './codec.ts';
import { takeBranchOption } from './startup-options.ts';

export type Destination = { readonly branch: string; readonly startup: Startup };

/**
 * The branch is named by the user `role.branchId` (the role may contain dots) or by the setting
 * `offshoot.branch` in `options`; both are taken out of the startup message.
 * @throws OffshootError gateway/no-branch, gateway/branch-conflict, gateway/branch-unknown (not even an id), gateway/reserved-role.
 */
export function findDestination(startup: Startup): Destination {
  const user = startup.params.get('user') ?? '';
  const fromUser = splitUser(user);
  if (fromUser.role === adminRole) throw new OffshootError('gateway/reserved-role', { role: adminRole });
  const fromOptions = takeBranchOption(startup.params.get('options') ?? '');
  const named = new Set([
    ...fromOptions.branches,
    ...(fromUser.branch === undefined ? [] : [fromUser.branch]),
  ]);
  if (named.size > 1) throw new OffshootError('gateway/branch-conflict');
  const [branch] = named;
  if (branch === undefined) throw new OffshootError('gateway/no-branch');
  if (!branchIdPattern.test(branch)) throw new OffshootError('gateway/branch-unknown', { branch });
  return {
    branch,
    startup: { ...startup, params: withoutBranch(startup.params, fromUser.role, fromOptions.rest) },
  };
}

// --- internal ------------------------------------------------------------------------------------

function splitUser(user: string): { readonly role: string; readonly branch?: string } {
  const dot = user.lastIndexOf('.');
  const branch = user.slice(dot + 1);
  // A role with a dot of its own, whose branch is named in the options.
  if (dot < 1 || !branchIdPattern.test(branch)) return { role: user };
  return { role: user.slice(0, dot), branch };
}

function withoutBranch(
  params: Startup['params'],
  role: string,
  options: string,
): ReadonlyMap<string, string> {
  const rewritten = new Map(params);
  const user = params.get('user');
  if (user !== undefined) rewritten.set('user', role);
  // libpq sends the user name as database when none is given; the server's default would be the role.
  if (params.get('database') === user) rewritten.delete('database');
  if (options === '') rewritten.delete('options');
  else rewritten.set('options', options);
  return rewritten;
}
