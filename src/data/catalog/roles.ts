/**
 * Roles, and who is a member of whom. They come without passwords, and without what would be a way out of the database: a
 * superuser of the source is none here. Belong to all databases of a server, so nothing says whose they are: all come.
 */
import { escapeIdentifier, escapeLiteral } from 'pg';
import type { ImportReport } from '../../model/import.ts';
import type { Source } from './contract.ts';

export type Roles = {
  /** Statements, each of which may fail by itself. */
  readonly sql: readonly { readonly what: string; readonly sql: string }[];
  readonly leftOut: ImportReport['leftOut'];
  /** The role that stands here for one of the source; undefined: nobody does. */
  readonly nameOf: (role: string) => string | undefined;
};

/**
 * @param admin our superuser, whose name nobody else gets
 * @param owner of the project's database, who is a member of all of them
 * @param target major version of the server that is filled
 */
export async function readRoles(
  { query, major }: Source,
  { admin, owner, target }: { readonly admin: string; readonly owner: string; readonly target: number },
): Promise<Roles> {
  const roles = await query<Role>(ROLES);
  const leftOut: { what: string; why: string }[] = [];
  const sql: { what: string; sql: string }[] = [];
  const names = new Set(roles.map(({ name }) => name));
  const nameOf = (role: string): string | undefined => {
    if (role === admin) return owner;
    return names.has(role) || KEPT.has(role) || role === 'pg_database_owner' ? role : undefined;
  };
  sql.push({
    what: `role ${owner}`,
    sql: `CREATE ROLE ${escapeIdentifier(owner)} LOGIN CREATEDB${target >= 16 ? ' CREATEROLE' : ''}`,
  });
  for (const role of roles) {
    const what = `role ${role.name}`;
    if (role.name === admin) {
      leftOut.push({ what, why: `it is the name of our superuser; what it owns belongs to ${owner}` });
      continue;
    }
    if (role.super) leftOut.push({ what: `superuser ${role.name}`, why: 'here it is an ordinary role' });
    else if (role.createRole && target < 16)
      leftOut.push({
        what: `the making of roles by ${role.name}`,
        why: 'before PostgreSQL 16 it reaches all that a superuser may',
      });
    if (role.replication && !role.super)
      leftOut.push({ what: `replication by ${role.name}`, why: 'nobody in a project may' });
    if (role.name !== owner)
      sql.push({ what, sql: `CREATE ROLE ${escapeIdentifier(role.name)} ${attributesOf(role, target)}` });
    if (role.comment !== null)
      sql.push({
        what,
        sql: `COMMENT ON ROLE ${escapeIdentifier(role.name)} IS ${escapeLiteral(role.comment)}`,
      });
  }
  for (const { role, member, admin: asAdmin, inherit, set } of await query<Member>(membersQuery(major))) {
    const [granted, to] = [nameOf(role), member === admin ? undefined : nameOf(member)];
    if (to === undefined) continue;
    const what = `membership of ${member} in ${role}`;
    if (granted === undefined || (role.startsWith('pg_') && !KEPT.has(role))) {
      leftOut.push({ what, why: 'nobody in a project may what that role may' });
      continue;
    }
    if (granted === to) continue;
    const options = [`ADMIN ${asAdmin}`, ...(inherit === null ? [] : [`INHERIT ${inherit}`, `SET ${set}`])];
    const more = target >= 16 ? ` WITH ${options.join(', ')}` : asAdmin ? ' WITH ADMIN OPTION' : '';
    sql.push({
      what,
      sql: `GRANT ${escapeIdentifier(granted)} TO ${escapeIdentifier(to)}${more}`,
    });
  }
  return { sql, leftOut, nameOf };
}

/** The owner of a project may be each of its roles. Who is a member of the owner already cannot have him as a member. */
export const owned = (owner: string, target: number): string => `DO $$
DECLARE r record;
BEGIN
  FOR r IN SELECT rolname FROM pg_roles WHERE oid >= 16384 AND NOT rolsuper AND rolname <> ${escapeLiteral(owner)} AND NOT pg_has_role(rolname, ${escapeLiteral(owner)}, 'MEMBER') LOOP
    EXECUTE format('GRANT %I TO %I WITH ${target >= 16 ? 'ADMIN TRUE, INHERIT TRUE, SET TRUE' : 'ADMIN OPTION'}', r.rolname, ${escapeLiteral(owner)});
  END LOOP;
END $$`;

// --- internal -----------------------------------------------------------------------------------

/** Of PostgreSQL's own roles, those that give no way to files, programs or other databases' sessions. */
const KEPT: ReadonlySet<string> = new Set([
  ...['pg_monitor', 'pg_read_all_settings', 'pg_read_all_stats', 'pg_stat_scan_tables'],
  ...['pg_read_all_data', 'pg_write_all_data', 'pg_maintain'],
]);

type Role = {
  readonly name: string;
  readonly super: boolean;
  readonly replication: boolean;
  readonly inherit: boolean;
  readonly createRole: boolean;
  readonly createDb: boolean;
  readonly login: boolean;
  readonly bypass: boolean;
  readonly limit: number;
  readonly until: string | null;
  readonly comment: string | null;
};

const ROLES = `SELECT rolname AS name, rolsuper AS super, rolreplication AS replication, rolinherit AS inherit, rolcreaterole AS "createRole", rolcreatedb AS "createDb",
    rolcanlogin AS login, rolbypassrls AS bypass, rolconnlimit AS limit, rolvaliduntil::text AS until, pg_catalog.shobj_description(oid, 'pg_authid') AS comment
  FROM pg_catalog.pg_roles WHERE rolname !~ '^pg_' ORDER BY rolname`;

function attributesOf(role: Role, target: number): string {
  return [
    role.login ? 'LOGIN' : 'NOLOGIN',
    ...(role.inherit ? [] : ['NOINHERIT']),
    ...(role.createDb ? ['CREATEDB'] : []),
    ...(role.createRole && target >= 16 ? ['CREATEROLE'] : []),
    ...(role.bypass && !role.super ? ['BYPASSRLS'] : []),
    ...(role.limit >= 0 ? [`CONNECTION LIMIT ${role.limit}`] : []),
    ...(role.until === null ? [] : [`VALID UNTIL ${escapeLiteral(role.until)}`]),
  ].join(' ');
}

type Member = {
  readonly role: string;
  readonly member: string;
  readonly admin: boolean;
  readonly inherit: boolean | null;
  readonly set: boolean | null;
};

const membersQuery = (major: number): string =>
  `SELECT r.rolname AS role, m.rolname AS member, admin_option AS admin, ${major >= 16 ? 'inherit_option AS inherit, set_option AS set' : 'NULL AS inherit, NULL AS set'}
   FROM pg_catalog.pg_auth_members a JOIN pg_catalog.pg_roles r ON r.oid = roleid JOIN pg_catalog.pg_roles m ON m.oid = a.member
   WHERE m.rolname !~ '^pg_' ORDER BY 1, 2`;
