/** Publications, with their tables, columns and rows. */
import { ofNoExtension, RANK, type ReadKind, roleName } from './contract.ts';

export const readPublications: ReadKind = async ({ query, major }) => {
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
