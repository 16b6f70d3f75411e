/** Rights, comments and default privileges: said of objects that are there by then. */
import { escapeIdentifier, escapeLiteral } from 'pg';
import type { DbObject, Key, Source } from './contract.ts';

export type Said = { readonly key: Key; readonly what: string; readonly sql: readonly string[] };

/** Comments of objects and of columns. @param identOf as `DbObject.ident` */
export async function readComments(
  { query }: Source,
  identOf: (key: Key) => DbObject | undefined,
): Promise<readonly Said[]> {
  const rows = await query<{ key: Key; text: string; column: string | null }>(
    `SELECT classoid::regclass::text || ':' || objoid AS key, description AS text, quote_ident(attname) AS column
     FROM pg_catalog.pg_description LEFT JOIN pg_catalog.pg_attribute ON classoid = 'pg_catalog.pg_class'::regclass AND attrelid = objoid AND attnum = objsubid AND objsubid > 0
     WHERE objoid >= 16384 AND (objsubid = 0 OR attname IS NOT NULL)
     UNION ALL SELECT 'pg_namespace:' || oid, description, NULL FROM pg_catalog.pg_namespace JOIN pg_catalog.pg_description ON objoid = oid AND classoid = 'pg_catalog.pg_namespace'::regclass WHERE nspname = 'public'`,
  );
  return rows.flatMap(({ key, text, column }): Said[] => {
    const object = identOf(key);
    if (object?.ident === undefined || key.startsWith('pg_extension:')) return [];
    const [, name] = /^(?:TABLE|VIEW|MATERIALIZED VIEW|TYPE) (.*)$/s.exec(object.ident) ?? [];
    const ident = column === null ? object.ident : `COLUMN ${name}.${column}`;
    return [
      { key, what: `comment on ${object.what}`, sql: [`COMMENT ON ${ident} IS ${escapeLiteral(text)}`] },
    ];
  });
}

/**
 * Grants on objects, columns and the database itself.
 * @param target major version of the server that is filled
 */
export async function readGrants(
  { query }: Source,
  identOf: (key: Key) => DbObject | undefined,
  nameOf: (role: string) => string | undefined,
  target: number,
): Promise<readonly Said[]> {
  const rows = await query<Grant>(GRANTS);
  const byObject = Map.groupBy(rows, ({ key, column }) => `${key}/${column ?? ''}`);
  return [...byObject.values()].flatMap((grants): Said[] => {
    const { key, column } = grants[0]!;
    const object = identOf(key);
    if (object?.ident === undefined) return [];
    const on = object.ident
      .replace(/^(VIEW|MATERIALIZED VIEW) /, 'TABLE ')
      .replace(/^AGGREGATE /, 'FUNCTION ');
    const sql: string[] = [];
    if (column === null)
      for (const who of ['PUBLIC', ...(grants[0]!.owner === null ? [] : [nameOf(grants[0]!.owner)])])
        if (who !== undefined) sql.push(`REVOKE ALL ON ${on} FROM ${grantee(who)}`);
    for (const grant of grants) {
      const to = grant.grantee === null ? 'PUBLIC' : nameOf(grant.grantee);
      const privileges = grant.privileges.filter(privilege => isThere(privilege, target));
      if (to === undefined || privileges.length === 0) continue;
      const what = column === null ? privileges : privileges.map(p => `${p} (${column})`);
      sql.push(
        `GRANT ${what.join(', ')} ON ${on} TO ${grantee(to)}${grant.grantable ? ' WITH GRANT OPTION' : ''}`,
      );
    }
    return [{ key, what: `rights on ${object.what}`, sql }];
  });
}

export async function readDefaultPrivileges(
  { query }: Source,
  nameOf: (role: string) => string | undefined,
  target: number,
): Promise<readonly { readonly what: string; readonly sql: string }[]> {
  const rows = await query<{
    role: string;
    schema: string | null;
    kind: string;
    grantee: string | null;
    privilege: string;
    grantable: boolean;
  }>(
    `SELECT pg_catalog.pg_get_userbyid(defaclrole) AS role, quote_ident(nspname) AS schema,
       CASE defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS' WHEN 'T' THEN 'TYPES' WHEN 'n' THEN 'SCHEMAS' ELSE 'LARGE OBJECTS' END AS kind,
       CASE WHEN x.grantee = 0 THEN NULL ELSE pg_catalog.pg_get_userbyid(x.grantee) END AS grantee, x.privilege_type AS privilege, x.is_grantable AS grantable
     FROM pg_catalog.pg_default_acl d LEFT JOIN pg_catalog.pg_namespace n ON n.oid = defaclnamespace, pg_catalog.aclexplode(defaclacl) x`,
  );
  return rows.flatMap(row => {
    const [role, to] = [nameOf(row.role), row.grantee === null ? 'PUBLIC' : nameOf(row.grantee)];
    if (role === undefined || to === undefined || !isThere(row.privilege, target)) return [];
    const within = row.schema === null ? '' : ` IN SCHEMA ${row.schema}`;
    const sql = `ALTER DEFAULT PRIVILEGES FOR ROLE ${escapeIdentifier(role)}${within} GRANT ${row.privilege} ON ${row.kind} TO ${grantee(to)}${row.grantable ? ' WITH GRANT OPTION' : ''}`;
    return [{ what: `default privileges of ${row.role}`, sql }];
  });
}

// --- internal -----------------------------------------------------------------------------------

/** MAINTAIN came with version 17; before, it was the owner's alone. */
const isThere = (privilege: string, target: number): boolean => privilege !== 'MAINTAIN' || target >= 17;

const grantee = (name: string): string => (name === 'PUBLIC' ? name : escapeIdentifier(name));

type Grant = {
  readonly key: Key;
  readonly column: string | null;
  readonly owner: string | null;
  /** null: everybody. */
  readonly grantee: string | null;
  readonly grantable: boolean;
  readonly privileges: readonly string[];
};

/** By whom something was granted is not kept: here its owner did. */
const grantsIn = (catalog: string, acl: string, owner: string, more = ''): string =>
  `SELECT '${catalog}:' || o.oid AS key, NULL::text AS column, pg_catalog.pg_get_userbyid(${owner}) AS owner,
     CASE WHEN x.grantee = 0 THEN NULL ELSE pg_catalog.pg_get_userbyid(x.grantee) END AS grantee, x.is_grantable AS grantable, array_agg(DISTINCT x.privilege_type) AS privileges
   FROM pg_catalog.${catalog} o, pg_catalog.aclexplode(${acl}) x WHERE (o.oid >= 16384${more}) GROUP BY 1, 2, 3, 4, 5`;

const GRANTS = [
  grantsIn('pg_class', 'relacl', 'relowner'),
  grantsIn('pg_proc', 'proacl', 'proowner'),
  grantsIn('pg_type', 'typacl', 'typowner'),
  grantsIn('pg_namespace', 'nspacl', 'nspowner', ` OR nspname = 'public'`),
  grantsIn('pg_database', 'datacl', 'datdba').replace('o.oid >= 16384', 'o.datname = current_database()'),
  grantsIn('pg_largeobject_metadata', 'lomacl', 'lomowner'),
  `SELECT 'pg_class:' || attrelid, quote_ident(attname), NULL, CASE WHEN x.grantee = 0 THEN NULL ELSE pg_catalog.pg_get_userbyid(x.grantee) END, x.is_grantable, array_agg(DISTINCT x.privilege_type)
   FROM pg_catalog.pg_attribute, pg_catalog.aclexplode(attacl) x WHERE attrelid >= 16384 GROUP BY 1, 2, 3, 4, 5`,
].join(' UNION ALL ');
