/** Who may log in to a branch's server. Told as data, done by statements in one session. */
import { createHash } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ProcessId } from '../../lib/process.ts';
import { adminRole } from '../../model/branch.ts';
import type { Access } from '../branch-parts.ts';
import type { AdminQuery } from './session.ts';

/**
 * @returns how many other roles may log in and have no password
 *
 * Makes the role and its database where they lack, and gives the role its password; may be repeated. Two messages in
 * most cases, and no wait for the disk: a server that dies before it is written down loses its mark, and is asked again.
 * @param findings from other copies of the same cluster; the question is half of what a first session costs
 */
export async function grant(
  query: AdminQuery,
  id: string,
  access: Access,
  findings: Findings,
): Promise<number> {
  const { role: owner, database } = access;
  const known = await findings.of(
    access,
    async () => (await query(KNOWN, [owner, database, adminRole])).rows[0] as Known,
  );
  const role = quoteName(owner);
  const changes: string[] = [];
  if (known.monitors === null)
    changes.push(`CREATE ROLE ${role} LOGIN CREATEDB${known.boundRoles ? ' CREATEROLE' : ''}`);
  // What an owner may know of his own server; extensions that look at tables ask for it too.
  if (known.monitors !== true) changes.push(`GRANT pg_monitor TO ${role}`);
  const fresh = access.inherited && known.adopted !== id;
  const { replicates = false } = access;
  if (known.replicates !== replicates)
    changes.push(`ALTER ROLE ${role} ${replicates ? '' : 'NO'}REPLICATION`);
  const others = othersOf(known.logins, access, fresh);
  changes.push(...others.changes);
  if (fresh) changes.push(...adoption(id, (access.others ?? 'ended') === 'ended' ? known.others : []));
  changes.push(`ALTER ROLE ${role} PASSWORD ${quoteText(access.verifier)}`);
  await query(`BEGIN; SET LOCAL synchronous_commit = off; ${changes.join('; ')}; COMMIT`);
  if (!known.database) await query(`CREATE DATABASE ${quoteName(database)} OWNER ${role}`);
  return others.passwordless;
}

/** Whether the role has that verifier still: owners may set another password by SQL. */
export async function isStored(
  query: AdminQuery,
  { role, verifier }: Pick<Access, 'role' | 'verifier'>,
): Promise<boolean> {
  const { rows } = await query('SELECT rolpassword = $2 AS same FROM pg_authid WHERE rolname = $1', [
    role,
    verifier,
  ]);
  return rows[0]?.same === true;
}

/**
 * What was granted on the server that runs now, told by a file beside its socket: so that neither a look nor the
 * next daemon needs a session to know it. It says nothing about another server process.
 * @returns undefined when nothing was
 */
export type Mark = {
  /** See `markOf`. */
  readonly of: string;
  readonly passwordless: number;
};

export async function readMark(socketDir: string, server: ProcessId): Promise<Mark | undefined> {
  const text = await readFile(join(socketDir, FILE), 'utf8').catch(() => '');
  const [pid, startTime, of, passwordless] = text.split(' ');
  if (pid !== `${server.pid}` || startTime !== server.startTime || of === undefined) return undefined;
  return { of, passwordless: Number(passwordless ?? 0) };
}

export async function writeMark(socketDir: string, server: ProcessId, mark: Mark): Promise<void> {
  const path = join(socketDir, FILE);
  await writeFile(`${path}.new`, `${server.pid} ${server.startTime} ${mark.of} ${mark.passwordless}`, {
    mode: 0o600,
  });
  await rename(`${path}.new`, path);
}

/** Differs when the access does. */
export const markOf = ({ role, database, verifier, others = 'ended', replicates }: Access): string =>
  createHash('sha256')
    .update(JSON.stringify([role, database, verifier, others, replicates]))
    .digest('hex');

export type Findings = { of(access: Access, find: () => Promise<Known>): Promise<Known> };

/** Remembers what was found in the newest clusters that others are copies of, too. */
export function rememberFindings(): Findings {
  const found = new Map<string, Known>();
  return {
    async of({ copyOf, role, database }, find) {
      if (copyOf === undefined) return await find();
      const key = `${copyOf} ${role} ${database}`;
      const known = found.get(key) ?? (await find());
      found.set(key, known);
      const [oldest] = found.keys();
      if (found.size > MOST_FINDINGS) found.delete(oldest!);
      return known;
    },
  };
}

