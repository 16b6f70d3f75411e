/** Large objects keep their numbers, which tables hold. */
import { escapeIdentifier } from 'pg';
import type { DbObject, Source } from './catalog/contract.ts';
import type { Session } from './session.ts';

export async function readLargeObjects({ query }: Source): Promise<readonly DbObject[]> {
  const rows = await query<{ oid: string; owner: string }>(
    `SELECT oid::text, pg_catalog.pg_get_userbyid(lomowner) AS owner FROM pg_catalog.pg_largeobject_metadata ORDER BY oid`,
  );
  return rows.map(({ oid, owner }) => ({
    key: `pg_largeobject:${oid}`,
    what: `large object ${oid}`,
    ident: `LARGE OBJECT ${oid}`,
    sql: [],
    when: 'before',
    rank: 0,
    owner,
    also: [`pg_largeobject_metadata:${oid}`],
  }));
}

/**
 * Copies them piece by piece, many small ones with one question.
 * @param source undefined: they come empty
 */
export async function copyLargeObjects(
  objects: readonly DbObject[],
  source: Session | undefined,
  target: Session,
  nameOf: (role: string) => string | undefined,
  signal: AbortSignal,
): Promise<void> {
  for (let at = 0; at < objects.length; at += MANY) {
    signal.throwIfAborted();
    const oids = objects.slice(at, at + MANY).map(({ key }) => key.slice('pg_largeobject:'.length));
    if (source === undefined) {
      await target.query(
        `SELECT pg_catalog.lo_create(oid) FROM pg_catalog.unnest('{${oids.join()}}'::oid[]) AS oid`,
      );
      continue;
    }
    const first = await source.query<{ oid: string; data: Buffer }>(
      `SELECT oid::text, pg_catalog.lo_get(oid, 0, ${PIECE}) AS data FROM pg_catalog.unnest('{${oids.join()}}'::oid[]) AS oid`,
    );
    for (const { oid, data } of first) {
      await target.query('SELECT pg_catalog.lo_from_bytea($1, $2)', [oid, data]);
      for (let offset = data.length, full = data.length === PIECE; full; ) {
        signal.throwIfAborted();
        const [next] = await source.query<{ data: Buffer }>(
          `SELECT pg_catalog.lo_get(${oid}, ${offset}, ${PIECE}) AS data`,
        );
        await target.query('SELECT pg_catalog.lo_put($1, $2, $3)', [oid, offset, next!.data]);
        offset += next!.data.length;
        full = next!.data.length === PIECE;
      }
    }
  }
  for (const { ident, owner = '' } of objects) {
    const name = nameOf(owner);
    if (name !== undefined) await target.query(`ALTER ${ident} OWNER TO ${escapeIdentifier(name)}`);
  }
}

// --- internal -----------------------------------------------------------------------------------

const MANY = 32;
/** Bytes; a question holds at most 32 of them. */
const PIECE = 256 * 1024;
