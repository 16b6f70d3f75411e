/** Functions, procedures, aggregates. */
import { escapeLiteral } from 'pg';
import { type DbObject, ofNoExtension, RANK, type ReadKind, roleName, userSchema } from './contract.ts';

export const readFunctions: ReadKind = async source => [
  ...(await plain(source)),
  ...(await aggregates(source)),
];

// --- internal -----------------------------------------------------------------------------------

const plain: ReadKind = async ({ query }) => {
  const rows = await query<{
    oid: string;
    name: string;
    kind: string;
    language: string;
    owner: string;
    definition: string;
  }>(
    `SELECT p.oid::text, format('%I.%I(%s)', nspname, proname, pg_get_function_identity_arguments(p.oid)) AS name,
       prokind AS kind, lanname AS language, ${roleName('proowner')} AS owner, pg_get_functiondef(p.oid) AS definition
     FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = pronamespace JOIN pg_catalog.pg_language l ON l.oid = prolang
     WHERE prokind <> 'a' AND ${userSchema()} AND ${ofNoExtension('pg_proc', 'p')}
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend i WHERE i.classid = 'pg_catalog.pg_proc'::regclass AND i.objid = p.oid AND i.deptype = 'i')`,
  );
  return rows.map((row): DbObject => {
    const kind = row.kind === 'p' ? 'PROCEDURE' : 'FUNCTION';
    return {
      key: `pg_proc:${row.oid}`,
      what: `${kind.toLowerCase()} ${row.name}`,
      ident: `${kind} ${row.name}`,
      sql: [row.definition.trimEnd()],
      when: 'before',
      rank: RANK.function,
      owner: row.owner,
      // They would run in the server itself, with all that it can reach.
      ...(['c', 'internal'].includes(row.language) && {
        refused: `functions in ${row.language} come with extensions only`,
      }),
    };
  });
};

/** CREATE AGGREGATE has no function that writes it. */
const aggregates: ReadKind = async ({ query }) => {
  const proc = (column: string) => `NULLIF(${column}, 0::oid)::regproc::text`;
  const rows = await query<
    Record<string, string | null> & { oid: string; name: string; identity: string; owner: string }
  >(
    `SELECT p.oid::text, format('%I.%I(%s)', nspname, proname, NULLIF(pg_get_function_arguments(p.oid), '')) AS definition,
       format('%I.%I(%s)', nspname, proname, COALESCE(NULLIF(pg_get_function_identity_arguments(p.oid), ''), '*')) AS identity,
       format('%I.%I', nspname, proname) AS name, pg_get_function_arguments(p.oid) AS arguments, ${roleName('proowner')} AS owner, aggkind AS kind,
       aggtransfn::regproc::text AS "SFUNC", format_type(aggtranstype, NULL) AS "STYPE", NULLIF(aggtransspace, 0)::text AS "SSPACE",
       ${proc('aggfinalfn')} AS "FINALFUNC", CASE WHEN aggfinalextra THEN '' END AS "FINALFUNC_EXTRA",
       ${proc('aggcombinefn')} AS "COMBINEFUNC", ${proc('aggserialfn')} AS "SERIALFUNC", ${proc('aggdeserialfn')} AS "DESERIALFUNC",
       agginitval AS initcond, ${proc('aggmtransfn')} AS "MSFUNC", ${proc('aggminvtransfn')} AS "MINVFUNC",
       format_type(NULLIF(aggmtranstype, 0), NULL) AS "MSTYPE", ${proc('aggmfinalfn')} AS "MFINALFUNC", CASE WHEN aggmfinalextra THEN '' END AS "MFINALFUNC_EXTRA",
       aggminitval AS minitcond, (SELECT format('OPERATOR(%I.%s)', o.nspname, oprname) FROM pg_catalog.pg_operator op JOIN pg_catalog.pg_namespace o ON o.oid = oprnamespace WHERE op.oid = aggsortop) AS "SORTOP",
       CASE proparallel WHEN 's' THEN 'SAFE' WHEN 'r' THEN 'RESTRICTED' END AS "PARALLEL", CASE aggkind WHEN 'h' THEN '' END AS "HYPOTHETICAL"
     FROM pg_catalog.pg_aggregate a JOIN pg_catalog.pg_proc p ON p.oid = aggfnoid JOIN pg_catalog.pg_namespace n ON n.oid = pronamespace
     WHERE ${userSchema()} AND ${ofNoExtension('pg_proc', 'p')}`,
  );
  return rows.map((row): DbObject => {
    const options = Object.entries(row).flatMap(([name, value]) =>
      /^[A-Z_]+$/.test(name) && value !== null ? [value === '' ? name : `${name} = ${value}`] : [],
    );
    if (row.initcond != null) options.push(`INITCOND = ${escapeLiteral(row.initcond)}`);
    if (row.minitcond != null) options.push(`MINITCOND = ${escapeLiteral(row.minitcond)}`);
    return {
      key: `pg_proc:${row.oid}`,
      what: `aggregate ${row.identity}`,
      ident: `AGGREGATE ${row.identity}`,
      sql: [`CREATE AGGREGATE ${row.name}(${row.arguments || '*'}) (${options.join(', ')})`],
      when: 'before',
      rank: RANK.function,
      owner: row.owner,
    };
  });
};
