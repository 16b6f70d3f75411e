/** Dictionaries and configurations of text search. */
import { escapeIdentifier } from 'pg';
import { type DbObject, ofNoExtension, RANK, type ReadKind, roleName, userSchema } from './contract.ts';

export const readTextSearch: ReadKind = async source => [
  ...(await dictionaries(source)),
  ...(await configurations(source)),
];

// --- internal -----------------------------------------------------------------------------------

const dictionaries: ReadKind = async ({ query }) => {
  const rows = await query<{
    oid: string;
    name: string;
    owner: string;
    template: string;
    options: string | null;
  }>(
    `SELECT d.oid::text, format('%I.%I', n.nspname, dictname) AS name, ${roleName('dictowner')} AS owner, format('%I.%I', tn.nspname, tmplname) AS template, dictinitoption AS options
     FROM pg_catalog.pg_ts_dict d JOIN pg_catalog.pg_namespace n ON n.oid = dictnamespace
     JOIN pg_catalog.pg_ts_template t ON t.oid = dicttemplate JOIN pg_catalog.pg_namespace tn ON tn.oid = tmplnamespace
     WHERE ${userSchema()} AND ${ofNoExtension('pg_ts_dict', 'd')}`,
  );
  return rows.map(
    (row): DbObject => ({
      key: `pg_ts_dict:${row.oid}`,
      what: `text search dictionary ${row.name}`,
      ident: `TEXT SEARCH DICTIONARY ${row.name}`,
      sql: [
        `CREATE TEXT SEARCH DICTIONARY ${row.name} (TEMPLATE = ${row.template}${row.options === null ? '' : `, ${row.options}`})`,
      ],
      when: 'before',
      rank: RANK.textSearch,
      owner: row.owner,
    }),
  );
};

const configurations: ReadKind = async ({ query }) => {
  const rows = await query<{ oid: string; name: string; owner: string; parser: string }>(
    `SELECT c.oid::text, format('%I.%I', n.nspname, cfgname) AS name, ${roleName('cfgowner')} AS owner, format('%I.%I', pn.nspname, prsname) AS parser
     FROM pg_catalog.pg_ts_config c JOIN pg_catalog.pg_namespace n ON n.oid = cfgnamespace
     JOIN pg_catalog.pg_ts_parser p ON p.oid = cfgparser JOIN pg_catalog.pg_namespace pn ON pn.oid = prsnamespace
     WHERE ${userSchema()} AND ${ofNoExtension('pg_ts_config', 'c')}`,
  );
  const maps = await query<{ config: string; token: string; dictionaries: string }>(
    `SELECT mapcfg::text AS config, (SELECT alias FROM pg_catalog.ts_token_type(cfgparser) t WHERE t.tokid = maptokentype) AS token,
       string_agg(mapdict::regdictionary::text, ', ' ORDER BY mapseqno) AS dictionaries
     FROM pg_catalog.pg_ts_config_map JOIN pg_catalog.pg_ts_config c ON c.oid = mapcfg WHERE mapcfg >= 16384 GROUP BY 1, 2 ORDER BY 1, 2`,
  );
  return rows.map(
    (row): DbObject => ({
      key: `pg_ts_config:${row.oid}`,
      what: `text search configuration ${row.name}`,
      ident: `TEXT SEARCH CONFIGURATION ${row.name}`,
      sql: [
        `CREATE TEXT SEARCH CONFIGURATION ${row.name} (PARSER = ${row.parser})`,
        ...maps
          .filter(({ config }) => config === row.oid)
          .map(
            map =>
              `ALTER TEXT SEARCH CONFIGURATION ${row.name} ADD MAPPING FOR ${escapeIdentifier(map.token)} WITH ${map.dictionaries}`,
          ),
      ],
      when: 'before',
      rank: RANK.textSearch,
      owner: row.owner,
    }),
  );
};
