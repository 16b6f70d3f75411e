/** What hangs on tables and comes last: triggers, rules, policies, statistics, publications, event triggers. */
import { escapeIdentifier, escapeLiteral } from 'pg';
import {
  type DbObject,
  ofNoExtension,
  RANK,
  type ReadKind,
  roleName,
  type Source,
  userSchema,
} from './contract.ts';

export const readRest: ReadKind = async source => {
  const found: DbObject[] = [];
  for (const read of [triggers, rules, policies, statistics, publications, eventTriggers])
    found.push(...(await read(source)));
  return found;
};

// --- internal -----------------------------------------------------------------------------------

const ENABLED: Readonly<Record<string, string>> = { D: 'DISABLE', R: 'ENABLE REPLICA', A: 'ENABLE ALWAYS' };

const triggers: ReadKind = async ({ query }) => {
  const rows = await query<{
    oid: string;
    name: string;
    table: string;
    tableName: string;
    text: string;
    enabled: string;
  }>(
    `SELECT g.oid::text, quote_ident(tgname) AS name, tgrelid::text AS table, tgrelid::regclass::text AS "tableName", pg_get_triggerdef(g.oid) AS text, tgenabled AS enabled
     FROM pg_catalog.pg_trigger g JOIN pg_catalog.pg_class t ON t.oid = tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
     WHERE NOT tgisinternal AND tgparentid = 0 AND ${userSchema()} AND ${ofNoExtension('pg_class', 't')} AND ${ofNoExtension('pg_trigger', 'g')}`,
  );
  return rows.map(row => ({
    key: `pg_trigger:${row.oid}`,
    what: `trigger ${row.name} of ${row.tableName}`,
    ident: `TRIGGER ${row.name} ON ${row.tableName}`,
    sql: [
      row.text,
      ...(ENABLED[row.enabled] === undefined
        ? []
        : [`ALTER TABLE ${row.tableName} ${ENABLED[row.enabled]} TRIGGER ${row.name}`]),
    ],
    when: 'after',
    rank: RANK.rest,
    needs: [`pg_class:${row.table}`],
  }));
};

const rules: ReadKind = async ({ query }) => {
  const rows = await query<{
    oid: string;
    name: string;
    table: string;
    tableName: string;
    text: string;
    enabled: string;
  }>(
    `SELECT r.oid::text, quote_ident(rulename) AS name, ev_class::text AS table, ev_class::regclass::text AS "tableName", pg_get_ruledef(r.oid) AS text, ev_enabled AS enabled
     FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_class t ON t.oid = ev_class JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
     WHERE rulename <> '_RETURN' AND ${userSchema()} AND ${ofNoExtension('pg_class', 't')} AND ${ofNoExtension('pg_rewrite', 'r')}`,
  );
  return rows.map(row => ({
    key: `pg_rewrite:${row.oid}`,
    what: `rule ${row.name} of ${row.tableName}`,
    ident: `RULE ${row.name} ON ${row.tableName}`,
    sql: [
      row.text,
      ...(ENABLED[row.enabled] === undefined
        ? []
        : [`ALTER TABLE ${row.tableName} ${ENABLED[row.enabled]} RULE ${row.name}`]),
    ],
    when: 'after',
    rank: RANK.rest,
    needs: [`pg_class:${row.table}`],
  }));
};

const policies: ReadKind = async ({ query }) => {
  const rows = await query<{
    oid: string;
    name: string;
    table: string;
    tableName: string;
    permissive: boolean;
    command: string;
    roles: string[];
    using: string | null;
    check: string | null;
  }>(
    `SELECT p.oid::text, quote_ident(polname) AS name, polrelid::text AS table, polrelid::regclass::text AS "tableName", polpermissive AS permissive,
       CASE polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END AS command,
       ARRAY(SELECT CASE WHEN o = 0 THEN 'PUBLIC' ELSE quote_ident(${roleName('o')}) END FROM unnest(polroles) o) AS roles,
       pg_get_expr(polqual, polrelid) AS using, pg_get_expr(polwithcheck, polrelid) AS check
     FROM pg_catalog.pg_policy p JOIN pg_catalog.pg_class t ON t.oid = polrelid JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
     WHERE ${userSchema()} AND ${ofNoExtension('pg_class', 't')}`,
  );
  return rows.map(row => ({
    key: `pg_policy:${row.oid}`,
    what: `policy ${row.name} of ${row.tableName}`,
    ident: `POLICY ${row.name} ON ${row.tableName}`,
    sql: [
      `CREATE POLICY ${row.name} ON ${row.tableName} AS ${row.permissive ? 'PERMISSIVE' : 'RESTRICTIVE'} FOR ${row.command} TO ${row.roles.join(', ')}${row.using === null ? '' : ` USING (${row.using})`}${row.check === null ? '' : ` WITH CHECK (${row.check})`}`,
    ],
    when: 'after',
    rank: RANK.rest,
    needs: [`pg_class:${row.table}`],
  }));
};

