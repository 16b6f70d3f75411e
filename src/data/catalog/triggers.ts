/** Triggers and rules of tables: what happens beside a statement. */
import { type DbObject, ofNoExtension, RANK, type ReadKind, userSchema } from './contract.ts';

export const readTriggers: ReadKind = async ({ query }) => {
  const triggers = await query<Row>(
    `SELECT g.oid::text, quote_ident(tgname) AS name, tgrelid::text AS table, tgrelid::regclass::text AS "tableName", pg_get_triggerdef(g.oid) AS text, tgenabled AS enabled
     FROM pg_catalog.pg_trigger g JOIN pg_catalog.pg_class t ON t.oid = tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
     WHERE NOT tgisinternal AND tgparentid = 0 AND ${userSchema()} AND ${ofNoExtension('pg_class', 't')} AND ${ofNoExtension('pg_trigger', 'g')}`,
  );
  const rules = await query<Row>(
    `SELECT r.oid::text, quote_ident(rulename) AS name, ev_class::text AS table, ev_class::regclass::text AS "tableName", pg_get_ruledef(r.oid) AS text, ev_enabled AS enabled
     FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_class t ON t.oid = ev_class JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
     WHERE rulename <> '_RETURN' AND ${userSchema()} AND ${ofNoExtension('pg_class', 't')} AND ${ofNoExtension('pg_rewrite', 'r')}`,
  );
  return [...triggers.map(objectOf('trigger', 'pg_trigger')), ...rules.map(objectOf('rule', 'pg_rewrite'))];
};

// --- internal -----------------------------------------------------------------------------------

type Row = {
  readonly oid: string;
  readonly name: string;
  readonly table: string;
  readonly tableName: string;
  readonly text: string;
  readonly enabled: string;
};

/** How it is said that one is not enabled as usual. */
const ENABLED: Readonly<Record<string, string>> = { D: 'DISABLE', R: 'ENABLE REPLICA', A: 'ENABLE ALWAYS' };

const objectOf =
  (kind: string, catalog: string) =>
  ({ oid, name, table, tableName, text, enabled }: Row): DbObject => ({
    key: `${catalog}:${oid}`,
    what: `${kind} ${name} of ${tableName}`,
    ident: `${kind.toUpperCase()} ${name} ON ${tableName}`,
    sql: [
      text,
      ...(ENABLED[enabled] === undefined
        ? []
        : [`ALTER TABLE ${tableName} ${ENABLED[enabled]} ${kind.toUpperCase()} ${name}`]),
    ],
    when: 'after',
    rank: RANK.attached,
    needs: [`pg_class:${table}`],
  });