// --- internal ------------------------------------------------------------------------------------

const MOST_FINDINGS = 16;

const FILE = 'access';

type Known = {
  /** Whether the owner has that role; null: there is no owner yet. */
  readonly monitors: boolean | null;
  /** Whether the owner may make slots. */
  readonly replicates: boolean;
  readonly database: boolean;
  readonly adopted: string | null;
  /** Whether whoever makes roles may give himself no others than those: before 16 he could be one that runs programs. */
  readonly boundRoles: boolean;
  /** Other roles with a password. */
  readonly others: readonly string[];
  /** Other roles that may log in. */
  readonly logins: readonly Login[];
};

type Login = {
  readonly name: string;
  readonly password: boolean;
  /** Its password is one of ours. */
  readonly given: boolean;
};

/** Nobody else is in there yet who could change it. */
const KNOWN = `SELECT
  (SELECT pg_has_role(oid, 'pg_monitor', 'member') FROM pg_roles WHERE rolname = $1) AS monitors,
  EXISTS (SELECT FROM pg_roles WHERE rolname = $1 AND rolreplication) AS replicates,
  EXISTS (SELECT FROM pg_database WHERE datname = $2) AS database,
  current_setting('offshoot.adopted', true) AS adopted,
  current_setting('server_version_num')::int >= 160000 AS "boundRoles",
  ARRAY(SELECT rolname::text FROM pg_authid WHERE rolpassword IS NOT NULL AND rolname NOT IN ($1, $3)) AS others,
  (SELECT COALESCE(json_agg(json_build_object('name', rolname, 'password', rolpassword IS NOT NULL,
     'given', COALESCE(encode(sha256(convert_to(rolpassword, 'UTF8')), 'hex') = current_setting('offshoot.given', true), false))), '[]')
   FROM pg_authid WHERE rolcanlogin AND rolname NOT IN ($1, $3)) AS logins`;

/**
 * What other roles get, or lose. Where they have the branch's password, it is that of today: a setting of our role says by a
 * hash which of theirs we have given, so one that somebody has set himself stays.
 */
function othersOf(
  logins: readonly Login[],
  { others = 'ended', verifier }: Access,
  fresh: boolean,
): { readonly changes: readonly string[]; readonly passwordless: number } {
  const password = (of: readonly Login[], text: string) =>
    of.map(({ name }) => `ALTER ROLE ${quoteName(name)} PASSWORD ${text}`);
  const given = logins.filter(login => login.given);
  if (others === 'branch') {
    const open = fresh ? logins : logins.filter(login => login.given || !login.password);
    if (open.length === 0) return { changes: [], passwordless: 0 };
    const hash = createHash('sha256').update(verifier).digest('hex');
    const note = `ALTER ROLE ${quoteName(adminRole)} SET offshoot.given = ${quoteText(hash)}`;
    return { changes: [...password(open, quoteText(verifier)), note], passwordless: 0 };
  }
  const left = logins.filter(login => login.password && !login.given && !(fresh && others === 'ended'));
  return { changes: password(given, 'NULL'), passwordless: logins.length - left.length };
}

/**
 * A child begins with its parent's roles. Their passwords end here, also those of roles that users made; once,
 * because from then on the roles are the child's own. The mark is a setting of our role in the child's catalogue:
 * a grandchild inherits it with another id, and so is not taken for marked.
 */
const adoption = (id: string, others: readonly string[]): readonly string[] => [
  ...others.map(other => `ALTER ROLE ${quoteName(other)} PASSWORD NULL`),
  `ALTER ROLE ${quoteName(adminRole)} SET offshoot.adopted = ${quoteText(id)}`,
];

/** SQL identifier (PostgreSQL §4.1.1). */
const quoteName = (name: string): string => `"${name.replaceAll('"', '""')}"`;

/** SQL string constant (PostgreSQL §4.1.2.1); standard_conforming_strings is on. */
const quoteText = (text: string): string => `'${text.replaceAll("'", "''")}'`;
