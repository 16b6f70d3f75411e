/** Which branch a login means, and the login as that branch's server shall see it. Pure. */
import { adminRole, branchIdPattern } from '../../model/branch.ts';
import { OffshootError } from '../../model/errors.ts';
import type { Startup } from './codec.ts';
import { takeBranchOption } from './startup-options.ts';

export type Destination = { readonly branch: string; readonly startup: Startup };

/**
 * The branch is named by the user `role.branchId` (the role may contain dots), by the database `name@branchId`, by the
 * setting `offshoot.branch` in `options`, or by the port or the host that the client went to; what names it is taken out of the
 * startup message. At a port that is a branch's own, names with a mark in them are taken as they are, unless it is that branch.
 * @param from `port`: whose own it is, to which the client has come; `host`: see branchOfHost
 * @throws OffshootError gateway/no-branch, gateway/branch-conflict, gateway/branch-unknown (not even an id), gateway/reserved-role.
 */
export function findDestination(
  startup: Startup,
  from: { readonly port?: string | undefined; readonly host?: string | undefined } = {},
): Destination {
  const { params } = startup;
  const fromUser = splitAt('.', params.get('user') ?? '', from.port);
  if (fromUser.name === adminRole) throw new OffshootError('gateway/reserved-role', { role: adminRole });
  const fromDatabase = splitAt('@', params.get('database') ?? '', from.port);
  const fromOptions = takeBranchOption(params.get('options') ?? '');
  const named = new Set(
    [...fromOptions.branches, fromUser.branch, fromDatabase.branch, from.host, from.port].filter(
      id => id !== undefined,
    ),
  );
  if (named.size > 1) throw new OffshootError('gateway/branch-conflict');
  const [branch] = named;
  if (branch === undefined) throw new OffshootError('gateway/no-branch');
  if (!branchIdPattern.test(branch)) throw new OffshootError('gateway/branch-unknown', { branch });
  const rest = { role: fromUser.name, database: fromDatabase.name, options: fromOptions.rest };
  return { branch, startup: { ...startup, params: withoutBranch(params, rest) } };
}

/** The id in a host `<branchId>.<domain>`, where the domain is the previews' or our own name. */
export function branchOfHost(
  host: string | undefined,
  site: { readonly domain: string; readonly advertised?: string } | undefined,
): string | undefined {
  const [, branch, domain] = /^([^.]+)\.(.+?)\.?$/.exec(host?.toLowerCase() ?? '') ?? [];
  if (branch === undefined || site === undefined || !branchIdPattern.test(branch)) return undefined;
  const own = [site.domain, site.advertised?.toLowerCase()];
  // Our own name may look like one: "devbox" of "devbox.example.com".
  return own.includes(domain) && !own.includes(`${branch}.${domain}`) ? branch : undefined;
}

// --- internal ------------------------------------------------------------------------------------

/** A name that has such a character of its own stays whole, unless a branch is behind it. */
function splitAt(
  mark: '.' | '@',
  text: string,
  only?: string,
): { readonly name: string; readonly branch?: string } {
  const at = text.lastIndexOf(mark);
  const branch = text.slice(at + 1);
  if (at < 1 || !branchIdPattern.test(branch) || (only ?? branch) !== branch) return { name: text };
  return { name: text.slice(0, at), branch };
}

function withoutBranch(
  params: Startup['params'],
  { role, database, options }: { readonly role: string; readonly database: string; readonly options: string },
): ReadonlyMap<string, string> {
  const rewritten = new Map(params);
  const user = params.get('user');
  if (user !== undefined) rewritten.set('user', role);
  // libpq sends the user name as database when none is given; the server's default would be the role.
  if (params.get('database') === user) rewritten.delete('database');
  else if (database !== '') rewritten.set('database', database);
  if (options === '') rewritten.delete('options');
  else rewritten.set('options', options);
  return rewritten;
}
