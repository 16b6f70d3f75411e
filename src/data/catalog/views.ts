/** Views, and materialised ones, which are filled at the end. */
import { type DbObject, ofNoExtension, RANK, type ReadKind, roleName, userSchema } from './contract.ts';
import { optionText } from './tables.ts';

export const readViews: ReadKind = async ({ query }) => {
  const rows = await query<{
    oid: string;
    name: string;
    owner: string;
    kind: 'v' | 'm';
    options: string[] | null;
    text: string;
    filled: boolean;
    types: string[];
    rule: string[];
    check: string | null;
  }>(
    `SELECT c.oid::text, c.oid::regclass::text AS name, ${roleName('relowner')} AS owner, relkind AS kind, pg_get_viewdef(c.oid) AS text, relispopulated AS filled,
       (SELECT array_agg(o) FROM unnest(reloptions) o WHERE o NOT LIKE 'check_option=%') AS options,
       (SELECT upper(split_part(o, '=', 2)) FROM unnest(reloptions) o WHERE o LIKE 'check_option=%') AS check,
       ARRAY(SELECT t.oid::text FROM pg_catalog.pg_type t WHERE t.typrelid = c.oid UNION ALL SELECT t.typarray::text FROM pg_catalog.pg_type t WHERE t.typrelid = c.oid AND t.typarray <> 0) AS types,
       ARRAY(SELECT r.oid::text FROM pg_catalog.pg_rewrite r WHERE ev_class = c.oid AND rulename = '_RETURN') AS rule
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace
     WHERE relkind IN ('v', 'm') AND ${userSchema()} AND ${ofNoExtension('pg_class', 'c')}`,
  );
  return rows.flatMap((row): DbObject[] => {
    const kind = row.kind === 'v' ? 'VIEW' : 'MATERIALIZED VIEW';
    const options = row.options === null ? '' : ` WITH (${row.options.map(optionText).join(', ')})`;
    const text = row.text.trim().replace(/;$/, '');
    const end =
      row.kind === 'm' ? ' WITH NO DATA' : row.check === null ? '' : ` WITH ${row.check} CHECK OPTION`;
    const view: DbObject = {
      key: `pg_class:${row.oid}`,
      what: `${kind.toLowerCase()} ${row.name}`,
      ident: `${kind} ${row.name}`,
      sql: [`CREATE ${kind} ${row.name}${options} AS ${text}${end}`],
      when: 'before',
      rank: RANK.view,
      owner: row.owner,
      also: [
        ...row.types.map(type => `pg_type:${type}` as const),
        ...row.rule.map(rule => `pg_rewrite:${rule}` as const),
      ],
    };
    if (row.kind === 'v' || !row.filled) return [view];
    // Its owner reads what it is made of, so rights come before; an index that is there already is filled, too.
    const filled: DbObject = {
      key: `filled:${row.oid}`,
      what: `rows of ${kind.toLowerCase()} ${row.name}`,
      sql: [`REFRESH MATERIALIZED VIEW ${row.name}`],
      when: 'after',
      rank: RANK.refresh,
      needs: [`pg_class:${row.oid}`],
    };
    return [view, filled];
  });
};
