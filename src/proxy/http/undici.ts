/**
 * Of undici only what keeps connections to workloads. Its index loads fetch, caches, web sockets and SQLite as well: 1.2 MB of
 * source, and 13 MB of memory in each sidecar.
 */
import type { Pool as TypeOfPool } from 'undici';
// @ts-expect-error it has types for its index only
import UndiciPool from 'undici/lib/dispatcher/pool.js';

export const Pool: typeof TypeOfPool = UndiciPool;
export type Pool = TypeOfPool;