const statistics: ReadKind = async ({ query }) => {
  const rows = await query<{
    oid: string;
    name: string;
    owner: string;
    text: string;
    target: number | null;
    table: string;
  }>(
    `SELECT s.oid::text, format('%I.%I', nspname, stxname) AS name, ${roleName('stxowner')} AS owner, pg_get_statisticsobjdef(s.oid) AS text, NULLIF(stxstattarget, -1) AS target, stxrelid::text AS table
     FROM pg_catalog.pg_statistic_ext s JOIN pg_catalog.pg_namespace n ON n.oid = stxnamespace WHERE ${userSchema()} AND ${ofNoExtension('pg_statistic_ext', 's')}`,
  );
  return rows.map(row => ({
    key: `pg_statistic_ext:${row.oid}`,
    what: `statistics ${row.name}`,
    ident: `STATISTICS ${row.name}`,
    sql: [
      row.text,
      ...(row.target === null ? [] : [`ALTER STATISTICS ${row.name} SET STATISTICS ${row.target}`]),
    ],
    when: 'after',
    rank: RANK.rest,
    owner: row.owner,
    needs: [`pg_class:${row.table}`],
  }));
};

const publications: ReadKind = async (source: Source) => {
  const { query, major } = source;
  const rows = await query<{
    oid: string;
    name: string;
    owner: string;
    all: boolean;
    actions: string;
    root: boolean;
    tables: string[];
    schemas: string[];
    needs: string[];
  }>(
    `SELECT p.oid::text, quote_ident(pubname) AS name, ${roleName('pubowner')} AS owner, puballtables AS all, pubviaroot AS root,
       concat_ws(', ', CASE WHEN pubinsert THEN 'insert' END, CASE WHEN pubupdate THEN 'update' END, CASE WHEN pubdelete THEN 'delete' END, CASE WHEN pubtruncate THEN 'truncate' END) AS actions,
       ARRAY(SELECT 'TABLE ONLY ' || prrelid::regclass::text ${
         major >= 15
           ? `|| COALESCE(' (' || (SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_catalog.pg_attribute WHERE attrelid = prrelid AND attnum = ANY (prattrs)) || ')', '') || COALESCE(' WHERE (' || pg_get_expr(prqual, prrelid) || ')', '')`
           : ''
       } FROM pg_catalog.pg_publication_rel WHERE prpubid = p.oid) AS tables,
       ${major >= 15 ? `ARRAY(SELECT 'TABLES IN SCHEMA ' || quote_ident(nspname) FROM pg_catalog.pg_publication_namespace JOIN pg_catalog.pg_namespace s ON s.oid = pnnspid WHERE pnpubid = p.oid)` : 'ARRAY[]::text[]'} AS schemas,
       ARRAY(SELECT 'pg_class:' || prrelid FROM pg_catalog.pg_publication_rel WHERE prpubid = p.oid) AS needs
     FROM pg_catalog.pg_publication p WHERE ${ofNoExtension('pg_publication', 'p')}`,
  );
  return rows.map(row => {
    const what = [...row.tables, ...row.schemas];
    const of = row.all ? ' FOR ALL TABLES' : what.length === 0 ? '' : ` FOR ${what.join(', ')}`;
    const via = row.root ? ', publish_via_partition_root = true' : '';
    return {
      key: `pg_publication:${row.oid}`,
      what: `publication ${row.name}`,
      ident: `PUBLICATION ${row.name}`,
      sql: [`CREATE PUBLICATION ${row.name}${of} WITH (publish = '${row.actions}'${via})`],
      when: 'after',
      rank: RANK.publication,
      owner: row.owner,
      needs: row.needs as `pg_class:${string}`[],
    };
  });
};

/** Last of all, or they would see the rest being made. Who owns one must be a superuser, which nobody in a project is. */
const eventTriggers: ReadKind = async ({ query }) => {
  const rows = await query<{
    oid: string;
    name: string;
    event: string;
    tags: string[] | null;
    proc: string;
    enabled: string;
  }>(
    `SELECT e.oid::text, evtname AS name, evtevent AS event, evttags AS tags, evtfoid::regproc::text AS proc, evtenabled AS enabled
     FROM pg_catalog.pg_event_trigger e WHERE ${ofNoExtension('pg_event_trigger', 'e')}`,
  );
  return rows.map(row => {
    const tags = row.tags === null ? '' : ` WHEN TAG IN (${row.tags.map(escapeLiteral).join(', ')})`;
    return {
      key: `pg_event_trigger:${row.oid}`,
      what: `event trigger ${escapeIdentifier(row.name)}`,
      sql: [
        `CREATE EVENT TRIGGER ${escapeIdentifier(row.name)} ON ${row.event}${tags} EXECUTE FUNCTION ${row.proc}()`,
      ],
      when: 'after',
      rank: RANK.eventTrigger,
      refused: 'event triggers belong to superusers, and run for what they do; nobody in a project is one',
    };
  });
};
