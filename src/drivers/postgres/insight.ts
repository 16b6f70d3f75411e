/** Reads what a server knows of its work: PostgreSQL's cumulative statistics (monitoring-stats) and pg_stat_statements. */
import type { BranchInsight, CountedStatement, RunningStatement } from '../../model/insight.ts';
import type { Ctx } from '../contract.ts';
import { type AdminQuery, type SessionAddress, withSession } from './session.ts';

/** @param address of the database `postgres`, which no owner can change */
export const readInsight = (address: SessionAddress, ctx: Ctx): Promise<BranchInsight> =>
  withSession(
    address,
    async query => {
      const { sessions, sums, databaseBytes, startedAt } = (await query(SUMS)).rows[0] as Sums;
      const running = (await query(RUNNING)).rows as unknown as readonly Row<RunningStatement>[];
      const statements = await counted(query);
      return {
        ...{ at: new Date().toISOString(), startedAt, sessions, ...sums, databaseBytes },
        running: running.map(({ waits, ...row }) => ({ ...row, ...(waits !== null && { waits }) })),
        ...(statements !== undefined && { statements }),
      };
    },
    ctx,
  );

// --- internal -----------------------------------------------------------------------------------

type Row<T> = { [K in keyof T]-?: undefined extends T[K] ? Exclude<T[K], undefined> | null : T[K] };

type Sums = Pick<BranchInsight, 'sessions' | 'databaseBytes' | 'startedAt'> & {
  readonly sums: Pick<BranchInsight, 'transactions' | 'pages' | 'deadlocks' | 'temporaryBytes'>;
};

/** Sessions of ours are none of the branch's. */
const CLIENTS = `pg_stat_activity WHERE backend_type = 'client backend' AND usename IS DISTINCT FROM current_user`;
const DATABASES = `datname IS NOT NULL AND datname NOT IN ('postgres', 'template0', 'template1')`;

const SUMS = `SELECT
  to_char(pg_postmaster_start_time() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS "startedAt",
  (SELECT json_build_object('open', count(*), 'active', count(*) FILTER (WHERE state = 'active'),
    'idleInTransaction', count(*) FILTER (WHERE state LIKE 'idle in transaction%'),
    'blocked', count(*) FILTER (WHERE wait_event_type = 'Lock'),
    'most', current_setting('max_connections')::int) FROM ${CLIENTS}) AS sessions,
  (SELECT json_build_object(
    'transactions', json_build_object('committed', coalesce(sum(xact_commit), 0), 'rolledBack', coalesce(sum(xact_rollback), 0)),
    'pages', json_build_object('hit', coalesce(sum(blks_hit), 0), 'read', coalesce(sum(blks_read), 0)),
    'deadlocks', coalesce(sum(deadlocks), 0), 'temporaryBytes', coalesce(sum(temp_bytes), 0))
    FROM pg_stat_database WHERE ${DATABASES}) AS sums,
  (SELECT coalesce(sum(pg_database_size(oid)), 0)::float8 FROM pg_database WHERE ${DATABASES}) AS "databaseBytes"`;

const RUNNING = `SELECT pid, usename AS role, left(query, 1000) AS text,
  (extract(epoch FROM clock_timestamp() - query_start) * 1000)::float8 AS ms,
  wait_event_type || ': ' || wait_event AS waits
  FROM ${CLIENTS} AND state = 'active' ORDER BY query_start LIMIT 20`;

const COUNTED = `SELECT left(query, 1000) AS text, sum(calls)::float8 AS calls, sum(rows)::float8 AS rows,
  sum(total_exec_time)::float8 AS ms
  FROM public.pg_stat_statements WHERE userid <> current_user::regrole
  GROUP BY query ORDER BY sum(total_exec_time) DESC LIMIT 20`;

/** The view is made when somebody first asks: a write less in every branch where nobody does. */
async function counted(query: AdminQuery): Promise<readonly CountedStatement[] | undefined> {
  const { rows } = await query(`SELECT to_regclass('public.pg_stat_statements') IS NOT NULL AS there,
    'pg_stat_statements' = ANY (regexp_split_to_array(current_setting('shared_preload_libraries'), '[ ,]+')) AS counts`);
  const { there, counts } = rows[0] as { readonly there: boolean; readonly counts: boolean };
  if (!counts) return undefined;
  if (!there) {
    const made = await query('CREATE EXTENSION IF NOT EXISTS pg_stat_statements SCHEMA public').then(
      () => true,
      () => false, // no room, for instance
    );
    if (!made) return undefined;
  }
  return (await query(COUNTED)).rows as unknown as readonly CountedStatement[];
}
